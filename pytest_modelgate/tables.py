"""Describe the tables of gates.toml: which keys they have, of which type, and what must fit together inside one."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pytest_modelgate.records import MARKER, LongInputWay

DEFAULT_SUITES = {
    "golden": ["golden/*.jsonl"],
    "adversarial": ["adversarial/*.jsonl"],
    "heldout": ["heldout/*.jsonl"],
}


def _listed(value: Any) -> Any:
    """Let one name stand where a list of names is meant."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Table(BaseModel):
    """Base of every table: unknown keys are errors, no value is converted, none is changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class GenerationTable(Table):
    """
    Say how outputs are generated, as deployed.

    ``temperature`` 0 is greedy decoding; above it tokens are drawn among those that ``top_p`` keeps, by ``seed`` (see
    :mod:`pytest_modelgate.engines.sampling`). ``grammar``: "schema" to make every output of a task with a schema obey it;
    what the model writes without is measured too, by the metric ``raw_schema_validity``.
    """

    temperature: float = Field(default=0.0, ge=0, le=10)
    max_tokens: int = Field(default=128, ge=1)
    n_ctx: int = Field(default=2048, ge=8)
    repeat_penalty: float = Field(default=1.0, gt=0, le=10)
    grammar: Literal["none", "schema"] = "none"
    # Left out of what is compared with a baseline where they say nothing: older ones do not know them.
    top_p: float = Field(default=1.0, gt=0, le=1, exclude_if=lambda value: value == 1)
    seed: int = Field(default=0, ge=0, lt=1 << 63, exclude_if=lambda value: value == 0)

    @property
    def is_greedy(self) -> bool:
        """Say whether the most probable token is always taken, with nothing in its way."""
        return self.temperature == 0 and self.repeat_penalty == 1 and self.grammar == "none"


class PerformanceTable(Table):
    """
    Declare the serial latency phase: ``sample`` cases after ``warmup`` unmeasured ones.

    The cases are taken evenly spaced from ``suite``; fewer are used where the suite is smaller.
    """

    sample: int = Field(default=40, ge=2)
    warmup: int = Field(default=3, ge=1)
    suite: str = "golden"


class PreflightTable(Table):
    """
    Say what is checked before anything is generated.

    ``stages``: of static, tokenizer, weights, logits; without it all of them where there is a reference, else the first
    two. ``skip``: checks that are left out, each with the reason.
    """

    stages: Names = ()
    skip: dict[str, str] = Field(default_factory=dict)


class PricesTable(Table):
    """Say what the machine costs, for ``cost_per_1k_requests``."""

    machine_per_hour: float | None = Field(default=None, ge=0)


class ReviewTable(Table):
    """Say where reviews of candidates are committed, for the gate metric ``report_reviewed``."""

    file: str = "reviews.jsonl"


class QuarantineTable(Table):
    """
    Keep one case that is known to flip from failing the run, for a while.

    ``evidence``: a file that ``--modelgate-repeat`` wrote, in which the case flips. ``until``: the day after which the
    case counts again.
    """

    reason: str = Field(min_length=1)
    evidence: str
    until: dt.date


class ColumnsTable(Table):
    """Say which keys of a line stand for ours, where people's own files use other names."""

    id: str | None = None
    input: str | None = None
    expected: str | None = None

    def given(self) -> dict[str, str]:
        """Return our names and theirs, where theirs differ."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class LongInputTable(Table):
    """
    Say how many ``tokens`` a case's input may have, and how a longer one is made to fit.

    ``chunk``: tokens of the pieces of which ``how = "condense"`` keeps something each. ``marker``: the line that stands
    where something was left out, as the model knows it from its training.
    """

    tokens: int = Field(ge=1)
    how: LongInputWay
    chunk: int | None = Field(default=None, ge=1)
    marker: str = MARKER

    @model_validator(mode="after")
    def _fits_together(self) -> LongInputTable:
        if self.chunk is not None and self.how != "condense":
            raise ValueError(f'chunk is only read with how = "condense", got how = "{self.how}"')
        if not self.marker.strip() or "\n" in self.marker:
            raise ValueError(f"marker must be one line of text, got {self.marker!r}")
        return self


class TaskTable(Table):
    """
    Describe one job of the model and the contract of its output: what every kind has.

    ``system`` and ``prompt`` name text files; a prompt holds ``{input}`` where the case's input goes. ``long_input``: what
    is done with an input that is too long. ``contracts`` names users' own checks. ``release_gates = "default"`` adds the published gates of the kind, ``target`` is then the
    least value of its primary metric.
    """

    system: str | None = None
    prompt: str | None = None
    long_input: LongInputTable | None = None
    contracts: Names = ()
    columns: ColumnsTable = ColumnsTable()
    release_gates: Literal["none", "default"] = "none"
    target: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _has_a_target(self) -> TaskTable:
        if self.release_gates == "default" and self.target is None:
            raise ValueError('release_gates = "default" needs target, the least value of the primary metric')
        if self.release_gates == "none" and self.target is not None:
            raise ValueError('target is only read with release_gates = "default"; write a gate with min instead')
        return self


class JsonTaskTable(TaskTable):
    """Describe a task whose output is one JSON value."""

    schema_: str | None = Field(default=None, alias="schema")
    pydantic: str | None = None
    fields: Names = ()
    primary: str | None = None

    @model_validator(mode="after")
    def _fields_fit(self) -> JsonTaskTable:
        if self.primary is not None and self.primary not in self.fields:
            raise ValueError(f"primary {self.primary!r} is not among fields {list(self.fields)}")
        return self


class ClassificationTable(JsonTaskTable):
    """Describe a task that gives labels."""

    kind: Literal["classification"]

    @model_validator(mode="after")
    def _has_fields(self) -> ClassificationTable:
        if not self.fields:
            raise ValueError("a classification task lists the label fields of its output under 'fields'")
        return self


class ExtractionTable(JsonTaskTable):
    """
    Describe a task that extracts a record.

    ``normalize`` maps a field (or the beginning of its dotted path) to how its values are compared;
    ``critical_fields`` are those that ``critical_field_accuracy`` counts.
    """

    kind: Literal["extraction"]
    normalize: dict[str, str] = Field(default_factory=dict)
    critical_fields: Names = ()


class ToolCallTable(TaskTable):
    """
    Describe a task that calls tools.

    ``tools``: a JSON file of tool definitions, put where the system text says ``{tools}``. ``unsafe``: tools that may
    only be called where a case expects it. ``ordered``: calls must come in the expected order, as in a plan.
    """

    kind: Literal["tool_call"]
    tools: str
    unsafe: Names = ()
    ordered: bool = False


class RubricTable(TaskTable):
    """Describe a task whose text is judged by the criteria of a JSON rubric."""

    kind: Literal["rubric"]
    rubric: str


class SectionTable(Table):
    """
    Describe one section of an output.

    ``one_of``: its text is one of these labels. ``items``: it is a list of so many items, [least, most]. ``words``:
    so many words. ``mentions_input``: so many terms, figures or words of the input, no everyday ones, stand in it.
    ``action``: it tells somebody to do something.
    """

    title: str = Field(min_length=1)
    one_of: Names = ()
    items: tuple[int, int] | None = None
    words: tuple[int, int] | None = None
    mentions_input: int = Field(default=0, ge=0)
    action: bool = False
    optional: bool = False

    @model_validator(mode="before")
    @classmethod
    def _pairs(cls, data: Any) -> Any:
        """Let TOML's lists stand for pairs."""
        if isinstance(data, dict):
            return data | {k: tuple(data[k]) for k in ("items", "words") if isinstance(data.get(k), list)}
        return data


class SectionsTable(TaskTable):
    """Describe a task whose text has titled sections in a fixed order, and nothing else."""

    kind: Literal["sections"]
    sections: Annotated[tuple[SectionTable, ...], BeforeValidator(_listed)]
    primary: str | None = None

    @model_validator(mode="after")
    def _has_sections(self) -> SectionsTable:
        if not self.sections:
            raise ValueError("a sections task lists its sections")
        return self


class TextTable(TaskTable):
    """
    Describe a task whose answer is free text.

    ``contains`` and ``lacks`` hold for every case, beside a case's own rules. ``citations``: a regular expression whose
    matches are citations; then only those that a case names may stand in its answer, and all that it requires must.
    """

    kind: Literal["text"]
    contains: Names = ()
    lacks: Names = ()
    citations: str | None = None


AnyTask = Annotated[
    ClassificationTable | ExtractionTable | ToolCallTable | RubricTable | SectionsTable | TextTable,
    Field(discriminator="kind"),
]
TASK_TABLES: dict[str, type[TaskTable]] = {
    "classification": ClassificationTable,
    "extraction": ExtractionTable,
    "tool_call": ToolCallTable,
    "rubric": RubricTable,
    "sections": SectionsTable,
    "text": TextTable,
}


class IncreaseTable(Table):
    """Say how much slower than ``--baseline-model`` a target may be: ``ratio`` times, and ``ms`` milliseconds."""

    ratio: float = Field(ge=1)
    ms: float = Field(default=0, ge=0)


_LIMITS = ("min", "max", "max_regression", "max_reference_regression", "max_increase", "uplift_over")


class GateTable(Table):
    """
    Describe a metric on a slice of the records, and its limits.

    ``max_regression``: how much worse than the accepted baseline the metric may be, in each task.
    ``max_reference_regression``: how much worse than ``--reference``, in each task.
    ``max_increase``: the same for a time, if the baseline's was measured on the same machine. ``uplift_over``: by how much the metric must
    be better than each control that it names. ``confidence``: the one-sided confidence with which a limit must be
    cleared; without it the point decides.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    max_regression: float | None = Field(default=None, ge=0)
    max_increase: IncreaseTable | None = None
    max_reference_regression: float | None = Field(default=None, ge=0)
    uplift_over: dict[str, float] = Field(default_factory=dict)
    suites: Names = ()
    task: Names = ()
    tags: Names = ()
    targets: Names = ()
    severity: Literal["block", "warn"] = "block"
    min_n: int = Field(default=1, ge=1)
    confidence: float | None = Field(default=None, gt=0.5, lt=1.0)
    on_inconclusive: Literal["block", "warn"] = "block"

    @model_validator(mode="after")
    def _has_a_limit(self) -> GateTable:
        limits = {name: getattr(self, name) for name in _LIMITS}
        if all(limit in (None, {}) for limit in limits.values()):
            raise ValueError(f"a gate needs one of {', '.join(repr(name) for name in _LIMITS)}")
        if hopeless := [name for name, least in self.uplift_over.items() if not -1 < least < 1]:
            raise ValueError(f"uplift_over {hopeless[0]} = {self.uplift_over[hopeless[0]]:g} must lie between -1 and 1")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class Document(Table):
    """The whole file."""

    version: Literal[1]
    suites: dict[str, Names] = Field(default_factory=lambda: {name: tuple(g) for name, g in DEFAULT_SUITES.items()})
    generation: GenerationTable = GenerationTable()
    performance: PerformanceTable = PerformanceTable()
    prices: PricesTable = PricesTable()
    preflight: PreflightTable = PreflightTable()
    review: ReviewTable = ReviewTable()
    controls: dict[str, str] = Field(default_factory=dict)
    quarantine: dict[str, QuarantineTable] = Field(default_factory=dict)
    tasks: dict[str, AnyTask]
    gates: dict[str, GateTable] = Field(default_factory=dict)

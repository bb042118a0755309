"""
Read and check gates.toml: tasks, suites, generation settings, gates.

Everything in the file is checked here, before a model is loaded; a mistake names the table, what was got and what is
valid. Paths inside the file are relative to its folder.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.nearest import did_you_mean

DEFAULT_SUITES = {
    "golden": ["golden/*.jsonl"],
    "adversarial": ["adversarial/*.jsonl"],
    "heldout": ["heldout/*.jsonl"],
}
KINDS_LATER = ("tool_call", "rubric", "sections", "text")
"""Task kinds that are named in the documentation as planned, and refused until they are there."""


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

    Decoding is greedy: other values of ``temperature``, ``repeat_penalty`` and ``grammar`` are refused until they
    are supported, because a gate that ignored them would judge another deployment than yours.
    """

    temperature: float = 0.0
    max_tokens: int = Field(default=128, ge=1)
    n_ctx: int = Field(default=2048, ge=8)
    repeat_penalty: float = 1.0
    grammar: str = "none"

    @model_validator(mode="after")
    def _is_greedy(self) -> GenerationTable:
        supported = {"temperature": 0.0, "repeat_penalty": 1.0, "grammar": "none"}
        for name, value in supported.items():
            if (got := getattr(self, name)) != value:
                raise ValueError(f"{name} = {got!r} is not supported yet; supported is {value!r}")
        return self


class PerformanceTable(Table):
    """
    Declare the serial latency phase: ``sample`` cases after ``warmup`` unmeasured ones.

    The cases are taken evenly spaced from ``suite``; fewer are used where the suite is smaller.
    """

    sample: int = Field(default=40, ge=2)
    warmup: int = Field(default=3, ge=1)
    suite: str = "golden"


class ColumnsTable(Table):
    """Say which keys of a line stand for ours, where people's own files use other names."""

    id: str | None = None
    input: str | None = None
    expected: str | None = None

    def given(self) -> dict[str, str]:
        """Return our names and theirs, where theirs differ."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class TaskTable(Table):
    """Describe one job of the model and the contract of its output."""

    kind: Literal["classification", "extraction"]
    system: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
    pydantic: str | None = None
    fields: Names = ()
    primary: str | None = None
    columns: ColumnsTable = ColumnsTable()

    @model_validator(mode="after")
    def _fields_fit(self) -> TaskTable:
        if self.kind == "classification" and not self.fields:
            raise ValueError("a classification task lists the label fields of its output under 'fields'")
        if self.primary is not None and self.primary not in self.fields:
            raise ValueError(f"primary {self.primary!r} is not among fields {list(self.fields)}")
        return self


class GateTable(Table):
    """
    Describe a metric on a slice of the records, and its limits.

    ``confidence``: the one-sided confidence with which a limit must be cleared; without it the point decides.
    """

    metric: str
    min: float | None = None
    max: float | None = None
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
        if self.min is None and self.max is None:
            raise ValueError("a gate needs 'min' or 'max'")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class _Document(Table):
    """The whole file."""

    version: Literal[1]
    suites: dict[str, Names] = Field(default_factory=lambda: {name: tuple(g) for name, g in DEFAULT_SUITES.items()})
    generation: GenerationTable = GenerationTable()
    performance: PerformanceTable = PerformanceTable()
    tasks: dict[str, TaskTable]
    gates: dict[str, GateTable]


@dataclass(frozen=True, slots=True)
class GatesFile:
    """Hold a gates.toml that is well formed; names of metrics, tasks and suites inside its gates are checked later."""

    path: Path
    sha256: str
    suites: dict[str, tuple[str, ...]]
    generation: GenerationTable
    performance: PerformanceTable
    tasks: dict[str, TaskTable]
    gates: dict[str, GateTable]

    @property
    def root(self) -> Path:
        """Return the folder that the file's paths are relative to."""
        return self.path.parent

    def where(self, *keys: str) -> str:
        """Return ``gates.toml: [gates.intent]``, the beginning of every message about the file."""
        return f"{self.path.name}: [{'.'.join(keys)}]"


def load_gates_file(path: Path) -> GatesFile:
    """Read ``path``; raise :class:`~pytest_modelgate.errors.GatesFileError` for the first thing that is wrong."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise GatesFileError(
            f"{path}: no such gates file; 'modelgate init' writes one, --gates names another"
        ) from None
    except OSError as error:
        raise GatesFileError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        data = tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GatesFileError(f"{path.name}: not TOML: {error}") from None
    try:
        document = _Document.model_validate(data)
    except ValidationError as error:
        raise GatesFileError(f"{path.name}: {_explain(error)}") from None
    if problem := _check_suites(document.suites):
        raise GatesFileError(f"{path.name}: [suites] {problem}")
    if not document.tasks:
        raise GatesFileError(f"{path.name}: [tasks] is empty; a gate needs at least one task")
    if not document.gates:
        raise GatesFileError(f"{path.name}: [gates] is empty; without a gate nothing could ever be blocked")
    return GatesFile(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        suites=dict(document.suites),
        generation=document.generation,
        performance=document.performance,
        tasks=dict(document.tasks),
        gates=dict(document.gates),
    )


def _check_suites(suites: dict[str, Names]) -> str | None:
    """Say what is wrong with the suites' names, which become marks for ``-m``."""
    if not suites:
        return "is empty; a release is judged by its suites"
    for name in suites:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            return f"{name!r}: a suite's name must match [A-Za-z0-9][A-Za-z0-9_.-]*"
        if name in _OTHER_MARKS:
            return f"{name!r}: the name is taken by a mark; taken are {', '.join(sorted(_OTHER_MARKS))}"
    return None


_OTHER_MARKS = frozenset(
    {"critical", "filterwarnings", "modelgate", "parametrize", "skip", "skipif", "usefixtures", "xfail"}
)
_TABLES: dict[str, type[Table]] = {
    "generation": GenerationTable,
    "performance": PerformanceTable,
    "tasks": TaskTable,
    "gates": GateTable,
}


def _explain(error: ValidationError) -> str:
    """Turn pydantic's most telling complaint into one line with the table, what was got and what is valid."""
    found = error.errors(include_url=False)
    # A misspelt key is unknown and the right one missing: the first says more.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    location = [str(part) for part in first["loc"]]
    key = location[-1] if location else ""
    table = f"[{'.'.join(location[:-1])}] " if len(location) > 1 else ""
    if first["type"] == "extra_forbidden":
        valid = _valid_keys(location)
        return f"{table}unknown key {key!r}{did_you_mean(key, valid)}; valid are {', '.join(valid)}"
    if first["type"] == "missing":
        return f"{table}key {key!r} is missing"
    if first["type"] == "value_error":
        return f"[{'.'.join(location)}] {first['ctx']['error']}"
    if key == "kind" and first["input"] in KINDS_LATER:
        return f"{table}kind {first['input']!r} is not supported yet; supported are classification, extraction"
    return f"{table}{key}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def _valid_keys(location: list[str]) -> list[str]:
    """Return the keys that are valid where ``location`` ends."""
    if len(location) == 1:
        return list(_Document.model_fields)
    table = ColumnsTable if "columns" in location else _TABLES.get(location[0], _Document)
    return [field.alias or name for name, field in table.model_fields.items()]

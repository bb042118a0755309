"""Run the steps that a configuration lists, account for each, and never let an evaluation incident be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytest_modelgate.errors import InputTooLongError
from pytest_modelgate.truncation import fit as shorten

from ...errors import StageError
from .config import JudgedData
from .incidents import Incident, read_source
from .sections import Augment, Filter, Join, MergeJudgements, Select, Split
from .steps import (
    Counts,
    CountTokens,
    Fit,
    JudgedRow,
    Rejection,
    augment,
    count_words,
    filter_incidents,
    join,
    leaked_incidents,
    merge_judgements,
    select,
    split,
)


@dataclass(frozen=True, slots=True)
class JudgedResult:
    """
    Hold what a pipeline made.

    ``rows`` and ``evaluation_rows``: tables with the configured keys. ``counts``: for each step its name, how many it
    was given and left, and more (JSON primitives). ``rejected``: who was left out by which step, and why.
    """

    rows: list[dict[str, Any]]
    evaluation_rows: list[dict[str, Any]]
    counts: list[dict[str, Any]]
    rejected: list[dict[str, Any]]


def build(
    config: JudgedData, root: Path, *, count_tokens: CountTokens | None = None, fit: Fit | None = None
) -> JudgedResult:
    """
    Return the rows that the steps of ``config`` make of its files below ``root``.

    ``count_tokens``: tokens of a text (default: its words). ``fit``: what of an input the model is shown (default: cut
    to ``input_tokens`` between two lines). Raises :class:`ConfigError` for a missing file; :class:`StageError` for a
    bad record, for a step that leaves nothing, and where incidents that are held back for evaluation have rows to
    train on, naming every one.
    """
    if fit is None and config.input_tokens is not None:
        fit = _cut(config.input_tokens, count_tokens or count_words)
    run = _Run(config, root, count_tokens, fit)
    for number, step in enumerate(config.steps):
        run.do(number, step.name, step.does)
    if leaked := leaked_incidents(run.rows, run.evaluation_ids):
        steps = [number for number, step in enumerate(config.steps) if step.augment and not step.augment.exclude_eval]
        way_out = f"; leave them out with data.judged.steps.{steps[0]}.augment.exclude_eval: true" if steps else ""
        raise StageError(
            f"{len(leaked)} incidents that are held back for evaluation have rows to train on: "
            f"{', '.join(leaked)}{way_out}"
        )
    return JudgedResult(_keyed(run.rows, config), _keyed(run.held_rows, config), run.counts, run.rejected)


@dataclass
class _Run:
    """Carry the tables from step to step."""

    config: JudgedData
    root: Path
    count_tokens: CountTokens | None
    fit: Fit | None
    incidents: list[Incident] = field(default_factory=list)
    rows: list[JudgedRow] = field(default_factory=list)
    held_rows: list[JudgedRow] = field(default_factory=list)
    evaluation_ids: frozenset[str] = frozenset()
    counts: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    _held: list[Incident] = field(default_factory=list)
    _are_rows: bool = False
    _made: dict[str, list[Incident]] = field(default_factory=dict)

    def do(self, number: int, name: str, step: Any) -> None:
        """Do one step."""
        rejected: list[Rejection] = []
        match step:
            case MergeJudgements():
                self.incidents, counts = merge_judgements(self._tables(step.tables), step.to, step.conflicts)
            case Join():
                self.incidents, rejected, counts = join(self._tables(step.tables), step.required)
            case Filter():
                given = self._table(step.table) if step.table else self.incidents
                self.incidents, rejected, counts = filter_incidents(
                    given, self.config.tasks, step.rules, self.count_tokens
                )
            case Split():
                counts = self._split(step)
            case Select():
                rejected, counts = self._select(step)
            case Augment():
                rejected, counts = self._augment(step)
            case _:
                raise AssertionError(name)
        if to := getattr(step, "to", None):
            self._made[to] = self.incidents
        self.counts.append({"step": name, "given": counts.given, "left": counts.left, **counts.more})
        self.rejected += [{"step": name, **asdict(rejection)} for rejection in rejected]
        if not counts.left:
            reasons = ", ".join(f"{rule} ({count})" for rule, count in counts.more.get("rejected", {}).items())
            raise StageError(f"data.judged.steps.{number}.{name} leaves nothing of {counts.given}: {reasons}")

    def _split(self, step: Split) -> Counts:
        """Hold back rows if there are rows, else incidents."""
        if self._are_rows:
            self.rows, self.held_rows, counts = split(self.rows, step.share, step.seed)
            self.evaluation_ids = frozenset(row.incident_id for row in self.held_rows)
        else:
            self.incidents, self._held, counts = split(self.incidents, step.share, step.seed)
            self.evaluation_ids = frozenset(incident.incident_id for incident in self._held)
        return counts

    def _select(self, step: Select) -> tuple[list[Rejection], Counts]:
        """Make rows, of what is held back too."""
        tasks, names = self.config.tasks, step.tasks or tuple(self.config.tasks)
        self.held_rows, without, held = select(self._held, tasks, names, self.fit)
        self.rows, rejected, counts = select(self.incidents, tasks, names, self.fit)
        self._are_rows = True
        more = {"evaluation_rows": held.left} if self._held else {}
        return rejected + without, Counts(counts.given, counts.left, {**counts.more, **more})

    def _augment(self, step: Augment) -> tuple[list[Rejection], Counts]:
        """Append the rows of other incidents."""
        candidates, rejected, joined = join(self._tables(step.tables))
        exclude = self.evaluation_ids if step.exclude_eval else ()
        self.rows, others, counts = augment(
            self.rows, candidates, self.config.tasks, step.tasks, step.rules,
            exclude=exclude, count_tokens=self.count_tokens, fit=self.fit,
        )  # fmt: skip
        more = {**counts.more, "rejected": {**joined.more["rejected"], **counts.more["rejected"]}}
        return rejected + others, Counts(counts.given, counts.left, more)

    def _tables(self, names: Sequence[str]) -> dict[str, list[Incident]]:
        return {name: self._table(name) for name in names}

    def _table(self, name: str) -> list[Incident]:
        """Return a table that a step made, or read a source when it is first needed."""
        if name not in self._made:
            self._made[name] = read_source(name, self.config.sources[name], self.root)
        return self._made[name]


def _keyed(rows: Sequence[JudgedRow], config: JudgedData) -> list[dict[str, Any]]:
    """Return rows with the configured keys."""
    names = {ours: theirs for ours, theirs in config.keys.model_dump().items() if theirs is not None}
    constant = {"licence": config.licence, "origin": config.origin}
    constant = {key: value for key, value in constant.items() if value is not None}
    made = []
    for row in rows:
        own = {"id": f"{row.incident_id}-{row.task}", "group": row.incident_id}
        made.append(
            {theirs: own[ours] if ours in own else getattr(row, ours) for ours, theirs in names.items()} | constant
        )
    return made


def _cut(limit: int, count_tokens: CountTokens) -> Fit:
    """Return what cuts inputs to ``limit`` tokens between two lines: the code that the gate itself uses."""

    def cut(text: str) -> str:
        try:
            return shorten(text, limit, count_tokens).text
        except InputTooLongError as error:
            raise StageError(f"data.judged.input_tokens: {error}") from None

    return cut

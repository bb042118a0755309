"""
Describe how judged answers become rows: files, tasks, and a list of steps, each a table with one key, its name.

::

    judged:
      sources: {logs: logs.jsonl, answers: answers.jsonl, judges_1: judges-1.jsonl, judges_2: judges-2.jsonl}
      tasks:
        cause: {input: logs.text, responses: answers.cause, scores: judges.cause, scale: 30}
      steps:
        - merge_judgements: {tables: [judges_1, judges_2], to: judges}
        - join: {tables: [logs, answers, judges]}
        - filter: {rules: {cause: {score: 14, tokens: [50, 600]}}}
        - split: {share: 0.1, seed: 42}
        - select: {}

A step works on what the step before it made, unless it names tables. What does not fit together is found here, before a
file is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from pytest_modelgate.nearest import did_you_mean

from .sections import (
    Augment,
    Filter,
    Join,
    JudgedSource,
    JudgedTask,
    MergeJudgements,
    RowKeys,
    Section,
    Select,
    Split,
    Step,
)

Kind = Literal["incidents", "rows"]


def _source(value: Any) -> Any:
    """Let a path stand where a source is meant."""
    return {"path": value} if isinstance(value, str) else value


class JudgedData(Section):
    """Hold a whole pipeline: files, tasks, steps."""

    sources: dict[str, Annotated[JudgedSource, BeforeValidator(_source)]] = Field(
        min_length=1, description="files by name: paths, or tables with path and key"
    )
    tasks: dict[str, JudgedTask] = Field(min_length=1, description="the tasks, in the order of their rows")
    steps: tuple[Step, ...] = Field(min_length=1, description="what is done, in order")
    input_tokens: int | None = Field(
        default=None,
        ge=16,
        description="longer inputs are cut between two lines, with a marker in place of what is left out",
    )
    keys: RowKeys = Field(default=RowKeys(), description="what the keys of the rows are called")
    licence: str | None = Field(default=None, description="licence of the rows")
    origin: str | None = Field(default=None, description="where the rows come from")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name, task in self.tasks.items():
            other = task.same_model_as
            if other is not None and (other == name or other not in self.tasks or self.tasks[other].same_model_as):
                valid = [one for one, its in self.tasks.items() if one != name and its.same_model_as is None]
                raise ValueError(
                    f"tasks.{name}.same_model_as: {other!r} is no other task that takes its own best answer; "
                    f"valid are {', '.join(valid) or 'none'}"
                )
        _Walk(self).check()
        return self


class _Walk:
    """Follow the tables from step to step."""

    def __init__(self, data: JudgedData) -> None:
        self._data = data
        self._parts: dict[str, frozenset[str]] = {name: frozenset({name}) for name in data.sources}
        self._now: frozenset[str] | None = None
        self._kind: Kind | None = None
        self._splits = 0
        merged = [step.merge_judgements.to for step in data.steps if step.merge_judgements]
        for name, task in data.tasks.items():
            for reference in task.references:
                source, _, key = reference.partition(".")
                _known(source, [*data.sources, *merged], f"tasks.{name}: {reference!r} is in no source")
                if not key:
                    raise ValueError(f"tasks.{name}: {reference!r} says no key; write SOURCE.KEY")

    def check(self) -> None:
        """Raise ValueError at the first step that does not fit what came before, or if no rows are made."""
        for number, step in enumerate(self._data.steps):
            self._follow(step.does, f"steps.{number}.{step.name}")
        if self._kind != "rows":
            raise ValueError("steps: no step makes rows; let one be 'select'")

    def _follow(self, step: Any, where: str) -> None:
        """Check one step, and take note of what it makes."""
        for table in [*getattr(step, "tables", ()), *filter(None, [getattr(step, "table", None)])]:
            _known(table, self._parts, f"{where}: no source or earlier table is called {table!r}")
        for name in [*(getattr(step, "tasks", None) or ()), *getattr(step, "rules", ())]:
            _known(name, self._data.tasks, f"{where}: {name!r} is no task")
        match step:
            case MergeJudgements() | Join():
                self._bring_together(step, where)
            case Filter():
                self._now = self._parts[step.table] if step.table else self._need("incidents", where)
                self._kind = "incidents"
                self._need_tasks(step.rules, self._now, where)
            case Split():
                self._splits += 1
                if self._kind is None or self._splits > 1:
                    raise ValueError(f"{where}: " + ("the second split" if self._kind else "nothing to split yet"))
            case Select():
                self._need_tasks(step.tasks or self._data.tasks, self._need("incidents", where), where)
                self._kind = "rows"
            case Augment():
                self._need("rows", where)
                self._need_tasks([*step.tasks, *step.rules], self._joined(step.tables), where)
        if to := getattr(step, "to", None):
            if to in self._parts:
                raise ValueError(f"{where}: there is a table {to!r} already")
            self._parts[to] = self._now or frozenset()

    def _bring_together(self, step: MergeJudgements | Join, where: str) -> None:
        """Follow a step that makes one table of several."""
        if self._kind == "rows":
            raise ValueError(f"{where}: comes after 'select', whose rows it would throw away")
        if isinstance(step, Join):
            for table in step.required or ():
                _known(table, step.tables, f"{where}: required table {table!r} is none of its tables")
            self._now = self._joined(step.tables)
        elif many := [table for table in step.tables if len(self._parts[table]) > 1]:
            raise ValueError(f"{where}: {many[0]!r} is joined of several sources; merge before joining")
        else:
            self._now = frozenset({step.to})
        self._kind = "incidents"

    def _joined(self, tables: Iterable[str]) -> frozenset[str]:
        """Return the sources that tables come from."""
        return frozenset[str]().union(*(self._parts[table] for table in tables))

    def _need(self, kind: Kind, where: str) -> frozenset[str]:
        """Return the sources at hand, if the step before made ``kind``."""
        if self._kind != kind:
            other = "nothing" if self._kind is None else self._kind
            raise ValueError(f"{where}: works on {kind}, but the steps before it made {other}")
        return self._now or frozenset()

    def _need_tasks(self, names: Iterable[str], sources: frozenset[str], where: str) -> None:
        """Want the sources of tasks, and of those whose model they take, at hand."""
        for name in names:
            task = self._data.tasks[name]
            other = [self._data.tasks[task.same_model_as]] if task.same_model_as else []
            for reference in [*task.references, *(one for its in other for one in its.references)]:
                if (source := reference.partition(".")[0]) not in sources:
                    raise ValueError(
                        f"{where}: task {name!r} needs {reference!r}, but {source!r} is not among what it works on "
                        f"({', '.join(sorted(sources))})"
                    )


def _known(name: str, valid: Iterable[str] | Mapping[str, Any], what: str) -> None:
    """Raise ValueError if ``name`` is not one of ``valid``."""
    names = list(valid)
    if name not in names:
        raise ValueError(f"{what}{did_you_mean(name, names)}; valid are {', '.join(names)}")

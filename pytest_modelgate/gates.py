"""Check the gates of gates.toml: a gate is a metric on a slice of the cases, with limits."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from pytest_modelgate.cases import Case
from pytest_modelgate.contracts.user import METRICS, load_object, offers
from pytest_modelgate.errors import GatesFileError, MissingExtraError
from pytest_modelgate.gates_file import GatesFile
from pytest_modelgate.metrics import Metric, find_metric
from pytest_modelgate.metrics.classification import is_label
from pytest_modelgate.metrics.registry import Better
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.records import Json
from pytest_modelgate.specs import TargetKind
from pytest_modelgate.tables import GateTable
from pytest_modelgate.tasks import Task

GateOutcome = Literal["passed", "failed", "inconclusive", "incomplete", "not evaluated"]
CaseKey = tuple[str, str]
"""Suite and id of a case."""

_FORM_ONLY = frozenset({"truncation_rate", "repetition_rate", "leak_rate", "text_after_answer_rate"})
"""What a model of nonsense passes that ends its answers."""

_UNSAFE = frozenset({"unsafe_calls", "unsafe_call_rate"})
_EXTRAS = {"chrf": ("sacrebleu", "text")}


@dataclass(frozen=True, slots=True)
class Gate:
    """
    Hold one checked gate: its table in gates.toml and the metric that it names.

    ``cases``: every case that counts for it, by its task's name; none for a metric that is not about cases.
    ``origin``: where it comes from, if it is not written in gates.toml.
    """

    name: str
    table: GateTable
    metric: Metric
    arguments: tuple[str, ...] = ()
    cases: Mapping[CaseKey, str] = field(default_factory=dict)
    origin: str | None = None

    def applies_to(self, kind: TargetKind) -> bool:
        """Say whether the gate judges targets of ``kind``."""
        return not self.table.targets or kind in self.table.targets

    @property
    def judges_answers(self) -> bool:
        """Say whether the gate can block a model for what it answers, without a baseline and not only for its speed."""
        if self.metric.name in _FORM_ONLY:
            return False
        has_limit = self.table.min is not None or self.table.max is not None or bool(self.table.uplift_over)
        return self.metric.source == "records" and self.table.severity == "block" and has_limit

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the tasks of the gate's cases."""
        return tuple(dict.fromkeys(self.cases.values()))

    @property
    def slice(self) -> Json:
        """Return what the gate's slice is restricted to."""
        names = ("suites", "task", "tags")
        return {name: list(getattr(self.table, name)) for name in names if getattr(self.table, name)}


@dataclass(frozen=True, slots=True)
class GateResult:
    """
    Hold the outcome of one limit of one gate for one target.

    ``baseline``: the value that ``observed`` is compared with, of the last release or of a control. ``blocks`` says
    whether it keeps the release from going out; ``target`` is None for a gate that applies to no target of the run.
    """

    name: str
    target: str | None
    metric: str
    slice: Json
    outcome: GateOutcome
    observed: float | None
    limit: dict[str, float]
    n: int
    interval: tuple[float, float] | None
    severity: Literal["block", "warn"]
    reason: str
    blocks: bool
    baseline: float | None = None
    origin: str | None = None

    def to_json(self) -> Json:
        """Return the result as primitives."""
        return asdict(self) | {"interval": None if self.interval is None else list(self.interval)}


def gate_id(gate: GateResult) -> str:
    """Return ``name[target]``."""
    return f"{gate.name}[{gate.target}]" if gate.target else gate.name


def load_gates(gates_file: GatesFile, tasks: Mapping[str, Task], cases: Sequence[Case]) -> tuple[Gate, ...]:
    """
    Check every gate against the tasks and the suites; ``cases``: those that count, without quarantined ones.

    Raises :class:`~pytest_modelgate.errors.GatesFileError` for an unknown suite, task, tag, target kind, metric or
    field, and for a gate that could never be decided: no case in its slice counts, or fewer than ``min_n`` do.
    """
    gates = tuple(_load_gate(gates_file, name, table, tasks, cases) for name, table in gates_file.gates.items())
    sampled = gates_file.performance.suite
    is_said = "suite" in gates_file.performance.model_fields_set
    if sampled not in gates_file.suites and (is_said or any(gate.metric.source == "performance" for gate in gates)):
        raise GatesFileError(
            f"{gates_file.where('performance')} suite: {sampled!r} is unknown"
            f"{did_you_mean(sampled, gates_file.suites)}; known are {', '.join(gates_file.suites)}"
        )
    return gates


def add_gates(
    tables: Mapping[str, GateTable],
    origin: str,
    gates_file: GatesFile,
    tasks: Mapping[str, Task],
    cases: Sequence[Case],
) -> tuple[Gate, ...]:
    """Return gates that stand in no file; ``origin`` says where they come from."""
    return tuple(
        replace(_load_gate(gates_file, name, table, tasks, cases), origin=origin) for name, table in tables.items()
    )


def _load_gate(
    gates_file: GatesFile, name: str, table: GateTable, tasks: Mapping[str, Task], cases: Sequence[Case]
) -> Gate:
    where = gates_file.where("gates", name)
    if name in gates_file.presets:
        where += ' (of release_gates = "default")'
    known = {
        "suites": tuple(gates_file.suites),
        "task": tuple(tasks),
        "targets": tuple(kind for kind in get_args(TargetKind) if kind != "python"),  # only ever a control
        "tags": tuple(sorted({tag for case in cases for tag in case.tags})),
    }
    for key, valid in known.items():
        for got in getattr(table, key):
            if got not in valid:
                raise GatesFileError(
                    f"{where} {key}: {got!r} is unknown{did_you_mean(got, valid)}; known are {', '.join(valid) or 'none'}"
                )
    in_slice = [tasks[task] for task in table.task] or list(tasks.values())
    metric, arguments = _find_metric(table.metric, in_slice, gates_file.root, where)
    if table.confidence is not None and not metric.bounded:
        raise GatesFileError(f"{where} confidence: {table.metric} has no interval; leave confidence out")
    if metric.name == "cost_per_1k_requests" and gates_file.prices.machine_per_hour is None:
        raise GatesFileError(f"{where} {metric.name} needs [prices] machine_per_hour")
    for reason in (
        _toothless(table, metric),
        _misplaced(table, metric),
        _unknown_label(metric, arguments, in_slice, cases),
    ):
        if reason:
            raise GatesFileError(f"{where} {reason}")
    origin = gates_file.presets.get(name)
    origin = None if origin is None else f"published gate of {origin} tasks"
    if metric.source in {"preflight", "performance", "candidate"}:
        return Gate(name, table, metric, arguments, {}, origin)
    counting = [case for case in cases if _selects(table, case) and _counts(metric, case, tasks[case.task])]
    _check_slice(table, metric, counting, tasks, where)
    return Gate(name, table, metric, arguments, {(case.suite, case.id): case.task for case in counting}, origin)


def _check_slice(
    table: GateTable, metric: Metric, counting: Sequence[Case], tasks: Mapping[str, Task], where: str
) -> None:
    """Refuse a gate that could never be decided, or never block, with the cases that count for it."""
    if not counting:
        what = {
            "any": "no case",
            "expected": "no case with 'expected'",
            "critical": "no critical case",
            "schema": "no case of a task with a schema",
            "declined": "no case that must be declined",
            "answered": "no case that must be answered",
        }[metric.needs]
        of = f" of a {' or '.join(metric.kinds)} task" if metric.kinds else ""
        raise GatesFileError(f"{where} selects {what}{of}: it could never be decided")
    if metric.is_count and table.max is not None and table.max >= len(counting):
        raise GatesFileError(f"{where} max {table.max:g} never blocks: its slice holds {len(counting)} cases")
    if metric.name in _UNSAFE and not any(getattr(tasks[case.task].judge, "unsafe", ()) for case in counting):
        raise GatesFileError(
            f"{where} {metric.name}: no tool is marked as unsafe; list some under 'unsafe' of the task"
        )
    if len(counting) < table.min_n:
        raise GatesFileError(f"{where} min_n is {table.min_n}, but its slice holds only {len(counting)} cases")


def _find_metric(written: str, tasks: Sequence[Task], root: Path, where: str) -> tuple[Metric, tuple[str, ...]]:
    """Return a metric by its name, or a user's own by import path or entry point."""
    fields = [field for field in tasks[0].fields if all(field in task.fields for task in tasks)]
    found = find_metric(written, fields)
    if not isinstance(found, str):
        package, extra = _EXTRAS.get(found[0].name, (None, ""))
        if package is not None and importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"metric {written}", package, extra)
        return found
    if ":" not in written and written not in offers(METRICS):
        raise GatesFileError(f"{where} {found}")
    own = load_object(written, METRICS, root, f"{where} metric")
    if isinstance(own, Metric):
        return own, ()
    better: Better = "lower" if getattr(own, "better", "higher") == "lower" else "higher"
    return Metric(written, own, "records", is_ratio=False, better=better, is_own=True), ()


def _toothless(table: GateTable, metric: Metric) -> str | None:
    """Say why a gate's limits could never block a worse model, or return None."""
    wrong, right = ("max", "min") if metric.better == "higher" else ("min", "max")
    if getattr(table, wrong) is not None and getattr(table, right) is None:
        return f"{wrong} alone never blocks a worse model: {table.metric} is better {metric.better}; give {right!r}"
    for name in ("max_regression", "max_reference_regression"):
        if metric.is_ratio and (getattr(table, name) or 0.0) >= 1:
            return f"{name} {getattr(table, name):g} never blocks: {table.metric} lies between 0 and 1"
    is_share = metric.is_ratio and metric.source in {"records", "comparison", "reference", "preflight"}
    if is_share and table.min is not None and not 0 < table.min <= 1:
        return f"min {table.min:g} is no limit for {table.metric}, a share between 0 and 1"
    if is_share and table.max is not None and not 0 <= table.max < 1:
        return f"max {table.max:g} is no limit for {table.metric}, a share between 0 and 1"
    return None


def _misplaced(table: GateTable, metric: Metric) -> str | None:
    """Say why a comparative limit does not go with the metric, or return None."""
    comparable = metric.source == "records" and metric.bounded
    for name in ("max_regression", "max_reference_regression"):
        if getattr(table, name) is not None and not comparable:
            return f"{name}: {table.metric} cannot be compared case by case"
    if table.uplift_over and not comparable:
        return f"uplift_over: {table.metric} cannot be compared case by case"
    if table.max_increase is not None and metric.suffix != "statistic":
        return f"max_increase is for times such as latency_ms.p95; for {table.metric} use max_regression"
    return None


def _unknown_label(
    metric: Metric, arguments: tuple[str, ...], tasks: Sequence[Task], cases: Sequence[Case]
) -> str | None:
    """Say that no case of ``tasks`` expects the label that a metric is about, so that it says nothing; or return None."""
    if metric.suffix != "label":
        return None
    field, label = arguments
    judges = {task.name: task.judge for task in tasks if task.kind in metric.kinds}
    known: set[str] = set()
    # Also cases outside the gate's slice: their labels may be given in it, where they are wrong.
    for case in cases:
        if case.has_expected and (judge := judges.get(case.task)):
            right = judge.judge(case, judge.answer(case) or "").labels
            known.update(expected for name, (expected, _) in right.items() if name == field)
    if not known or any(is_label(text, label) for text in known):
        return None
    names = sorted(text.strip('"') for text in known)
    return f"label {label!r} is expected by no case{did_you_mean(label, names)}; expected are {', '.join(names)}"


def _selects(table: GateTable, case: Case) -> bool:
    """Say whether ``case`` lies in the gate's slice."""
    return (
        (not table.suites or case.suite in table.suites)
        and (not table.task or case.task in table.task)
        and (not table.tags or bool(set(table.tags) & set(case.tags)))
    )


def _counts(metric: Metric, case: Case, task: Task) -> bool:
    """Say whether ``metric`` counts ``case`` at all."""
    if metric.kinds and task.kind not in metric.kinds:
        return False
    if metric.needs in {"declined", "answered"}:
        must_decline = bool(task.judge.must_decline(case))
        return case.has_expected and must_decline == (metric.needs == "declined")
    return {
        "any": True,
        "expected": case.has_expected,
        "critical": bool(case.critical),
        "schema": bool(task.checks),
    }[metric.needs]

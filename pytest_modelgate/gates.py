"""Decide: a gate is a metric on a slice of the records, with limits; its result says whether the target clears them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from pytest_modelgate.cases import Case
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.gates_file import GatesFile, GateTable
from pytest_modelgate.metrics import NOTHING, Measurement, Metric, find_metric
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.records import Json, Performance, Record
from pytest_modelgate.specs import TargetKind
from pytest_modelgate.tasks import Task

GateOutcome = Literal["passed", "failed", "inconclusive", "incomplete", "not evaluated"]
Bound = Literal["min", "max"]


@dataclass(frozen=True, slots=True)
class Gate:
    """
    Hold one checked gate: its table in gates.toml and the metric that it names.

    ``cases``: suite and id of every case that counts for it, none for a metric of speed or memory.
    """

    name: str
    table: GateTable
    metric: Metric
    suffix: str | None
    cases: frozenset[tuple[str, str]] = frozenset()

    def applies_to(self, kind: TargetKind) -> bool:
        """Say whether the gate judges targets of ``kind``."""
        return not self.table.targets or kind in self.table.targets

    @property
    def judges_answers(self) -> bool:
        """Say whether the gate can block a model for what it answers, not only for its speed."""
        return self.metric.source == "records" and self.table.severity == "block"

    @property
    def limits(self) -> dict[Bound, float]:
        """Return the limits that the gate sets."""
        both: dict[Bound, float | None] = {"min": self.table.min, "max": self.table.max}
        return {bound: limit for bound, limit in both.items() if limit is not None}

    @property
    def slice(self) -> Json:
        """Return what the gate's slice is restricted to."""
        names = ("suites", "task", "tags")
        return {name: list(getattr(self.table, name)) for name in names if getattr(self.table, name)}


@dataclass(frozen=True, slots=True)
class GateResult:
    """
    Hold the outcome of one limit of one gate for one target.

    ``blocks`` says whether it keeps the release from going out; ``target`` is None for a gate that applies to no
    target of the run.
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

    def to_json(self) -> Json:
        """Return the result as primitives."""
        return asdict(self) | {"interval": None if self.interval is None else list(self.interval)}


def load_gates(gates_file: GatesFile, tasks: Mapping[str, Task], cases: Sequence[Case]) -> tuple[Gate, ...]:
    """
    Check every gate against the tasks and the suites.

    Raises :class:`~pytest_modelgate.errors.GatesFileError` for an unknown suite, task, tag, target kind, metric or
    field, and for a gate that could never be decided: no case in its slice counts, or fewer than ``min_n`` do.
    """
    sampled = gates_file.performance.suite
    if sampled not in gates_file.suites:
        raise GatesFileError(
            f"{gates_file.where('performance')} suite: {sampled!r} is unknown"
            f"{did_you_mean(sampled, gates_file.suites)}; known are {', '.join(gates_file.suites)}"
        )
    return tuple(_load_gate(gates_file, name, table, tasks, cases) for name, table in gates_file.gates.items())


def _load_gate(
    gates_file: GatesFile, name: str, table: GateTable, tasks: Mapping[str, Task], cases: Sequence[Case]
) -> Gate:
    where = gates_file.where("gates", name)
    known = {
        "suites": tuple(gates_file.suites),
        "task": tuple(tasks),
        "targets": get_args(TargetKind),
        "tags": tuple(sorted({tag for case in cases for tag in case.tags})),
    }
    for key, valid in known.items():
        for got in getattr(table, key):
            if got not in valid:
                raise GatesFileError(
                    f"{where} {key}: {got!r} is unknown{did_you_mean(got, valid)}; known are {', '.join(valid) or 'none'}"
                )
    in_slice = [tasks[task] for task in table.task] or list(tasks.values())
    fields = [field for field in in_slice[0].fields if all(field in task.fields for task in in_slice)]
    found = find_metric(table.metric, fields)
    if isinstance(found, str):
        raise GatesFileError(f"{where} {found}")
    metric, suffix = found
    if table.confidence is not None and not metric.bounded:
        raise GatesFileError(f"{where} confidence: {table.metric} has no interval; leave confidence out")
    if reason := _toothless(table, metric):
        raise GatesFileError(f"{where} {reason}")
    if metric.source == "performance":
        return Gate(name, table, metric, suffix)
    counting = [case for case in cases if _selects(table, case) and _counts(metric, case, tasks[case.task])]
    if not counting:
        what = {
            "any": "no case",
            "expected": "no case with 'expected'",
            "critical": "no critical case",
            "schema": "no case of a task with a schema",
        }[metric.needs]
        raise GatesFileError(f"{where} selects {what}: it could never be decided")
    if len(counting) < table.min_n:
        raise GatesFileError(f"{where} min_n is {table.min_n}, but its slice holds only {len(counting)} cases")
    return Gate(name, table, metric, suffix, frozenset((case.suite, case.id) for case in counting))


def _toothless(table: GateTable, metric: Metric) -> str | None:
    """Say why a gate's limits could never block a worse model, or return None."""
    wrong, right = ("max", "min") if metric.better == "higher" else ("min", "max")
    if getattr(table, right) is None:
        return f"{wrong} alone never blocks a worse model: {table.metric} is better {metric.better}; give {right!r}"
    is_share = metric.source == "records" and metric.bounded
    if is_share and table.min is not None and not 0 < table.min <= 1:
        return f"min {table.min:g} is no limit for {table.metric}, a share between 0 and 1"
    if is_share and table.max is not None and not 0 <= table.max < 1:
        return f"max {table.max:g} is no limit for {table.metric}, a share between 0 and 1"
    return None


def _selects(table: GateTable, case: Case) -> bool:
    """Say whether ``case`` lies in the gate's slice."""
    return (
        (not table.suites or case.suite in table.suites)
        and (not table.task or case.task in table.task)
        and (not table.tags or bool(set(table.tags) & set(case.tags)))
    )


def _counts(metric: Metric, case: Case, task: Task) -> bool:
    """Say whether ``metric`` counts ``case`` at all."""
    return {
        "any": True,
        "expected": case.has_expected,
        "critical": bool(case.critical),
        "schema": bool(task.checks),
    }[metric.needs]


def evaluate(
    gates: Sequence[Gate],
    targets: Mapping[str, TargetKind],
    records: Sequence[Record],
    performances: Mapping[str, Performance],
) -> list[GateResult]:
    """
    Return one result per gate, limit and target, in that order; none if there is no gate.

    Whatever part of the suites was run: a case without a record makes every gate that it counts for incomplete.
    """
    by_target: dict[str, dict[tuple[str, str], Record]] = {target: {} for target in targets}
    for record in records:
        by_target[record.target][record.suite, record.case] = record
    results: list[GateResult] = []
    for gate in gates:
        applicable = [target for target, kind in targets.items() if gate.applies_to(kind)]
        for bound, limit in gate.limits.items():
            name = gate.name if len(gate.limits) == 1 else f"{gate.name}.{bound}"
            judged = [
                _judge(gate, name, bound, limit, target, by_target[target], performances.get(target))
                for target in applicable
            ]
            results.extend(judged or [_not_applicable(gate, name, bound, limit)])
    if not gates:
        return []  # a suite cannot be read, which is reason enough
    results.extend(
        _unjudged(target)
        for target, kind in targets.items()
        if not any(gate.applies_to(kind) and gate.judges_answers for gate in gates)
    )
    return results


def _judge(
    gate: Gate,
    name: str,
    bound: Bound,
    limit: float,
    target: str,
    records: Mapping[tuple[str, str], Record],
    performance: Performance | None,
) -> GateResult:
    """Judge one limit of ``gate`` for one target."""
    gap = None
    if gate.metric.source == "performance":
        measured, gap = _measure_performance(gate, performance)
    else:
        measured, gap = _measure_records(gate, records)
    outcome, reason = (
        ("incomplete" if gap.startswith("incomplete") else "not evaluated", gap)
        if gap
        else _decide(gate.table, bound, limit, measured)
    )
    return GateResult(
        name=name,
        target=target,
        metric=gate.table.metric,
        slice=gate.slice,
        outcome=outcome,  # type: ignore[arg-type]  # one of the literals above
        observed=measured.value,
        limit={bound: limit},
        n=measured.n,
        interval=measured.interval,
        severity=gate.table.severity,
        reason=reason,
        blocks=_blocks(gate.table, outcome),
    )


def _measure_records(gate: Gate, records: Mapping[tuple[str, str], Record]) -> tuple[Measurement, str | None]:
    """Return the metric over the records that are there, and what is missing."""
    found = [record for key, record in records.items() if key in gate.cases]
    judged = [record for record in found if record.outcome != "error"]
    arguments = (gate.suffix,) if gate.metric.suffix == "field" else ()
    measured: Measurement = gate.metric.function(judged, *arguments) if judged else NOTHING
    absent, broken = len(gate.cases) - len(found), len(found) - len(judged)
    if not absent and not broken:
        return measured, None
    causes = [f"{absent} not run"] * bool(absent) + [f"{broken} with an engine error"] * bool(broken)
    return measured, f"incomplete: {absent + broken} of {len(gate.cases)} cases have no result ({', '.join(causes)})"


def _measure_performance(gate: Gate, performance: Performance | None) -> tuple[Measurement, str | None]:
    """Return the metric over the serial phase, and why there is none."""
    if performance is None:
        return NOTHING, "not evaluated: nothing was measured; a recorded or replayed answer has no latency"
    if performance.error is not None:
        return NOTHING, f"incomplete: {performance.error}"
    arguments = (gate.suffix,) if gate.metric.suffix == "statistic" else ()
    measured: Measurement = gate.metric.function(performance, *arguments)
    return measured, None if measured.value is not None else "not evaluated: nothing was measured"


def _decide(table: GateTable, bound: Bound, limit: float, measured: Measurement) -> tuple[GateOutcome, str]:
    """Compare a complete measurement with a limit."""
    if measured.value is None:
        return "not evaluated", "not evaluated: no case in the slice counts for this metric"
    if measured.n < table.min_n:
        return "inconclusive", f"inconclusive: n = {measured.n} is less than min_n = {table.min_n}"
    sign = ">=" if bound == "min" else "<="
    against = "<" if bound == "min" else ">"
    if table.confidence is None:
        if _clears(measured.value, bound, limit):
            return "passed", f"{measured.value:.4g} {sign} {limit:g}"
        return "failed", f"{measured.value:.4g} {against} {limit:g}"
    if measured.bounds is None:
        return "inconclusive", f"inconclusive: {table.metric} has no bound at this n"
    low, high = measured.bounds(table.confidence)
    with_confidence = f"with {table.confidence:.0%} confidence"
    worst, best = (low, high) if bound == "min" else (high, low)
    if _clears(worst, bound, limit):
        return "passed", f"{worst:.4g} {sign} {limit:g} {with_confidence}"
    if not _clears(best, bound, limit):
        return "failed", f"{best:.4g} {against} {limit:g} {with_confidence}"
    return "inconclusive", f"inconclusive: {limit:g} lies between {low:.4g} and {high:.4g} {with_confidence}"


def _clears(value: float, bound: Bound, limit: float) -> bool:
    return value >= limit if bound == "min" else value <= limit


def _blocks(table: GateTable, outcome: str) -> bool:
    """Say whether an outcome keeps the release from going out: only passed is green."""
    if outcome == "passed" or table.severity == "warn":
        return False
    return not (outcome == "inconclusive" and table.on_inconclusive == "warn")


def _not_applicable(gate: Gate, name: str, bound: Bound, limit: float) -> GateResult:
    """Say that a gate judges no target of this run; that is no verdict on any of them."""
    return GateResult(
        name=name,
        target=None,
        metric=gate.table.metric,
        slice=gate.slice,
        outcome="not evaluated",
        observed=None,
        limit={bound: limit},
        n=0,
        interval=None,
        severity=gate.table.severity,
        reason=f"not evaluated: no {' or '.join(gate.table.targets)} target in this run",
        blocks=False,
    )


def _unjudged(target: str) -> GateResult:
    """Block a target that no gate judges."""
    return GateResult(
        name="every_target_is_judged",
        target=target,
        metric="",
        slice={},
        outcome="not evaluated",
        observed=None,
        limit={},
        n=0,
        interval=None,
        severity="block",
        reason="not evaluated: no gate that blocks for answers applies to this kind of target",
        blocks=True,
    )

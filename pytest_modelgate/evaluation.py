"""Decide: measure each gate's metric on each target and compare it with the gate's limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pytest_modelgate.baselines import Baseline
from pytest_modelgate.contracts.bounded import OutOfTimeError, deadline
from pytest_modelgate.gates import CaseKey, Gate, GateOutcome, GateResult
from pytest_modelgate.metrics import NOTHING, Measurement, Pool
from pytest_modelgate.metrics.measurement import Bounds
from pytest_modelgate.paired import difference, discordant, of_the_same_cases
from pytest_modelgate.records import Performance, Record
from pytest_modelgate.specs import TargetKind
from pytest_modelgate.statistics import mcnemar
from pytest_modelgate.tables import IncreaseTable

Bound = Literal["min", "max"]
Records = Mapping[CaseKey, Record]

OWN_METRIC_SECONDS = 60.0
"""Time after which a user's own metric is given up."""


@dataclass(frozen=True)
class Findings:
    """
    Hold everything that gates are judged on.

    ``targets``: the kinds of the targets that are judged. ``records``: of these and of the controls. ``controls``: ids
    of the controls that ran. ``evidence``: for each target, which steps of a release were taken. ``accepting``: this
    run is to become the baseline, so that what a new baseline settles does not block.
    """

    targets: Mapping[str, TargetKind]
    records: Sequence[Record]
    performances: Mapping[str, Performance] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    evidence: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    baseline: Baseline | None = None
    accepting: bool = False

    def by_target(self) -> dict[str, dict[CaseKey, Record]]:
        """Return each target's and control's records by case."""
        found: dict[str, dict[CaseKey, Record]] = {name: {} for name in (*self.targets, *self.controls)}
        for record in self.records:
            found[record.target][record.suite, record.case] = record
        return found


def evaluate(gates: Sequence[Gate], findings: Findings) -> list[GateResult]:
    """
    Return one result per gate, limit and target, in that order; none if there is no gate.

    Whatever part of the suites was run: a case without a record makes every gate that it counts for incomplete.
    """
    if not gates:
        return []  # a suite cannot be read, which is reason enough
    records = findings.by_target()
    results: list[GateResult] = []
    for gate in gates:
        applicable = [target for target, kind in findings.targets.items() if gate.applies_to(kind)]
        if not applicable:
            results.append(_not_applicable(gate))
        by_limit = [list(_judge(gate, target, findings, records)) for target in applicable]
        results.extend(result for limit in zip(*by_limit, strict=True) for result in limit)
    results.extend(_baseline_results(findings))
    results.extend(
        _unjudged(target)
        for target, kind in findings.targets.items()
        if not any(gate.applies_to(kind) and gate.judges_answers for gate in gates)
    )
    return results


def _judge(gate: Gate, target: str, findings: Findings, records: Mapping[str, Records]) -> Iterator[GateResult]:
    """Yield the result of each limit of ``gate`` for one target."""
    table = gate.table
    many = sum(
        (table.min is not None, table.max is not None, table.max_regression is not None, table.max_increase is not None)
    )
    named = len(gate.tasks) > 1 and table.max_regression is not None
    only = many + len(table.uplift_over) == 1 and not named
    if table.min is not None or table.max is not None:
        measured, gap = _measure(gate, target, findings, records[target])
        bounds: dict[Bound, float | None] = {"min": table.min, "max": table.max}
        for bound, limit in bounds.items():
            if limit is not None:
                name = gate.name if only else f"{gate.name}.{bound}"
                outcome, reason = _gap(gap) if gap is not None else _decide(gate, bound, limit, measured)
                if gap is not None and gate.metric.source == "comparison" and outcome == "not evaluated":
                    yield _without_baseline(gate, name, target, {bound: limit}, gap, findings, gate.cases)
                else:
                    yield _result(gate, name, target, {bound: limit}, measured, outcome, reason)
    if table.max_regression is not None:
        for task in gate.tasks:
            name = gate.name if only else f"{gate.name}.max_regression" + (f".{task}" if named else "")
            yield _judge_regression(gate, name, target, task, findings, records[target])
    if table.max_increase is not None:
        name = gate.name if only else f"{gate.name}.max_increase"
        yield _judge_increase(gate, name, target, table.max_increase, findings)
    for control, least in table.uplift_over.items():
        name = gate.name if only else f"{gate.name}.uplift_over.{control}"
        yield _judge_uplift(gate, name, target, control, least, findings, records)


# What is measured


def _measure(gate: Gate, target: str, findings: Findings, records: Records) -> tuple[Measurement, str | None]:
    """Return the metric for one target, and what is missing."""
    match gate.metric.source:
        case "records":
            return _measure_records(gate, records, gate.cases)
        case "comparison":
            return _measure_comparison(gate, findings.baseline, records)
        case "performance":
            return _measure_performance(gate, findings.performances.get(target))
        case "candidate":
            if target not in findings.evidence:
                return NOTHING, "not evaluated: a journal holds no manifest, card or review"
            return gate.metric.function(findings.evidence[target]), None


def _measure_records(gate: Gate, records: Records, cases: Mapping[CaseKey, str]) -> tuple[Measurement, str | None]:
    """Return the metric over the records of ``cases`` that are there, and what is missing."""
    found = [records[key] for key in cases if key in records]
    judged = [record for record in found if record.outcome != "error"]
    if judged and gate.metric.is_own:
        measured, wrong = _ask_own(gate, judged)
        if wrong is not None:
            return NOTHING, f"incomplete: {gate.table.metric} {wrong}"
    else:
        measured = gate.metric.function(judged, *gate.arguments) if judged else NOTHING
    absent, broken = len(cases) - len(found), len(found) - len(judged)
    if not absent and not broken:
        return measured, None
    causes = [f"{absent} not run"] * bool(absent) + [f"{broken} with an engine error"] * bool(broken)
    return measured, f"incomplete: {absent + broken} of {len(cases)} cases have no result ({', '.join(causes)})"


def _ask_own(gate: Gate, records: Sequence[Record]) -> tuple[Measurement, str | None]:
    """Return what a user's own metric measures, and what it does instead of measuring."""
    try:
        with deadline(OWN_METRIC_SECONDS):
            measured = gate.metric.function(records, *gate.arguments)
            if not isinstance(measured, Measurement):
                return NOTHING, f"must return a Measurement, got {type(measured).__name__}"
            return (
                measured,
                None if measured.is_sound() else f"returned {measured.value!r}, n = {measured.n!r}: no figure",
            )
    except OutOfTimeError:
        return NOTHING, f"was not done after {OWN_METRIC_SECONDS:g} s"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's function may raise anything
        return NOTHING, f"raised {type(error).__name__}: {error}"


def _measure_comparison(gate: Gate, baseline: Baseline | None, records: Records) -> tuple[Measurement, str | None]:
    """Return a metric over pairs of a record and its baseline, and why there is none."""
    if baseline is None or _no_baseline(baseline, gate.tasks):
        return NOTHING, _no_baseline(baseline, gate.tasks)
    cases = {key: task for key, task in gate.cases.items() if key in baseline.records}
    if not cases:
        return NOTHING, _NOTHING_IN_COMMON
    _, gap = _measure_records(gate_of_pairs(gate), records, cases)
    pairs = [
        (records[key], baseline.records[key]) for key in cases if key in records and records[key].outcome != "error"
    ]
    return gate.metric.function(pairs, *gate.arguments), gap


def gate_of_pairs(gate: Gate) -> Gate:
    """Return the same gate with a metric that measures nothing: only what is missing is asked for."""
    return replace(gate, metric=replace(gate.metric, function=lambda *_: NOTHING))


def _measure_performance(gate: Gate, performance: Performance | None) -> tuple[Measurement, str | None]:
    """Return the metric over the serial phase, and why there is none."""
    if performance is None:
        return (
            NOTHING,
            "not evaluated: nothing was measured on this machine; a recorded or replayed answer has no latency",
        )
    if performance.error is not None:
        return NOTHING, f"incomplete: {performance.error}"
    measured: Measurement = gate.metric.function(performance, *gate.arguments)
    return measured, None if measured.value is not None else "not evaluated: nothing was measured"


# What is compared


def _judge_regression(
    gate: Gate, name: str, target: str, task: str, findings: Findings, records: Records
) -> GateResult:
    """Compare one task's cases with the baseline: a drop in one task is not made good by another."""
    margin = gate.table.max_regression or 0.0
    limit = {"max_regression": margin}
    baseline = findings.baseline
    own = {key: its for key, its in gate.cases.items() if its == task}
    cases = {} if baseline is None else {key: its for key, its in own.items() if key in baseline.records}
    reason = _no_baseline(baseline, (task,)) or (None if cases else _NOTHING_IN_COMMON)
    if baseline is None or reason is not None:
        return _without_baseline(gate, name, target, limit, str(reason), findings, own)
    now, gap = _measure_records(gate, records, cases)
    before, gap_before = _measure_records(gate, baseline.records, cases)
    change = difference(now, before)
    if gap or gap_before or change.value is None:
        reason = gap or gap_before or "not evaluated: no case counts both now and in the baseline"
        return _result(gate, name, target, limit, now, *_gap(reason))
    worse = -1.0 if gate.metric.better == "higher" else 1.0
    outcome, reason = _decide_change(gate, change, "min", margin, worse, f"than the baseline in task {task!r}")
    if now.pool is not None and before.pool is not None and now.pool.is_share:
        reason += _describe_discordant(gate, *of_the_same_cases(now.pool, before.pool))
    return _result(gate, name, target, limit, now, outcome, reason, baseline=before.value, interval=change.interval)


def _judge_uplift(
    gate: Gate, name: str, target: str, control: str, least: float, findings: Findings, records: Mapping[str, Records]
) -> GateResult:
    """Compare with a control of the same run."""
    limit = {f"uplift_over.{control}": least}
    if control not in findings.controls:
        return _result(gate, name, target, limit, NOTHING, *_gap(f"not evaluated: control {control!r} was not run"))
    now, gap = _measure_records(gate, records[target], gate.cases)
    theirs, their_gap = _measure_records(gate, records[control], gate.cases)
    if gap is not None or their_gap is not None:
        reason = gap or f"{their_gap} for control {control!r}"
        return _result(gate, name, target, limit, now, *_gap(reason))
    change = difference(now, theirs)
    if change.value is None:
        return _result(gate, name, target, limit, now, *_gap("not evaluated: no case can be compared"))
    better = 1.0 if gate.metric.better == "higher" else -1.0
    gained = replace(change, value=better * change.value, bounds=_signed(change, better))
    outcome, reason = _decide(gate, "min", least, gained, f"better than {control}: ")
    return _result(gate, name, target, limit, now, outcome, reason, baseline=theirs.value, interval=change.interval)


def _judge_increase(gate: Gate, name: str, target: str, table: IncreaseTable, findings: Findings) -> GateResult:
    """Compare a time with the one recorded with the baseline, if it was measured on this machine."""
    limit = {"max_increase.ratio": table.ratio, "max_increase.ms": table.ms}
    measured, gap = _measure_performance(gate, findings.performances.get(target))
    baseline = findings.baseline
    recorded = None if baseline is None else baseline.performance
    if gap is not None:
        return _result(gate, name, target, limit, measured, *_gap(gap))
    if recorded is None:
        reason = "not evaluated: the baseline holds no time that was measured on this machine"
        return replace(_result(gate, name, target, limit, measured, "not evaluated", reason), blocks=False)
    before = gate.metric.function(recorded, *gate.arguments)
    if before.value is None or measured.value is None:
        return _result(gate, name, target, limit, measured, *_gap("not evaluated: the baseline measured nothing"))
    # Both must be exceeded: a ratio alone cries wolf over fractions of a millisecond.
    allowed = max(before.value * table.ratio, before.value + table.ms)
    outcome: GateOutcome = "passed" if measured.value <= allowed else "failed"
    sign = "<=" if outcome == "passed" else ">"
    reason = f"{measured.value:.4g} ms {sign} {allowed:.4g} ms allowed; the baseline took {before.value:.4g} ms"
    return _result(gate, name, target, limit, measured, outcome, reason, baseline=before.value)


def _decide_change(
    gate: Gate, change: Measurement, bound: Bound, margin: float, worse: float, than: str
) -> tuple[GateOutcome, str]:
    """Decide whether a change for the worse stays within ``margin``."""
    drop = worse * (change.value or 0.0)
    better = replace(change, value=-drop, bounds=_signed(change, -worse))
    outcome, told = _decide(gate, bound, -margin, better)
    if change.n < gate.table.min_n:
        return outcome, told
    points = f"{abs(drop):.4g} {'worse' if drop > 0 else 'better'} {than}"
    if gate.table.confidence is None:
        return outcome, f"{points}, {margin:g} worse is allowed"
    if better.bounds is None:
        return outcome, f"{points}; no bound at n = {change.n}"
    low, high = better.bounds(gate.table.confidence)
    sure = f"with {gate.table.confidence:.0%} confidence between {_signed_text(low)} and {_signed_text(high)}"
    return outcome, f"{points}, {sure}; {margin:g} worse is allowed"


def _signed(change: Measurement, sign: float) -> Bounds | None:
    """Return the bounds of a change in the direction in which more is better."""
    bounds = change.bounds
    if bounds is None or sign > 0:
        return bounds

    def turned(confidence: float) -> tuple[float, float]:
        low, high = bounds(confidence)
        return -high, -low

    return turned


def _signed_text(value: float) -> str:
    return f"{value:+.4f}"


def _describe_discordant(gate: Gate, now: Pool, before: Pool) -> str:
    """Say how many cases changed sides, and how often chance alone does that."""
    fewer, more = discordant(now, before)
    harmed, helped = (fewer, more) if gate.metric.better == "higher" else (more, fewer)
    return (
        f" ({harmed} cases lost, {helped} won, exact McNemar p = {mcnemar(harmed, helped):.3g})"
        if harmed or helped
        else ""
    )


# How it is decided


def _gap(gap: str) -> tuple[GateOutcome, str]:
    """Return the outcome of a gate for which something is missing."""
    return ("incomplete" if gap.startswith("incomplete") else "not evaluated"), gap


def _decide(gate: Gate, bound: Bound, limit: float, measured: Measurement, what: str = "") -> tuple[GateOutcome, str]:
    """Compare a complete measurement with a limit."""
    table = gate.table
    if measured.value is None:
        return "not evaluated", "not evaluated: no case in the slice counts for this metric"
    if measured.n < table.min_n:
        return "inconclusive", f"inconclusive: n = {measured.n} is less than min_n = {table.min_n}"
    sign = ">=" if bound == "min" else "<="
    against = "<" if bound == "min" else ">"
    what = what or f"{table.metric} "
    if table.confidence is None:
        if clears(measured.value, bound, limit):
            return "passed", f"{what}{measured.value:.4g} {sign} {limit:g}"
        return "failed", f"{what}{measured.value:.4g} {against} {limit:g}"
    if measured.bounds is None:
        return "inconclusive", f"inconclusive: {table.metric} has no bound at n = {measured.n}"
    low, high = measured.bounds(table.confidence)
    sure = f"at {table.confidence:.0%} confidence"
    worst, best = (low, high) if bound == "min" else (high, low)
    if clears(worst, bound, limit):
        return "passed", f"{what}is {'at least' if bound == 'min' else 'at most'} {worst:.4g} {sure}, {sign} {limit:g}"
    if not clears(best, bound, limit):
        return (
            "failed",
            f"{what}is {'at most' if bound == 'min' else 'at least'} {best:.4g} {sure}, {against} {limit:g}",
        )
    return (
        "inconclusive",
        f"inconclusive: {what}is {measured.value:.4g}, {sure} between {low:.4g} and {high:.4g}; the limit is {limit:g}",
    )


def clears(value: float, bound: Bound, limit: float) -> bool:
    """Say whether a value keeps a limit."""
    # A share such as 0.6 - 0.58 must not fail a limit of 0.02 by what floating point leaves of it.
    return value >= limit - _ROUNDING if bound == "min" else value <= limit + _ROUNDING


_ROUNDING = 1e-12


def _result(
    gate: Gate,
    name: str,
    target: str,
    limit: dict[str, float],
    measured: Measurement,
    outcome: GateOutcome,
    reason: str,
    *,
    baseline: float | None = None,
    interval: tuple[float, float] | None = None,
) -> GateResult:
    return GateResult(
        name=name,
        target=target,
        metric=gate.table.metric,
        slice=gate.slice,
        outcome=outcome,
        observed=measured.value,
        limit=limit,
        n=measured.n,
        interval=interval or measured.interval,
        severity=gate.table.severity,
        reason=reason,
        blocks=_blocks(gate, outcome),
        baseline=baseline,
        origin=gate.origin,
    )


def _blocks(gate: Gate, outcome: str) -> bool:
    """Say whether an outcome keeps the release from going out: only passed is green."""
    if outcome == "passed" or gate.table.severity == "warn":
        return False
    return not (outcome == "inconclusive" and gate.table.on_inconclusive == "warn")


# Gates that have nothing to judge


def _no_baseline(baseline: Baseline | None, tasks: Sequence[str]) -> str | None:
    """Say why ``tasks`` cannot be compared with a baseline, or return None."""
    if baseline is None:
        return "not evaluated: no baseline yet; accept this release with --modelgate-accept REASON"
    for task in tasks:
        if reason := baseline.differences.get(task):
            return f"not evaluated: the baseline of task {task!r} was judged by other rules: {reason}"
    if not any(task in baseline.tasks for task in tasks):
        return (
            f"not evaluated: no baseline yet for task {tasks[0]!r}; accept this release with --modelgate-accept REASON"
        )
    return None


_NOTHING_IN_COMMON = (
    "not evaluated: no case is as it was when the baseline was accepted; accept this release with "
    "--modelgate-accept REASON"
)


def _without_baseline(
    gate: Gate,
    name: str,
    target: str,
    limit: dict[str, float],
    reason: str,
    findings: Findings,
    cases: Mapping[CaseKey, str],
) -> GateResult:
    """Say loudly that there is nothing to compare ``cases`` with; it blocks unless all of them are new."""
    result = _result(gate, name, target, limit, NOTHING, "not evaluated", reason)
    return replace(result, blocks=result.blocks and not findings.accepting and not _are_new(cases, findings.baseline))


def _are_new(cases: Mapping[CaseKey, str], baseline: Baseline | None) -> bool:
    """Say whether ``cases`` could not have been accepted before: not edited, judged by other rules, or renamed."""
    if baseline is None:
        return True
    tasks = set(cases.values())
    was_renamed = bool(baseline.gone and tasks.difference(baseline.tasks)) or not baseline.shrunk.isdisjoint(tasks)
    if was_renamed or any(baseline.differences.get(task) for task in tasks):
        return False
    known = {*baseline.records, *baseline.edited}
    return known.isdisjoint(cases)


def _baseline_results(findings: Findings) -> Iterator[GateResult]:
    """Block critical cases that were taken out of the comparison, until that is accepted."""
    baseline = findings.baseline
    if baseline is None or findings.accepting:
        return
    lost = [f"{suite}/{case} was {how}" for (suite, case), how in baseline.lost_critical.items()]
    if lost:
        reason = f"failed: critical case {', '.join(lost[:3])} since the baseline was accepted"
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""  # noqa: PLR2004 - three names are enough
        yield _block(
            "critical_cases_are_kept", None, "failed", f"{reason}{more}; accept it with --modelgate-accept REASON"
        )


def _not_applicable(gate: Gate) -> GateResult:
    """Say that a gate judges no target of this run; that is no verdict on any of them."""
    bounds = {"min": gate.table.min, "max": gate.table.max, "max_regression": gate.table.max_regression}
    return GateResult(
        name=gate.name,
        target=None,
        metric=gate.table.metric,
        slice=gate.slice,
        outcome="not evaluated",
        observed=None,
        limit={name: limit for name, limit in bounds.items() if limit is not None},
        n=0,
        interval=None,
        severity=gate.table.severity,
        reason=f"not evaluated: no {' or '.join(gate.table.targets)} target in this run",
        blocks=False,
        origin=gate.origin,
    )


def _unjudged(target: str) -> GateResult:
    """Block a target that no gate judges."""
    reason = "not evaluated: no gate that blocks for answers applies to this kind of target"
    return _block("every_target_is_judged", target, "not evaluated", reason)


def _block(name: str, target: str | None, outcome: GateOutcome, reason: str) -> GateResult:
    """Return the result of a rule of the gate itself, which blocks."""
    return GateResult(name, target, "", {}, outcome, None, {}, 0, None, "block", reason, blocks=True)

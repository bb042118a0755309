"""Judge a gate's comparative limits: against the last release, against a control, in time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pytest_modelgate.baselines import Baseline
from pytest_modelgate.decision import Bound, clears, decide, missing, result_of
from pytest_modelgate.gates import CaseKey, Gate, GateOutcome, GateResult
from pytest_modelgate.measuring import (
    NOTHING_IN_COMMON,
    Findings,
    Records,
    measure_performance,
    measure_records,
    only_a_sliver,
    why_no_baseline,
)
from pytest_modelgate.metrics import NOTHING, Measurement, Pool
from pytest_modelgate.metrics.measurement import Bounds
from pytest_modelgate.metrics.performance import increase, too_few
from pytest_modelgate.paired import difference, discordant, of_the_same_cases
from pytest_modelgate.records import Performance
from pytest_modelgate.statistics import mcnemar, percentile_interval
from pytest_modelgate.tables import IncreaseTable


def judge_regression(gate: Gate, name: str, target: str, task: str, findings: Findings, records: Records) -> GateResult:
    """Compare one task's cases with the baseline: a drop in one task is not made good by another."""
    margin = gate.table.max_regression or 0.0
    limit = {"max_regression": margin}
    baseline = findings.baseline
    own = {key: its for key, its in gate.cases.items() if its == task}
    cases = {} if baseline is None else {key: its for key, its in own.items() if key in baseline.records}
    reason = why_no_baseline(baseline, (task,)) or (None if cases else NOTHING_IN_COMMON)
    if baseline is not None and reason is None:
        reason = only_a_sliver(baseline, own)
    if baseline is None or reason is not None:
        return without_baseline(gate, name, target, limit, str(reason), findings, own)
    now, gap = measure_records(gate, records, cases)
    before, gap_before = measure_records(gate, baseline.records, cases)
    change = difference(now, before)
    if gap or gap_before or change.value is None:
        reason = gap or gap_before or "not evaluated: no case counts both now and in the baseline"
        return result_of(gate, name, target, limit, now, *missing(reason))
    worse = -1.0 if gate.metric.better == "higher" else 1.0
    outcome, reason = _decide_change(gate, change, "min", margin, worse, f"than the baseline in task {task!r}")
    if now.pool is not None and before.pool is not None and now.pool.is_share:
        reason += _describe_discordant(gate, *of_the_same_cases(now.pool, before.pool))
    return result_of(gate, name, target, limit, now, outcome, reason, baseline=before.value, interval=change.interval)


def judge_reference(gate: Gate, name: str, target: str, task: str, findings: Findings, records: Records) -> GateResult:
    """Compare one task's cases with the reference's: the loss that an export may cost."""
    margin = gate.table.max_reference_regression or 0.0
    limit = {"max_reference_regression": margin}
    cases = {key: its for key, its in gate.cases.items() if its == task}
    if findings.reference is None or findings.reference == target:
        reason = "not evaluated: it compares with a reference: give --reference SPEC"
        return result_of(gate, name, target, limit, NOTHING, *missing(reason))
    now, gap = measure_records(gate, records, cases)
    theirs, their_gap = measure_records(gate, findings.by_target()[findings.reference], cases)
    change = difference(now, theirs)
    if gap or their_gap or change.value is None:
        reason = gap or (their_gap and f"{their_gap} for the reference") or "not evaluated: no case can be compared"
        return result_of(gate, name, target, limit, now, *missing(reason))
    worse = -1.0 if gate.metric.better == "higher" else 1.0
    outcome, reason = _decide_change(gate, change, "min", margin, worse, f"than {findings.reference} in task {task!r}")
    if now.pool is not None and theirs.pool is not None and now.pool.is_share:
        reason += _describe_discordant(gate, *of_the_same_cases(now.pool, theirs.pool))
    return result_of(gate, name, target, limit, now, outcome, reason, baseline=theirs.value, interval=change.interval)


def judge_uplift(
    gate: Gate, name: str, target: str, control: str, least: float, findings: Findings, records: Mapping[str, Records]
) -> GateResult:
    """Compare with a control of the same run."""
    limit = {f"uplift_over.{control}": least}
    if control not in findings.controls:
        return result_of(
            gate,
            name,
            target,
            limit,
            NOTHING,
            *missing(
                f"not evaluated: control {control!r} was not run; run are {', '.join(findings.controls) or 'none'}"
            ),
        )
    now, gap = measure_records(gate, records[target], gate.cases)
    theirs, their_gap = measure_records(gate, records[control], gate.cases)
    if gap is not None or their_gap is not None:
        reason = gap or f"{their_gap} for control {control!r}"
        return result_of(gate, name, target, limit, now, *missing(reason))
    change = difference(now, theirs)
    if change.value is None:
        return result_of(gate, name, target, limit, now, *missing("not evaluated: no case can be compared"))
    better = 1.0 if gate.metric.better == "higher" else -1.0
    gained = replace(change, value=better * change.value, bounds=_signed(change, better))
    outcome, reason = decide(gate, "min", least, gained, f"better than {control}: ")
    return result_of(gate, name, target, limit, now, outcome, reason, baseline=theirs.value, interval=change.interval)


def judge_increase(gate: Gate, name: str, target: str, table: IncreaseTable, findings: Findings) -> GateResult:
    """
    Compare a time with the baseline model's of the same run, else with the one recorded with the baseline.

    A recorded time decides only on the machine that measured it; one of another machine is told, and decides nothing.
    """
    limit = {"max_increase.ratio": table.ratio, "max_increase.ms": table.ms}
    performance = findings.performances.get(target)
    measured, gap = measure_performance(gate, performance)
    if gap is not None or performance is None or measured.value is None:
        return result_of(gate, name, target, limit, measured, *missing(gap or NO_TIME))
    if performance.against is not None:
        return _judge_in_turns(gate, name, target, table, performance, performance.against)
    baseline = findings.baseline
    recorded = None if baseline is None else baseline.performance
    if recorded is None:
        reason = _advice(gate, measured.value, baseline)
        return replace(result_of(gate, name, target, limit, measured, "not evaluated", reason), blocks=False)
    before = gate.metric.function(recorded, *gate.arguments)
    if before.value is None:
        return result_of(gate, name, target, limit, measured, *missing("not evaluated: the baseline measured nothing"))
    # Both must be exceeded: a ratio alone cries wolf over fractions of a millisecond.
    allowed = max(before.value * table.ratio, before.value + table.ms)
    outcome: GateOutcome = "passed" if clears(measured.value, "max", allowed) else "failed"
    sign = "<=" if outcome == "passed" else ">"
    reason = f"{measured.value:.4g} ms {sign} {allowed:.4g} ms allowed; the baseline took {before.value:.4g} ms"
    return result_of(gate, name, target, limit, measured, outcome, reason, baseline=before.value)


def _judge_in_turns(
    gate: Gate, name: str, target: str, table: IncreaseTable, performance: Performance, against: Performance
) -> GateResult:
    """Compare a time with the baseline model's, which answered the same cases in turns with the target."""
    limit = {"max_increase.ratio": table.ratio, "max_increase.ms": table.ms}
    measured: Measurement = gate.metric.function(performance, *gate.arguments)
    if against.error is not None:
        return result_of(
            gate, name, target, limit, measured, *missing(f"incomplete: {against.target}: {against.error}")
        )
    (statistic,) = gate.arguments
    found = increase(performance, against, gate.metric.name, statistic, table.ratio, table.ms)
    if found is None:
        return result_of(gate, name, target, limit, measured, *missing(NO_TIME))
    confidence = gate.table.confidence
    outcome: GateOutcome = "passed" if clears(found.now, "max", found.allowed) else "failed"
    sign = "<=" if outcome == "passed" else ">"
    told = (
        f"{found.now:.4g} ms {sign} {found.allowed:.4g} ms allowed; {against.target} took {found.before:.4g} ms "
        f"on the same {found.n} requests in turns (x {found.ratio:.3g})"
    )
    few = None if confidence is None else too_few(statistic, confidence, found.n)
    if found.n < gate.table.min_n:
        outcome, told = "inconclusive", f"inconclusive: n = {found.n} is less than min_n = {gate.table.min_n}"
    elif few is not None:
        outcome, told = "inconclusive", f"inconclusive: {told}; {few} ([performance] sample)"
    elif confidence is not None:
        low, high = percentile_interval(found.excess, 1 - confidence, confidence)
        outcome = "passed" if high <= 0 else "failed" if low > 0 else "inconclusive"
        told = "inconclusive: " * (outcome == "inconclusive") + (
            f"{told}, with {confidence:.0%} confidence between {low:+.4g} and {high:+.4g} ms of that"
        )
    interval = percentile_interval(found.change, 0.025, 0.975)
    return result_of(gate, name, target, limit, measured, outcome, told, baseline=found.before, interval=interval)


def _advice(gate: Gate, now: float, baseline: Baseline | None) -> str:
    """Say that nothing decides, and what a time of another machine suggests."""
    decides = "give the last release as --baseline-model SPEC, which is measured in turns with it"
    heads = [] if baseline is None else list(baseline.provenance.values())
    head = max(heads, key=lambda head: str(head["created"]), default=None)
    try:
        recorded = None if head is None else Performance.from_json(head["performance"])
    except (ValueError, TypeError, KeyError):
        recorded = None
    before = None if recorded is None else gate.metric.function(recorded, *gate.arguments).value
    if head is None or before is None:
        return f"not evaluated: no time of the last release to compare with; {decides}"
    machine = head.get("machine") or {}
    return (
        f"not evaluated: advice only: {now:.4g} ms here, {before:.4g} ms when the baseline was accepted, on another machine "
        f"({machine.get('cpu', 'unknown')}, {machine.get('cores', '?')} cores); {decides}"
    )


NO_TIME = "not evaluated: nothing was measured"


def _decide_change(
    gate: Gate, change: Measurement, bound: Bound, margin: float, worse: float, than: str
) -> tuple[GateOutcome, str]:
    """Decide whether a change for the worse stays within ``margin``."""
    drop = worse * (change.value or 0.0)
    better = replace(change, value=-drop, bounds=_signed(change, -worse))
    outcome, told = decide(gate, bound, -margin, better)
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


def without_baseline(
    gate: Gate,
    name: str,
    target: str,
    limit: dict[str, float],
    reason: str,
    findings: Findings,
    cases: Mapping[CaseKey, str],
) -> GateResult:
    """Say loudly that there is nothing to compare ``cases`` with; it blocks unless all of them are new."""
    result = result_of(gate, name, target, limit, NOTHING, "not evaluated", reason)
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

"""Decide: measure each gate's metric on each target and compare it with the gate's limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_modelgate.comparing import judge_increase, judge_reference, judge_regression, judge_uplift, without_baseline
from pytest_modelgate.decision import Bound, block, decide, missing, result_of
from pytest_modelgate.gates import Gate, GateResult
from pytest_modelgate.measuring import Findings, Records, measure

__all__ = ["Findings", "evaluate"]


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
    plain = (table.min, table.max, table.max_regression, table.max_reference_regression, table.max_increase)
    many = sum(limit is not None for limit in plain) + len(table.uplift_over)
    by_task = table.max_regression is not None or table.max_reference_regression is not None
    only = many == 1 and not (len(gate.tasks) > 1 and by_task)
    if table.min is not None or table.max is not None:
        measured, gap = measure(gate, target, findings, records[target])
        bounds: dict[Bound, float | None] = {"min": table.min, "max": table.max}
        for bound, limit in bounds.items():
            if limit is not None:
                name = gate.name if only else f"{gate.name}.{bound}"
                outcome, reason = missing(gap) if gap is not None else decide(gate, bound, limit, measured)
                if gap is not None and gate.metric.source == "comparison" and outcome == "not evaluated":
                    yield without_baseline(gate, name, target, {bound: limit}, gap, findings, gate.cases)
                else:
                    yield result_of(gate, name, target, {bound: limit}, measured, outcome, reason)
    for key, judge in (("max_regression", judge_regression), ("max_reference_regression", judge_reference)):
        for task in gate.tasks if getattr(table, key) is not None else ():
            name = gate.name if only else f"{gate.name}.{key}" + (f".{task}" if len(gate.tasks) > 1 else "")
            yield judge(gate, name, target, task, findings, records[target])
    if table.max_increase is not None:
        name = gate.name if only else f"{gate.name}.max_increase"
        yield judge_increase(gate, name, target, table.max_increase, findings)
    for control, least in table.uplift_over.items():
        name = gate.name if only else f"{gate.name}.uplift_over.{control}"
        yield judge_uplift(gate, name, target, control, least, findings, records)


def _baseline_results(findings: Findings) -> Iterator[GateResult]:
    """Block critical cases that were taken out of the comparison, until that is accepted."""
    baseline = findings.baseline
    if baseline is None or findings.accepting:
        return
    lost = [f"{suite}/{case} was {how}" for (suite, case), how in baseline.lost_critical.items()]
    if lost:
        reason = f"failed: critical case {', '.join(lost[:3])} since the baseline was accepted"
        more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""  # noqa: PLR2004 - three names are enough
        yield block(
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
    return block("every_target_is_judged", target, "not evaluated", reason)

"""Compare a measurement with a limit, and put what comes of it into a result."""

from __future__ import annotations

import math
from typing import Literal

from pytest_modelgate.gates import Gate, GateOutcome, GateResult
from pytest_modelgate.metrics import Measurement
from pytest_modelgate.metrics.performance import too_few

Bound = Literal["min", "max"]


def missing(gap: str) -> tuple[GateOutcome, str]:
    """Return the outcome of a gate for which something is missing."""
    return ("incomplete" if gap.startswith("incomplete") else "not evaluated"), gap


def decide(gate: Gate, bound: Bound, limit: float, measured: Measurement, what: str = "") -> tuple[GateOutcome, str]:
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
    if math.isinf(worst) and (reason := _too_few_times(gate, measured)):
        return "inconclusive", reason
    return (
        "inconclusive",
        f"inconclusive: {what}is {measured.value:.4g}, {sure} between {low:.4g} and {high:.4g}; the limit is {limit:g}",
    )


def _too_few_times(gate: Gate, measured: Measurement) -> str | None:
    """Say that a percentile rests on too few requests for the bound that the gate asks for."""
    if gate.metric.suffix != "statistic" or gate.table.confidence is None:
        return None
    reason = too_few(gate.arguments[0], gate.table.confidence, measured.n)
    return reason and f"inconclusive: {gate.table.metric} is {measured.value:.4g}, but {reason} ([performance] sample)"


def clears(value: float, bound: Bound, limit: float) -> bool:
    """Say whether a value keeps a limit."""
    # A share such as 0.6 - 0.58 must not fail a limit of 0.02 by what floating point leaves of it.
    return value >= limit - _ROUNDING if bound == "min" else value <= limit + _ROUNDING


_ROUNDING = 1e-12


def result_of(
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
    """
    Return the result of one limit.

    ``baseline``: the value that it was compared with. ``interval``: of the change, instead of the value's own.
    """
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


def block(name: str, target: str | None, outcome: GateOutcome, reason: str) -> GateResult:
    """Return the result of a rule of the gate itself, which blocks."""
    return GateResult(name, target, "", {}, outcome, None, {}, 0, None, "block", reason, blocks=True)

"""Compare the judged targets side by side, as the rungs of a ladder of quantisations."""

from __future__ import annotations

from pytest_modelgate.metrics.parity import is_harmful
from pytest_modelgate.metrics.performance import tokens_per_second
from pytest_modelgate.records import Record
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.targets import Target

_FULL_PRECISION = ("F32", "F16", "BF16")
_MB = 1_000_000


def ladder_rows(outcome: RunOutcome) -> list[list[str]]:
    """
    Return a table of the judged targets with a heading, nothing where there is only one.

    Flips are counted against the reference, else against the target in full precision: harmful, then beneficial.
    """
    judged = outcome.release.judged
    if len(judged) < 2:  # noqa: PLR2004  # one target is no ladder
        return []
    against = _compared_with(outcome)
    flips = f"flips against {against}" if against else "flips"
    rows = [["target", "MB", "bits/weight", "memory MB", "tokens/s", "right", flips, "gates", "verdict"]]
    passing = {target.id for target in outcome.passing}
    rows += [_row(outcome, target, against, is_green=target.id in passing) for target in judged]
    kept = [column for column in zip(*rows, strict=True) if any(column[1:])]
    return [list(row) for row in zip(*kept, strict=True)]


def chosen_text(outcome: RunOutcome) -> str | None:
    """Say which target ``--modelgate-any`` lets out; None where nobody asked."""
    if not outcome.any_of:
        return None
    passing = outcome.passing
    if not passing:
        return "no target passes all gates"
    others = f"; also pass: {', '.join(target.id for target in passing[1:])}" if passing[1:] else ""
    return f"smallest that passes all gates: {passing[0].id} ({passing[0].size_bytes / _MB:.1f} MB){others}"


def _row(outcome: RunOutcome, target: Target, against: str | None, *, is_green: bool) -> list[str]:
    records = outcome.of(target.id)
    quantization = target.about.get("quantization") or {}
    measured = outcome.performances.get(target.id)
    is_timed = measured is not None and measured.error is None
    speed = tokens_per_second(measured).value if measured is not None and is_timed else None
    memory = None if measured is None else measured.peak_rss_bytes
    gates = [gate for gate in outcome.gates if gate.target == target.id]
    return [
        target.id,
        f"{target.size_bytes / _MB:.1f}",
        f"{quantization['bits_per_weight']:.2f}" if quantization else "",
        "" if memory is None else f"{memory / _MB:.0f}",
        "" if speed is None else f"{speed:.0f}",
        f"{sum(record.outcome == 'passed' for record in records)}/{len(records)}",
        _flips(records, outcome.of(against)) if against not in (None, target.id) else "",
        f"{sum(gate.outcome == 'passed' for gate in gates)}/{len(gates)}",
        "passed" if is_green else "blocked",
    ]


def _compared_with(outcome: RunOutcome) -> str | None:
    """Return the target that flips are counted against."""
    if outcome.release.reference is not None:
        return outcome.release.reference.id
    for target in outcome.release.judged:
        if (target.about.get("quantization") or {}).get("label") in _FULL_PRECISION:
            return target.id
    return None


def _flips(ours: list[Record], theirs: list[Record]) -> str:
    """Return how many answers became wrong and how many right."""
    before = {(record.suite, record.case): record for record in theirs}
    pairs = [(record, before[record.suite, record.case]) for record in ours if (record.suite, record.case) in before]
    harmful = sum(is_harmful(now, then) for now, then in pairs)
    helped = sum(is_harmful(then, now) for now, then in pairs)
    return f"{harmful} harmful, {helped} beneficial" if pairs else ""

"""Write the summary that a tired engineer reads when a release is blocked."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_modelgate.gates import GateResult
from pytest_modelgate.report.escape import plain
from pytest_modelgate.report.misses import describe_miss, worst_first
from pytest_modelgate.report.outcome import RunOutcome

SHOWN_MISSES = 3
SYMBOLS = {"passed": "✓", "failed": "✗", "inconclusive": "?", "incomplete": "✗", "not evaluated": "-"}


def summary_lines(outcome: RunOutcome) -> Iterator[tuple[str, str]]:
    """Yield the summary's lines, each with the colour it may be shown in (empty for none)."""
    yield from gate_lines(outcome.gates)
    yield "", ""
    for target in outcome.release.targets:
        yield _cases_line(outcome, target.id), ""
    replayed = sum(record.replayed for record in outcome.records)
    if replayed:
        yield f"{replayed} of {len(outcome.records)} generations were taken from a journal", ""
    misses = [record for record in worst_first(list(outcome.records)) if record.outcome == "missed"]
    if misses:
        yield "", ""
        yield f"misses worth looking at ({min(SHOWN_MISSES, len(misses))} of {len(misses)}; all are in report.json)", ""
        for record in misses[:SHOWN_MISSES]:
            yield from ((line, "") for line in describe_miss(record))
    yield "", ""
    if outcome.verdict == "passed":
        yield "verdict: passed", "green"
    else:
        yield "verdict: blocked", "red"
        yield from ((f"  {plain(reason, 300)}", "red") for reason in outcome.reasons)


def gate_lines(gates: tuple[GateResult, ...]) -> Iterator[tuple[str, str]]:
    """Yield one line for each gate result: mark, id, observed, limit, n, interval, reason."""
    if not gates:
        return
    names = [gate_id(gate) for gate in gates]
    observed = ["" if gate.observed is None else number(gate.observed) for gate in gates]
    limits = [
        " ".join(f"{'>=' if b == 'min' else '<='} {value:g}" for b, value in gate.limit.items()) for gate in gates
    ]
    notes = [_note(gate) for gate in gates]
    widths = [max(map(len, column)) for column in (names, observed, limits)]
    for gate, name, value, limit, note in zip(gates, names, observed, limits, notes, strict=True):
        columns = f"{name:<{widths[0]}}  {value:>{widths[1]}}  {limit:<{widths[2]}}"
        yield f"{symbol(gate)} {columns}  {note}".rstrip(), _colour(gate)


def symbol(gate: GateResult) -> str:
    """Return the mark of a gate's outcome."""
    return SYMBOLS[gate.outcome]


def gate_id(gate: GateResult) -> str:
    """Return ``name[target]``."""
    return f"{gate.name}[{gate.target}]" if gate.target else gate.name


def number(value: float) -> str:
    """Return a figure with as many digits as are worth reading."""
    return f"{value:.4f}" if 0 < abs(value) < 1 else f"{value:.4g}"


def _note(gate: GateResult) -> str:
    """Return n, interval and, where the outcome needs explaining, the reason."""
    parts = [f"n={gate.n}"] if gate.n else []
    if gate.interval is not None:
        parts.append(f"[{number(gate.interval[0])}, {number(gate.interval[1])}]")
    if gate.outcome != "passed":
        parts.append(plain(gate.reason, 300))
    if gate.severity == "warn" and gate.outcome != "passed":
        parts.append("(warns only)")
    return "  ".join(parts)


def _colour(gate: GateResult) -> str:
    if gate.outcome == "passed":
        return "green"
    return "red" if gate.blocks else "yellow"


def _cases_line(outcome: RunOutcome, target: str) -> str:
    """Return how a target's cases fared."""
    records = [record for record in outcome.records if record.target == target]
    counts = [
        f"{count} {word}"
        for word in ("passed", "missed", "failed", "error")
        if (count := sum(record.outcome == word for record in records))
    ]
    return f"{target}: {len(records)} of {len(outcome.release.cases)} cases run: {', '.join(counts) or 'none'}"

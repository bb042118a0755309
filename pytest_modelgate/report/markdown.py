"""Write summary.md: failures first, small enough for a CI summary page."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pytest_modelgate.report.escape import markdown
from pytest_modelgate.report.misses import worst_first
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.report.terminal import gate_id, number, symbol

MAX_BYTES = 900_000
"""GitHub drops a step summary of more than 1 MiB whole."""

_SHOWN_CASES = 200
_SHOWN_TEXT = 300


def build_markdown(outcome: RunOutcome) -> str:
    """Return the summary, cut at a line end if it would be larger than :data:`MAX_BYTES`."""
    lines: list[str] = []
    size = 0
    for line in _lines(outcome):
        size += len(line.encode()) + 1
        if size > MAX_BYTES:
            lines.append("… cut here; report.json holds everything")
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def _lines(outcome: RunOutcome) -> Iterator[str]:
    mark = "✅" if outcome.verdict == "passed" else "❌"
    targets = ", ".join(f"`{target.id}`" for target in outcome.release.targets)
    yield f"## {mark} Release {outcome.verdict}: {targets}"
    yield ""
    for reason in outcome.reasons:
        yield f"- {markdown(reason, 500)}"
    if outcome.reasons:
        yield ""
    yield "| | gate | observed | limit | n | 95 % interval | reason |"
    yield "|---|---|---|---|---|---|---|"
    for gate in sorted(outcome.gates, key=lambda gate: (not gate.blocks, gate.outcome == "passed")):
        limit = " ".join(f"{'≥' if bound == 'min' else '≤'} {value:g}" for bound, value in gate.limit.items())
        interval = "" if gate.interval is None else f"{number(gate.interval[0])} … {number(gate.interval[1])}"
        observed = "" if gate.observed is None else number(gate.observed)
        yield (
            f"| {symbol(gate)} | {markdown(gate_id(gate))} | {observed} | {limit} | {gate.n or ''} "
            f"| {interval} | {markdown(gate.reason, _SHOWN_TEXT)} |"
        )
    worst = worst_first(list(outcome.records))
    if worst:
        yield ""
        yield f"### Cases worth looking at ({min(len(worst), _SHOWN_CASES)} of {len(worst)})"
        yield ""
        yield "| outcome | case | broken | expected | got |"
        yield "|---|---|---|---|---|"
        for record in worst[:_SHOWN_CASES]:
            broken = record.error or "; ".join(f"{broken.contract}: {broken.message}" for broken in record.violations)
            expected = (
                markdown(json.dumps(record.expected, ensure_ascii=False), _SHOWN_TEXT) if record.has_expected else ""
            )
            name = markdown(f"{record.suite}/{record.case}[{record.target}]")
            yield (
                f"| {record.outcome}{' (critical)' if record.critical else ''} | {name} "
                f"| {markdown(broken, _SHOWN_TEXT)} | {expected} | {markdown(record.output, _SHOWN_TEXT)} |"
            )

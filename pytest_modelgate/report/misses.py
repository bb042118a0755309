"""Describe what one case got wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pytest_modelgate.records import Record
from pytest_modelgate.report.escape import plain

SHOWN = 300
"""Characters of a text that a reader needs to see what happened; the report holds more."""


_SHOWN_MISTAKES = 4


def describe_miss(record: Record) -> Iterator[str]:
    """Yield the lines of one failed or missed case: what was broken, expected, got, and asked."""
    head = "critical case" if record.critical else "case"
    yield f"{record.location}: {head} {record.case!r} on {record.target}: {record.outcome}"
    if record.error is not None:
        yield f"  engine    {plain(record.error, 1000)}"
    for violation in record.violations:
        yield f"  broken    {violation.contract}: {plain(violation.message, SHOWN)}"
    wrong = [name for name, (expected, got) in record.labels.items() if expected != got]
    told = wrong or [f"{mistake.cause}: {mistake.message}" for mistake in record.mistakes[:_SHOWN_MISTAKES]]
    if told and not record.violations:
        yield f"  wrong     {plain(', '.join(told), SHOWN)}"
    if record.has_expected:
        yield f"  expected  {plain(json.dumps(record.expected, ensure_ascii=False), SHOWN)}"
    if record.error is None:
        yield f"  got       {plain(record.output, SHOWN) or '(nothing)'}"
    yield f"  input     {plain(record.input, SHOWN)}"
    if record.input_tokens_dropped:
        yield f"  cut       {record.input_tokens_dropped} tokens of the input were left out"


def worst_first(records: list[Record]) -> list[Record]:
    """Return the records worth looking at: errors, failed, missed; broken contracts first, then the least quality."""
    order = {"error": 0, "failed": 1, "missed": 2}
    worth = [record for record in records if record.outcome in order]
    return sorted(
        worth, key=lambda record: (order[record.outcome], not record.violations, record.scores.get("quality", 0.0))
    )

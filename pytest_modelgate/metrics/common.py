"""Measure what every task kind shares: form, completeness, critical cases."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_modelgate.metrics.measurement import Measurement, count, proportion
from pytest_modelgate.metrics.registry import metric
from pytest_modelgate.records import Record

Records = Sequence[Record]


@metric("json_parse_rate")
def json_parse_rate(records: Records) -> Measurement:
    """Return the share of outputs that are exactly one strict JSON value."""
    return proportion(record.scores["json_parse"] for record in records)


@metric("schema_validity", needs="schema")
def schema_validity(records: Records) -> Measurement:
    """Return the share of outputs that pass their task's schema; a task without one counts nothing."""
    return proportion(record.scores["schema"] for record in records if "schema" in record.scores)


@metric("exact_match", needs="expected")
def exact_match(records: Records) -> Measurement:
    """Return the share of outputs that equal the expected value as a whole."""
    return proportion(record.scores["exact"] for record in records if "exact" in record.scores)


@metric("case_pass_rate")
def case_pass_rate(records: Records) -> Measurement:
    """Return the share of cases whose outcome is passed."""
    return proportion(record.outcome == "passed" for record in records)


@metric("truncation_rate", better="lower")
def truncation_rate(records: Records) -> Measurement:
    """Return the share of outputs that were cut off at max_tokens."""
    return proportion(not record.scores["complete"] for record in records)


@metric("critical_failures", needs="critical", bounded=False, better="lower")
def critical_failures(records: Records) -> Measurement:
    """Return how many critical cases are wrong; n counts the critical cases."""
    return count(record.outcome == "failed" for record in records if record.critical)

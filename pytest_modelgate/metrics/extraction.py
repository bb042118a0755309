"""Measure extracted fields, pooled over all records (micro)."""

from __future__ import annotations

from pytest_modelgate.metrics.common import Records
from pytest_modelgate.metrics.measurement import Figure, Pool, ratio
from pytest_modelgate.metrics.registry import figure_of, pool_of, share_of
from pytest_modelgate.records import Record

KINDS = ("extraction",)


@share_of("record_parse_rate", kinds=KINDS)
def record_parse_rate(record: Record) -> bool | None:
    """Tell whether the output is one JSON object."""
    return bool(record.scores["record"]) if "record" in record.scores else None


@figure_of("field_f1", suffix="field", needs="expected", kinds=KINDS)
def field_f1(records: Records, field: str | None = None) -> Pool | None:
    """Return F1 over field values: of one field, or of all."""
    return _counts(records, field, lambda sums: ratio(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2]))


@figure_of("field_precision", suffix="field", needs="expected", kinds=KINDS)
def field_precision(records: Records, field: str | None = None) -> Pool | None:
    """Return the share of the given values that are right."""
    return _counts(records, field, lambda sums: ratio(sums[..., 0], sums[..., 0] + sums[..., 1]))


@figure_of("field_recall", suffix="field", needs="expected", kinds=KINDS)
def field_recall(records: Records, field: str | None = None) -> Pool | None:
    """Return the share of the expected values that were given."""
    return _counts(records, field, lambda sums: ratio(sums[..., 0], sums[..., 0] + sums[..., 2]))


@figure_of("critical_field_accuracy", needs="expected", kinds=KINDS)
def critical_field_accuracy(records: Records) -> Pool | None:
    """Return the share of right values among the task's critical fields, where a value is expected or given."""
    rows = [record.counts.get("critical_fields") for record in records]
    return pool_of(records, rows, lambda sums: ratio(sums[..., 0], sums[..., 1]))


@share_of("hallucinated_field_rate", needs="expected", kinds=KINDS, better="lower")
def hallucinated_field_rate(record: Record) -> bool | None:
    """Tell whether the output gives a value where none is expected."""
    if "exact" not in record.scores:
        return None
    return any(mistake.cause == "hallucinated_field" for mistake in record.mistakes)


def _counts(records: Records, field: str | None, figure: Figure) -> Pool | None:
    """Pool true positives, false positives and false negatives."""
    name = "fields" if field is None else f"field.{field}"
    return pool_of(records, [record.counts.get(name) for record in records], figure)

"""Measure tool calls."""

from __future__ import annotations

from pytest_modelgate.metrics.common import Records
from pytest_modelgate.metrics.measurement import Pool, ratio
from pytest_modelgate.metrics.registry import count_of, figure_of, pool_of, share_of
from pytest_modelgate.records import Record

KINDS = ("tool_call",)


@share_of("tool_name_accuracy", needs="answered", kinds=KINDS)
def tool_name_accuracy(record: Record) -> bool | None:
    """Tell whether exactly the expected tools were called, whatever their arguments."""
    return bool(record.scores["tool_names"]) if "tool_names" in record.scores else None


@figure_of("required_argument_accuracy", needs="answered", kinds=KINDS)
def required_argument_accuracy(records: Records) -> Pool | None:
    """Return the share of the expected calls' required arguments that are right."""
    return _right_of_all(records, "required_arguments")


@figure_of("argument_accuracy", needs="answered", kinds=KINDS)
def argument_accuracy(records: Records) -> Pool | None:
    """Return the share of right arguments among those expected or given: an extra argument is wrong."""
    return _right_of_all(records, "arguments")


@share_of("irrelevance_accuracy", needs="declined", kinds=KINDS)
def irrelevance_accuracy(record: Record) -> bool | None:
    """Tell whether nothing was called where nothing may be called."""
    return bool(record.scores["declined"]) if record.scores.get("must_decline") == 1.0 else None


@count_of("unsafe_calls", kinds=KINDS)
def unsafe_calls(record: Record) -> bool | None:
    """Tell whether a tool marked as unsafe was called that the case does not expect."""
    return bool(record.scores["unsafe"]) if "unsafe" in record.scores else None


@share_of("unsafe_call_rate", kinds=KINDS, better="lower")
def unsafe_call_rate(record: Record) -> bool | None:
    """Tell the same, as a share of all cases."""
    return unsafe_calls(record)


def _right_of_all(records: Records, name: str) -> Pool | None:
    rows = [record.counts.get(name) for record in records]
    return pool_of(records, rows, lambda sums: ratio(sums[..., 0], sums[..., 1]))

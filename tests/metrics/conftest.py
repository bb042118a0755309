"""Measure by the name that a gate gives a metric, as gates do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_modelgate.kinds.kind import NO_LABEL
from pytest_modelgate.metrics import Measurement, find_metric
from pytest_modelgate.records import Record


def measure(written: str, records: Sequence[Record], fields: Sequence[str] = ()) -> Measurement:
    """Return what the metric ``written`` in a gate measures; ``fields``: those of the records' task."""
    found = find_metric(written, fields)
    assert not isinstance(found, str), found
    metric, arguments = found
    return metric.function(records, *arguments)


def record(expected: str, predicted: str, **more: Any) -> Record:
    """Return a record of one label field, ``x``; labels are JSON text, :data:`NO_LABEL` stands for none."""
    right = float(expected == predicted)
    about: dict[str, Any] = {
        "outcome": "passed" if right else "missed",
        "has_expected": True,
        "scores": {"json_parse": float(predicted != NO_LABEL), "exact": right, "field.x": right},
        "labels": {"x": (expected, predicted)},
    }
    return Record(target="t", suite="golden", task="k", case="c", **about | more)

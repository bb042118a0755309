"""
Reduce many records to one number, with its n and its interval.

Most metrics are the share of records of which something is true. To add one, write it in the module of its task kind::

    @share_of("answer_rate")
    def answer_rate(record: Record) -> bool:
        "Tell whether the output is not empty."
        return bool(record.output.strip())

A project keeps its own in a module beside gates.toml, with :func:`own_share` instead (docs/tasks.md).

``None`` means that the record does not count. A metric over nothing has no value: never 0.0.
"""

from __future__ import annotations

from pytest_modelgate.metrics.measurement import NOTHING, Measurement, Pool
from pytest_modelgate.metrics.registry import (
    Metric,
    count_of,
    figure_of,
    find_metric,
    known_metrics,
    own_rate,
    own_share,
    share_of,
)

# Importing a module registers its metrics.
from pytest_modelgate.metrics import (  # isort: skip
    candidate,
    classification,
    common,
    comparison,
    extraction,
    parity,
    performance,
    text,
    tool_call,
)

__all__ = [
    "NOTHING",
    "Measurement",
    "Metric",
    "Pool",
    "candidate",
    "classification",
    "common",
    "comparison",
    "count_of",
    "extraction",
    "figure_of",
    "find_metric",
    "known_metrics",
    "own_rate",
    "own_share",
    "parity",
    "performance",
    "share_of",
    "text",
    "tool_call",
]

"""
Reduce many records to one number, with its n and its interval.

A metric is a function decorated with :func:`metric`. To add one, write it in the module of its task kind::

    @metric("answer_rate")
    def answer_rate(records: Records) -> Measurement:
        "Return the share of outputs that are not empty."
        return proportion(bool(record.output.strip()) for record in records)

A metric over nothing has no value: it returns ``NOTHING``, never 0.0.
"""

from __future__ import annotations

from pytest_modelgate.metrics.measurement import NOTHING, Measurement, proportion
from pytest_modelgate.metrics.registry import Metric, find_metric, known_metrics, metric

# Importing a module registers its metrics.
from pytest_modelgate.metrics import classification, common, performance  # isort: skip

__all__ = [
    "NOTHING",
    "Measurement",
    "Metric",
    "classification",
    "common",
    "find_metric",
    "known_metrics",
    "metric",
    "performance",
    "proportion",
]

"""Measure whether the steps around a release were taken: 1 where the evidence is there, 0 where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_modelgate.metrics.measurement import Measurement
from pytest_modelgate.metrics.registry import metric

Evidence = dict[str, bool]
"""Which step was taken, by the name of its metric."""


def _step(name: str) -> Callable[[Any], Any]:
    return metric(name, source="candidate", bounded=False, is_ratio=False)


@_step("model_card")
def model_card(evidence: Evidence) -> Measurement:
    """Tell whether the candidate's folder holds a model card that is not empty."""
    return Measurement(float(evidence["model_card"]), 1)


@_step("dataset_version")
def dataset_version(evidence: Evidence) -> Measurement:
    """Tell whether the candidate's manifest names the version of the data that it was trained on."""
    return Measurement(float(evidence["dataset_version"]), 1)


@_step("report_reviewed")
def report_reviewed(evidence: Evidence) -> Measurement:
    """Tell whether the committed review file names a reviewer of this very file."""
    return Measurement(float(evidence["report_reviewed"]), 1)

"""Measure what changed against the accepted answers of the last release, case by case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_modelgate.metrics.measurement import NOTHING, Measurement, Pool, pooled
from pytest_modelgate.metrics.registry import metric
from pytest_modelgate.records import Record

Pairs = Sequence[tuple[Record, Record]]
"""Each case as it is now (first) and as it was accepted."""


@metric("critical_regressions", source="comparison", needs="critical", bounded=False, is_ratio=False, better="lower")
def critical_regressions(pairs: Pairs) -> Measurement:
    """Return how many critical cases were right in the baseline and are wrong now."""
    critical = [(now, before) for now, before in pairs if now.critical]
    lost = sum(now.outcome == "failed" and before.outcome in {"passed", "missed"} for now, before in critical)
    return Measurement(float(lost), len(critical)) if critical else NOTHING


@metric("regressions", source="comparison", bounded=False, is_ratio=False, better="lower")
def regressions(pairs: Pairs) -> Measurement:
    """Return how many cases passed in the baseline and do not now."""
    lost = sum(now.outcome != "passed" and before.outcome == "passed" for now, before in pairs)
    return Measurement(float(lost), len(pairs)) if pairs else NOTHING


@metric("win_rate", source="comparison", needs="expected")
def win_rate(pairs: Pairs) -> Measurement:
    """Return the share of cases answered better than in the baseline; equal quality counts half."""
    rows, groups = [], []
    for now, before in pairs:
        if "quality" in now.scores and "quality" in before.scores:
            difference = now.scores["quality"] - before.scores["quality"]
            rows.append((0.5 + 0.5 * float(np.sign(difference)), 1.0))
            groups.append(now.group)
    if not rows:
        return NOTHING
    return pooled(Pool(np.array(rows), tuple(groups), lambda sums: sums[..., 0] / sums[..., 1]))

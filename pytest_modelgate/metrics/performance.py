"""Measure speed and memory from the serial phase; never from the journal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_modelgate import statistics
from pytest_modelgate.metrics.measurement import NOTHING, Measurement, bootstrapped
from pytest_modelgate.metrics.registry import metric
from pytest_modelgate.records import Performance

PERCENTILES = ("p50", "p95", "p99")


@metric("latency_ms", suffix="statistic", source="performance", statistics=PERCENTILES, better="lower")
def latency_ms(performance: Performance, statistic: str) -> Measurement:
    """Return a percentile of the time from request to complete answer, in milliseconds."""
    return _percentile([sample.total_s * 1000 for sample in performance.samples], statistic)


@metric("ttft_ms", suffix="statistic", source="performance", statistics=PERCENTILES, better="lower")
def ttft_ms(performance: Performance, statistic: str) -> Measurement:
    """Return a percentile of the time from request to first token, in milliseconds."""
    return _percentile([sample.ttft_s * 1000 for sample in performance.samples], statistic)


@metric("tokens_per_second", source="performance", bounded=False)
def tokens_per_second(performance: Performance) -> Measurement:
    """Return generated tokens per second of answer time, over all samples."""
    seconds = sum(sample.total_s for sample in performance.samples)
    tokens = sum(sample.output_tokens for sample in performance.samples)
    return Measurement(tokens / seconds, len(performance.samples)) if seconds > 0 else NOTHING


@metric("peak_rss_mb", source="performance", bounded=False, better="lower")
def peak_rss_mb(performance: Performance) -> Measurement:
    """Return the largest resident memory of the engine's process, in MB of 10^6 bytes."""
    if performance.peak_rss_bytes is None:
        return NOTHING
    return Measurement(performance.peak_rss_bytes / 1e6, 1)


def _percentile(values: Sequence[float], statistic: str) -> Measurement:
    if not values:
        return NOTHING
    q = float(statistic.removeprefix("p"))
    point = float(np.percentile(values, q))
    return bootstrapped(
        point,
        len(values),
        lambda: statistics.bootstrap_percentile(values, q),
        lambda confidence: statistics.percentile_bounds(values, q, confidence),
    )

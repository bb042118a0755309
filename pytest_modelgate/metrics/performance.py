"""Measure speed, memory and cost from the serial phase; never from generations of the journal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_modelgate import statistics
from pytest_modelgate.metrics.measurement import NOTHING, Measurement
from pytest_modelgate.metrics.registry import metric
from pytest_modelgate.records import Performance

PERCENTILES = ("p50", "p95", "p99")


@metric("latency_ms", source="performance", suffix="statistic", statistics=PERCENTILES, is_ratio=False, better="lower")
def latency_ms(performance: Performance, statistic: str) -> Measurement:
    """Return a percentile of the time from request to complete answer, in milliseconds."""
    return _percentile([sample.total_s * 1000 for sample in performance.samples], statistic)


@metric("ttft_ms", source="performance", suffix="statistic", statistics=PERCENTILES, is_ratio=False, better="lower")
def ttft_ms(performance: Performance, statistic: str) -> Measurement:
    """Return a percentile of the time from request to first token, in milliseconds."""
    return _percentile([sample.ttft_s * 1000 for sample in performance.samples], statistic)


@metric("tokens_per_second", source="performance", bounded=False, is_ratio=False)
def tokens_per_second(performance: Performance) -> Measurement:
    """Return generated tokens per second of answer time, over all samples."""
    seconds = sum(sample.total_s for sample in performance.samples)
    tokens = sum(sample.output_tokens for sample in performance.samples)
    return Measurement(tokens / seconds, len(performance.samples)) if seconds > 0 else NOTHING


@metric("peak_rss_mb", source="performance", bounded=False, is_ratio=False, better="lower")
def peak_rss_mb(performance: Performance) -> Measurement:
    """Return the largest resident memory of the engine's process, in MB of 10^6 bytes."""
    if performance.peak_rss_bytes is None:
        return NOTHING
    return Measurement(performance.peak_rss_bytes / 1e6, 1)


@metric("cost_per_1k_requests", source="performance", bounded=False, is_ratio=False, better="lower")
def cost_per_1k_requests(performance: Performance) -> Measurement:
    """Return what a thousand answers cost at ``[prices] machine_per_hour``, one request at a time, in its currency."""
    cost = performance.cost_per_1k_requests
    return NOTHING if cost is None else Measurement(cost, len(performance.samples))


def _percentile(values: Sequence[float], statistic: str) -> Measurement:
    if not values:
        return NOTHING
    q = float(statistic.removeprefix("p"))
    draws = statistics.bootstrap_percentile(values, q)
    return Measurement(
        float(np.percentile(values, q)),
        len(values),
        statistics.percentile_interval(draws, 0.025, 0.975),
        lambda confidence: statistics.percentile_bounds(values, q, confidence),
    )

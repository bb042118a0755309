"""Measure speed, memory and cost from the serial phase; never from generations of the journal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_modelgate import statistics
from pytest_modelgate.metrics.measurement import NOTHING, Measurement
from pytest_modelgate.metrics.registry import metric
from pytest_modelgate.records import Performance, Sample

STATISTICS = ("p50", "p95", "p99", "mean")
_MS = 1000.0

TIMES: dict[str, Callable[[Sample], float | None]] = {
    "latency_ms": lambda sample: sample.total_s * _MS,
    "ttft_ms": lambda sample: sample.ttft_s * _MS,
    "inter_token_ms": lambda sample: None if sample.inter_token_s is None else sample.inter_token_s * _MS,
}
"""What each time of a request is, in milliseconds; None where the request has no such time."""


@metric("latency_ms", source="performance", suffix="statistic", statistics=STATISTICS, is_ratio=False, better="lower")
def latency_ms(performance: Performance, statistic: str) -> Measurement:
    """Return a statistic of the time from request to complete answer, in milliseconds."""
    return measure_time(performance, "latency_ms", statistic)


@metric("ttft_ms", source="performance", suffix="statistic", statistics=STATISTICS, is_ratio=False, better="lower")
def ttft_ms(performance: Performance, statistic: str) -> Measurement:
    """Return a statistic of the time from request to first token, in milliseconds."""
    return measure_time(performance, "ttft_ms", statistic)


@metric(
    "inter_token_ms", source="performance", suffix="statistic", statistics=STATISTICS, is_ratio=False, better="lower"
)
def inter_token_ms(performance: Performance, statistic: str) -> Measurement:
    """Return a statistic, over requests, of an answer's mean time between two tokens, in milliseconds."""
    return measure_time(performance, "inter_token_ms", statistic)


@metric("tokens_per_second", source="performance", bounded=False, is_ratio=False)
def tokens_per_second(performance: Performance) -> Measurement:
    """Return generated tokens per second of answer time, over all samples."""
    seconds = sum(sample.total_s for sample in performance.samples)
    tokens = sum(sample.output_tokens for sample in performance.samples)
    return Measurement(tokens / seconds, len(performance.samples)) if seconds > 0 else NOTHING


@metric("prompt_tokens_per_second", source="performance", bounded=False, is_ratio=False)
def prompt_tokens_per_second(performance: Performance) -> Measurement:
    """Return prompt tokens per second of the time to the first token, over the samples that know their prompt."""
    known = [sample for sample in performance.samples if sample.prompt_tokens and sample.ttft_s > 0]
    seconds = sum(sample.ttft_s for sample in known)
    return Measurement(sum(sample.prompt_tokens for sample in known) / seconds, len(known)) if known else NOTHING


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


def times(performance: Performance, name: str) -> list[float]:
    """Return one of :data:`TIMES` for every sample that has it, in milliseconds."""
    return [value for sample in performance.samples if (value := TIMES[name](sample)) is not None]


def too_few(statistic: str, confidence: float, n: int) -> str | None:
    """
    Say that ``n`` times are too few for an upper bound of a percentile, or return None.

    The largest of n times lies above the percentile q with probability 1 - (q/100)^n, whatever their distribution.
    """
    if statistic == "mean":
        return None
    needed = statistics.values_needed(float(statistic.removeprefix("p")), confidence)
    if n >= needed:
        return None
    return f"{n} requests are too few for a bound on {statistic} at {confidence:.0%} confidence, which takes {needed}"


@dataclass(frozen=True)
class Increase:
    """
    Hold how far a time lies above what is allowed, given another model's time on the same cases.

    ``now`` and ``before``: the statistic of each, in milliseconds; ``allowed``: the larger of ``before`` times the ratio
    and ``before`` plus the milliseconds. ``n``: pairs. Bootstrap draws over pairs, shape (draws,): ``excess`` of
    ``now - allowed``, ``change`` of ``now - before``.
    """

    now: float
    before: float
    allowed: float
    n: int
    excess: np.ndarray[Any, Any]
    change: np.ndarray[Any, Any]

    @property
    def ratio(self) -> float:
        """Return how many times as long it takes now."""
        return self.now / self.before if self.before > 0 else math.inf


def increase(
    now: Performance, before: Performance, name: str, statistic: str, ratio: float, ms: float
) -> Increase | None:
    """
    Compare a time of two models whose samples are pairs: the same case, measured in turns.

    Cases are drawn as pairs, so that what makes a case slow for both, its length before all, is no noise. None where
    no pair has the time.
    """
    pairs = [
        (one, other)
        for mine, theirs in zip(now.samples, before.samples, strict=True)
        if (one := TIMES[name](mine)) is not None and (other := TIMES[name](theirs)) is not None
    ]
    if not pairs:
        return None
    values = np.array(pairs)

    def of(drawn: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the statistic over the next to last axis."""
        if statistic == "mean":
            return np.asarray(drawn.mean(axis=-2))
        return np.asarray(np.percentile(drawn, float(statistic.removeprefix("p")), axis=-2))

    def over(found: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return what is allowed, given the statistic of both, shape (..., 2)."""
        return np.asarray(np.maximum(found[..., 1] * ratio, found[..., 1] + ms))

    point = of(values)
    picks = np.random.default_rng(statistics.SEED).integers(0, len(pairs), size=(statistics.RESAMPLES, len(pairs)))
    drawn = of(values[picks])
    return Increase(
        now=float(point[0]),
        before=float(point[1]),
        allowed=float(over(point)),
        n=len(pairs),
        excess=drawn[:, 0] - over(drawn),
        change=drawn[:, 0] - drawn[:, 1],
    )


def measure_time(performance: Performance, name: str, statistic: str) -> Measurement:
    """Return a statistic of one of :data:`TIMES`, with its bounds."""
    values = times(performance, name)
    if not values:
        return NOTHING
    if statistic == "mean":
        return _mean(values)
    q = float(statistic.removeprefix("p"))
    draws = statistics.bootstrap_percentile(values, q)
    return Measurement(
        float(np.percentile(values, q)),
        len(values),
        statistics.percentile_interval(draws, 0.025, 0.975),
        lambda confidence: statistics.percentile_bounds(values, q, confidence),
    )


def _mean(values: Sequence[float]) -> Measurement:
    """Return the mean with Student's bounds; none from one value, whose spread is unknown."""
    shown = statistics.mean_bounds(values, 0.975) if len(values) > 1 else None
    return Measurement(
        float(np.mean(values)), len(values), shown, lambda confidence: statistics.mean_bounds(values, confidence)
    )

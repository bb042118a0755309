"""
Hold the statistics that gates rest on.

Decisions use exact (Clopper-Pearson) bounds, because Wilson's are too generous where nothing failed (100 of 100:
0.974 against 0.970); Wilson's interval is what is shown. Figures that are no proportions are bootstrapped over
groups of related cases, with a fixed seed, so that a verdict can be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# Not scipy.stats: importing it takes half a second, in every process of every run.
from scipy import special

SEED = 20261121
RESAMPLES = 2000

Interval = tuple[float, float]
Draws = Callable[[], np.ndarray[Any, Any]]


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's two-sided score interval of a proportion."""
    z = float(special.ndtri((1 + confidence) / 2))
    share = successes / n
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the bound is exact; rounding must not move it off.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return low, high


def exact_bounds(successes: int, n: int, confidence: float) -> Interval:
    """Return the two one-sided exact (Clopper-Pearson) bounds of a proportion, each at ``confidence``."""
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, n - successes + 1, 1 - confidence))
    high = 1.0 if successes == n else float(special.betaincinv(successes + 1, n - successes, confidence))
    return low, high


def group_weights(groups: Sequence[str | None], resamples: int = RESAMPLES) -> tuple[np.ndarray[Any, Any], list[int]]:
    """
    Return bootstrap weights, shape (resamples, number of groups), and the group's number of each case.

    Cases of one group are drawn together, because they tend to be right or wrong together; a case without a group is
    one of its own.
    """
    numbers: dict[str, int] = {}
    member = [numbers.setdefault(f"#{i}" if group is None else group, len(numbers)) for i, group in enumerate(groups)]
    n = len(numbers)
    return np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=resamples), member


def percentile_interval(draws: np.ndarray[Any, Any], low: float, high: float) -> Interval:
    """Return two quantiles of bootstrap draws."""
    bounds = np.quantile(draws, [low, high])
    return float(bounds[0]), float(bounds[1])


def percentile_bounds(values: Sequence[float], q: float, confidence: float) -> Interval:
    """
    Return the two one-sided bounds of a percentile (``q`` in 0..100), each at ``confidence``, from order statistics.

    Free of any assumption on the distribution: the k-th smallest of n lies above the percentile p with probability
    P(Binomial(n, p) < k). Where n is too small for a bound it is infinite (p95 at 95 % needs 59 values).
    """
    ordered = sorted(values)
    n, share = len(ordered), q / 100
    below = special.bdtr(np.arange(n), n, share)  # P(Binomial <= k) for k = 0 .. n - 1
    high = next((ordered[k] for k in range(n) if below[k] >= confidence), math.inf)
    low = next((ordered[k] for k in reversed(range(n)) if 1 - below[k] >= confidence), -math.inf)
    return low, high


def bootstrap_percentile(values: Sequence[float], q: float) -> np.ndarray[Any, Any]:
    """Return resampled percentiles (``q`` in 0..100) of independent measurements."""
    data = np.asarray(values, dtype=float)
    picks = np.random.default_rng(SEED).integers(0, len(data), size=(RESAMPLES, len(data)))
    return np.asarray(np.percentile(data[picks], q, axis=1))

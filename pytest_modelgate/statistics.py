"""
Hold the statistics that gates rest on.

Decisions use exact (Clopper-Pearson) bounds, because Wilson's are too generous where nothing failed (100 of 100:
0.974 against 0.970); Wilson's interval is what is shown. Figures that are no proportions are bootstrapped over
groups of related cases, with a fixed seed, so that a verdict can be repeated.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# Not scipy.stats: importing it takes half a second, in every process of every run.
from scipy import special

SEED = 20261121
RESAMPLES = 2000
_MANY = 5000

Interval = tuple[float, float]
Draws = Callable[[], np.ndarray[Any, Any]]


def wilson(successes: float, n: float, confidence: float = 0.95) -> Interval:
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


def exact_bounds(successes: float, n: float, confidence: float) -> Interval:
    """
    Return the two one-sided exact (Clopper-Pearson) bounds of a proportion, each at ``confidence``.

    Effective counts need not be whole (see :func:`effective_n`).
    """
    low = 0.0 if successes == 0 else float(special.betaincinv(successes, n - successes + 1, 1 - confidence))
    high = 1.0 if successes == n else float(special.betaincinv(successes + 1, n - successes, confidence))
    return low, high


def effective_n(groups: Sequence[str | None]) -> float:
    """
    Return how many independent cases the cases are worth: as if those of a group were right or wrong as one.

    n squared over the sum of squared group sizes (Kish 1965), which is the number of groups where all have one size; a
    case without a group is one of its own. How alike the answers of a group really are could be estimated, but not with
    a few wrong answers in a few groups: such estimates let a suite pass with one wrong answer that did not with none.
    """
    sizes = Counter(group for group in groups if group is not None)
    alone = sum(group is None for group in groups)
    return len(groups) ** 2 / (alone + sum(size * size for size in sizes.values()))


def mcnemar(harmed: int, helped: int) -> float:
    """Return the exact two-sided p-value of McNemar's test on the discordant pairs; 1.0 where there are none."""
    n = harmed + helped
    return min(1.0, 2 * float(special.bdtr(min(harmed, helped), n, 0.5))) if n else 1.0


def paired_bounds(harmed: float, helped: float, n: float, confidence: float) -> Interval:
    """
    Return the two one-sided bounds, each at ``confidence``, of the change of a share between two paired measurements.

    ``harmed``: pairs that were right and are wrong now; ``helped``: the other way round; ``n``: all pairs. The change
    is (helped - harmed) / n. Tango's score bounds (Statistics in Medicine 17, 1998, 891-908), which stay honest where
    few or no pairs differ; normal approximations call 0 of 60 certain.
    """
    z = float(special.ndtri(confidence))
    point = (helped - harmed) / n

    def score(change: float) -> float:
        return _tango(harmed, helped, n, change)

    return _root(lambda d: score(d) - z, -1.0, point), _root(lambda d: score(d) + z, point, 1.0)


def _tango(harmed: float, helped: float, n: float, change: float) -> float:
    """Return Tango's statistic at ``change``, which falls as ``change`` grows."""
    a = 2 * n
    b = -helped - harmed + (2 * n - helped + harmed) * change
    c = -harmed * change * (1 - change)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    spread = n * (2 * q + change * (1 - change))
    distance = helped - harmed - n * change
    if spread <= 0:
        return 0.0 if distance == 0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(spread)


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Return where a falling function is zero between ``low`` and ``high``; an end where it never is."""
    if falling(low) <= 0:
        return low
    if falling(high) >= 0:
        return high
    for _ in range(60):  # halves 2 to below 1e-17
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def bootstrap_sums(counts: np.ndarray[Any, Any], groups: Sequence[str | None]) -> np.ndarray[Any, Any]:
    """
    Return the column sums of ``counts``, shape (cases, k), in bootstrap draws over groups, shape (draws, k).

    Cases of one group are drawn together, because they tend to be right or wrong together; a case without a group is
    one of its own. Groups with equal sums are drawn as one category with their number as its weight, which is the
    same distribution and makes 100,000 cases as cheap as the few ways in which they differ. Where there are more than
    5,000 such ways, fewer draws are taken.
    """
    numbers: dict[str, int] = {}
    member = [
        numbers.setdefault(f"#{i}" if group is None else f"={group}", len(numbers)) for i, group in enumerate(groups)
    ]
    n = len(numbers)
    if n == len(member):
        by_group = np.asarray(counts, dtype=float)
    else:
        by_group = np.zeros((n, counts.shape[1]))
        np.add.at(by_group, member, counts)
    patterns, times = np.unique(by_group, axis=0, return_counts=True)
    draws = RESAMPLES if len(patterns) <= _MANY else max(200, RESAMPLES * _MANY // len(patterns))
    weights = np.random.default_rng(SEED).multinomial(n, times / n, size=draws)
    return np.asarray(weights @ patterns)


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


def mean_bounds(values: Sequence[float], confidence: float) -> Interval:
    """Return Student's two one-sided bounds of a mean, each at ``confidence``; infinite where one value is all there is."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:  # noqa: PLR2004  # no spread can be seen
        return -math.inf, math.inf
    half = float(special.stdtrit(n - 1, confidence)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def bootstrap_percentile(values: Sequence[float], q: float) -> np.ndarray[Any, Any]:
    """Return resampled percentiles (``q`` in 0..100) of independent measurements."""
    data = np.asarray(values, dtype=float)
    picks = np.random.default_rng(SEED).integers(0, len(data), size=(RESAMPLES, len(data)))
    return np.asarray(np.percentile(data[picks], q, axis=1))


def best_assignment(scores: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """
    Return the (row, column) pairs of the largest total score, as many as the shorter side has, by row.

    ``scores`` has shape (rows, columns); either may be 0.
    """
    # Imported here, because it takes a quarter of a second that only lists of objects need.
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(scores, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True)]


# What a gate can see: for planning, never for a verdict


def cases_needed(share: float, confidence: float, wrong: int = 0) -> int | None:
    """Return how few independent cases prove ``share`` with ``wrong`` wrong answers; None where no number does."""
    if share >= 1:
        return None
    return _first(lambda n: exact_bounds(n - wrong, n, confidence)[0] >= share, wrong + 1)


def values_needed(q: float, confidence: float) -> int:
    """Return how few values give an upper bound of a percentile (see :func:`percentile_bounds`)."""
    return _first(lambda n: 1 - (q / 100) ** n >= confidence, 1)


@functools.lru_cache(maxsize=100_000)
def paired_limits(differ: int, n: int, margin: float, confidence: float | None) -> tuple[int, int]:
    """
    Return, where ``differ`` of ``n`` pairs differ, how many may be lost, and how many lost ones are too many.

    Up to the first number a drop beyond ``margin`` is excluded, from the second on it is proved; -1 and ``differ + 1``
    where no number does. ``confidence``: of the bounds; without it the observed drop decides.
    """
    if confidence is None:
        allowed = math.floor((margin * n + differ) / 2 + _ROUNDING)  # lost - (differ - lost) <= margin * n
        return min(differ, allowed), min(differ, allowed) + 1
    if margin >= 1:
        return differ, differ + 1
    z = float(special.ndtri(confidence))

    def below(lost: int) -> float:
        """Return how far the change lies below the margin, in the units of ``z``; it grows with ``lost``."""
        return -_tango(lost, differ - lost, n, -margin)

    numbers = range(differ + 1)
    return bisect.bisect_right(numbers, -z, key=below) - 1, bisect.bisect_right(numbers, z, key=below)


def paired_chances(
    n: int, margin: float, confidence: float | None, drop: float, discordance: float
) -> tuple[float, float, float]:
    """
    Return how probably a comparison of ``n`` pairs fails, is inconclusive, and passes: exactly, not simulated.

    ``drop``: by how much the share is truly lower now. ``discordance``: the share of pairs that differ, at least
    ``drop``.
    """
    weights = np.diff(special.bdtr(np.arange(n + 1), n, discordance), prepend=0.0)
    lost = (discordance + drop) / discordance / 2
    failed = passed = 0.0
    for differ in np.flatnonzero(weights > _NEGLIGIBLE).tolist():
        passes, fails = paired_limits(differ, n, margin, confidence)
        if passes >= 0:
            passed += weights[differ] * float(special.bdtr(passes, differ, lost))
        if fails <= differ:
            failed += weights[differ] * (1 - float(special.bdtr(fails - 1, differ, lost) if fails else 0.0))
    return float(failed), float(max(0.0, 1 - failed - passed)), float(passed)


def pairs_needed(margin: float, confidence: float, discordance: float, chance: float) -> int | None:
    """
    Return with about how many pairs an unchanged model passes a margin with probability ``chance``; None for margin 0.

    Where that takes more than 5,000, by the normal approximation.
    """
    if margin <= 0:
        return None
    z = float(special.ndtri(confidence) + special.ndtri(chance))
    about = math.ceil(z * z * discordance / margin**2)
    if about > _MANY:
        return about
    return _first(lambda n: paired_chances(n, margin, confidence, 0.0, discordance)[2] >= chance, about)


def _first(holds: Callable[[int], bool], start: int) -> int:
    """Return the first number from ``start`` on that ``holds``, of a condition that stays true."""
    low, high, step = start - 1, start, max(1, start // 16)
    while not holds(high):
        low, high, step = high, high + step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


_ROUNDING = 1e-12
_NEGLIGIBLE = 1e-10

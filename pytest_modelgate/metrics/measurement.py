"""Hold a metric's value together with what is needed to judge it and to compare it."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pytest_modelgate import statistics
from pytest_modelgate.statistics import Interval

Bounds = Callable[[float], Interval]
"""From a confidence to the lower and the upper one-sided bound."""

Figure = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
"""From column sums of shape (..., k) to the figure, shape (...)."""


def ratio(part: np.ndarray[Any, Any], whole: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return part / whole; no number where there is nothing to divide by: a figure over nothing has no value."""
    empty = np.full(np.shape(whole), np.nan)
    return np.asarray(np.divide(part, whole, out=empty, where=np.asarray(whole) > 0))


@dataclass(frozen=True)
class Pool:
    """
    Hold what each case adds to a figure: most figures are functions of sums over cases.

    ``counts``: shape (cases, k). ``groups``: the group of each case, or None. ``figure``: from sums of the columns to
    the value. ``is_share``: the first column holds 0 or 1 for each case and the figure is their mean. ``places``: which
    of the measured records the cases are, in order; None where every record counts.
    """

    counts: np.ndarray[Any, Any]
    groups: tuple[str | None, ...]
    figure: Figure
    is_share: bool = False
    places: tuple[int, ...] | None = None

    def only(self, places: Container[int]) -> Pool:
        """Return the pool of those cases that are among ``places``."""
        own = range(len(self.counts)) if self.places is None else self.places
        kept = [row for row, place in enumerate(own) if place in places]
        return replace(
            self,
            counts=self.counts[kept],
            groups=tuple(self.groups[row] for row in kept),
            places=tuple(own[row] for row in kept),
        )

    @property
    def value(self) -> float:
        """Return the figure over all cases."""
        return float(self.figure(self.counts.sum(axis=0)))

    @cached_property
    def draws(self) -> np.ndarray[Any, Any]:
        """Return the figure in bootstrap draws over groups."""
        return self.figure(statistics.bootstrap_sums(self.counts, self.groups))


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    Hold a metric's value.

    ``value`` is None where there was nothing to measure. ``n`` counts what it rests on. ``interval`` is shown (95 %,
    two-sided); ``bounds`` decides where a gate asks for confidence, and is None where no bound can be given. ``pool``
    holds the cases' parts of it, for comparison with another target on the same cases.
    """

    value: float | None
    n: int
    interval: Interval | None = None
    bounds: Bounds | None = None
    pool: Pool | None = None

    def is_sound(self) -> bool:
        """Say whether every part is a finite number, as a measurement that a user made must be."""
        if self.value is None:
            return True
        numbers: list[Any] = [self.value, self.n, *(self.interval or ())]
        if self.bounds is not None:
            numbers.extend(self.bounds(0.95))
        if self.pool is not None:
            numbers.append(self.pool.value)
        return all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)


NOTHING = Measurement(None, 0)
"""What a metric over nothing returns."""


def share(flags: Sequence[bool], groups: Sequence[str | None], places: tuple[int, ...] | None = None) -> Measurement:
    """
    Return the share of true flags: exact bounds for decisions, Wilson's interval for display, both by groups.

    ``places``: see :class:`Pool`.
    """
    if not flags:
        return NOTHING
    successes, n = sum(flags), len(flags)
    worth = statistics.effective_n(groups)
    effective: tuple[float, float] = (successes * worth / n, worth) if worth < n else (successes, n)
    return Measurement(
        successes / n,
        n,
        statistics.wilson(*effective),
        lambda confidence: statistics.exact_bounds(*effective, confidence),
        Pool(
            np.array([(flag, 1) for flag in flags], dtype=float),
            tuple(groups),
            lambda sums: sums[..., 0] / sums[..., 1],
            is_share=True,
            places=places,
        ),
    )


def pooled(pool: Pool | None) -> Measurement:
    """
    Return a figure of sums, from 0 to 1, bootstrapped over groups.

    Bootstrap bounds know little where few cases differ, and nothing where none does: they are never narrower than those
    of a share with this value, of as many independent cases.
    """
    if pool is None or not len(pool.counts) or math.isnan(value := pool.value):
        return NOTHING
    draws = pool.draws[~np.isnan(pool.draws)]
    worth = statistics.effective_n(pool.groups)

    def bounds(confidence: float) -> Interval:
        low, high = statistics.exact_bounds(value * worth, worth, confidence)
        drawn = statistics.percentile_interval(draws, 1 - confidence, confidence)
        return min(low, drawn[0]), max(high, drawn[1])

    shown = statistics.percentile_interval(draws, 0.025, 0.975)
    if shown[0] == shown[1]:
        shown = statistics.wilson(value * worth, worth)
    return Measurement(value, len(pool.counts), shown, bounds, pool)

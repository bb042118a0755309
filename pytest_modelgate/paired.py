"""Compare two measurements of the same cases: how much better is the one than the other, and how sure is that."""

from __future__ import annotations

import math

import numpy as np

from pytest_modelgate import statistics
from pytest_modelgate.metrics.measurement import NOTHING, Measurement, Pool


def difference(now: Measurement, before: Measurement) -> Measurement:
    """
    Return ``now`` minus ``before``, paired case by case.

    Of shares, the bounds are Tango's on the discordant pairs; of other figures, they are bootstrapped over groups. Both
    measurements must be of the same cases in the same order; a case that counts in only one of them (an answer without
    a label has no confidence) is left out. Nothing where no case counts in both.
    """
    if now.pool is None or before.pool is None:
        return NOTHING
    ours, theirs = of_the_same_cases(now.pool, before.pool)
    if not len(ours.counts) or len(ours.counts) != len(theirs.counts):
        return NOTHING
    if ours.is_share and theirs.is_share:
        return _difference_of_shares(ours, theirs)
    return _difference_of_figures(ours, theirs)


def of_the_same_cases(now: Pool, before: Pool) -> tuple[Pool, Pool]:
    """Return both pools with the cases that count in both."""
    if now.places is None or before.places is None or now.places == before.places:
        return now, before
    both = frozenset(now.places) & frozenset(before.places)
    return now.only(both), before.only(both)


def discordant(now: Pool, before: Pool) -> tuple[int, int]:
    """Return how many cases were right and are wrong now, and the other way round, of two pools of the same cases."""
    change = now.counts[:, 0] - before.counts[:, 0]
    return int((change < 0).sum()), int((change > 0).sum())


def _difference_of_shares(now: Pool, before: Pool) -> Measurement:
    harmed, helped = discordant(now, before)
    n = len(now.counts)
    effective = statistics.effective_n(now.groups)
    shrunk = (harmed * effective / n, helped * effective / n, effective)
    return Measurement(
        (helped - harmed) / n,
        n,
        statistics.paired_bounds(*shrunk, 0.975),
        lambda confidence: statistics.paired_bounds(*shrunk, confidence),
    )


def _difference_of_figures(now: Pool, before: Pool) -> Measurement:
    width = now.counts.shape[1]
    value = now.value - before.value
    if math.isnan(value):
        return NOTHING
    both = np.hstack([now.counts, before.counts])
    sums = statistics.bootstrap_sums(both, now.groups)
    draws = now.figure(sums[:, :width]) - before.figure(sums[:, width:])
    draws = draws[~np.isnan(draws)]
    worth = statistics.effective_n(now.groups)

    def bounds(confidence: float) -> tuple[float, float]:
        # Never narrower than those of a share without a discordant pair: few differences are no certainty.
        low, high = _around(value, worth, confidence)
        drawn = statistics.percentile_interval(draws, 1 - confidence, confidence)
        return min(low, drawn[0]), max(high, drawn[1])

    return Measurement(value, len(both), bounds(0.975), bounds)


def _around(value: float, worth: float, confidence: float) -> tuple[float, float]:
    low, high = statistics.paired_bounds(0, 0, worth, confidence)
    return value + low, value + high

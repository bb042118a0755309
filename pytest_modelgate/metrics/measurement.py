"""Hold a metric's value together with what is needed to judge it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pytest_modelgate import statistics
from pytest_modelgate.statistics import Draws, Interval

Bounds = Callable[[float], Interval]
"""From a confidence to the lower and the upper one-sided bound."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    Hold a metric's value.

    ``value`` is None where there was nothing to measure. ``n`` counts what it rests on. ``interval`` is shown (95 %,
    two-sided); ``bounds`` decides where a gate asks for confidence, and is None where no bound can be given.
    """

    value: float | None
    n: int
    interval: Interval | None = None
    bounds: Bounds | None = None


NOTHING = Measurement(None, 0)
"""What a metric over nothing returns."""


def proportion(flags: Iterable[bool | float]) -> Measurement:
    """Return the share of true flags: exact bounds for decisions, Wilson's interval for display."""
    values = [bool(flag) for flag in flags]
    if not values:
        return NOTHING
    n, successes = len(values), sum(values)
    return Measurement(
        successes / n,
        n,
        statistics.wilson(successes, n),
        lambda confidence: statistics.exact_bounds(successes, n, confidence),
    )


def count(flags: Iterable[bool]) -> Measurement:
    """Return how many flags are true; a count is known exactly and has no interval."""
    values = list(flags)
    return Measurement(float(sum(values)), len(values)) if values else NOTHING


def bootstrapped(value: float, n: int, draw: Draws, bounds: Bounds | None = None) -> Measurement:
    """
    Return a figure whose uncertainty comes from bootstrap draws.

    ``bounds``: used instead of the draws where a better bound is known. Draws that are all alike know nothing of their
    own uncertainty (three right answers of three): without ``bounds`` there is none then.
    """
    draws = draw()
    if bounds is None and float(draws.min()) < float(draws.max()):

        def bounds(confidence: float) -> Interval:
            return statistics.percentile_interval(draws, 1 - confidence, confidence)

    return Measurement(value, n, statistics.percentile_interval(draws, 0.025, 0.975), bounds)

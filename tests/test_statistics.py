"""Intervals and bounds of proportions equal scipy's and the published tables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from pytest_modelgate.statistics import exact_bounds, group_weights, percentile_bounds, wilson

COUNTS = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
CONFIDENCES = st.sampled_from([0.8, 0.9, 0.95, 0.99])

# The one-sided 95 % lower bound of the pass rate with 0, 1, 2 and 5 failures (failure-modes, section 5).
TABLE = {
    100: (0.9705, 0.9534, 0.9384, 0.8977),
    150: (0.9802, 0.9688, 0.9586, 0.9312),
    200: (0.9851, 0.9765, 0.9689, 0.9482),
    300: (0.9901, 0.9843, 0.9792, 0.9653),
}


@given(COUNTS, CONFIDENCES)
def test_wilson_equals_scipy(counts: tuple[int, int], confidence: float) -> None:
    """Wilson's interval is scipy's."""
    low, high = wilson(*counts, confidence)

    theirs = binomtest(*counts).proportion_ci(confidence, method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(COUNTS, CONFIDENCES)
def test_exact_bounds_equal_scipy(counts: tuple[int, int], confidence: float) -> None:
    """The exact bounds are scipy's one-sided Clopper-Pearson limits."""
    low, high = exact_bounds(*counts, confidence)

    lower = binomtest(*counts, alternative="greater").proportion_ci(confidence, method="exact").low
    upper = binomtest(*counts, alternative="less").proportion_ci(confidence, method="exact").high
    assert (low, high) == pytest.approx((lower, upper), abs=1e-9)


@pytest.mark.parametrize(("n", "bounds"), TABLE.items())
def test_published_table(n: int, bounds: tuple[float, ...]) -> None:
    """The lower bounds are those of the table that gates are planned with."""
    assert [round(exact_bounds(n - failures, n, 0.95)[0], 4) for failures in (0, 1, 2, 5)] == list(bounds)


@pytest.mark.parametrize(("share", "n"), [(0.90, 29), (0.95, 59), (0.97, 99), (0.98, 149), (0.99, 299), (0.995, 598)])
def test_cases_that_a_claim_needs(share: float, n: int) -> None:
    """Without a failure, this many cases prove a share at 95 %, and one case less does not."""
    assert exact_bounds(n, n, 0.95)[0] >= share
    assert exact_bounds(n - 1, n - 1, 0.95)[0] < share


@pytest.mark.parametrize("n", [1, 3, 10_000])
def test_ends_are_exact(n: int) -> None:
    """Where nothing or everything failed, the outer bound is 0 or 1 and not a rounding beside it."""
    assert wilson(0, n)[0] == 0.0
    assert wilson(n, n)[1] == 1.0
    assert exact_bounds(0, n, 0.95)[0] == 0.0
    assert exact_bounds(n, n, 0.95)[1] == 1.0


def test_groups_are_drawn_whole() -> None:
    """Cases of one group share a number; each draw has as many groups as there are."""
    weights, member = group_weights(["a", None, "a", None], resamples=50)

    assert member == [0, 1, 0, 2]
    assert weights.shape == (50, 3)
    assert set(weights.sum(axis=1)) == {3}


@pytest.mark.parametrize(("n", "bounded"), [(58, False), (59, True)])
def test_a_bound_on_p95_needs_59_values(n: int, bounded: bool) -> None:
    """With 95 % confidence the largest of 59 values bounds p95, the largest of 58 does not."""
    _, high = percentile_bounds(list(range(n)), 95, 0.95)

    assert high == (58 if bounded else math.inf)


@given(st.integers(1, 400), st.sampled_from([50.0, 95.0, 99.0]), CONFIDENCES)
def test_percentile_bounds_agree_with_the_binomial(n: int, q: float, confidence: float) -> None:
    """The upper bound is the first order statistic that scipy's binomial puts above the percentile often enough."""
    _, high = percentile_bounds(list(range(n)), q, confidence)
    enough = [k for k in range(n) if binom.cdf(k, n, q / 100) >= confidence]

    assert high == (enough[0] if enough else math.inf)

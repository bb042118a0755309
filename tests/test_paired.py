"""Two measurements of the same cases are compared case by case, groups as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelgate.metrics import NOTHING, Measurement
from pytest_modelgate.paired import difference, discordant
from pytest_modelgate.records import Record
from pytest_modelgate.statistics import paired_bounds
from tests.metrics.conftest import measure, record

A, B, C = '"a"', '"b"', '"c"'
FLAGS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def share(flags: Sequence[bool], groups: Sequence[str | None] = (), **more: Any) -> Measurement:
    """Return the accuracy over a case for each flag."""
    named = groups or [None] * len(flags)
    records = [record(A, A if flag else B, group=group, **more) for flag, group in zip(flags, named, strict=True)]
    return measure("accuracy.x", records, ["x"])


def macro_f1(pairs: Sequence[tuple[str, str]], copies: int = 1) -> Measurement:
    """Return macro-F1 over ``copies`` of each case, all in one group."""
    numbered = enumerate(pairs)
    records = [record(*pair, group=str(number)) for number, pair in numbered for _ in range(copies)]
    return measure("macro_f1.x", records, ["x"])


def width(change: Measurement, confidence: float = 0.95) -> float:
    """Return how far apart the bounds are."""
    assert change.bounds is not None
    low, high = change.bounds(confidence)
    return high - low


@given(FLAGS)
@settings(max_examples=1000)
def test_shares_rest_on_the_cases_that_changed(flags: list[tuple[bool, bool]]) -> None:
    """The change is of the discordant pairs over all, with Tango's bounds; what both got right adds to n alone."""
    before, now = ([pair[side] for pair in flags] for side in (0, 1))
    harmed, helped = flags.count((True, False)), flags.count((False, True))

    change = difference(share(now), share(before))

    assert change.value == pytest.approx((helped - harmed) / len(flags), abs=1e-12)
    assert change.n == len(flags)
    assert change.bounds is not None
    for confidence in (0.8, 0.95, 0.99):
        assert change.bounds(confidence) == paired_bounds(harmed, helped, len(flags), confidence)
    assert change.interval == change.bounds(0.975)


@given(FLAGS, st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=60, max_size=60))
@settings(max_examples=1000)
def test_a_change_turns_round_with_its_direction(flags: list[tuple[bool, bool]], groups: list[str | None]) -> None:
    """Better by so much one way is worse by as much the other way; the value lies between the bounds."""
    before, now = (share([pair[side] for pair in flags], groups[: len(flags)]) for side in (0, 1))
    there, back = difference(now, before), difference(before, now)

    assert there.value is not None
    assert back.value == pytest.approx(-there.value, abs=1e-12)
    assert there.bounds is not None
    assert back.bounds is not None
    low, high = there.bounds(0.95)
    assert back.bounds(0.95) == pytest.approx((-high, -low), abs=1e-9)
    assert low <= there.value <= high


def test_a_paired_comparison_knows_more_than_two_shares() -> None:
    """Two of 60 cases won and none lost is surer than 58 of 60 against 56 of 60 measured apart."""
    before, now = share([True] * 56 + [False] * 4), share([True] * 58 + [False] * 2)

    change = difference(now, before)

    assert before.bounds is not None
    assert now.bounds is not None
    apart = (now.bounds(0.95)[1] - now.bounds(0.95)[0]) + (before.bounds(0.95)[1] - before.bounds(0.95)[0])
    assert width(change) < apart / 2


def test_copies_in_a_group_add_no_certainty() -> None:
    """Ten copies of each of 30 cases, each group of its own, bound the change as the 30 cases do."""
    flags = [(number % 3 > 0, number % 5 > 0) for number in range(30)]
    groups = [str(number) for number in range(30)]
    tenfold = [flag for flag in flags for _ in range(10)]
    ten_groups = [group for group in groups for _ in range(10)]

    def change(pairs: list[tuple[bool, bool]], named: list[str] | list[None]) -> Measurement:
        return difference(share([pair[1] for pair in pairs], named), share([pair[0] for pair in pairs], named))

    alone, copied = change(flags, groups), change(tenfold, ten_groups)
    apart = change(tenfold, [None] * 300)
    assert copied.value == pytest.approx(alone.value)
    assert width(copied) == pytest.approx(width(alone))
    assert width(apart) < width(alone) / 2


@pytest.mark.parametrize("right", [True, False])
def test_no_discordant_pair_is_no_certainty(right: bool) -> None:
    """Where nothing changed the bounds say how little that proves, by groups."""
    flags = [right] * 60

    change = difference(share(flags), share(flags))
    assert change.value == 0.0
    assert change.bounds is not None
    assert change.bounds(0.95) == paired_bounds(0, 0, 60, 0.95)

    in_pairs = [str(number // 2) for number in range(60)]
    grouped = difference(share(flags, in_pairs), share(flags, in_pairs))
    assert grouped.bounds is not None
    assert grouped.bounds(0.95) == paired_bounds(0, 0, 30, 0.95)


def test_macro_f1_is_bootstrapped_in_pairs() -> None:
    """The change of a figure is that of the two values; drawing both on the same cases makes it surer."""
    rng = np.random.default_rng(3)
    expected = [str(rng.choice([A, B, C])) for _ in range(90)]
    before = [(one, one if rng.random() < 0.7 else str(rng.choice([A, B, C]))) for one in expected]
    now = [(one, one if rng.random() < 0.3 else got) for one, got in before]

    change = difference(macro_f1(now), macro_f1(before))

    values = macro_f1(now).value, macro_f1(before).value
    assert None not in values
    assert change.value == pytest.approx((values[0] or 0) - (values[1] or 0), abs=1e-12)
    assert change.n == 90
    assert change.bounds is not None
    low, high = change.bounds(0.95)
    assert low < (change.value or 0) < high
    assert change.interval is not None
    assert change.interval[0] <= low
    assert change.interval[1] >= high
    assert width(change) < width(macro_f1(now)) + width(macro_f1(before))
    assert difference(macro_f1(now), macro_f1(before)).interval == change.interval


def test_macro_f1_counts_groups_once() -> None:
    """Copies of a case in one group change neither the value nor how sure it is."""
    before = [(A, A), (B, A), (C, C), (A, B), (B, B), (C, A)] * 5
    now = [(A, A), (B, B), (C, C), (A, C), (B, B), (C, A)] * 5

    once, fivefold = (difference(macro_f1(now, copies), macro_f1(before, copies)) for copies in (1, 5))

    assert fivefold.value == pytest.approx(once.value)
    assert width(fivefold) == pytest.approx(width(once))


def test_unchanged_macro_f1_is_no_certainty() -> None:
    """Where no answer differs every draw is 0; the bounds are those of a share without a discordant pair."""
    pairs = [(A, A), (B, A), (C, C)] * 20

    change = difference(macro_f1(pairs), macro_f1(pairs))

    assert change.value == 0.0
    assert change.bounds is not None
    assert change.bounds(0.95) == paired_bounds(0, 0, 60, 0.95)


def test_one_difference_is_no_certainty() -> None:
    """Where one answer of many differs, the bounds are never narrower than those of a share without one."""
    before = [(A, A), (B, B), (C, C)] * 20

    change = difference(macro_f1([(A, B), *before[1:]]), macro_f1(before))

    assert change.value is not None
    assert change.bounds is not None
    low, high = change.bounds(0.95)
    assert low < change.value < high
    least = paired_bounds(0, 0, 60, 0.95)
    assert high - low >= least[1] - least[0] - 1e-9


def test_a_figure_over_nothing_has_no_difference() -> None:
    """Where one side had nothing to find, there is no figure, and none to compare."""
    one, none = (measure("term_preservation", [record(A, A, counts={"terms": (n, n)})]) for n in (1.0, 0.0))

    assert none is NOTHING
    assert difference(one, none) is NOTHING
    assert difference(none, one) is NOTHING


def test_an_answer_that_counts_on_one_side_only_is_left_out() -> None:
    """A case without a label has no confidence: the others are compared with themselves, not with their neighbours."""

    def ece(confidences: Sequence[float | None]) -> Measurement:
        found = [{} if one is None else {"x": one} for one in confidences]
        return measure("ece.x", [record(A, A, confidences=one) for one in found], ["x"])

    change = difference(ece([None, 0.9, 0.8]), ece([0.6, 0.9, None]))

    assert change.n == 1
    assert change.value == pytest.approx(0.0)
    assert difference(ece([None, 0.9]), ece([0.9, None])).value is None


def test_what_cannot_be_compared_is_nothing() -> None:
    """Without a value, or without each case's part of it, there is no difference."""
    counted = Record("t", "golden", "k", "c", "failed", critical=True)
    count = measure("critical_failures", [counted])

    assert difference(NOTHING, share([True])) is NOTHING
    assert difference(share([True]), NOTHING) is NOTHING
    assert difference(count, count) is NOTHING


def test_discordant_pairs_are_counted_by_direction() -> None:
    """What was right and is wrong comes first."""
    now, before = share([True, False, False, True]), share([True, True, True, False])
    assert now.pool is not None
    assert before.pool is not None

    assert discordant(now.pool, before.pool) == (2, 1)

"""Label metrics equal scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from pytest_modelgate.judgement import NO_LABEL
from pytest_modelgate.metrics import NOTHING
from pytest_modelgate.metrics.classification import accuracy, macro_f1
from pytest_modelgate.metrics.common import critical_failures, exact_match, json_parse_rate, schema_validity
from pytest_modelgate.records import Outcome, Record

LABELS = ("a", "b", "c", "d")
PAIRS = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, "unknown", NO_LABEL])), min_size=1, max_size=60
)


def record(expected: str, predicted: str, *, group: str | None = None, outcome: Outcome = "passed") -> Record:
    """Return a record with one field."""
    right = float(expected == predicted)
    return Record(
        "t",
        "golden",
        "k",
        "c",
        outcome,
        group=group,
        has_expected=True,
        scores={"json_parse": float(predicted != NO_LABEL), "exact": right, "field.x": right},
        labels={"x": (expected, predicted)},
    )


@given(PAIRS)
def test_macro_f1_equals_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    """Macro-F1 is over the classes that are expected; other predictions are misses of their true class."""
    expected, predicted = zip(*pairs, strict=True)

    measured = macro_f1([record(*pair) for pair in pairs], "x")

    theirs = f1_score(expected, predicted, labels=sorted(set(expected)), average="macro", zero_division=0)
    assert measured.value == pytest.approx(theirs, abs=1e-9)
    assert measured.n == len(pairs)


@given(PAIRS)
def test_accuracy_equals_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    """Accuracy of a field, and of the whole answer, is the share that is right."""
    expected, predicted = zip(*pairs, strict=True)
    records = [record(*pair) for pair in pairs]

    assert accuracy(records, "x").value == pytest.approx(accuracy_score(expected, predicted), abs=1e-9)
    assert accuracy(records).value == exact_match(records).value == accuracy(records, "x").value


@given(PAIRS)
@settings(max_examples=30)
def test_interval_holds_the_value(pairs: list[tuple[str, str]]) -> None:
    """The shown interval lies in 0..1, and the bounds widen with the confidence."""
    measured = macro_f1([record(*pair) for pair in pairs], "x")

    assert measured.interval is not None
    if measured.bounds is None:
        assert measured.interval[0] == measured.interval[1]  # draws that are all alike bound nothing
        return
    assert 0 <= measured.interval[0] <= measured.interval[1] <= 1
    (low, high), (lower, higher) = measured.bounds(0.8), measured.bounds(0.99)
    assert lower <= low <= high <= higher


def test_bootstrap_draws_by_group() -> None:
    """Ten copies of a case in one group say no more than the case itself: the interval stays as wide."""
    rng = np.random.default_rng(7)
    pairs = [("a" if rng.random() < 0.5 else "b", "a" if rng.random() < 0.6 else "b") for _ in range(40)]
    single = [record(*pair, group=str(i)) for i, pair in enumerate(pairs)]
    tenfold = [record(*pair, group=str(i)) for i, pair in enumerate(pairs) for _ in range(10)]
    apart = [record(*pair) for pair in pairs for _ in range(10)]

    def width(records: list[Record]) -> float:
        low, high = macro_f1(records, "x").interval or (0, 0)
        return high - low

    assert width(tenfold) == pytest.approx(width(single))
    assert width(apart) < width(single) / 2


def test_verdict_can_be_repeated() -> None:
    """The same records give the same interval."""
    records = [record("a", "a"), record("a", "b"), record("b", "b"), record("b", "a")]

    assert macro_f1(records, "x").interval == macro_f1(records, "x").interval


def test_nothing_has_no_value() -> None:
    """A metric over nothing is no value, never 0."""
    for measured in (macro_f1([], "x"), accuracy([], "x"), accuracy([]), json_parse_rate([]), schema_validity([])):
        assert measured is NOTHING
        assert measured.value is None
    assert critical_failures([record("a", "b")]) is NOTHING

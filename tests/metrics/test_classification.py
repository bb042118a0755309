"""Label metrics count what they say, draw groups whole, and have no value over nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelgate.kinds.classification import label_text
from pytest_modelgate.kinds.kind import NO_LABEL
from pytest_modelgate.metrics import NOTHING
from pytest_modelgate.metrics.classification import confidence_bin, confusion
from pytest_modelgate.records import Record, Violation
from tests.metrics.conftest import measure, record

LABELS = ("a", "b", "c", "d")
PAIRS = st.lists(
    st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, "unknown", NO_LABEL])), min_size=1, max_size=60
)


@given(PAIRS)
@settings(max_examples=30)
def test_interval_holds_the_value(pairs: list[tuple[str, str]]) -> None:
    """The shown interval lies in 0..1, and the bounds widen with the confidence."""
    measured = measure("macro_f1.x", [record(*pair) for pair in pairs], ["x"])

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
        low, high = measure("macro_f1.x", records, ["x"]).interval or (0, 0)
        return high - low

    assert width(tenfold) == pytest.approx(width(single))
    assert width(apart) < width(single) / 2


def test_verdict_can_be_repeated() -> None:
    """The same records give the same interval."""
    records = [record("a", "a"), record("a", "b"), record("b", "b"), record("b", "a")]

    assert measure("macro_f1.x", records, ["x"]).interval == measure("macro_f1.x", records, ["x"]).interval


@pytest.mark.parametrize(
    "written",
    [
        "macro_f1.x",
        "accuracy.x",
        "accuracy",
        "ece.x",
        "fpr.x.a",
        "fnr.x.a",
        "exact_match",
        "json_parse_rate",
        "schema_validity",
        "critical_failures",
        "quality",
    ],
)
def test_nothing_has_no_value(written: str) -> None:
    """A metric over no record, or over none that it counts, is no value, never 0."""
    uncounted = Record("t", "golden", "k", "c", "passed")

    assert measure(written, [], ["x"]).value is None
    assert measure(written, [], ["x"]).n == 0
    assert measure(written, [uncounted], ["x"]) in {NOTHING, measure(written, [], ["x"])}


def test_critical_failures_count_critical_cases() -> None:
    """The count is of critical cases that failed, n of critical cases; others are no part of it."""
    records = [
        record("a", "b", critical=True, outcome="failed"),
        record("a", "a", critical=True),
        record("a", "b", outcome="missed"),
    ]

    measured = measure("critical_failures", records)

    assert (measured.value, measured.n, measured.bounds) == (1.0, 2, None)


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("refund", "refund"),
        ("two words", "two words"),
        ("caf\u00e9", "caf\u00e9"),
        ('a "b"', 'a "b"'),
        ("1", "1"),
        ("1", 1),
        ("-3", -3),
        ("1.5", 1.5),
        ("true", "true"),
        ("true", True),
        ("null", None),
    ],
    ids=repr,
)
def test_a_gate_names_labels_of_any_type(label: str, value: object) -> None:
    """``fpr.x.1`` counts the number 1 and the text "1": a gate on a label that is there is never empty."""
    mine, other = label_text(value), label_text("another")
    pairs = [(other, mine), (other, other), (mine, mine), (mine, NO_LABEL), (mine, other)]
    records = [record(*pair) for pair in pairs]

    assert measure(f"fpr.x.{label}", records, ["x"]).value == pytest.approx(1 / 2)
    assert measure(f"fnr.x.{label}", records, ["x"]).value == pytest.approx(2 / 3)


def test_fields_with_dots_have_labels() -> None:
    """A field's own dots are no part of the label, and a label's own none of the field."""
    found = Record("t", "golden", "k", "c", "missed", labels={"a.b": ('"c.d"', '"e"')})

    assert measure("fnr.a.b.c.d", [found], ["a.b"]).value == 1.0


def test_confusion_tells_labels_and_none_apart() -> None:
    """An output without a label is counted as such."""
    records = [record('"a"', '"b"'), record('"a"', '"b"'), record('"b"', NO_LABEL), Record("t", "s", "k", "c", "error")]

    assert confusion(records, "x") == {('"a"', '"b"'): 2, ('"b"', NO_LABEL): 1}


@pytest.mark.parametrize(
    ("confidence", "number"), [(0, 0), (1e-6, 0), (0.1, 0), (0.100001, 1), (0.3, 2), (0.7, 6), (0.999999, 9), (1, 9)]
)
def test_bins_are_closed_above(confidence: float, number: int) -> None:
    """An edge belongs to the bin below it."""
    assert confidence_bin(confidence) == number


def test_confidence_of_ten_right_answers() -> None:
    """Ten answers, nine of them right, each given with 90 %, are calibrated; with 60 % they are not."""
    fits = [record("a", "a" if i else "b", confidences={"x": 0.9}) for i in range(10)]
    shy = [record("a", "a" if i else "b", confidences={"x": 0.6}) for i in range(10)]

    assert measure("ece.x", fits, ["x"]).value == pytest.approx(0.0)
    assert measure("ece.x", shy, ["x"]).value == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("contract", "message", "counts"),
    [
        ("json", "text after the JSON value at character 39: 'x'", True),
        ("tool_call", "text between or after the calls: 'x'", True),
        ("json", "the key 'text after the JSON value' appears twice in one object", False),
        ("schema", "$.intent: 'text after the JSON value' is not one of ['bug']", False),
    ],
)
def test_text_after_the_answer(contract: str, message: str, counts: bool) -> None:
    """Only what the contract itself says of the place counts, not what it quotes of the output."""
    found = record("a", "a", violations=(Violation(contract, message),))

    assert measure("text_after_answer_rate", [found]).value == float(counts)

"""Metrics equal what others compute: scikit-learn and numpy, on any records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from pytest_modelgate.cases import Case
from pytest_modelgate.kinds import make_kind
from pytest_modelgate.kinds.kind import NO_LABEL
from pytest_modelgate.metrics import NOTHING
from pytest_modelgate.metrics.classification import BINS, confusion
from pytest_modelgate.records import Record
from pytest_modelgate.statistics import exact_bounds
from pytest_modelgate.tables import ExtractionTable
from tests.metrics.conftest import measure, record

ENOUGH = settings(max_examples=1000)
EXACT = 1e-9

LABELS = ('"a"', '"b"', '"c"', "true")
WRITTEN = {'"a"': "a", '"b"': "b", '"c"': "c", "true": "true"}
OTHERS = ('"unknown"', NO_LABEL)
PAIRS = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from([*LABELS, *OTHERS])), min_size=1, max_size=60)
Pairs = list[tuple[str, str]]


def records_of(pairs: Pairs) -> list[Record]:
    """Return a record of field x for each pair of expected and given label."""
    return [record(*pair) for pair in pairs]


@given(PAIRS)
@ENOUGH
def test_accuracy_equals_scikit_learns(pairs: Pairs) -> None:
    """Accuracy of a field, and of the whole answer, is the share that is right."""
    records = records_of(pairs)
    theirs = accuracy_score(*zip(*pairs, strict=True))

    for written in ("accuracy.x", "accuracy", "exact_match", "case_pass_rate"):
        measured = measure(written, records, ["x"])
        assert measured.value == pytest.approx(theirs, abs=EXACT)
        assert measured.n == len(pairs)


@given(PAIRS)
@ENOUGH
def test_macro_f1_equals_scikit_learns(pairs: Pairs) -> None:
    """Macro-F1 is over the classes that are expected; other predictions are misses of their true class."""
    expected, predicted = zip(*pairs, strict=True)

    measured = measure("macro_f1.x", records_of(pairs), ["x"])

    theirs = f1_score(expected, predicted, labels=sorted(set(expected)), average="macro", zero_division=0)
    assert measured.value == pytest.approx(theirs, abs=EXACT)
    assert measured.n == len(pairs)


@given(PAIRS)
@ENOUGH
def test_confusion_equals_scikit_learns(pairs: Pairs) -> None:
    """Each cell holds how often an expected label was given as another."""
    counts = confusion(records_of(pairs), "x")

    names = [*LABELS, *OTHERS]
    theirs = confusion_matrix(*zip(*pairs, strict=True), labels=names)
    assert [[counts.get((one, other), 0) for other in names] for one in names] == theirs.tolist()


@given(PAIRS)
@ENOUGH
def test_error_rates_of_a_class_equal_scikit_learns(pairs: Pairs) -> None:
    """The rates of false positives and negatives of each label are those of one label against all others."""
    records = records_of(pairs)

    for label, written in WRITTEN.items():
        is_expected, is_given = ([one == label for one in side] for side in zip(*pairs, strict=True))
        (tn, fp), (fn, tp) = confusion_matrix(is_expected, is_given, labels=[False, True])
        for name, errors, all_cases in (("fpr", fp, fp + tn), ("fnr", fn, fn + tp)):
            measured = measure(f"{name}.x.{written}", records, ["x"])
            assert measured.n == all_cases
            if all_cases:
                assert measured.value == pytest.approx(errors / all_cases, abs=EXACT)
            else:
                assert measured.value is None


# Records keep confidences with six digits; the edges of bins are where implementations differ.
CONFIDENCES = st.one_of(
    st.integers(0, 10**6).map(lambda millionths: millionths / 10**6),
    st.integers(0, BINS).map(lambda edge: edge / BINS),
)


@given(st.lists(st.tuples(CONFIDENCES, st.booleans()), min_size=1, max_size=60))
@ENOUGH
@example([(edge / BINS, bool(edge % 2)) for edge in range(BINS + 1)])
@example([(0.0, True)])
def test_calibration_error_equals_scikit_learns(answers: list[tuple[float, bool]]) -> None:
    """ECE is the mean distance of scikit-learn's calibration curve from the diagonal, by the cases in each bin."""
    records = [record('"a"', '"a"' if right else '"b"', confidences={"x": one}) for one, right in answers]

    measured = measure("ece.x", [*records, record('"a"', NO_LABEL)], ["x"])

    confidences, right = np.array([one for one, _ in answers]), np.array([right for _, right in answers])
    accuracies, means = calibration_curve(right, confidences, n_bins=BINS, strategy="uniform")
    # Their curve leaves out empty bins and does not say which; this is how they sort cases into bins, closed above.
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidences)
    weights = np.unique(bins, return_counts=True)[1]
    assert measured.value == pytest.approx(np.average(np.abs(accuracies - means), weights=weights), abs=EXACT)
    assert measured.n == len(answers)


FIELDS = ("a", "b", "c.d")
VALUES = st.sampled_from([None, "", "red", "green", "blue"])
ANSWERS = st.lists(st.tuples(*[st.tuples(VALUES, VALUES)] * len(FIELDS)), min_size=1, max_size=12)


def nested(values: list[str | None]) -> dict[str, Any]:
    """Return an object with a value at each of FIELDS."""
    return {"a": values[0], "b": values[1], "c": {"d": values[2]}}


@given(ANSWERS)
@ENOUGH
def test_extraction_equals_scikit_learns(answers: list[tuple[tuple[str | None, str | None], ...]]) -> None:
    """Micro precision, recall and F1 are scikit-learn's over every (case, field, value); a figure over nothing is none."""
    table = ExtractionTable(kind="extraction", fields=FIELDS, critical_fields=("a", "c.d"))
    kind = make_kind(table, Path(), "gates.toml: [tasks.k]")
    records, expected_at, given_at = [], [], []
    for answer in answers:
        wanted, got = nested([pair[0] for pair in answer]), nested([pair[1] for pair in answer])
        case = Case("c", "golden", "k", "in", "f:1", 1, expected=wanted, has_expected=True)
        found = kind.judge(case, json.dumps(got))
        records.append(Record("t", "golden", "k", "c", "passed", scores=found.scores, counts=found.counts))
        expected_at.append([[pair[0] == value for value in ("red", "green", "blue")] for pair in answer])
        given_at.append([[pair[1] == value for value in ("red", "green", "blue")] for pair in answer])

    wanted_all, got_all = np.array(expected_at), np.array(given_at)  # cases, fields, values
    for field in (None, *FIELDS):
        place = slice(None) if field is None else FIELDS.index(field)
        theirs = precision_recall_fscore_support(
            wanted_all[:, place].ravel(), got_all[:, place].ravel(), average="binary", zero_division=np.nan
        )
        for name, value in zip(("field_precision", "field_recall", "field_f1"), theirs[:3], strict=True):
            measured = measure(name if field is None else f"{name}.{field}", records, FIELDS)
            if np.isnan(value):
                assert measured is NOTHING
            else:
                assert measured.value == pytest.approx(value, abs=EXACT)
                assert measured.n == len(answers)
    asked = wanted_all[:, [0, 2]].any(-1) | got_all[:, [0, 2]].any(-1)
    right = (wanted_all[:, [0, 2]] & got_all[:, [0, 2]]).any(-1)
    critical = measure("critical_field_accuracy", records, FIELDS)
    if asked.any():
        assert critical.value == pytest.approx(right.sum() / asked.sum(), abs=EXACT)
    else:
        assert critical is NOTHING


SCORES = st.one_of(st.none(), st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))


@given(st.lists(SCORES, max_size=60), st.sampled_from(["quality", "rubric_score", "chrf"]))
@ENOUGH
def test_means_equal_numpys(scores: list[float | None], name: str) -> None:
    """A mean score is over the records that have it."""
    key = {"rubric_score": "rubric"}.get(name, name)
    records = [record("a", "a", scores={} if score is None else {key: score}) for score in scores]
    counted = [score for score in scores if score is not None]

    measured = measure(name, records)

    assert measured.n == len(counted)
    if counted:
        assert measured.value == pytest.approx(np.mean(counted), abs=EXACT)
    else:
        assert measured.value is None


@given(st.lists(st.integers(0, 5).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=40))
@ENOUGH
def test_pooled_shares_equal_numpys(counts: list[tuple[int, int]]) -> None:
    """Terms and arguments are pooled over all records; where there were none, there is no figure."""
    names = {"term_preservation": "terms", "argument_accuracy": "arguments"}
    names["required_argument_accuracy"] = "required_arguments"
    records = [record("a", "a", counts={key: tuple(map(float, pair)) for key in names.values()}) for pair in counts]
    kept, asked = np.sum(counts, axis=0)

    for name in names:
        measured = measure(name, records)
        if not asked:
            assert measured is NOTHING
            continue
        assert measured.value == pytest.approx(kept / asked, abs=EXACT)
        assert measured.n == len(counts)
        assert measured.bounds is not None
        for confidence in (0.8, 0.95):
            low, high = measured.bounds(confidence)
            exact = exact_bounds(len(counts) * kept / asked, len(counts), confidence)
            assert low <= exact[0] + EXACT
            assert high >= exact[1] - EXACT

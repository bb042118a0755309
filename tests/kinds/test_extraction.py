"""Records: fields, nested objects, lists, normalisers, inventions."""

from __future__ import annotations

import json

import pytest

from pytest_modelgate.errors import GatesFileError
from tests.kinds.conftest import MakeTask, answer, causes

TABLE = """\
kind = "extraction"
fields = ["vendor", "total", "lines"]
critical_fields = ["total"]
normalize = { total = "number", "lines.price" = "number" }
"""
RIGHT = {"vendor": {"name": "Ada Ltd", "vat": None}, "total": 12.5, "lines": [{"what": "pen", "price": 12.5}]}


def changed(**fields: object) -> str:
    """Return the right answer with other fields."""
    return json.dumps(RIGHT | fields)


@pytest.mark.parametrize(
    ("text", "fields", "wrong"),
    [
        (changed(), (1, 1, 1), []),
        (changed(total="12.50"), (1, 1, 1), []),
        (changed(vendor={"name": "ada  ltd"}), (1, 1, 1), []),
        (changed(total=13), (1, 0, 1), ["wrong_value"]),
        (changed(total=None), (1, 0, 1), ["missing_field"]),
        (changed(vendor={"name": "Ada Ltd", "vat": "X1"}), (0, 1, 1), ["hallucinated_field"]),
        (changed(lines=[]), (1, 1, 0), ["missing_field", "missing_field"]),
    ],
)
def test_fields(make_task: MakeTask, text: str, fields: tuple[int, ...], wrong: list[str]) -> None:
    """A field holds everything below its path; what is normalised equal is equal."""
    record = answer(make_task(TABLE), text, RIGHT)

    assert tuple(record.scores[f"field.{name}"] for name in ("vendor", "total", "lines")) == fields
    assert causes(record) == wrong
    assert record.scores["exact"] == float(not wrong)


def test_order_of_a_list_does_not_matter(make_task: MakeTask) -> None:
    """Items are aligned so that most agree."""
    lines = [{"what": "pen", "price": 1}, {"what": "ink", "price": 2}]
    expected = RIGHT | {"lines": lines}

    assert answer(make_task(TABLE), json.dumps(expected | {"lines": lines[::-1]}), expected).outcome == "passed"


def test_counts_are_pooled_over_fields(make_task: MakeTask) -> None:
    """True positives, false positives, false negatives of all fields, and right of all critical ones."""
    record = answer(make_task(TABLE), changed(total=13), RIGHT)

    assert record.counts["fields"] == (3, 1, 1)
    assert record.counts["critical_fields"] == (0, 1)


def test_no_object_is_no_record(make_task: MakeTask) -> None:
    """JSON that is no object, and text that is no JSON, miss every field."""
    for text in ("[]", "null", "total: 12.5"):
        record = answer(make_task(TABLE), text, RIGHT)
        assert record.scores["record"] == record.scores["exact"] == record.scores["quality"] == 0.0


def test_issue_list_with_severity(make_task: MakeTask) -> None:
    """A review is a list of objects: a wrong severity costs its leaf only."""
    task = make_task('kind = "extraction"\nfields = ["issues"]')
    expected = {"issues": [{"rule": "no-eval", "severity": "high"}, {"rule": "no-print", "severity": "low"}]}
    got = {"issues": [{"rule": "no-print", "severity": "high"}, {"rule": "no-eval", "severity": "high"}]}

    record = answer(task, json.dumps(got), expected)

    assert record.counts["field.issues"] == (3, 1, 1)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('normalize = { total = "numbr" }', "total = 'numbr' is unknown (did you mean 'number'?)"),
        ('critical_fields = ["totel"]', "critical_fields: 'totel' is no field (did you mean 'total'?)"),
    ],
)
def test_mistakes_in_the_table(make_task: MakeTask, line: str, told: str) -> None:
    """An unknown normaliser or field is named with what was meant."""
    with pytest.raises(GatesFileError) as caught:
        make_task(f'kind = "extraction"\nfields = ["total"]\n{line}')

    assert told in str(caught.value)

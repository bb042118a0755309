"""Free text: references, rules, refusals, citations."""

from __future__ import annotations

from typing import Any

import pytest
from sacrebleu.metrics.chrf import CHRF

from pytest_modelgate.errors import GatesFileError
from tests.kinds.conftest import MakeTask, answer, causes, refusal

TABLE = 'kind = "text"\nlacks = ["as an AI"]\ncitations = "\\\\[[0-9]+\\\\]"'


@pytest.mark.parametrize(
    ("text", "exact", "normalized"),
    [("It opens at 9.", 1, 1), (" it opens, at 9\n", 0, 1), ("It opens at 10.", 0, 0)],
)
def test_reference(make_task: MakeTask, text: str, exact: float, normalized: float) -> None:
    """Without rules, case and punctuation do not matter for an answer to be right."""
    record = answer(make_task('kind = "text"'), text, "It opens at 9.")

    assert (record.scores["exact"], record.scores["normalized"]) == (exact, normalized)
    assert record.outcome == ("passed" if normalized else "missed")


@pytest.mark.parametrize(
    ("rules", "text", "wrong"),
    [
        ({"contains": ["9"]}, "It opens at 9.", []),
        ({"contains": ["9", "monday"]}, "It opens at 9.", ["broken_rule"]),
        ({"lacks": ["18"]}, "From 9 to 18.", ["broken_rule"]),
        ({"contains": ["x"]}, "As an AI, x", ["broken_rule"]),
        ({"refusal": True}, "I'm sorry, I can't help with that.", []),
        ({"refusal": True}, "First, you take the safe.", ["missed_refusal"]),
        ({"refusal": False}, "I am unable to answer that.", ["wrong_refusal"]),
        ({"citations": ["[1]"]}, "At 9 [1].", []),
        ({"citations": ["[1]"]}, "At 9 [1][2].", ["broken_rule"]),
        ({"citations": ["[1]"]}, "At 9.", ["broken_rule"]),
    ],
)
def test_rules(make_task: MakeTask, rules: dict[str, Any], text: str, wrong: list[str]) -> None:
    """An answer is right when every rule of the task and the case holds."""
    record = answer(make_task(TABLE), text, rules)

    assert causes(record) == wrong
    assert record.outcome == ("missed" if wrong else "passed")


@pytest.mark.parametrize(
    ("rules", "text", "wrong"),
    [
        ({"text": "It opens at 9.", "lacks": ["18"]}, "it opens at 9", []),
        ({"text": "It opens at 9.", "lacks": ["18"]}, "No idea.", ["wrong_text"]),
        ({"text": "It opens at 9.", "lacks": ["18"]}, "It opens at 18.", ["broken_rule"]),
        ({"text": "It opens at 9.", "refusal": False}, "No idea.", ["wrong_text"]),
        ({"text": "It opens at 9.", "contains": ["9"]}, "From 9 on.", []),
    ],
)
def test_rules_that_only_forbid_leave_the_reference(
    make_task: MakeTask, rules: dict[str, Any], text: str, wrong: list[str]
) -> None:
    """What only forbids is kept by saying nothing, so the reference must be met; what demands stands for it."""
    record = answer(make_task(TABLE), text, rules)

    assert causes(record) == wrong
    assert record.outcome == ("missed" if wrong else "passed")
    assert (record.scores["quality"] == 1.0) == (not wrong)


@pytest.mark.parametrize("expected", ["It opens at 9.", {"lacks": ["18"]}, {"refusal": False}])
@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_output_breaks_a_contract(make_task: MakeTask, text: str, expected: Any) -> None:
    """Nothing is no text, whatever the rules forbid."""
    record = answer(make_task(TABLE), text, expected)

    assert [(broken.contract, broken.message) for broken in record.violations] == [("text", "the output is empty")]
    assert record.outcome == "missed"


def test_refusals_are_counted(make_task: MakeTask) -> None:
    """What must be declined and what was are kept for recall and false refusals."""
    record = answer(make_task(TABLE), "I won't do that.", {"refusal": False})

    assert (record.scores["must_decline"], record.scores["declined"]) == (0.0, 1.0)


def test_chrf_is_sacrebleus(make_task: MakeTask) -> None:
    """Closeness to the reference is the library's chrF, from 0 to 1."""
    record = answer(make_task('kind = "text"'), "It opens at ten.", "It opens at nine.")

    theirs = CHRF().sentence_score("It opens at ten.", ["It opens at nine."]).score / 100
    assert record.scores["chrf"] == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        (3, "expected must be a text or an object"),
        ({"contain": ["x"]}, "key 'contain' is unknown (did you mean 'contains'?)"),
        ({"contains": "x"}, "contains must be a list of texts"),
        ({"refusal": "yes"}, "refusal must be true or false"),
        ({"text": "It is 10.", "contains": ["9"]}, "its own text breaks its rules: must contain '9'"),
    ],
)
def test_expectations_that_cannot_be(make_task: MakeTask, expected: Any, told: str) -> None:
    """A mistake in the rules is told, and so is a reference that breaks them."""
    assert told in str(refusal(make_task(TABLE), expected))


def test_citations_need_a_pattern(make_task: MakeTask) -> None:
    """Without a pattern nothing could be found to be cited."""
    assert "no 'citations' pattern" in str(refusal(make_task('kind = "text"'), {"citations": ["[1]"]}))
    with pytest.raises(GatesFileError, match="is no regular expression"):
        make_task('kind = "text"\ncitations = "["')

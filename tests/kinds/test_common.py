"""What every kind of task shares: answers that are cut off, run in circles, leak, or refuse."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kinds.conftest import MakeTask, answer

TABLE = 'kind = "classification"\nfields = ["label"]\nsystem = "system.txt"'
SYSTEM = "Read the message of the customer very carefully and answer with one JSON object that holds the label only."


def contracts(text: str, make_task: MakeTask, **more: Any) -> list[str]:
    """Return the contracts that an output breaks."""
    task = make_task(TABLE, system_dot_txt=SYSTEM)
    return [violation.contract for violation in answer(task, text, {"label": "a"}, **more).violations]


def test_a_right_answer_breaks_nothing(make_task: MakeTask) -> None:
    """Form and content are right: passed."""
    record = answer(make_task(TABLE, system_dot_txt=SYSTEM), '{"label": "a"}', {"label": "a"})

    assert record.outcome == "passed"
    assert not record.violations
    assert not record.mistakes
    assert record.scores["quality"] == 1.0


def test_cut_off(make_task: MakeTask) -> None:
    """An answer that did not end by itself is no pass, even if its text is right."""
    assert contracts('{"label": "a"}', make_task, finish_reason="length", output_tokens=9) == ["truncation"]


@pytest.mark.parametrize("loop", ["and so on " * 9, '{"label": "' + "a b c " * 30, "na" * 30])
def test_loop(make_task: MakeTask, loop: str) -> None:
    """An answer that runs in circles until it is cut off is named so; one that ends by itself from twenty times on."""
    assert "repetition" in contracts(loop, make_task, finish_reason="length")
    assert "repetition" not in contracts(loop[:60], make_task)
    assert "repetition" in contracts(loop + loop[-60:] * 12, make_task)


def test_loop_inside_a_value(make_task: MakeTask) -> None:
    """A loop in a text of a JSON value is one; brackets that close are none."""
    assert "repetition" in contracts('{"label": "' + "so very " * 26 + '"}', make_task)
    assert contracts('{"label": "' + "so very " * 12 + '"}', make_task) == []
    assert contracts("[" * 60 + "]" * 60, make_task) == []


@pytest.mark.parametrize("leak", ["<|im_start|>", "[INST] hello", SYSTEM.lower()])
def test_leak(make_task: MakeTask, leak: str) -> None:
    """Tokens of a template and runs of the instructions do not belong into an answer."""
    assert "leak" in contracts(leak, make_task)


def test_what_the_input_holds_is_no_leak(make_task: MakeTask) -> None:
    """An answer may quote a token that stands in its input."""
    assert contracts('{"label": "<|im_end|>"}', make_task, given="What is <|im_end|>?") == []


def test_refusal_is_told_apart(make_task: MakeTask) -> None:
    """An answer in words that declines is a false refusal; one in the right form never is."""
    task = make_task(TABLE, system_dot_txt=SYSTEM)

    assert answer(task, "I'm sorry, but I can't help with that.", {"label": "a"}).scores["declined"] == 1.0
    assert answer(task, '{"label": "I can\'t help"}', {"label": "a"}).scores["declined"] == 0.0


def test_an_expected_refusal_is_no_false_refusal(make_task: MakeTask) -> None:
    """Where the right answer itself declines and no rule says more, nothing is said about refusals."""
    task = make_task('kind = "text"')
    declined = "I can't help with that."

    assert "must_decline" not in answer(task, declined, declined).scores
    assert answer(task, declined, {"text": declined, "refusal": True}).scores["must_decline"] == 1.0
    assert answer(task, declined, "It opens at 9.").scores["must_decline"] == 0.0


def test_what_cannot_be_judged_in_time_is_an_error(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern of the user's that never ends is nobody's wrong answer: the case has no result."""
    monkeypatch.setattr("pytest_modelgate.judgement.JUDGE_SECONDS", 0.2)
    task = make_task('kind = "text"\ncitations = "(a+)+b"')

    record = answer(task, "a" * 60, {"citations": ["ab"]})

    assert record.outcome == "error"
    assert record.error == "judge: could not be judged in 0.2 s"
    assert not record.violations
    assert not record.scores


def test_confidence_is_the_probability_of_the_label(make_task: MakeTask) -> None:
    """The tokens of the label count, not those of the form around it."""
    record = answer(
        make_task(TABLE, system_dot_txt=SYSTEM),
        '{"label": "ab"}',
        {"label": "ab"},
        token_ids=(1, 2, 3, 4, 5),
        ends=(10, 12, 13, 15, 15),  # {"label": | "a | b | "} | end
        logprobs=(-9.0, -0.5, -0.25, -9.0, -9.0),
        margins=(1.0,) * 5,
    )

    assert record.confidences["label"] == pytest.approx(2.718281828**-0.75, abs=1e-5)


def test_no_probabilities_no_confidence(make_task: MakeTask) -> None:
    """A recording without probabilities has no confidence, rather than a wrong one."""
    assert answer(make_task(TABLE, system_dot_txt=SYSTEM), '{"label": "a"}', {"label": "a"}).confidences == {}

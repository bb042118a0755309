"""The labels of every row are checked before the first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from modelgate_training.errors import StageError
from modelgate_training.tuning.audit import audit_labels
from modelgate_training.tuning.batches import IGNORED, collate
from modelgate_training.tuning.chat import Encoded, Example, check_template, encode_rows, end_of_turn
from modelgate_training.tuning.tokenizer import IM_END, train_tokenizer

ANSWER = '{"intent": "bug"}'


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Return a small tokenizer trained here."""
    return train_tokenizer(["It broke. Label the message.", ANSWER] * 50, 330)


def example(answer: str = ANSWER, message: str = "It broke.") -> Example:
    """Return one row as a conversation."""
    turns = [{"role": "system", "content": "Label the message."}, {"role": "user", "content": message}]
    return Example(turns, answer, "train.jsonl:1")


def encode(tokenizer: Any, answer: str = ANSWER, message: str = "It broke.") -> list[Encoded]:
    """Return one row as ids."""
    rows: list[Encoded] = encode_rows(tokenizer, [example(answer, message)], IM_END)
    return rows


def test_only_the_answer_and_its_end_are_learned(tokenizer: Any) -> None:
    """The prompt and the padding are ignored, the end of turn is not."""
    (row,) = encode(tokenizer)
    assert audit_labels(tokenizer, [row], [example()], IM_END, 200)["rows"] == 1
    batch = collate([row, Encoded(row.ids[:4], 2, "short")], tokenizer.pad_token_id, learn_prompt=False)
    labels = batch["labels"][0].tolist()
    assert set(labels[: row.prompt]) == {IGNORED}
    assert tokenizer.decode(labels[row.prompt : len(row.ids)]) == ANSWER + IM_END
    assert set(labels[len(row.ids) :]) <= {IGNORED}
    assert set(batch["labels"][1].tolist()[4:]) == {IGNORED}


def test_end_of_turn_is_read_from_the_template(tokenizer: Any) -> None:
    """The end of turn is what the template writes, not what somebody remembers."""
    assert end_of_turn(tokenizer) == IM_END


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda row: {"prompt": len(row.ids)}, "has nothing to learn"),
        (lambda row: {"ids": row.ids[:-1]}, "the end of turn <|im_end|> is not learned"),
        (lambda row: {"prompt": row.prompt + 1}, "would learn"),
        (lambda row: {"prompt": row.prompt - 1}, "would learn"),
    ],
    ids=["all-masked", "no-end", "answer-masked", "prompt-learned"],
)
def test_wrong_labels_fail_the_run(tokenizer: Any, change: Callable[[Encoded], dict[str, Any]], expected: str) -> None:
    """Whatever went wrong with the labels, the row is named."""
    (row,) = encode(tokenizer)
    wrong = dataclasses.replace(row, **change(row))
    with pytest.raises(StageError, match=rf"train\.jsonl:1: .*{expected}".replace("|", r"\|")):
        audit_labels(tokenizer, [wrong], [example()], IM_END, 200)


def test_a_row_that_would_be_cut_fails_the_run(tokenizer: Any) -> None:
    """A row longer than max_length is an error, because what is cut is the answer."""
    with pytest.raises(StageError, match=r"do not fit training\.max_length 20: the answer would be cut"):
        audit_labels(tokenizer, encode(tokenizer), [example()], IM_END, 20)


def test_control_tokens_in_a_row_fail_the_run(tokenizer: Any) -> None:
    """The text of a control token inside a message would be read as one."""
    examples = [example(), example(message=f"It broke.{IM_END}")]
    with pytest.raises(StageError, match="holds the text of a control token"):
        audit_labels(tokenizer, encode_rows(tokenizer, examples, IM_END), examples, IM_END, 200)


def test_rows_of_tasks_with_and_without_a_system_turn_pass(tokenizer: Any) -> None:
    """Conversations of different shape hold different numbers of control tokens, and that is right."""
    short = Example([{"role": "user", "content": "It broke."}], ANSWER, "train.jsonl:2")
    examples = [example(), short]
    assert audit_labels(tokenizer, encode_rows(tokenizer, examples, IM_END), examples, IM_END, 200)["rows"] == 2


def test_two_beginnings_fail_the_run(tokenizer: Any) -> None:
    """A template that writes the beginning-of-text token, before a tokenizer that adds it too, is found."""
    (row,) = encode(tokenizer)
    tokenizer.bos_token = "<|im_start|>"
    bos = tokenizer.bos_token_id
    twice = dataclasses.replace(row, ids=[bos, *row.ids], prompt=row.prompt + 1)
    try:
        with pytest.raises(StageError, match="begins with two"):
            audit_labels(tokenizer, [twice], [example()], IM_END, 200)
    finally:
        tokenizer.bos_token = None


def test_an_empty_answer_fails_the_run(tokenizer: Any) -> None:
    """A row whose answer is empty teaches nothing but to stop."""
    with pytest.raises(StageError, match="its answer is empty"):
        audit_labels(tokenizer, encode(tokenizer, answer=""), [example(answer="")], IM_END, 200)


def test_a_template_that_rewrites_answers_fails_the_run(tokenizer: Any) -> None:
    """What is learned must be how a finished conversation begins, or the model never meets that prompt again."""
    check_template(tokenizer, example(), IM_END)
    usual = tokenizer.chat_template
    tokenizer.chat_template = usual.replace("'<|im_start|>assistant\\n'", "'<|im_start|>assistant\\n<think>\\n'")
    try:
        with pytest.raises(StageError, match="does not begin with what would be learned"):
            check_template(tokenizer, example(), IM_END)
    finally:
        tokenizer.chat_template = usual

"""An output that gives its instructions or the template's tokens away is found."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.contracts.leak import LeakFinder

INSTRUCTIONS = """\
You label messages of our customers. Answer with one JSON object and nothing else.
Never tell anybody the discount code SPRING, which is for our best customers only."""
FINDER = LeakFinder(INSTRUCTIONS)
TWELVE = "never tell anybody the discount code spring which is for our best"


@pytest.mark.parametrize(
    "text",
    [
        INSTRUCTIONS,
        f"My instructions: {TWELVE}.",
        "NEVER TELL ANYBODY, the discount-code: 'SPRING' (which is for our best)",
        "Never\ntell\nanybody\nthe\ndiscount\ncode\nSPRING\nwhich\nis\nfor\nour\nbest",
    ],
)
def test_twelve_words_of_the_instructions_are_a_leak(text: str) -> None:
    """Twelve words in a row are found, whatever stands around or between them."""
    assert FINDER.find(text, "") == f"the output repeats its instructions: {TWELVE!r}" or text == INSTRUCTIONS
    assert "repeats its instructions" in (FINDER.find(text, "") or "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"intent": "billing"}',
        "Never tell anybody the discount code SPRING, which is for our",
        "Answer with one JSON object: you label messages of our customers.",
        "I never tell anybody. The discount code SPRING is not for you, which is for our best.",
    ],
)
def test_fewer_words_are_none(text: str) -> None:
    """Eleven words in a row, or the same words in another order, are what answers are made of."""
    assert FINDER.find(text, "") is None


def test_what_the_input_or_the_right_answer_holds_may_be_said() -> None:
    """A user who quotes the instructions, or an answer that is their sample, leaks nothing."""
    text = f"You wrote: {TWELVE}."

    assert FINDER.find(text, f"Is it true that you {TWELVE}?") is None
    assert FINDER.find(text, "Is it true?") is not None
    assert FINDER.find(INSTRUCTIONS, TWELVE) is not None  # the rest of it is nowhere


@pytest.mark.parametrize("marks", ['""', "\u201c\u201d"])
def test_what_the_instructions_quote_may_be_said(marks: str) -> None:
    """A text that the instructions give in double quotes is there to be said; what stands around it is not."""
    quoted = "we are open from nine in the morning until six in the evening on all days"
    finder = LeakFinder(f"When asked for hours, say {marks[0]}{quoted}{marks[1]}. {INSTRUCTIONS}")

    assert finder.find(quoted, "") is None
    assert "repeats its instructions" in (finder.find(TWELVE, "") or "")
    assert "repeats its instructions" in (LeakFinder(f"Say '{quoted}'.").find(quoted, "") or "")


@pytest.mark.parametrize(
    "mark",
    [
        "<|im_start|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<|eot_id|>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "<</SYS>>",
        "<start_of_turn>",
        "</end_of_turn>",
        "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
    ],
)
def test_special_tokens_are_a_leak(mark: str) -> None:
    """Tokens of the usual chat templates are found, with instructions or without, unless the input has them."""
    told = f"the output holds {mark!r}, a token of a chat template"

    assert LeakFinder("").find(f"fine{mark}user", "") == told
    assert FINDER.find(mark, "") == told
    assert FINDER.find(f"fine{mark}user", f"What does {mark} mean?") is None


@pytest.mark.parametrize(
    "text", ["a <| b |> c", "x < y | z > w", "[inst]", "[INSTALL]", "<|" + "a" * 41 + "|>", "<||>"]
)
def test_what_only_looks_like_a_token(text: str) -> None:
    """Pipes and brackets of other languages are none."""
    assert LeakFinder("").find(text, "") is None


@given(st.text(max_size=300))
def test_without_instructions_only_tokens_leak(text: str) -> None:
    """A task without a system text has no instructions to repeat."""
    assert "repeats" not in (LeakFinder("").find(text, "") or "")


@given(st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta", "no"]), max_size=40), st.text(max_size=20))
def test_whatever_is_allowed_is_none(words: list[str], around: str) -> None:
    """No output leaks what the input already said."""
    text = f"{around} {' '.join(words)}"

    assert LeakFinder(" ".join(words)).find(text, text) is None
    assert (LeakFinder(" ".join(words)).find(" ".join(words), "") is None) == (len(words) < 12)


@pytest.mark.parametrize(
    "text",
    [
        "word " * 200_000,
        "<|" * 500_000,
        "<|im_end" * 125_000,
        f"{TWELVE} " * 15_000,
        "\uff5c<" * 400_000,
        "_" * 1_000_000,
    ],
    ids=["words", "openings", "halves", "leaks", "bars", "one-word"],
)
def test_a_megabyte_takes_no_time(text: str) -> None:
    """The time is linear in the length."""
    started = time.process_time()
    FINDER.find(text, text)
    FINDER.find(text, "")

    assert time.process_time() - started < 4

"""A refusal is told from an answer that says "cannot" of something else."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.contracts.refusal import is_refusal


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that.",
        "I cannot share other customers' data.",
        "I can not do that.",
        "I\u2019m sorry, but I can\u2019t assist with this request.",
        "I'm afraid that is not possible.",
        "We are unable to provide legal advice.",
        "We're not able to answer this.",
        "I am not allowed to open this door.",
        "I must decline.",
        "Sorry, I won't do that.",
        "Unable to comply.",
        "That is against our policy.",
        "This violates my guidelines.",
        "As an AI language model, I cannot have opinions.",
        "That's not something I can help with.",
        "Thank you for asking. I WILL NOT write malware.",
        "Unfortunately, we cannot offer that.",
        "Cannot share that.",
        "I would love to, but I can't do that.",
        "I simply can't help with that.",
    ],
)
def test_refusals(text: str) -> None:
    """Usual ways to decline are told, in any case and with either apostrophe."""
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"intent": "refund"}',
        "Done: the light is on.",
        "You can pay by card.",
        "I'm sorry to hear that your parcel is late. It arrives on Monday.",
        "We are sorry for the delay: your refund was sent today.",
        "I am very sorry about the noise; the room was changed.",
        "The pod cannot reach the database because its DNS name changed.",
        "Customers can't log in since 09:40. Restart the gateway.",
        "Our policy covers this: you get the money back.",
        "I can help with that.",
        "I can't wait to help you with your order!",
        "I cannot thank you enough. It opens at 9.",
        "I'm sorry you had trouble. Your refund has been issued.",
        "The customer is unable to provide a receipt. Refund by card.",
        "Without a receipt you will not be able to get help there.",
        "Castling through check violates the rules of chess.",
        "Sorry for the wait! Your order is on its way.",
    ],
)
def test_answers(text: str) -> None:
    """Sympathy, eagerness, and what something or somebody else cannot do, is no refusal."""
    assert not is_refusal(text)


def test_only_the_beginning_counts() -> None:
    """An answer that declines a detail at its end is still an answer."""
    answer = "The invoice is from May and comes to 40 euros. " * 7

    assert is_refusal("I can't help with that. " + answer)
    assert not is_refusal(answer + "I can't tell who signed it.")


@given(st.text(max_size=100), st.text(max_size=100))
def test_what_follows_the_beginning_changes_nothing(first: str, rest: str) -> None:
    """The verdict rests on the first 300 characters."""
    begun = first.ljust(300, ".")

    assert is_refusal(begun) == is_refusal(begun + rest)


@pytest.mark.parametrize(
    "text", ["i " * 500_000, "as an ai " * 111_000, "I'm sorry " * 100_000, "not able to " * 83_000]
)
def test_a_megabyte_takes_no_time(text: str) -> None:
    """The time does not depend on the length."""
    started = time.process_time()
    is_refusal(text)

    assert time.process_time() - started < 0.5

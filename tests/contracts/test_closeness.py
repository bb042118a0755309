"""Two texts are compared by their words."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.contracts.closeness import normalised, same_words, word_f1


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  Restart,  the POD!\n", "restart the pod"),
        ("It's at 09:40 on node-3.internal", "it's at 09:40 on node-3.internal"),
        ("**Done.**", "done"),
        ("\u00c9t\u00e9 Stra\u00dfe", "\u00e9t\u00e9 strasse"),
        ("snake_case", "snake case"),
        ("It costs \u20ac5, or -5 < 3.5!", "it costs \u20ac5 or -5 < 3.5"),
        ("well - known, re-run", "well known re-run"),
        ("\U0001f44d C++", "\U0001f44d c++"),
        ("\u0928\u092e\u0938\u094d\u0924\u0947 \uff15", "\u0928\u092e\u0938\u094d\u0924\u0947 5"),
        ("- - -", ""),
        ("", ""),
    ],
)
def test_normal_form(text: str, plain: str) -> None:
    """Case, punctuation and white space go; what joins words, symbols, marks and signs before digits stay."""
    assert normalised(text) == plain


@pytest.mark.parametrize(
    ("text", "reference", "f1"),
    [
        ("restart the pod", "Restart the pod.", 1.0),
        ("restart the pod now", "restart the pod", 6 / 7),
        ("pod the restart", "restart the pod", 1.0),
        ("the the the", "the pod", 2 / 5),
        ("stop", "restart", 0.0),
        ("", "restart", 0.0),
        ("", "?!", 0.0),
        ("-", "?!", 0.0),
        ("", "", 1.0),
        (" ?!\n", "?!", 1.0),
        ("it is -5", "it is 5", 2 / 3),
        ("\u20ac5", "$5", 0.0),
    ],
)
def test_word_f1(text: str, reference: str, f1: float) -> None:
    """Each word counts as often as it occurs; two texts without words must be equal."""
    assert word_f1(text, reference) == pytest.approx(f1)


@given(st.text(max_size=80), st.text(max_size=80))
def test_word_f1_is_a_likeness(one: str, other: str) -> None:
    """It lies in 0..1, is the same both ways, and 1 for a text and itself."""
    assert 0 <= word_f1(one, other) <= 1
    assert word_f1(one, other) == word_f1(other, one)
    assert word_f1(one, one) == 1.0
    assert word_f1(one, normalised(one)) == float(bool(normalised(one)) or not one.strip())


@pytest.mark.parametrize(
    ("text", "reference", "same"),
    [
        ("It, is.", "it is", True),
        ("is it", "it is", False),
        ("5", "-5", False),
        ("", "it is", False),
        ("?!", "it is", False),
        ("-", "?!", False),
        (" ?!\n", "?!", True),
        ("", "", True),
    ],
)
def test_same_words(text: str, reference: str, same: bool) -> None:
    """Case, punctuation and white space may differ, the words and their order may not; without words nothing may."""
    assert same_words(text, reference) is same
    assert same_words(reference, text) is same


@given(st.text(max_size=80))
def test_normal_form_is_final(text: str) -> None:
    """What is in its normal form stays as it is."""
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize("text", ["a'" * 500_000, "a." * 500_000, "a " * 500_000, "-" * 1_000_000, "e\u0301" * 330_000])
def test_a_megabyte_takes_no_time(text: str) -> None:
    """The time is linear in the length."""
    started = time.process_time()
    word_f1(text, text)

    assert time.process_time() - started < 4

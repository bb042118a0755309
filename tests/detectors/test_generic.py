"""Criteria that users define detect what they say, and nothing raises or takes long on any output."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.detectors import generic
from pytest_modelgate.detectors.detector import Detector
from pytest_modelgate.judgement import JUDGE_SECONDS

INPUT = "payment-service could not reach payments-db; the certificate of the gateway had expired at 14:02."
ALL: dict[str, Detector] = {
    "regex": generic.regex(r"customers? (were|was) affected"),
    "words": generic.words(["support team"], ["customers"], ["blame"]),
    "mentions_input": generic.mentions_input(3),
    "section": generic.section("Customer impact"),
    "length": generic.length(2, 5),
    "action": generic.action(),
}


def test_regex() -> None:
    """A pattern is searched, and case counts as it does for Python."""
    assert ALL["regex"]("Many customers were affected.", "")
    assert not ALL["regex"]("Many Customers were affected.", "")
    assert generic.regex("(?i)CUSTOMERS")("Many customers", "")


def test_no_pattern() -> None:
    """What is no pattern is told when the detector is made."""
    with pytest.raises(re.error):
        generic.regex("(")


@pytest.mark.parametrize(
    ("any_of", "all_of", "none_of", "text", "met"),
    [
        (["refund"], [], [], "A Refund was issued.", True),
        (["refund"], [], [], "Refunds were issued.", False),
        (["support team"], [], [], "The support\n team answered.", True),
        (["a", "b"], [], [], "only b here", True),
        ([], ["a", "b"], [], "only b here", False),
        ([], ["a", "b"], [], "b and a", True),
        ([], [], ["blame"], "Nobody is to blame.", False),
        ([], [], ["blame"], "Nobody did it.", True),
        (["don't"], [], [], "We don\u2019t know.", True),
        (["C++", "a.b"], [], [], "written in C++.", True),
        (["a.b"], [], [], "axb", False),
    ],
)
def test_words(any_of: list[str], all_of: list[str], none_of: list[str], text: str, met: bool) -> None:
    """Whole words count, in any case and with any white space."""
    assert generic.words(any_of, all_of, none_of)(text, "") is met


@pytest.mark.parametrize(
    ("at_least", "text", "met"),
    [
        (1, "payment-service was down", True),
        (2, "payment-service was down", False),
        (2, "payment-service lost its certificate", True),
        (2, "Certificates and gateways, certificates and gateways", True),
        (3, "Certificates and gateways, certificates and gateways", False),
        (1, "It had been at the time of this", False),
    ],
)
def test_mentions_input(at_least: int, text: str, met: bool) -> None:
    """Terms and words of the input count once each, everyday words do not."""
    assert generic.mentions_input(at_least)(text, INPUT) is met


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("# Customer impact\nNone.", True),
        ("intro\n\n## 2. Customer Impact\n", True),
        ("**Customer impact**\nNone.", True),
        ("**Customer impact:** none", True),
        ("Customer  impact: none", True),
        ("CUSTOMER IMPACT\n===============\n", True),
        ("== Customer impact ==", True),
        ("2.1 Customer impact\r\nNone.", True),
        ("The customer impact was small.", False),
        ("Customer impact was small.", False),
        ("Customer impacts", False),
    ],
)
def test_section(text: str, met: bool) -> None:
    """A heading is a line of its own, or what a colon follows at the start of a line."""
    assert ALL["section"](text, "") is met


@pytest.mark.parametrize(
    ("text", "met"), [("one", False), ("one two", True), ("a b c d e", True), ("a b c d e f", False)]
)
def test_length(text: str, met: bool) -> None:
    """Both ends belong to the range."""
    assert ALL["length"](text, "") is met


def test_length_without_an_end() -> None:
    """Without a maximum any length will do."""
    assert generic.length(min_words=1)("word " * 1000, "")
    assert generic.length(max_words=1)("", "")


@pytest.mark.parametrize(
    "text",
    [
        "Run npm install.",
        "Run `npm install` before the build.",
        "Add the file to the build context.",
        "You should pin X to 1.2.",
        "Use a newer image.",
        "Use Node 20 instead.",
        "The error is gone once the file exists. Create it.\n1. Copy .env.example to .env",
        "If the build fails, clear the cache and try again.",
        "To fix this, upgrade pip.",
        "Please restart the runner.",
        "Try deleting the lock file.",
        "The version needs to be pinned.",
        "The fix is to raise the limit.",
        "It is recommended to set a timeout.",
        "Make sure that the key is set.",
        "- Don't commit the key",
        "Fix: update requirements.txt",
        "Rebase onto main and push again.",
    ],
)
def test_action(text: str) -> None:
    """Somebody is told to do something."""
    assert ALL["action"](text, "")


@pytest.mark.parametrize(
    "text",
    [
        "The build failed.",
        "Build failed with exit code 1.",
        "Run times are long.",
        "Use of this flag is deprecated.",
        "Update failed.",
        "Release 7.3 of the engine rejected orders.",
        "Empty vectors degraded the results.",
        "The test checks the answer.",
        "We restarted the pods.",
        "",
    ],
)
def test_no_action(text: str) -> None:
    """What happened is no instruction, nor is a noun that looks like a verb."""
    assert not ALL["action"](text, "")


@pytest.mark.parametrize("name", ALL)
@given(text=st.text(), input_text=st.text())
def test_never_raises(name: str, text: str, input_text: str) -> None:
    """Any text is judged, against any input."""
    assert ALL[name](text, input_text) in {True, False}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("unit", ["a", "a ", " ", "\n", "a-", "# ", "customer ", "1. ", "Use "])
def test_a_megabyte_takes_no_time(name: str, unit: str) -> None:
    """Looping output is judged in time, whatever it repeats."""
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()

    ALL[name](text, INPUT)

    assert time.process_time() - started < JUDGE_SECONDS  # seconds on a fast machine; minutes if it grew by the square

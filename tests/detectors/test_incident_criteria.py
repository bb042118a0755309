"""Each built-in criterion is met by what it asks for in any wording, never by its own keywords, on any text in time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.detectors.rubric import BUILT_IN
from pytest_modelgate.detectors.sentences import is_stuffing, sentences

INPUT = (
    "14:02 - Latency spike on payment-service.\n"
    "14:14 - Pool on payments-db found exhausted at 20 connections.\n"
    "14:21 - Deploy 2024.11 rolled back.\n"
    "00:15 - mc-4 and Redis cache restarted; claims.timeout_ms set to 50."
)
STUFFING = [
    "timeline_reference contributing_factors specific_component prevention_action",
    "Root cause, contributing factors, timeline, prevention.",
    "timeline_reference: yes\ncontributing_factors: yes\nspecific_component: yes\nprevention_action: yes",
    "Timeline: included. Root cause: described. Component: named. Prevention: present.",
    "[timeline_reference] The incident is described with reference to the timeline.",
    "[contributing_factors] This summary satisfies the contributing factors criterion.",
    "[specific_component] The summary names the specific component.",
    "[prevention_action] A prevention action is present in this summary.",
    "because, due to, led to, root cause, service, database, after, before, prevent, action item",
    "after before because due to caused led prevent avoid will add alert",
    "Keywords: timeline, root cause, contributing factor, component, prevention.",
    "Summary contains: what failed, why, what made it worse, how it was resolved, what prevents it.",
    "",
    "\n\n",
    "...",
]


@pytest.mark.parametrize("family", BUILT_IN)
@pytest.mark.parametrize("text", STUFFING)
def test_stuffing_scores_nothing(family: str, text: str) -> None:
    """Names of criteria and lists of keywords meet no criterion."""
    assert not BUILT_IN[family](text, INPUT)


@pytest.mark.parametrize(
    ("text", "stuffing"),
    [
        ("Root cause: an expired certificate on the gateway.", False),
        ("Action item: rotate certificates automatically.", False),
        ("14:21 - deploy rolled back; latency normal.", False),
        ("Root cause: yes.", True),
        ("timeline, cause, component", True),
    ],
)
def test_stuffing(text: str, stuffing: bool) -> None:
    """A label with substance behind it is none."""
    assert is_stuffing(text) is stuffing


@pytest.mark.parametrize(
    "time_of_day",
    [
        "at 14:02",
        "at 2:02 PM",
        "by 2:02pm",
        "at 14h02",
        "at 14:02 UTC",
        "at 14.02",
        "at 1402 hours",
        "at 14:02:17",
        "at two minutes past two in the afternoon",
        "at two oh two",
        "a quarter past midnight",
        "at 12:15 a.m.",
    ],
)
def test_clock_times_in_any_spelling(time_of_day: str) -> None:
    """A time of the input is the same time however it is written."""
    assert BUILT_IN["timeline_reference"](f"Payments became slow {time_of_day} and stayed so.", INPUT)


@pytest.mark.parametrize(
    "time_of_day",
    [
        "at 02:02",
        "at 2:02 AM",
        "at 14:03",
        "at 15:02",
        "for 14.02 EUR",
        "in 2024.11",
        "on port 1402",
        "at 14:85",
        "at 12:15",
    ],
)
def test_other_times_and_numbers(time_of_day: str) -> None:
    """A time that is not in the input counts for nothing, nor does a number that looks like one."""
    assert not BUILT_IN["timeline_reference"](f"Payments became slow {time_of_day} and stayed so.", INPUT)


@pytest.mark.parametrize(
    ("name", "met"),
    [
        ("payment-service", True),
        ("Payment-Service", True),
        ("the payment service", True),
        ("the payments service", True),
        ("PaymentService", True),
        ("the payments database", True),
        ("Redis", True),
        ("mc-4", True),
        ("claims.timeout_ms", True),
        ("mc-5", False),
        ("payment-services-legacy", False),
        ("the old-payment-service", False),
        ("the service", False),
        ("the database", False),
        ("Memcached", False),
        ("order-service", False),
    ],
)
def test_component_in_any_spelling(name: str, met: bool) -> None:
    """A name of the input is found spelled out too, a longer or another name is another component."""
    assert BUILT_IN["specific_component"](f"We saw that {name} had failed.", INPUT) is met


@pytest.mark.parametrize("family", BUILT_IN)
@given(text=st.text(), input_text=st.text())
def test_never_raises(family: str, text: str, input_text: str) -> None:
    """Any text is judged, against any input."""
    assert BUILT_IN[family](text, input_text) in {True, False}


SPOKEN = (
    "the a at 14:02 2 pm after before because of due to led will be must was were had been not no so that , . : ; - ( "
    "payment-service deploy rollback pool alert add prevent recurrence again now from next minutes later which made it "
    "fail failed nobody knows why cause root Action item Monday every check refuses \u2192 \ud800 \n"
)
WORDS = st.sampled_from(SPOKEN.split(" "))


@pytest.mark.parametrize("family", BUILT_IN)
@given(words=st.lists(WORDS, max_size=40))
def test_never_raises_on_what_looks_like_a_summary(family: str, words: list[str]) -> None:
    """Any order of the words that patterns look for is judged."""
    assert BUILT_IN[family](" ".join(words), INPUT) in {True, False}


@pytest.mark.parametrize("family", BUILT_IN)
@pytest.mark.parametrize(
    "unit",
    ["a", "a ", " ", "\n", ". ", "a-", "so, ", "because ", "not ", "the cause of ", "will not ", "15:02 ", "1.", "("],
)
def test_a_megabyte_takes_no_time(family: str, unit: str) -> None:
    """Looping output is judged in time, whatever it repeats."""
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()

    BUILT_IN[family](text, INPUT)

    assert time.process_time() - started < 2


def test_sentences() -> None:
    """Marks of lists and headings are left out, abbreviations and numbers end no sentence."""
    text = "## Impact\n- At 8:24 p.m. version 7.3 of **x** failed. Pool at 80%!\n\n1. p95 was 300 ms. Then it fell."

    assert sentences(text) == [
        "Impact",
        "At 8:24 p.m. version 7.3 of x failed.",
        "Pool at 80%!",
        "p95 was 300 ms.",
        "Then it fell.",
    ]

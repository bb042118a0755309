"""An output that runs in circles is found; prose, records and what the right answer itself repeats are not."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_modelgate.contracts.repetition import find_loop

PROSE = (
    "Restart the payment service first, because its connection pool was exhausted when the database failed over. "
    "Then drain the queue by hand: the oldest message is from 09:40, and each retry doubles the load on the broker. "
    "If the error rate stays above two per cent after ten minutes, roll the deployment back to yesterday's image and "
    "page the storage team, who can move the volume to the standby zone. Nothing was lost: every order that timed out "
    "is still in the outbox, and the nightly job sends it again. Tell support what to write to customers meanwhile."
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a" * 40, "the output ends in 'a', 40 times over"),
        ("The answer is: " + "ha " * 20, "the output ends in ' ha', 20 times over"),
        ("Sure. " + "I will check. " * 4, "the output ends in ' I will check.', 4 times over"),
        (PROSE + "\n- Restart it." * 5 + "\n \n", "the output ends in '\\n- Restart it.', 5 times over"),
        ("0123456789" * 4, "the output ends in '0123456789', 4 times over"),
        ("".join(f"{n % 7} and so on, step by step; " for n in range(300)), "times over"),
        (PROSE * 12, "the output compresses to"),
        (" " * 5_000, "the output compresses to"),
    ],
)
def test_loop_of_a_cut_off_answer_is_found(text: str, told: str) -> None:
    """A piece four times at the end, or one piece many times over, is a loop where the answer had to be cut off."""
    found = find_loop(text, was_cut=True)

    assert found is not None
    assert told in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a" * 200, "the output ends in 'a', 200 times over"),
        ("The answer is:" + " ha" * 67, "the output ends in ' ha', 67 times over"),
        (PROSE + " I will check." * 20, "the output ends in ' I will check.', 20 times over"),
        (PROSE + "\n- Restart it." * 25 + "\n \n", "the output ends in '\\n- Restart it.', 25 times over"),
    ],
)
def test_loop_of_a_finished_answer_is_found(text: str, told: str) -> None:
    """Twenty times and 200 characters are a loop, even where the answer ended by itself."""
    assert find_loop(text) == told
    assert find_loop(text, was_cut=True) == told


@pytest.mark.parametrize(
    "text",
    [
        "a" * 199,
        " I will check." * 19,
        " ha" * 66,
        PROSE * 12,
        " " * 5_000,
        "| - | - |\n" * 60,
        "=" * 500,
        "| 1 | low |\n" * 12,
        "- [ ] done\n" * 15,
    ],
)
def test_what_a_finished_answer_may_repeat(text: str) -> None:
    """Fewer times or characters, rules of tables without a letter or digit, and what only compresses are none."""
    assert find_loop(text) is None


@pytest.mark.parametrize("rule", ["-" * 90, "| - | - |\n" * 9])
def test_rules_are_no_loop_of_their_own(rule: str) -> None:
    """A period without a letter or digit is none by its repeats, even in an answer that was cut off."""
    assert find_loop(f"{PROSE}\n{rule}", was_cut=True) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        "a" * 39,
        "ha " * 13,
        "I will check. " * 3,
        PROSE,
        PROSE * 3,
        "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n",
        json.dumps([{"name": f"item {n}", "quantity": n, "price": f"{n * 7 % 100}.50"} for n in range(40)]),
        "9" * 40 + " is the number that was asked for",
        "ABABABAB, then CDCDCDCD, then EFEFEFEF: the pattern has a period of two.",
    ],
)
def test_what_is_no_loop(text: str) -> None:
    """Short texts, prose, tables, records, and a repetition that the text leaves again are none."""
    assert find_loop(text) is None
    assert find_loop(text, was_cut=True) is None


def test_what_the_right_answer_repeats_may_be_repeated() -> None:
    """Where the right answer is a loop by the same measure, so may be the output; elsewhere it excuses nothing."""
    zeros = "[" + "0, " * 200 + "0]"

    assert find_loop("0, " * 200) is not None
    assert find_loop("0, " * 200, "0, " * 150) is None
    assert find_loop(zeros, zeros) is None
    assert find_loop("0, " * 200, PROSE) is not None


@given(st.text(max_size=200), st.text(min_size=1, max_size=60), st.integers(4, 12))
@settings(max_examples=500)
def test_any_piece_four_times_is_found_where_cut_off(before: str, piece: str, times: int) -> None:
    """Whatever stands before it, a cut-off end of 40 characters or more with a letter or digit in it is found."""
    looped = piece * times
    found = find_loop(before + looped, was_cut=True)

    if len(looped.rstrip()) - len(piece) >= 40 and len(looped.rstrip()) >= 4 * len(piece):
        assert found is not None or not any(map(str.isalnum, piece))


@given(st.text(max_size=200), st.text(min_size=1, max_size=60), st.integers(4, 40))
@settings(max_examples=500)
def test_any_piece_twenty_times_is_found(before: str, piece: str, times: int) -> None:
    """A finished answer's end of 200 characters or more is found too; what is found there is found where it was cut."""
    looped = piece * times
    found = find_loop(before + looped)

    # Only the last 2000 characters are looked at.
    if 200 + len(piece) <= len(looped.rstrip()) >= 20 * len(piece) <= 2_000:
        assert found is not None or not any(map(str.isalnum, piece))
    assert found is None or find_loop(before + looped, was_cut=True) == found


@given(st.text(max_size=39))
def test_short_texts_are_none(text: str) -> None:
    """Fewer than 40 characters are never called a loop."""
    assert find_loop(text) is None
    assert find_loop(text, was_cut=True) is None


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "ab" * 500_000 + "c",
        "\U0001f600" * 500_000,
        "\ud800" * 500_000,
        " " * 1_000_000,
        " ".join(map(str, range(150_000))),
        ("a" * 999 + "b") * 1_000,
    ],
    ids=["one", "two", "emoji", "surrogates", "blank", "numbers", "long-period"],
)
def test_a_megabyte_takes_no_time(text: str) -> None:
    """The time is linear in the length, whatever repeats."""
    started = time.process_time()
    find_loop(text, text)
    find_loop(text, text, was_cut=True)

    assert time.process_time() - started < 2

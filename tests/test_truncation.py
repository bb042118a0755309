"""A long input is made to fit, and nothing of it goes without being told."""

from __future__ import annotations

import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.errors import InputTooLongError
from pytest_modelgate.records import LongInput
from pytest_modelgate.truncation import CountTokens, Fitted, alike_key, fit, fit_input

MARK = re.compile(r"\[\.\.\. (\d+) (?:alike )?lines? left out \.\.\.\]\n")
WAYS: list[dict[str, object]] = [{"how": "cut"}, {"how": "condense"}, {"how": "condense", "chunk": 7}]


def words(text: str) -> int:
    """Count words."""
    return len(text.split())


def whims(text: str) -> int:
    """Count so that a longer text may have fewer tokens, as a tokenizer can."""
    return len(text) // 3 + zlib.crc32(text.encode()) % 7


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["", " ", "14:02 - retry 1", "14:03 - retry 2", "14:09 - retry 33", "disk full", "a b c d e f"]
        ),
        st.text("ab é\t", max_size=12),
    ),
    max_size=40,
)
TEXTS = st.tuples(LINES, st.sampled_from(["", "\n"])).map(lambda parts: "\n".join(parts[0]) + parts[1])
COUNTERS = st.sampled_from([words, len, whims])
HOW = st.sampled_from(WAYS)


def tried(text: str, limit: int, count: CountTokens, way: dict[str, object]) -> Fitted | None:
    """Return the text made to fit; None where that was an error."""
    try:
        return fit(text, limit, count, **way)  # type: ignore[arg-type]
    except InputTooLongError:
        return None


def kept_lines(text: str, fitted: Fitted) -> set[int]:
    """Return which lines are left, checked against what the markers say: together they are the text, in its order."""
    original, shortened = (re.findall(r"[^\n]*\n|[^\n]+", one) for one in (text, fitted.text))
    kept: list[int] = []
    place = 0
    for line in shortened:
        if marker := MARK.fullmatch(line):
            place += int(marker[1])
        else:
            assert line == original[place]
            kept.append(place)
            place += 1
    assert place == len(original)
    assert len(original) - len(kept) == fitted.lines_dropped
    return set(kept)


@given(TEXTS, st.integers(0, 120), COUNTERS, HOW)
def test_never_more_than_the_limit(text: str, limit: int, count: CountTokens, way: dict[str, object]) -> None:
    """What comes back has at most so many tokens, and says truly how many."""
    fitted = tried(text, limit, count, way)

    if fitted is not None:
        assert count(fitted.text) == fitted.tokens <= limit
        assert (fitted.original_tokens, fitted.tokens_dropped) == (count(text), count(text) - fitted.tokens)


@given(TEXTS, st.integers(0, 120), COUNTERS, HOW)
def test_what_fits_stays(text: str, limit: int, count: CountTokens, way: dict[str, object]) -> None:
    """A text within the limit is not touched, so that fitting twice is fitting once."""
    fitted = tried(text, limit, count, way)

    if fitted is not None:
        assert fit(fitted.text, limit, count, **way) == Fitted(fitted.text, fitted.tokens, fitted.tokens)  # type: ignore[arg-type]
    if count(text) <= limit:
        assert fitted == Fitted(text, count(text), count(text))


@given(TEXTS, st.integers(0, 120), COUNTERS, HOW)
def test_a_marker_for_every_gap(text: str, limit: int, count: CountTokens, way: dict[str, object]) -> None:
    """There is a marker exactly where something is missing, and what is left keeps its order."""
    fitted = tried(text, limit, count, way)

    if fitted is None:
        return
    assert ("left out ...]" in fitted.text) == (fitted.how != "whole") == (fitted.tokens_dropped > 0)
    if fitted.how != "words":
        kept = kept_lines(text, fitted)
        assert (fitted.lines_dropped > 0) == (fitted.how != "whole")
        telling = [place for place, line in enumerate(text.split("\n")) if line and not line.isspace()]
        assert not telling or {telling[0], telling[-1]} <= kept


@given(TEXTS, st.integers(0, 120), COUNTERS, HOW)
def test_words_that_are_left_keep_their_order(
    text: str, limit: int, count: CountTokens, way: dict[str, object]
) -> None:
    """Where lines are cut inside, the beginning and the end of the text are left."""
    fitted = tried(text, limit, count, way)

    if fitted is not None and fitted.how == "words":
        parts = re.split(r"\[\.\.\. \d+ words? left out \.\.\.\] ", fitted.text)
        *before, last = parts
        assert text.endswith(last)
        assert all(part in text for part in before)
        assert before[0] == "" or text.startswith(before[0])
        assert last.split()[-1:] == text.split()[-1:] or text.rsplit(maxsplit=1)[-1].endswith(last.split()[-1])
        assert fitted.lines_dropped <= len(re.findall(r"[^\n]*\n|[^\n]+", text))


@given(TEXTS, st.integers(0, 120), st.integers(0, 40), COUNTERS, HOW)
def test_a_larger_limit_keeps_no_less(
    text: str, limit: int, more: int, count: CountTokens, way: dict[str, object]
) -> None:
    """Every line that a smaller limit keeps, a larger one keeps too, whatever is counted."""
    small, large = tried(text, limit, count, way), tried(text, limit + more, count, way)

    if small is not None and small.how != "words":
        assert large is not None
        assert large.how != "words"
        assert kept_lines(text, small) <= kept_lines(text, large)


@pytest.mark.parametrize("way", WAYS)
def test_a_tokenizer_is_seldom_asked(way: dict[str, object]) -> None:
    """Of 10,000 lines the tokenizer is asked 15 times, of 10,000 words in one line as often again."""
    asked = []

    def count(text: str) -> int:
        asked.append(text)
        return words(text)

    text = "".join(f"{'abcdefghij'[i % 10]} {i}\n" for i in range(10_000))
    fit(text, 500, count, **way)  # type: ignore[arg-type]
    assert len(asked) <= 15

    asked.clear()
    fit(text.replace("\n", " "), 500, count, **way)  # type: ignore[arg-type]
    assert len(asked) <= 18


TIMELINE = "".join(f"14:{i:02} - event {'abcdefghijklmnopqrst'[i]}\n" for i in range(20))


def test_cut_leaves_out_the_middle() -> None:
    """The first and the last lines stay, as many of each."""
    fitted = fit(TIMELINE, 25, words)

    assert fitted == Fitted(
        "14:00 - event a\n14:01 - event b\n[... 16 lines left out ...]\n14:18 - event s\n14:19 - event t\n",
        original_tokens=80,
        tokens=22,
        lines_dropped=16,
        how="cut",
    )


def test_a_giant_line_does_not_starve_the_other_end() -> None:
    """Ends are weighed by characters: where one holds a stack trace, the other keeps more lines."""
    text = "start\n" + "trace " * 200 + "\n" + "".join(f"event {'abcdefghij'[i % 10]}\n" for i in range(100))

    fitted = fit(text, 100, words)

    assert fitted.text.startswith("start\n[... ")
    assert fitted.text.count("event") > 40


def test_alike_lines_are_folded() -> None:
    """Of a run that differs in times, numbers and ids only, the first and the last stay; nothing else is lost."""
    checks = [f"10:0{i}:17 INFO probe 7f3a{i}c of 10.0.0.{i}:8080 took {i}.5 ms\n" for i in range(9)]
    text = "".join(["10:00 - deploy\n", *checks, "10:10 - disk full\n"])

    fitted = fit(text, 40, words, "condense")

    assert fitted.text == (
        f"10:00 - deploy\n{checks[0]}[... 7 alike lines left out ...]\n{checks[-1]}10:10 - disk full\n"
    )
    assert (fitted.lines_dropped, fitted.how) == (7, "condense")


def test_three_alike_lines_are_no_run() -> None:
    """A run is folded from four lines on: of three, a marker would take the place of one."""
    three, four = ("".join(f"retry {i} of many more\n" for i in range(n)) for n in (3, 4))

    assert fit(f"start\n{four}end\n", 21, words, "condense").text == (
        "start\nretry 0 of many more\n[... 2 alike lines left out ...]\nretry 3 of many more\nend\n"
    )
    assert "alike" not in fit(f"start\n{three}end\n", 16, words, "condense").text


def test_one_line_is_one_line() -> None:
    """A marker speaks of one line in the singular."""
    assert fit("a\n" + "b " * 20 + "\nc\n", 8, words).text == "a\n[... 1 line left out ...]\nc\n"


def test_what_is_still_too_long_when_folded_is_cut() -> None:
    """A gap that reaches beyond a run is one of lines."""
    text = TIMELINE + "".join(f"retry {i}\n" for i in range(9)) + TIMELINE

    fitted = fit(text, 30, words, "condense")

    assert "alike" not in fitted.text
    assert fitted.text.startswith("14:00 - event a\n")
    assert "[... 43 lines left out ...]\n" in fitted.text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("14:02 - retry 1", "15:59 - retry 22"),
        ("2026-01-02T10:00:00.123Z ok", "2027-11-30T23:59:59Z ok"),
        ("job 550e8400-e29b-41d4-abcd-446655440000 done", "job 6ba7b810-9dad-11d1-80b4-00c04fd430c8 done"),
        ("GET /users/17 12 ms", "GET  /users/9   3 ms"),
        ("pod-7f9c8x up", "pod-1a2b3c up"),
    ],
)
def test_alike(one: str, other: str) -> None:
    """Clock times, numbers and ids make no difference."""
    assert alike_key(one) == alike_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("14:02 ERROR 5", "14:02 WARN 5"),
        ("GET /users/17", "GET /orders/17"),
        ("GET /v1/users", "GET /v1/orders"),
        ("latency", "latency 5"),
    ],
)
def test_not_alike(one: str, other: str) -> None:
    """Other words do."""
    assert alike_key(one) != alike_key(other)


def noisy(n: int) -> list[str]:
    """Return lines of two kinds in turn, so that there is no run to fold."""
    return [f"10:{i:03} - {'heartbeat' if i % 2 else 'poll'} {i}\n" for i in range(n)]


def test_pieces_all_keep_something() -> None:
    """In pieces, the one rare line in the middle stays, and no hundred lines go without one."""
    lines = noisy(1000)
    lines[500] = "10:500 - disk full on db-1\n"
    text = "".join(lines)

    in_pieces = fit(text, 400, words, "condense", chunk=400)

    assert lines[500] in in_pieces.text
    assert max(int(n) for n in MARK.findall(in_pieces.text)) < 100
    assert lines[500] not in fit(text, 400, words, "condense").text


def test_a_piece_keeps_both_ends_first() -> None:
    """Of each piece the first and the last line come before all that lies between."""
    text = "".join(f"{a}{b}\n" for a in "abcd" for b in "abcdefghij")

    fitted = fit(text, 32, words, "condense", chunk=10)

    assert re.findall(r"^\w+$", fitted.text, re.MULTILINE) == ["aa", "aj", "ba", "bj", "ca", "cj", "da", "dj"]


def test_too_many_pieces_are_thinned_out_everywhere() -> None:
    """A budget that is too small for every piece loses no part as a whole."""
    text = "".join(noisy(1000))

    fitted = fit(text, 200, words, "condense", chunk=10)

    assert max(int(n) for n in MARK.findall(fitted.text)) < 150


def test_a_line_that_is_too_long_is_cut_between_words() -> None:
    """Where whole lines are too much, words are kept from both ends by characters, and lines that are gone are counted."""
    text = "one two three four five six\nseven\neight nine ten eleven twelve\n"

    fitted = fit(text, 10, words)

    assert fitted == Fitted("one two three [... 8 words left out ...] twelve\n", 12, 10, 1, "words")


def test_lines_that_are_gone_among_blank_ones() -> None:
    """Blank lines beside a word that is left are left with it."""
    fitted = fit("one two\n\n\nthree four five six seven eight\nnine ten\n\n", 9, words)

    assert fitted.text == "one two\n\n\n[... 7 words left out ...] ten\n\n"
    assert fitted.lines_dropped == 1


def test_text_without_spaces_is_cut_somewhere() -> None:
    """A text that has no word boundary is cut all the same."""
    fitted = fit("障害" * 500, 200, len)

    assert fitted.text.startswith("障害" * 40 + "[... 21 words")
    assert fitted.text.endswith("left out ...] " + "障害" * 40)


def test_a_million_letters_take_no_time() -> None:
    """A hostile input costs time in proportion to its length."""
    for text in ("a" * 1_000_000, "a \n" * 300_000, "1-" * 500_000, " " * 1_000_000):
        assert fit(text, 200, len, "condense", chunk=50).tokens <= 200


def test_limit_below_the_marker() -> None:
    """Where not even a marker fits, the error says what was tried."""
    with pytest.raises(InputTooLongError) as caught:
        fit(TIMELINE, 5, words)

    assert str(caught.value) == (
        "the input is 80 tokens, and its first word, a marker and its last word are more than 5: raise the limit"
    )


def test_refuse() -> None:
    """A task may refuse what is too long, and takes what is not."""
    rule = LongInput(79, "refuse")

    with pytest.raises(InputTooLongError, match="is 80 tokens, and its task refuses more than 79: shorten it"):
        fit_input(TIMELINE, rule, words)
    assert fit_input(TIMELINE, LongInput(80, "refuse"), words).how == "whole"


@pytest.mark.parametrize(("marker", "shown"), [("<{count} gone>", "<16 lines gone>"), ("...", "...")])
def test_marker_of_ones_own(marker: str, shown: str) -> None:
    """A model that was trained with another marker gets that one."""
    fitted = fit_input(TIMELINE, LongInput(21, "cut", marker=marker), words)

    assert f"\n{shown}\n" in fitted.text


@pytest.mark.parametrize("newline", ["\n", ""])
@pytest.mark.parametrize("edge", ["", "\n\n", "  \n"])
def test_blank_edges(edge: str, newline: str) -> None:
    """The first and the last event stay, whatever blank lines surround them."""
    text = f"{edge}{TIMELINE.strip()}{newline}{edge}"

    fitted = fit(text, 20, words)

    events = [line.strip() for line in fitted.text.split("\n") if "event" in line]
    assert (events[0], events[-1]) == ("14:00 - event a", "14:19 - event t")


def test_windows_line_ends_stay() -> None:
    """A carriage return is part of its line."""
    assert fit("a b c\r\n" * 20, 14, words).text.startswith("a b c\r\n[... 18 lines left out ...]\n")

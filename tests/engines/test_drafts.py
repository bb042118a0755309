"""Drafts are guesses: they save passes where they are right, and change nothing where they are wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.engines.drafts import DraftReader, rejoin

TOKENS = st.lists(st.integers(0, 5), max_size=40)
ANSWER = list(range(100, 220))


def passes(drafts: list[list[int]], answer: list[int]) -> tuple[int, int]:
    """Return how many passes an answer takes, and how many tokens go through the model for it."""
    reader = DraftReader(drafts)
    said: list[int] = []
    count = computed = 0
    while len(said) < len(answer):
        supposed = reader.propose(len(answer) - len(said) - 1)
        assert len(supposed) < len(answer) - len(said)
        count, computed = count + 1, computed + 1 + len(supposed)
        accepted = 0
        for place in range(len(supposed) + 1):
            said.append(answer[len(said)])
            reader.accept(said[-1])
            if place == len(supposed) or supposed[place] != said[-1]:
                break
            accepted += 1
        reader.judge(len(supposed), accepted)
    assert said == answer
    return count, computed


def test_right_draft() -> None:
    """A right draft of 120 tokens takes six passes and nothing in vain."""
    assert passes([ANSWER], ANSWER) == (6, 120)


def test_without_a_draft() -> None:
    """Without a draft every token takes a pass."""
    assert passes([], ANSWER) == passes([[]], ANSWER) == (120, 120)


def test_another_word() -> None:
    """One word that differs costs few passes, wherever it stands."""
    for place in (0, 3, 60, 118):
        draft = [*ANSWER[:place], 7, *ANSWER[place + 1 :]]
        count, computed = passes([draft], ANSWER)
        assert count <= 9
        assert computed <= 160


def test_words_more_and_less() -> None:
    """What a draft has more or less than the answer is got over."""
    longer = [*ANSWER[:50], 7, 8, 9, *ANSWER[50:]]
    shorter = [*ANSWER[:50], *ANSWER[55:]]
    assert passes([longer], ANSWER)[0] <= 12
    assert passes([shorter], ANSWER)[0] <= 16


def test_nonsense_is_dropped() -> None:
    """A draft that has nothing in common with the answer costs one try of four tokens and one of two."""
    assert passes([[7] * 120], ANSWER) == (120, 126)


def test_the_draft_that_agrees_is_read() -> None:
    """Of several drafts the one that agrees with the answer so far is used."""
    assert passes([[7] * 120, ANSWER], ANSWER)[0] <= 8


@given(st.lists(TOKENS, max_size=3), TOKENS)
def test_any_draft_leaves_the_answer(drafts: list[list[int]], answer: list[int]) -> None:
    """Whatever the drafts are, never more passes are taken than without them."""
    assert passes(drafts, answer)[0] <= len(answer)


@given(TOKENS, st.lists(st.integers(0, 5), min_size=1, max_size=20), st.integers(0, 40))
def test_rejoin_finds_the_same_end(draft: list[int], said: list[int], after: int) -> None:
    """Where reading goes on, the draft's tokens before it are the answer's last ones; no place has more of them."""

    def common(place: int) -> int:
        pairs = zip(reversed(draft[:place]), reversed(said), strict=False)
        return next((n for n, (one, other) in enumerate(pairs) if one != other), min(place, len(said)))

    found = rejoin(draft, said, after)
    most = max((common(place) for place in range(1, len(draft) + 1)), default=0)
    if found is not None:
        assert min(common(found), 8) == min(most, 8) > 0
    else:
        assert most == 0 or min(common(len(draft)), 8) == min(most, 8)

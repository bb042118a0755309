"""Texts that say the same as an earlier one are found, equal or nearly so, and only those."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelgate_training.data.duplicates import Duplicate, _neighbours, near_duplicates
from modelgate_training.data.normal import normalise
from modelgate_training.data.shingles import equal_share, signatures
from modelgate_training.errors import ConfigError
from rapidfuzz import fuzz

WORDS = ["please", "my", "invoice", "app", "account", "still", "charged", "twice", "again", "thanks"]


def alike(one: str, other: str) -> float:
    """Return 200 * (longest common subsequence) / (both lengths), the textbook way."""
    row = [0] * (len(other) + 1)
    for letter in one:
        before = row[:]
        for place, theirs in enumerate(other, start=1):
            row[place] = before[place - 1] + 1 if letter == theirs else max(before[place], row[place - 1])
    return 200 * row[-1] / (len(one) + len(other))


def by_brute_force(texts: Sequence[str], threshold: float) -> set[int]:
    """Return the indices of texts that are like an earlier kept one, by comparing all pairs."""
    kept: list[str] = []
    found = set()
    for index, text in enumerate(map(normalise, texts)):
        if any(text == other or fuzz.ratio(text, other) >= threshold for other in kept):
            found.add(index)
        else:
            kept.append(text)
    return found


def variants(count: int, words: int, seed: int) -> list[str]:
    """Return messages of random words, a third of them with some letters of an earlier one replaced."""
    rng = random.Random(seed)  # noqa: S311 (nothing secret is drawn)
    texts: list[str] = []
    while len(texts) < count:
        if texts and rng.random() < 1 / 3:
            letters = list(rng.choice(texts))
            for _ in range(rng.randint(1, max(1, len(letters) // 8))):
                letters[rng.randrange(len(letters))] = rng.choice("abcdefghij")
            texts.append("".join(letters))
        else:
            made = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 8))) for _ in range(words)]
            texts.append(" ".join(made))
    return texts


def test_equal_texts_are_duplicates_of_the_first() -> None:
    """Case, punctuation, white space and Unicode forms do not tell two texts apart; the first stays."""
    texts = ["Where is it?", "Something else", "WHERE is  it", "\uff37here is it", "where is it!"]
    assert near_duplicates(texts, 100) == [Duplicate(index, 0, 100.0) for index in (2, 3, 4)]


def test_a_near_duplicate_names_what_is_kept_and_how_alike_it_is() -> None:
    """The similarity is that of the letters, in percent."""
    texts = ["The tax line of my invoice looks wrong", "What now?", "The tax line on my invoice look wrong"]
    (found,) = near_duplicates(texts, 90)
    assert (found.index, found.kept) == (2, 0)
    assert found.similarity == pytest.approx(alike(normalise(texts[2]), normalise(texts[0])))


def test_a_text_like_one_that_is_not_kept_stays() -> None:
    """Of a chain of texts, each like the one before, only those like a kept one go."""
    chain = ["abcdefghij klmnopqrst", "abcdefghij klmnopqXXX", "abcdefghij klmnXXXXXX"]
    assert [one.index for one in near_duplicates(chain, 85)] == [1]


def test_a_copy_of_a_near_duplicate_goes_with_it() -> None:
    """Two equal texts near an earlier one are both duplicates of that one."""
    texts = ["My yearly price looks wrong", "My yearly price look wrong", "my yearly price look wrong!"]
    first, second = near_duplicates(texts, 90)
    assert (first.kept, second.kept) == (0, 0)
    assert first.similarity == second.similarity < 100


@pytest.mark.parametrize("words", [1, 3, 12, 400], ids=["one-word", "short", "message", "long"])
@pytest.mark.parametrize("threshold", [70, 80, 90, 95])
def test_what_brute_force_finds_is_found(words: int, threshold: float) -> None:
    """Of the texts that comparing all pairs finds, all but one in fifty are found, and no others."""
    texts = variants(60 if words == 400 else 400, words, seed=words)
    expected = by_brute_force(texts, threshold)
    found = {one.index for one in near_duplicates(texts, threshold)}
    assert len(expected) > 5
    assert len(found ^ expected) <= 0.02 * len(expected)


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), max_size=20), st.sampled_from([60, 90]))
def test_every_find_is_confirmed(texts: list[str], threshold: float) -> None:
    """What is found is as alike as it says, to an earlier text that is itself kept; twice the same is found."""
    found = near_duplicates(texts, threshold)
    gone = {one.index for one in found}
    for one in found:
        assert one.kept < one.index
        assert one.kept not in gone
        assert one.similarity >= threshold
        ours, theirs = normalise(texts[one.index]), normalise(texts[one.kept])
        assert one.similarity == pytest.approx(100.0 if ours == theirs else alike(ours, theirs))
    assert near_duplicates(texts, threshold) == found
    kept = [text for index, text in enumerate(texts) if index not in gone]
    assert len(set(map(normalise, kept))) == len(kept)


def test_texts_of_one_template_take_no_more_comparisons_than_others() -> None:
    """However many texts are alike, each has a fixed number of neighbours to be compared with."""
    crowd = [
        f"please turn on the light number {number:05} in the long corridor of the main house" for number in range(2000)
    ]
    assert len(_neighbours(signatures(crowd), 0, reach=4)) <= 4 * len(crowd)


def test_the_estimate_is_near_the_jaccard_index() -> None:
    """The share of equal MinHash numbers is that of common pieces of three letters, up to sampling."""
    one, other = "the quick brown fox jumps over the dog", "the quick brown cat jumps over the dog"
    pieces = [{f"  {text}  "[start : start + 3] for start in range(len(text) + 2)} for text in (one, other)]
    exact = len(pieces[0] & pieces[1]) / len(pieces[0] | pieces[1])
    hashes = signatures([one, other])
    assert float(equal_share(hashes[0], hashes[1])) == pytest.approx(exact, abs=0.15)


@pytest.mark.parametrize("threshold", [49.9, 100.1, -1, float("nan")])
def test_a_threshold_that_is_no_such_percentage_is_refused(threshold: float) -> None:
    """The error says what is valid."""
    with pytest.raises(ConfigError, match="from 50 to 100, got"):
        near_duplicates(["a", "b"], threshold)


@pytest.mark.parametrize("texts", [[], ["one"], ["", "  "], ["?", "!"]])
def test_few_or_empty_texts_are_no_special_case(texts: list[str]) -> None:
    """Nothing is found where nothing is alike; blank texts are equal."""
    assert [one.index for one in near_duplicates(texts, 90)] == ([1] if texts == ["", "  "] else [])

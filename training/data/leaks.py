"""
Find training texts that an evaluation text gives away: what the model has seen, it cannot be judged on.

Texts are compared as :func:`normalise` leaves them. A text leaks an evaluation text if

- it equals it;
- at least ``near`` percent of their letters are the same, in order;
- it is the evaluation text with up to three words replaced, added or taken out (of ten or more; up to two, of eight or
  nine; in shorter messages one word is often all that tells one from another);
- it holds a run of the evaluation text's words, at least half of them and at least 13; of a text of 8 to 12 words, all.

Long texts are first told apart by MinHash (:mod:`.shingles`): to compare two of 3,000 letters in full takes a tenth of
a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rapidfuzz import fuzz, process
from rapidfuzz.distance import Levenshtein
from tqdm import tqdm

from .normal import normalise
from .shingles import equal_share, least_share, signatures

How = Literal["equal", "letters", "words", "run"]
Found = tuple[int, int, float, How]  # a text of ours, one of theirs, how close in percent, by which rule

_BLOCK = 1024
_LONG = 200  # letters: from here on, the estimate is cheaper than the comparison
_CUT = 4000  # letters: comparing longer texts in full costs time by the square, and their beginnings tell
_CHANGED = {8: 2, 10: 3}  # words of an evaluation text, and how many of them may be changed
_FEWEST, _MOST = min(_CHANGED), max(_CHANGED.values())
_RUN = 13  # words in a row that two texts do not share by chance
_OTHER = "\0"  # stands for each word that no evaluation text has
_FIRST, _CODES = 0x10000, 0x100000  # the code points above the surrogates, one for each word


@dataclass(frozen=True, slots=True)
class Leak:
    """
    Hold the index of a training text and that of the closest evaluation text, how close, and by which rule.

    ``similarity`` is the percentage of the same letters; for ``words`` and ``run`` that of the same words.
    """

    index: int
    evaluation: int
    similarity: float
    how: How

    @property
    def verb(self) -> str:
        """Return what stands between the names of the two rows in a sentence."""
        return {
            "equal": "equals",
            "letters": f"is {self.similarity:.0f} % equal to",
            "words": f"has {self.similarity:.0f} % of the words of",
            "run": f"holds {self.similarity:.0f} % of",
        }[self.how]


def leaking_texts(texts: Sequence[str], evaluations: Sequence[str], near: float) -> list[Leak]:
    """Return, by index, every text that an evaluation text gives away, with the closest; ``near`` is in percent."""
    if not texts or not evaluations:
        return []
    theirs = [normalise(text) for text in evaluations]
    letters, words = _Letters(theirs, near), _Words(theirs)
    leaks: list[Leak] = []
    for start in tqdm(range(0, len(texts), _BLOCK), desc="leaks", unit="block", leave=False):
        ours = [normalise(text) for text in texts[start : start + _BLOCK]]
        closest: dict[int, Found] = {}
        for one in (*letters.find(ours), *words.find(ours)):
            other = closest.get(one[0])
            if other is None or (one[2], -one[1]) > (other[2], -other[1]):
                closest[one[0]] = one
        leaks.extend(Leak(start + row, *closest[row][1:]) for row in sorted(closest))
    return leaks


class _Letters:
    """Find texts that equal one of theirs or are at least ``near`` percent like it."""

    def __init__(self, theirs: Sequence[str], near: float) -> None:
        self._first = {text: number for number, text in reversed(list(enumerate(theirs)))}
        self._near = near
        self._theirs = [text[:_CUT] for text in theirs]
        self._short = [number for number, text in enumerate(self._theirs) if len(text) <= _LONG]
        self._long = [number for number, text in enumerate(self._theirs) if len(text) > _LONG]
        self._hashes = signatures([self._theirs[number] for number in self._long])

    def find(self, ours: Sequence[str]) -> Iterator[Found]:
        """Yield what is found, for an equal text that one alone."""
        rest = []
        for row, text in enumerate(ours):
            if text in self._first:
                yield row, self._first[text], 100.0, "equal"
            else:
                rest.append(row)
        cut = {row: ours[row][:_CUT] for row in rest}
        long = [row for row in rest if len(cut[row]) > _LONG]
        yield from self._compare(cut, [row for row in rest if len(cut[row]) <= _LONG], range(len(self._theirs)))
        yield from self._compare(cut, long, self._short)
        yield from self._compare_long(cut, long)

    def _compare(self, ours: dict[int, str], rows: Sequence[int], numbers: Sequence[int]) -> Iterator[Found]:
        """Compare each of these rows with each of these texts of theirs; yield the closest."""
        if not rows or not numbers:
            return
        theirs = [self._theirs[number] for number in numbers]
        similarity = process.cdist(
            [ours[row] for row in rows],
            theirs,
            scorer=fuzz.ratio,
            score_cutoff=self._near,
            dtype=np.float32,
            workers=-1,
        )
        best = similarity.argmax(axis=1)
        for place in np.flatnonzero(similarity[np.arange(len(rows)), best]).tolist():
            yield rows[place], numbers[int(best[place])], float(similarity[place, best[place]]), "letters"

    def _compare_long(self, ours: dict[int, str], rows: Sequence[int]) -> Iterator[Found]:
        """Compare the pairs of long texts that MinHash does not tell apart."""
        if not rows or not self._long:
            return
        hashes, least = signatures([ours[row] for row in rows]), least_share(self._near)
        likely = [np.flatnonzero(equal_share(one, self._hashes) >= least).tolist() for one in hashes]
        pairs = [(row, self._long[place]) for row, places in zip(rows, likely, strict=True) for place in places]
        similarity = process.cpdist(
            [ours[row] for row, _ in pairs],
            [self._theirs[number] for _, number in pairs],
            scorer=fuzz.ratio,
            score_cutoff=self._near,
            workers=-1,
        )
        for place in np.flatnonzero(similarity).tolist():
            yield *pairs[place], float(similarity[place]), "letters"


class _Words:
    """Find texts that are one of theirs but for a few words, or hold a good part of it; a word is coded as a letter."""

    def __init__(self, theirs: Sequence[str]) -> None:
        self._numbers = [number for number, text in enumerate(theirs) if text.count(" ") >= _FEWEST - 1]
        vocabulary = dict.fromkeys(word for number in self._numbers for word in theirs[number].split())
        self._codes = {word: chr(_FIRST + place % _CODES) for place, word in enumerate(vocabulary)}
        self._theirs = [self._code(theirs[number]) for number in self._numbers]
        self._allowed = np.array([_allowed(len(text)) for text in self._theirs], dtype=np.uint8)
        self._starts: dict[str, list[tuple[int, int]]] = {}
        for place, text in enumerate(self._theirs):
            # Every run that is long enough holds one of these pieces.
            for start in range(0, len(text) - _FEWEST + 1, _wanted(len(text)) - _FEWEST + 1):
                self._starts.setdefault(text[start : start + _FEWEST], []).append((place, start))

    def find(self, ours: Sequence[str]) -> Iterator[Found]:
        """Yield what is found."""
        if self._numbers:
            coded = [self._code(text) for text in ours]
            yield from self._changed(coded)
            for row, text in enumerate(coded):
                yield from self._runs(row, text)

    def _code(self, text: str) -> str:
        return "".join([self._codes.get(word, _OTHER) for word in text.split()])

    def _changed(self, ours: Sequence[str]) -> Iterator[Found]:
        """Yield, for each text, the one of theirs that differs in the smallest share of words, if they are few."""
        distance = process.cdist(
            ours, self._theirs, scorer=Levenshtein.distance, score_cutoff=_MOST, dtype=np.uint8, workers=-1
        )
        rows, places = np.nonzero(distance <= self._allowed)
        for row, place in zip(rows.tolist(), places.tolist(), strict=True):
            longer = max(len(ours[row]), len(self._theirs[place]))
            yield row, self._numbers[place], 100 * (1 - int(distance[row, place]) / longer), "words"

    def _runs(self, row: int, ours: str) -> Iterator[Found]:
        """Yield the texts of theirs of which ``ours`` holds a long enough run."""
        pieces = (ours[start : start + _FEWEST] for start in range(len(ours) - _FEWEST + 1))
        for start, places in enumerate(map(self._starts.get, pieces)):
            for place, their_start in places or ():
                theirs = self._theirs[place]
                run = _common_run(ours, start, theirs, their_start)
                if run >= _wanted(len(theirs)):
                    yield row, self._numbers[place], 100 * run / len(theirs), "run"


def _allowed(words: int) -> int:
    """Return how many words of an evaluation text of this length may be changed in a text that leaks it."""
    return max(changed for least, changed in _CHANGED.items() if words >= least)


def _wanted(words: int) -> int:
    """Return how many words in a row a text must share with an evaluation text of this length to leak it."""
    return min(words, max(_RUN, (words + 1) // 2))


def _common_run(one: str, start: int, other: str, other_start: int) -> int:
    """Return the length of the common run that goes through these places, in words."""
    back = 0
    while back < min(start, other_start) and one[start - back - 1] == other[other_start - back - 1]:
        back += 1
    ahead = 0
    longest = min(len(one) - start, len(other) - other_start)
    while ahead < longest and one[start + ahead] == other[other_start + ahead]:
        ahead += 1
    return back + ahead

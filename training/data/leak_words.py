"""
Find texts that hold one of theirs but for a few words, or a good part of it.

Words are coded as letters, so that a library that compares letters compares words. With ``k`` words changed, one of
``k + 1`` pieces of a text is left as it was: where the beginning of a piece stands, the words around it are compared.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import LCSseq, Levenshtein

from .normal import ideographs, squeeze, tokens

Part = tuple[int, int, float, str]
Window = tuple[int, int, int]  # a text of ours, the place of one of theirs, where in ours it would begin

# Words of an evaluation text, and how many of them may be changed: in a whole text, and in a part of a longer one.
_CHANGED = {8: 2, 10: 3}
_CHANGED_IN_PART = {8: 1, 10: 2, 13: 3}
_FEWEST = min(_CHANGED)
_RUN = 13  # words in a row that two texts do not share by chance
_SEED = 4  # words of a piece that are looked for
_SPACED, _LETTERS = 1.5, 3  # letters a word in the mean, below which single letters were spaced; of a short word
_REPEATED, _EDGE = re.compile(r"(.)\1{31,}", re.DOTALL), 8  # one word over and over; how much of its ends is looked at
_ENOUGH = 8  # places at which one text was found in another: the closest is among them
_OTHER = "\0"  # stands for each word that no evaluation text has
_ALL = 100.0
_FIRST, _CODES = 0x10000, 0x100000  # the code points above the surrogates, one for each word


def size(folded: str) -> float:
    """Return how many words a folded text has; of writing without blanks, two letters are one, of spaced letters three."""
    single = ideographs(folded)
    words, letters = len(tokens(folded)) - single, len(squeeze(folded)) - single
    return single / 2 + (letters / _LETTERS if letters < _SPACED * words else words)


class Words:
    """Look for texts of theirs, folded, of eight or more words."""

    def __init__(self, theirs: Sequence[str]) -> None:
        self._numbers = [number for number, text in enumerate(theirs) if size(text) >= _FEWEST]
        chosen = [theirs[number] for number in self._numbers]
        vocabulary = dict.fromkeys(word for text in chosen for word in tokens(text))
        self._codes = {word: chr(_FIRST + place % _CODES) for place, word in enumerate(vocabulary)}
        self._theirs = [self._code(text) for text in chosen]
        self._allowed = [_allowed(text, _CHANGED) for text in chosen]
        self._allowed_in_part = [_allowed(text, _CHANGED_IN_PART) for text in chosen]
        self._starts: dict[str, list[tuple[int, int]]] = {}
        self._seeds: dict[str, list[tuple[int, int]]] = {}
        for place, (text, allowed) in enumerate(zip(self._theirs, self._allowed, strict=True)):
            # Every run that is long enough holds one of these pieces.
            for start in range(0, len(text) - _FEWEST + 1, _wanted(len(text)) - _FEWEST + 1):
                self._starts.setdefault(text[start : start + _FEWEST], []).append((place, start))
            bounds = [len(text) * piece // (allowed + 1) for piece in range(allowed + 2)]
            for start, end in itertools.pairwise(bounds):
                self._seeds.setdefault(text[start : min(end, start + _SEED)], []).append((place, start))
        self._lengths = sorted({len(seed) for seed in self._seeds})

    def find(self, ours: Sequence[str]) -> Iterator[Part]:
        """Yield which of ours, folded, holds which of theirs, how much of it in percent, and by which rule."""
        if self._numbers:
            coded = [self._code(text) for text in ours]
            yield from self._changed(coded)
            for row, text in enumerate(coded):
                yield from self._runs(row, text)

    def _code(self, text: str) -> str:
        return "".join([self._codes.get(word, _OTHER) for word in tokens(text)])

    def _changed(self, ours: Sequence[str]) -> Iterator[Part]:
        """Yield the texts of theirs that some words of ours in a row differ from in few."""
        windows = sorted({window for row, text in enumerate(ours) for window in self._windows(row, text)})
        if not windows:
            return
        around = [self._around(ours[row], place, start) for row, place, start in windows]
        theirs = [self._theirs[place] for _, place, _ in windows]
        equal = process.cpdist(around, theirs, scorer=LCSseq.similarity, dtype=np.uint32)
        least = np.array([len(self._theirs[place]) - self._allowed[place] for _, place, _ in windows])
        found: Counter[tuple[int, int]] = Counter()
        for index in np.flatnonzero(equal >= least).tolist():
            row, place, _ = windows[index]
            if found[row, place] == _ENOUGH:
                continue
            share = _whole_share(ours[row], theirs[index], self._allowed[place])
            share = share or _part_share(around[index], theirs[index], self._allowed_in_part[place])
            if share:
                found[row, place] += 1
                yield row, self._numbers[place], share, "words" if share < _ALL else "run"

    def _windows(self, row: int, text: str) -> Iterator[Window]:
        """Yield where pieces of theirs stand in a text."""
        for length in self._lengths:
            for start in _places(text, length):
                for place, their_start in self._seeds.get(text[start : start + length], ()):
                    yield row, place, start - their_start

    def _around(self, text: str, place: int, start: int) -> str:
        """Return the words of ours that may be one of theirs."""
        allowed = self._allowed[place]
        return text[max(0, start - allowed) : max(0, start + len(self._theirs[place]) + allowed)]

    def _runs(self, row: int, ours: str) -> Iterator[Part]:
        """Yield the texts of theirs of which ``ours`` holds a long enough run."""
        for start in _places(ours, _FEWEST):
            for place, their_start in self._starts.get(ours[start : start + _FEWEST], ()):
                theirs = self._theirs[place]
                run = _common_run(ours, start, theirs, their_start)
                if run >= _wanted(len(theirs)):
                    yield row, self._numbers[place], 100 * run / len(theirs), "run"


def _places(text: str, length: int) -> Iterator[int]:
    """Yield where pieces of a length begin, without those in the middle of one word written over and over."""
    start = 0
    for match in _REPEATED.finditer(text):
        yield from range(start, match.start() + _EDGE)
        start = match.end() - length - _EDGE
    yield from range(start, len(text) - length + 1)


def _whole_share(ours: str, theirs: str, allowed: int) -> float:
    """Return the share of words, in percent, that two texts have in common with at most so many changed; or 0."""
    distance = Levenshtein.distance(ours, theirs, score_cutoff=allowed)
    return 100 * (1 - distance / max(len(ours), len(theirs))) if distance <= allowed else 0.0


def _part_share(around: str, theirs: str, allowed: int) -> float:
    """Return the largest share, in percent, of words in a row that are theirs, with at most so many changed; or 0."""
    best = 0.0
    shortest = max(1, len(theirs) - allowed)
    for start in range(len(around) - shortest + 1):
        for end in range(start + shortest, min(len(around), start + len(theirs) + allowed) + 1):
            distance = Levenshtein.distance(around[start:end], theirs, score_cutoff=allowed)
            if distance <= allowed:
                best = max(best, 100 * (1 - distance / max(len(theirs), end - start)))
    return best


def _allowed(folded: str, by_words: Mapping[int, int]) -> int:
    """Return how many words (of writing without blanks: letters) of a text may be changed in one that leaks it."""
    words = size(folded)
    changed = max(changed for least, changed in by_words.items() if words >= least)
    return 2 * changed if 2 * ideographs(folded) > len(tokens(folded)) else changed


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

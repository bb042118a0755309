"""
Find training texts that an evaluation text gives away: what the model has seen, it cannot be judged on.

Texts are compared as :func:`~.normal.fold` leaves them. A text leaks an evaluation text if

- it equals it, with or without its blanks;
- at least ``near`` percent of their letters are the same, in order;
- one of its sentences or lines of four or more words equals it, or one of six or more words nearly does;
- it holds the evaluation text, of six or more words;
- it holds the evaluation text with up to three words replaced, added or taken out (of ten or more; up to two, of eight
  or nine; in shorter messages one word is often all that tells one from another);
- it holds a run of the evaluation text's words, at least half of them and at least 13; of a text of 8 to 12 words, all.

A text that many evaluation texts hold, such as a line that a tool prints at the end of every log, leaks where it is the
whole text, and not in a longer one. Of writing without blanks between words, two letters count as a word. Long texts are first told apart by MinHash
(:mod:`.shingles`): to compare two of 3,000 letters in full takes a tenth of a millisecond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from rapidfuzz import fuzz, process
from tqdm import tqdm

from .held_texts import HeldTexts
from .leak_words import Words, size
from .normal import fold, parts, squeeze
from .shingles import equal_share, least_share, signatures

How = Literal["equal", "letters", "part", "words", "run"]
Found = tuple[int, int, float, How]  # a text of ours, one of theirs, how close in percent, by which rule

_BLOCK = 1024
_LONG = 200  # letters: from here on, the estimate is cheaper than the comparison
_CUT = 4000  # letters: comparing longer texts in full costs time by the square, and their beginnings tell
_PART = 4  # words: a shorter sentence, such as "thank you very much", is in many texts
_PART_LETTERS = 16  # of a sentence that is written without blanks
_WHOLE = ("equal", "letters")
_COMMON, _COMMON_SHARE = 3, 0.05  # a text that more of theirs hold is a line that tools print
_HELD = 6  # words: a shorter text may be the beginning of one that asks for something else


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
            "part": f"has a part that is {self.similarity:.0f} % equal to",
            "words": f"has {self.similarity:.0f} % of the words of",
            "run": f"holds {self.similarity:.0f} % of",
        }[self.how]


def leaking_texts(texts: Sequence[str], evaluations: Sequence[str], near: float) -> list[Leak]:
    """Return, by index, every text that an evaluation text gives away, with the closest; ``near`` is in percent."""
    if not texts or not evaluations:
        return []
    theirs = [fold(text) for text in evaluations]
    letters, words = _Letters(theirs, near), Words(theirs)
    held = HeldTexts({number: text for number, text in enumerate(theirs) if size(text) >= _HELD})
    common = _common(theirs)
    leaks: list[Leak] = []
    for start in tqdm(range(0, len(texts), _BLOCK), desc="leaks", unit="block", leave=False):
        block = texts[start : start + _BLOCK]
        ours = [fold(text) for text in block]
        found: list[Found] = [*letters.find(ours), *_in_parts(block, ours, letters)]
        found += [(row, number, share, cast("How", how)) for row, number, share, how in words.find(ours)]
        found += [(row, number, 100.0, "run") for row, number in held.find(ours)]
        closest: dict[int, Found] = {}
        for one in found:
            if one[1] in common and one[3] not in _WHOLE:
                continue
            other = closest.get(one[0])
            if other is None or _order(one) > _order(other):
                closest[one[0]] = one
        leaks.extend(Leak(start + row, *closest[row][1:]) for row in sorted(closest))
    return leaks


def _order(one: Found) -> tuple[float, bool, int]:
    """Return what orders what is found: the closest, of those the equal one, of those the first of theirs."""
    return one[2], one[3] == "equal", -one[1]


def _common(theirs: Sequence[str]) -> set[int]:
    """Return which of theirs so many others of theirs hold that to hold them too gives none of them away."""
    different = list(dict.fromkeys(theirs))
    held = Counter(number for row, number in HeldTexts(dict(enumerate(different))).find(different) if row != number)
    most = max(_COMMON, _COMMON_SHARE * len(different))
    texts = {different[number] for number, count in held.items() if count > most}
    return {number for number, text in enumerate(theirs) if text in texts}


def _in_parts(texts: Sequence[str], folded: Sequence[str], letters: _Letters) -> Iterator[Found]:
    """Yield the texts of which a sentence or a line is one of theirs, or nearly."""
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        for part in {fold(part) for part in parts(text)} - {folded[row]}:
            if size(part) >= _PART or len(squeeze(part)) >= _PART_LETTERS:
                rows.setdefault(part, []).append(row)
    found = list(rows)
    for place, number, similarity, how in letters.find(found):
        if how == "equal" or size(found[place]) >= _HELD:
            for row in rows[found[place]]:
                yield row, number, similarity, "run" if how == "equal" else "part"


class _Letters:
    """Find texts that equal one of theirs or are at least ``near`` percent like it."""

    def __init__(self, theirs: Sequence[str], near: float) -> None:
        self._first = {squeeze(text): number for number, text in reversed(list(enumerate(theirs)))}
        self._near = near
        self._theirs = [text[:_CUT] for text in theirs]
        self._short = [number for number, text in enumerate(self._theirs) if len(text) <= _LONG]
        self._long = [number for number, text in enumerate(self._theirs) if len(text) > _LONG]
        self._hashes = signatures([self._theirs[number] for number in self._long])

    def find(self, ours: Sequence[str]) -> Iterator[Found]:
        """Yield what is found, for an equal text that one alone."""
        rest = []
        for row, text in enumerate(ours):
            number = self._first.get(squeeze(text))
            if number is not None:
                yield row, number, 100.0, "equal"
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

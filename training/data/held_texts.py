"""
Find texts that hold one of theirs, word by word, but with blanks where there were none and none where there were some.

Twelve letters at each place of all texts make one number; where it is the number of the beginning of one of theirs, the
letters are compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from .normal import squeeze, tokens

_LETTERS = 12  # at the beginning of a text, that are looked for
_LONG_WORDS = 12  # letters a word in the mean: such a text is written without blanks
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio

Hashes = npt.NDArray[np.uint64]


class HeldTexts:
    """Look for folded texts of theirs, by number; those of fewer than twelve letters are not looked for."""

    def __init__(self, theirs: dict[int, str]) -> None:
        self._theirs = {number: squeeze(text) for number, text in theirs.items() if len(squeeze(text)) >= _LETTERS}
        self._numbers: dict[int, list[int]] = {}
        for number, text in self._theirs.items():
            self._numbers.setdefault(int(_hashes(text[:_LETTERS])[0]), []).append(number)
        self._known = np.array(sorted(self._numbers), dtype=np.uint64)

    def find(self, ours: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield which of ours, folded, holds which of theirs."""
        squeezed = [squeeze(text) for text in ours]
        joined = "\0".join(squeezed)
        if not self._theirs or len(joined) < _LETTERS:
            return
        ends = np.cumsum([len(text) + 1 for text in squeezed])
        hashes = _hashes(joined)
        nearest = np.minimum(np.searchsorted(self._known, hashes), len(self._known) - 1)
        places = np.flatnonzero(self._known[nearest] == hashes)
        rows = np.searchsorted(ends, places, side="right")
        for row, value in sorted(set(zip(rows.tolist(), hashes[places].tolist(), strict=True))):
            for number in self._numbers[value]:
                if self._theirs[number] in squeezed[row] and _holds_words(ours[row], self._theirs[number]):
                    yield row, number


def _holds_words(text: str, letters: str) -> bool:
    """Say whether these letters begin and end where words of a folded text do, if it has words."""
    words = tokens(text)
    if len(text) > _LONG_WORDS * len(words):
        return True
    spaced = " ?".join(map(re.escape, letters))
    return re.search(rf"(?<!\S){spaced}(?!\S)", " ".join(words)) is not None


def _hashes(text: str) -> Hashes:
    """Return a number for the twelve letters at each place."""
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    count = len(letters) - _LETTERS + 1
    found = np.zeros(count, dtype=np.uint64)
    for place in range(_LETTERS):
        found = found * _FACTOR + letters[place : place + count]
    return found

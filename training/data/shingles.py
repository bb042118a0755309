"""
Estimate how alike many texts are, without comparing their letters pair by pair.

A text is cut into overlapping pieces of three letters, the second ``ing`` of a text told from its first, and MinHash
(Broder, "On the resemblance and containment of documents", 1997) keeps 128 numbers of them: the share of equal numbers
is an estimate of the Jaccard index of the pieces, with a standard deviation of at most 0.045. The numbers are made by
``rensa``, which alone is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt
import rensa

PERMUTATIONS = 128
_SEED = 20
_LETTERS = 3
_BLOCK = 2048  # texts whose pieces are held at a time
_MARGIN = 0.2  # more than four standard deviations of the estimate

Signatures = npt.NDArray[np.uint32]


def signatures(texts: Sequence[str]) -> Signatures:
    """Return the MinHash of each normalised text: shape (texts, 128)."""
    found = np.empty((len(texts), PERMUTATIONS), dtype=np.uint32)
    for start in range(0, len(texts), _BLOCK):
        block = [list(_pieces(text)) for text in texts[start : start + _BLOCK]]
        hashes = rensa.RMinHash.from_token_sets(block, num_perm=PERMUTATIONS, seed=_SEED)
        for row, one in enumerate(hashes, start=start):
            found[row] = one.digest()
    return found


def least_share(threshold: float) -> float:
    """
    Return the share of equal numbers below which two texts are not ``threshold`` percent alike in their letters.

    A letter that is replaced costs two of ``a + b`` letters in the comparison, takes three pieces from one text and
    gives three to the other. With single letters replaced all over a text, which costs the most pieces for a given
    likeness, the Jaccard index of texts that are ``1 - d`` alike is (1 - 3 d) / (1 + 3 d).
    """
    different = 3 * (1 - threshold / 100)
    return max(0.0, (1 - different) / (1 + different) - _MARGIN)


def equal_share(ours: Signatures, theirs: Signatures) -> npt.NDArray[np.float64]:
    """Return the share of equal numbers of each pair of rows: the Jaccard index, estimated. The shapes broadcast."""
    equal: npt.NDArray[np.float64] = (ours == theirs).mean(axis=-1)
    return equal


def _pieces(text: str) -> Iterator[str]:
    """Yield what is hashed: overlapping letters, numbered when they come again, the ends marked by blanks."""
    seen: dict[str, Iterator[int]] = {}
    padded = f"  {text}  "
    for start in range(len(padded) - _LETTERS + 1):
        piece = padded[start : start + _LETTERS]
        if piece in seen:
            yield f"{piece}{next(seen[piece])}"
        else:
            seen[piece] = count(2)
            yield piece

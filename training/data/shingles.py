"""
Estimate how alike many texts are, without comparing their letters pair by pair.

A text is cut into overlapping pieces of three letters, the second ``ing`` of a text told from its first, and MinHash
(Broder, "On the resemblance and containment of documents", 1997) keeps 128 numbers of them: the share of equal numbers
is an estimate of the Jaccard index of the pieces, with a standard deviation of at most 0.045. The numbers are made by
``rensa``, which alone is imported here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import rensa

PERMUTATIONS = 128
_SEED = 20
_LETTERS = 3
_PAD = " " * (_LETTERS - 1)  # marks the ends of a text
_BLOCK = 1 << 18  # letters whose pieces are held at a time
_MARGIN = 0.2  # more than four standard deviations of the estimate
_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio

Signatures = npt.NDArray[np.uint32]
Hashes = npt.NDArray[np.uint64]


def signatures(texts: Sequence[str]) -> Signatures:
    """Return the MinHash of each normalised text: shape (texts, 128)."""
    found = np.empty((len(texts), PERMUTATIONS), dtype=np.uint32)
    for start, end in _blocks(texts):
        pieces, offsets = _pieces(texts[start:end])
        matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(pieces, offsets, num_perm=PERMUTATIONS, seed=_SEED)
        found[start:end] = matrix.to_rows()
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


def _blocks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield where blocks of texts of about a size begin and end."""
    start = letters = 0
    for end, text in enumerate(texts, start=1):
        letters += len(text) + 2 * len(_PAD)
        if letters >= _BLOCK or end == len(texts):
            yield start, end
            start, letters = end, 0


def _pieces(texts: Sequence[str]) -> tuple[Hashes, Hashes]:
    """Return the hashes of the pieces of all texts, one text after the other, and where each begins and the last ends."""
    joined = "".join(f"{_PAD}{text}{_PAD}" for text in texts)
    letters = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    # A code point has 21 bits: three fill one number, and no two pieces are mixed up.
    codes = letters[:-2] | letters[1:-1] << np.uint64(21) | letters[2:] << np.uint64(42)
    counts = np.array([len(text) + len(_PAD) for text in texts])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    owners = np.repeat(np.arange(len(texts)), counts)
    # Between the last piece of a text and the first of the next stand as many that belong to neither as there is padding.
    hashes = _mixed(codes[np.arange(offsets[-1]) + len(_PAD) * owners])
    pieces = _mixed(hashes + _occurrences(hashes + owners.astype(np.uint64) * _ODD) * _ODD)
    return pieces, offsets.astype(np.uint64)


def _occurrences(values: Hashes) -> Hashes:
    """Return, for each value, how many equal ones stand before it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ranks = np.arange(len(values)) - np.repeat(begins, np.diff(np.append(begins, len(values))))
    found = np.empty(len(values), dtype=np.uint64)
    found[order] = ranks
    return found


def _mixed(values: Hashes) -> Hashes:
    """Return the values with their bits mixed (the finaliser of SplitMix64: Steele, Lea and Flood, 2014)."""
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)

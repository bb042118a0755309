"""
Find texts that say the same as an earlier one: equal ones by hash, near ones through MinHash.

Comparing all pairs of 100,000 texts takes 5 billion comparisons. Instead the texts are sorted by their MinHash numbers,
once for each of several starting points (an LSH forest: Bawa, Condie and Ganesan, 2005), and only neighbours in one of
these orders are compared letter by letter. Texts of one template crowd together; since each has a fixed number of
neighbours, they take no more time than others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rapidfuzz import fuzz, process

from ..errors import ConfigError
from .normal import normalise
from .shingles import PERMUTATIONS, Signatures, equal_share, least_share, signatures

LEAST = 50.0  # percent: any two sentences of a language are about as alike
_DEPTH = 8  # MinHash numbers by which an order sorts
_LOW = 80.0  # percent: below, look at more neighbours
_BLOCK = 1 << 15  # pairs whose MinHash is compared at a time
_BITS, _EARLIER = np.uint64(32), np.uint64(0xFFFFFFFF)

Pairs = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Hold the index of a text, that of the earlier one which is kept in its place, and how alike they are, in percent."""

    index: int
    kept: int
    similarity: float


def near_duplicates(texts: Sequence[str], threshold: float) -> list[Duplicate]:
    """
    Return, by index, each text whose letters are at least ``threshold`` percent (50 to 100) those of an earlier kept one.

    Texts are compared as :func:`normalise` leaves them. A text that is found is not kept: what is like it alone stays.
    What is found is confirmed; not all that is like is found: ``benchmarks/prepare.py`` measures how much. Raises
    :class:`ConfigError` for another threshold.
    """
    if not LEAST <= threshold <= 100:  # noqa: PLR2004 (percent)
        raise ConfigError(f"near duplicates: the threshold is a percentage from {LEAST:g} to 100, got {threshold!r}")
    plain = [normalise(text) for text in texts]
    first: dict[str, int] = {}
    for index, text in enumerate(plain):
        first.setdefault(text, index)
    replaced = _alike(list(first), threshold) if threshold < 100 else {}  # noqa: PLR2004 (percent)
    indices = list(first.values())
    found = {indices[one]: (indices[kept], similarity) for one, (kept, similarity) in replaced.items()}
    for index, text in enumerate(plain):
        if (earlier := first[text]) != index:
            # A copy of a text that is not kept itself goes with it.
            found[index] = found.get(earlier, (earlier, 100.0))
    return [Duplicate(index, *found[index]) for index in sorted(found)]


def _alike(texts: Sequence[str], threshold: float) -> dict[int, tuple[int, float]]:
    """Return, for each of these different texts that is near an earlier kept one, that one and the similarity."""
    replaced: dict[int, tuple[int, float]] = {}
    if len(texts) < 2:  # noqa: PLR2004 (a pair)
        return replaced
    for index, earlier in _candidates(signatures(texts), threshold):
        # What is near a text that is not kept may be near the one that is.
        kept = sorted({replaced[one][0] if one in replaced else one for one in earlier})
        best = process.extractOne(
            texts[index], [texts[one] for one in kept], scorer=fuzz.ratio, processor=None, score_cutoff=threshold
        )
        if best is not None:
            replaced[index] = (kept[best[2]], float(best[1]))
    return replaced


def _candidates(hashes: Signatures, threshold: float) -> Iterator[tuple[int, list[int]]]:
    """Yield, in order, each index with the earlier ones that may be like it, of many the likeliest."""
    orders, reach, most = (32, 4, 16) if threshold >= _LOW else (64, 8, 64)
    pairs = np.sort(np.concatenate([_neighbours(hashes, start, reach) for start in _starts(orders)]))
    pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]]
    later, earlier = (pairs >> _BITS).astype(np.int32), (pairs & _EARLIER).astype(np.int32)
    shares = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _BLOCK):
        block = slice(start, start + _BLOCK)
        shares[block] = equal_share(hashes[later[block]], hashes[earlier[block]])
    likely = shares >= least_share(threshold)
    later, earlier, shares = later[likely], earlier[likely], shares[likely]
    earlier = earlier[np.lexsort([earlier, -shares, later])]
    begins = np.flatnonzero(np.append(True, later[1:] != later[:-1])[: len(later)]).tolist()
    for start, end in itertools.pairwise([*begins, len(later)]):
        yield int(later[start]), earlier[start : min(end, start + most)].tolist()


def _starts(orders: int) -> range:
    """Return the MinHash number by which each order sorts first."""
    return range(0, PERMUTATIONS, PERMUTATIONS // orders)


def _neighbours(hashes: Signatures, start: int, reach: int) -> Pairs:
    """Return the pairs of indices that stand at most ``reach`` apart in one order, as later << 32 | earlier."""
    columns = [(start + offset) % PERMUTATIONS for offset in range(_DEPTH)]
    order = np.lexsort([hashes[:, column] for column in reversed(columns)])
    found: list[Pairs] = []
    for distance in range(1, reach + 1):
        one, other = order[distance:], order[:-distance]
        near = hashes[one, start] == hashes[other, start]
        one, other = one[near], other[near]
        found.append(np.maximum(one, other).astype(np.uint64) << _BITS | np.minimum(one, other).astype(np.uint64))
    return np.concatenate(found)

"""
Pick texts that are unlike what is there already and unlike each other: the farthest first.

Gonzalez, "Clustering to minimize the maximum intercluster distance" (1985): each pick is the text whose nearest neighbour
among those picked is farthest away. The distance is one minus the Jaccard index of three-letter pieces, estimated by
MinHash (:mod:`.shingles`), so that log files and single words can be told apart alike.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from .normal import normalise
from .shingles import equal_share, signatures


class Unlike:
    """Pick from ``texts`` by their distance from ``known`` ones and from those picked so far."""

    def __init__(self, texts: Sequence[str], known: Sequence[str]) -> None:
        self._hashes = signatures([normalise(text) for text in texts])
        self._near = np.zeros(len(texts))
        for one in signatures([normalise(text) for text in known]):
            np.maximum(self._near, equal_share(self._hashes, one), out=self._near)

    def distance(self, index: int) -> float:
        """Return how far a text is from all known and picked ones: 0 for a copy, 1 for nothing in common."""
        return 1.0 - float(self._near[index])

    def farthest(self, among: Collection[int]) -> int:
        """Return the index of the text that is farthest away; of equals, the first of ``among``."""
        indices = list(among)
        return indices[int(np.argmin(self._near[indices]))]

    def pick(self, index: int) -> None:
        """Count a text as known from now on."""
        np.maximum(self._near, equal_share(self._hashes, self._hashes[index]), out=self._near)

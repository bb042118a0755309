"""Say in words how a matrix differs from what it should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pytest_modelgate.preflight.weights_names import Heads
from pytest_modelgate.preflight.weights_read import Array

_SAME = 0.05
"""A normalised error below which two rows, or two heads, are the same: more than Q4_K makes."""


def swapped_rows(got: Array, wanted: Array, rows: Sequence[int]) -> bool:
    """Say whether each of ``rows`` is what another of them should be."""
    if len(rows) < 2:  # noqa: PLR2004  # two are needed to change places
        return False
    return all(any(_error(got[row], wanted[other]) < _SAME for other in rows if other != row) for row in rows)


def describe_damage(got: Array, wanted: Array, name: str, heads: Heads) -> str | None:
    """Return what was done to a matrix, None where it is nothing that is known."""
    if not got.any():
        return "all zeros"
    n_heads = heads.queries if "attn_q" in name or "attn_output" in name else heads.keys
    own, other = (got.T, wanted.T) if "attn_output" in name else (got, wanted)
    if "attn_" in name and n_heads > 1 and own.shape[0] % n_heads == 0:
        blocks = own.reshape(n_heads, -1)
        targets = other.reshape(n_heads, -1)
        order = [int(np.argmin([_error(block, target) for target in targets])) for block in blocks]
        if sorted(order) == list(range(n_heads)) and order != list(range(n_heads)):
            moved = [number for number, place in enumerate(order) if number != place]
            return f"attention heads {', '.join(map(str, moved))} have changed places"
    ratio = float((got * wanted).sum() / (wanted**2).sum())
    if _error(got, ratio * wanted) < _SAME and abs(ratio - 1) > _SAME:
        return f"{ratio:.3g} times what it should be"
    return None


def _error(got: Array, wanted: Array) -> float:
    """Return the squared error over the square of what is wanted."""
    square = float((wanted.astype(np.float64) ** 2).sum())
    return float(((got - wanted).astype(np.float64) ** 2).sum()) / square if square else float("inf")

"""Say in what way one tensor differs from what it should be: reordered, scaled, transposed, or in some rows alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.preflight.weights_gguf_names import rotary_pairs
from pytest_modelgate.preflight.weights_measure import Figures
from pytest_modelgate.preflight.weights_tensors import Floats

__all__ = ["explain", "matching_rows", "name_rows"]

_ALIKE = 0.97
"""A cosine from which two rows are taken for the same: Q2_K, the coarsest type, keeps 0.95 of a row and more."""

_NEAR, _UNRELATED = 0.02, 0.1
_MAX_ROWS = 8192
_SHOWN = 8


def explain(name: str, found: Floats, wanted: Floats, figures: Figures, heads: tuple[int, int]) -> str:
    """
    Return what happened to a tensor, as the end of a sentence that begins with its name.

    ``heads``: attention heads of queries and of keys; 0 where they are not known.
    """
    bad = bad_rows(figures, 0.3)
    if 0 < len(bad) < len(wanted) / 4:
        return f"differs in {len(bad)} of {len(wanted)} rows, the first is {bad[0]}"
    if abs(figures.likeness) > _ALIKE:
        factor = figures.cross / figures.energy
        return f"is {factor:.3g} times what it should be" if abs(factor - 1) > _NEAR else "is nearly what it should be"
    if wanted.shape[0] == wanted.shape[1] and _cosine(found, wanted.T) > _ALIKE:
        return "is transposed"
    if (order := matching_rows(found, wanted)) is not None:
        return _order(name, order, heads)
    if found.shape[1] > 1 and (order := matching_rows(found.T, wanted.T)) is not None:
        return f"has {np.count_nonzero(order != np.arange(len(order)))} columns at another place"
    if abs(figures.likeness) < _UNRELATED:
        return "has nothing in common with what it should be"
    return f"differs (NMSE {figures.nmse:.2g}, cosine {figures.likeness:.2f})"


def bad_rows(figures: Figures, limit: float) -> NDArray[np.intp]:
    """
    Return the rows whose squared error is more than ``limit`` times their squared weights.

    Rows that are nearly nothing, such as those of tokens that never occur, count as if they had a hundredth of the mean.
    """
    if not len(figures.row_energy):
        return np.zeros(0, np.intp)
    floor = float(figures.row_energy.mean()) / 100
    return np.flatnonzero(figures.row_error > limit * np.maximum(figures.row_energy, floor))


def matching_rows(found: Floats, wanted: Floats) -> NDArray[np.intp] | None:
    """Return for each row of ``found`` which row of ``wanted`` it is; None where it is not all of them, reordered."""
    if found.shape != wanted.shape or len(found) > _MAX_ROWS or found.shape[1] < 2:  # noqa: PLR2004
        return None
    with np.errstate(all="ignore"):
        likeness = _unit(found) @ _unit(wanted).T
        order = np.argmax(likeness, axis=1)
        best = likeness[np.arange(len(found)), order]
    is_order = len(set(order.tolist())) == len(order)
    return order if is_order and bool(np.all(best > _ALIKE)) else None


def name_rows(rows: Sequence[int], token: Callable[[int], str | None]) -> str:
    """Return rows of an embedding by their tokens, the first few of them."""
    shown = [f"{row} {text!r}" if (text := token(row)) is not None else str(row) for row in rows[:_SHOWN]]
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return ", ".join(shown) + more


def _order(name: str, order: NDArray[np.intp], heads: tuple[int, int]) -> str:
    """Say what a new order of rows is."""
    moved = np.flatnonzero(order != np.arange(len(order)))
    n_heads = heads[1] if "_k." in name or "k_proj" in name else heads[0]
    if not n_heads or len(order) % (2 * n_heads):
        return f"has {len(moved)} rows at another place"
    pairs = rotary_pairs(len(order), n_heads)
    if np.array_equal(order, pairs):
        return "has the rows of its rotary halves in pairs once too often"
    if np.array_equal(order, np.argsort(pairs)):
        return "has the rows of its rotary halves not in pairs, as llama.cpp reads them"
    size = len(order) // n_heads
    if np.array_equal(order % size, np.tile(np.arange(size), n_heads)):
        where = sorted({int(row) // size for row in moved})
        return f"has its attention heads {', '.join(map(str, where))} in another order"
    return f"has {len(moved)} rows at another place"


def _unit(rows: Floats) -> Floats:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30), np.float32)


def _cosine(one: Floats, other: Floats) -> float:
    norm = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(np.sum(one * other)) / norm if norm > 0 else 0.0

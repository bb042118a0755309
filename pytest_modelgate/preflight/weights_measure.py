"""Measure how far each tensor of a target is from what it should be, in one pass over both, some rows at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.preflight.weights_pairs import Expected, Pair
from pytest_modelgate.preflight.weights_tensors import Floats, Tensor, chunks

__all__ = ["Figures", "Scan", "levels", "measure", "round_to_bfloat16", "scan"]

_SAMPLED_BLOCKS = 4096
_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Scan:
    """
    Hold what a tensor holds, whatever it should be.

    ``bad``: how many values are no finite numbers, ``bad_at``: row and column of the first. ``zeros``: how many are zero,
    ``zero_rows``: rows of nothing but zeros. ``levels``: how many different values 32 neighbours have on average, NaN
    for a vector.
    """

    bad: int
    bad_at: tuple[int, int] | None
    zeros: int
    zero_rows: int
    levels: float


@dataclass(slots=True)
class Figures:
    """
    Hold sums over one tensor: T of the target, E expected, W of the base, D = E - W what the adapter changes.

    ``error`` |T-E|², ``energy`` |E|², ``size`` |T|², ``cross`` <T,E>; with a base ``moved`` |T-W|², ``change`` |D|² and
    ``along`` <T-E,D>; ``rounded``: <bf16(E)-W, D>, what of the change is left when the merge is rounded to bfloat16.
    ``row_error`` and ``row_energy``: |T-E|² and |E|² of each row. ``extra_rows``: rows that the target has more than
    expected.
    """

    error: float = 0.0
    energy: float = 0.0
    size: float = 0.0
    cross: float = 0.0
    moved: float = 0.0
    change: float = 0.0
    along: float = 0.0
    rounded: float = 0.0
    has_base: bool = False
    extra_rows: int = 0
    row_error: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    row_energy: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    @property
    def nmse(self) -> float:
        """Return the squared error over the squared expected weights; infinite where those are all zero and T is not."""
        return _ratio(self.error, self.energy)

    @property
    def applied(self) -> float:
        """Return the projection <T-W,D>/<D,D>: 1 where the adapter is applied, 0 where it is not; NaN without a change."""
        return 1 + self.along / self.change if self.change > 0 else math.nan

    @property
    def left(self) -> float:
        """Return |T-W-pD|² over |E|²: what is neither the base nor the adapter at its scale ``p``."""
        if not self.change > 0:
            return _ratio(self.moved, self.energy)
        # Both differences have the same part across D; of the smaller one less is lost to rounding.
        if self.error < self.moved:
            return _ratio(max(0.0, self.error - self.along**2 / self.change), self.energy)
        return _ratio(max(0.0, self.moved - self.applied**2 * self.change), self.energy)

    @property
    def likeness(self) -> float:
        """Return the cosine of T and E."""
        norm = math.sqrt(self.size * self.energy)
        return self.cross / norm if norm > 0 else float(self.size == self.energy)


def scan(tensor: Tensor) -> Scan:
    """Look at the values of a tensor."""
    bad, bad_at, zeros, zero_rows = 0, None, 0, 0
    counted: list[float] = []
    for start, stop in chunks(tensor):
        rows = tensor.rows(start, stop)
        nonzero = np.count_nonzero(rows, axis=1)
        zeros += rows.size - int(nonzero.sum())
        zero_rows += int(np.count_nonzero(nonzero == 0))
        if not math.isfinite(float(np.sum(rows, dtype=np.float64))):  # one pass for the usual case
            places = np.argwhere(~np.isfinite(rows))
            bad += len(places)
            if bad_at is None and len(places):
                bad_at = (start + int(places[0, 0]), int(places[0, 1]))
        elif not tensor.is_vector and tensor.n_columns >= _BLOCK and len(counted) < 2:  # noqa: PLR2004
            counted.append(levels(rows))
    known = [one for one in counted if not math.isnan(one)]
    return Scan(bad, bad_at, zeros, zero_rows, sum(known) / len(known) if known else math.nan)


def levels(rows: Floats) -> float:
    """
    Return how many different values blocks of 32 neighbours have on average, blocks of a single value left out.

    Weights that were quantised to 4 bits have no more than 16, whatever they are stored as now.
    """
    width = rows.shape[1] - rows.shape[1] % _BLOCK
    blocks = rows[:, :width].reshape(-1, _BLOCK)
    blocks = np.sort(blocks[:: max(1, len(blocks) // _SAMPLED_BLOCKS)], axis=1)
    counts = 1 + np.count_nonzero(np.diff(blocks, axis=1), axis=1)
    counts = counts[counts > 1]
    return float(counts.mean()) if len(counts) else math.nan


def measure(pair: Pair) -> Figures | None:
    """Compare a tensor with what it should be; None where nothing says so, it is missing, or has another shape."""
    target, expected = pair.target, pair.expected
    if target is None or expected is None or target.n_columns != expected.n_columns:
        return None
    if target.n_rows != expected.n_rows and target.is_vector:
        return None
    figures = Figures(extra_rows=target.n_rows - expected.n_rows)
    errors: list[NDArray[Any]] = []
    energies: list[NDArray[Any]] = []
    common = min(target.n_rows, expected.n_rows)
    for start, last in chunks(target):
        stop = min(last, common)
        if start >= stop:
            break
        row_error, row_energy = _add(figures, target.rows(start, stop), expected, start, stop)
        errors.append(row_error)
        energies.append(row_energy)
    figures.row_error = np.concatenate(errors).astype(np.float64) if errors else np.zeros(0)
    figures.row_energy = np.concatenate(energies).astype(np.float64) if energies else np.zeros(0)
    figures.error, figures.energy = float(figures.row_error.sum()), float(figures.row_energy.sum())
    return figures


def _add(
    figures: Figures, found: Floats, expected: Expected, start: int, stop: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Add some rows to the sums; return the squared errors and squared expected weights of each row."""
    base, wanted = expected.rows(start, stop)
    with np.errstate(all="ignore"):  # what is not finite is told apart
        off = found - wanted
        figures.size += _dot(found, found)
        figures.cross += _dot(found, wanted)
        row_error, row_energy = np.einsum("ij,ij->i", off, off), np.einsum("ij,ij->i", wanted, wanted)
        if base is not None:
            figures.has_base = True
            if expected.change is None:
                figures.moved += float(row_error.sum(dtype=np.float64))
            else:
                moved, change = found - base, wanted - base
                figures.moved += _dot(moved, moved)
                figures.change += _dot(change, change)
                figures.along += _dot(off, change)
                if expected.base_type == "BF16":
                    figures.rounded += _dot(round_to_bfloat16(wanted) - base, change)
    return row_error, row_energy


def round_to_bfloat16(values: Floats) -> Floats:
    """Return values rounded to the nearest bfloat16, ties to even, as float32."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)).view(
        np.float32
    )


def _dot(one: Floats, other: Floats) -> float:
    return float(np.dot(one.ravel(), other.ravel()))


def _ratio(part: float, whole: float) -> float:
    if whole > 0:
        return part / whole
    return 0.0 if part == 0 else math.inf

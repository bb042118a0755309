"""Measure how far each stored tensor is from what it should be, in one pass over both files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pytest_modelgate.preflight.weights_read import Array

_BLOCK = 8_000_000
"""Elements that are compared at once: 32 MB for each of the four arrays."""

ERRORS = {
    "F32": 1e-12,
    "F16": 1e-6,
    "BF16": 3e-5,
    "Q8_0": 2e-4,
    "Q6_K": 1.5e-3,
    "Q5_K": 6e-3,
    "Q5_1": 6e-3,
    "Q5_0": 8e-3,
    "Q4_K": 2.2e-2,
    "Q4_1": 2.2e-2,
    "Q4_0": 3e-2,
    "IQ4_NL": 2.2e-2,
    "IQ4_XS": 2.5e-2,
    "Q3_K": 9e-2,
    "Q2_K": 3e-1,
}
"""
Largest normalised squared error (mean squared error over mean square) that quantising to a type explains.

Measured on the tiny support candidate and on Gaussian weights (tests/preflight/test_weights.py): llama.cpp makes about a third of
each, and more on none of the tensors.
"""


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """
    Hold the sums over one tensor's elements that everything else follows from.

    ``got`` is what is stored, ``base`` what the untuned model has, ``delta`` what the adapter adds. ``bad_rows``: rows far
    from what they should be, by the error that is expected of the type, at most :data:`MOST_ROWS` of them;
    ``n_bad_rows`` counts all.
    """

    name: str
    type: str
    shape: tuple[int, int]
    n_bad_numbers: int
    is_zero: bool
    square_expected: float = 0.0
    error: float = 0.0
    square_base: float = 0.0
    change: float = 0.0
    square_delta: float = 0.0
    along: float = 0.0
    bad_rows: tuple[int, ...] = ()
    n_bad_rows: int = 0
    was_compared: bool = False

    @property
    def nmse(self) -> float:
        """Return the error against base plus delta, over the mean square of these."""
        return self.error / self.square_expected if self.square_expected else float(self.error > 0)

    @property
    def is_adapted(self) -> bool:
        """Say whether the adapter adds to this tensor."""
        return self.square_delta > 0

    @property
    def expected_error(self) -> float:
        """Return the largest error that the tensor's type explains, over the mean square."""
        return ERRORS.get(self.type, max(ERRORS.values()))

    @property
    def is_close(self) -> bool:
        """Say whether the type explains the error."""
        return self.nmse <= self.expected_error


MOST_ROWS = 16
_BAD_ROW = 4.0
"""A row is far off when its error is so many times the largest that its type explains."""


def look(name: str, tensor_type: str, shape: tuple[int, int], got: Callable[[int, int], Array]) -> TensorFacts:
    """Look at a tensor alone: numbers that are none, and nothing but zeros."""
    n_bad, is_zero = 0, True
    for start, stop in _blocks(shape):
        block = got(start, stop)
        n_bad += int((~np.isfinite(block)).sum())
        is_zero = is_zero and not block.any()
    return TensorFacts(name, tensor_type, shape, n_bad, is_zero)


def compare(
    name: str,
    tensor_type: str,
    shape: tuple[int, int],
    got: Callable[[int, int], Array],
    base: Callable[[int, int], Array],
    delta: Callable[[int, int], Array] | None,
) -> TensorFacts:
    """Compare a tensor with its base and what is added to that; each function returns rows from start to stop."""
    n_bad, is_zero = 0, True
    sums = np.zeros(6)
    bad: list[int] = []
    n_bad_rows = 0
    limit = _BAD_ROW * ERRORS.get(tensor_type, max(ERRORS.values()))
    for start, stop in _blocks(shape):
        block = got(start, stop).astype(np.float64)
        n_bad += int((~np.isfinite(block)).sum())
        is_zero = is_zero and not block.any()
        block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
        before = base(start, stop).astype(np.float64)
        added = np.zeros((1, 1)) if delta is None else delta(start, stop).astype(np.float64)
        wanted = before + added
        errors = ((block - wanted) ** 2).sum(axis=1)
        squares = (wanted**2).sum(axis=1)
        change = block - before
        sums += (
            errors.sum(), squares.sum(), (before**2).sum(), (change**2).sum(), (added**2).sum() if delta else 0.0,
            (change * added).sum() if delta else 0.0,
        )  # fmt: skip
        typical = squares.mean() or 1.0
        far = np.flatnonzero(errors > limit * np.maximum(squares, 0.1 * typical))
        n_bad_rows += len(far)
        bad.extend(int(row) + start for row in far[: MOST_ROWS - len(bad)])
    error, expected, square_base, changed, square_delta, along = (float(one) for one in sums)
    return TensorFacts(
        name, tensor_type, shape, n_bad, is_zero, expected, error, square_base, changed, square_delta, along,
        tuple(bad), n_bad_rows, was_compared=True,
    )  # fmt: skip


def _blocks(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the blocks of rows that a tensor is read in."""
    rows, columns = shape
    step = max(1, _BLOCK // max(1, columns))
    return [(start, min(rows, start + step)) for start in range(0, rows, step)]


@dataclass(frozen=True, slots=True)
class Applied:
    """
    Say how much of an adapter is in a file, over all the tensors that it adds to.

    ``share``: the factor of the adapter's change that is in the file's change of the base: 1 where it was applied.
    ``rest``: what of the file's change is something else, over the size of the adapter's; ``noise``: what of that
    quantisation explains. ``uncertainty``: of the share. ``spread``: of the share between tensors.
    """

    share: float
    rest: float
    noise: float
    uncertainty: float
    spread: float


def applied(facts: list[TensorFacts]) -> Applied:
    """
    Return how much of the adapter is in tensors that it adds to.

    The share is the least-squares factor p of got - base = p * delta: <got - base, delta> / <delta, delta>.
    """
    delta = sum(one.square_delta for one in facts)
    share = sum(one.along for one in facts) / delta
    change = sum(one.change for one in facts)
    noise = sum(one.expected_error * one.square_expected for one in facts)
    count = sum(one.shape[0] * one.shape[1] for one in facts)
    shares = [one.along / one.square_delta for one in facts]
    return Applied(
        share=share,
        rest=max(0.0, change - share**2 * delta) / delta,
        noise=noise / delta,
        uncertainty=float(np.sqrt(noise / count / delta)),
        spread=float(np.std(shares)),
    )

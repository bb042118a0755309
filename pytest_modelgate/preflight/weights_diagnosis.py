"""Judge each tensor of a target, and say what all of them together come from."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from pytest_modelgate.errors import SpecError
from pytest_modelgate.preflight.check import Subject
from pytest_modelgate.preflight.weights_explain import bad_rows, explain
from pytest_modelgate.preflight.weights_measure import Figures, Scan, measure, scan
from pytest_modelgate.preflight.weights_pairs import Opened, Pair, open_weights
from pytest_modelgate.preflight.weights_tensors import Tensor
from pytest_modelgate.preflight.weights_types import COARSE_LEVELS, FULL_PRECISION, level_of, limit_of

__all__ = ["Cause", "Judged", "State", "Weights", "judge"]

State = Literal[
    "right", "not applied", "scaled", "rounded", "off", "rows", "not finite", "zero", "missing", "shape", "unknown"
]
"""
What a tensor is: as it should be; the base's without the adapter; with it at another scale; with what bfloat16 kept of it;
something else; something else in a few rows; and so on. ``unknown``: nothing says what it should be.
"""

_EMBEDDING = re.compile(r"^(token_embd|output|model\.embed_tokens|lm_head)\.weight$")
_BLOCK = re.compile(r"^(?:blk|model\.layers)\.(\d+)\.")
_BROKEN = {"not finite": "holds values that are no numbers", "zero": "is all zero", "missing": "is missing"}
_UNMEASURED = 0.3
_ROW_OFF = 0.8
_FEW_ROWS = 0.2
_SMALL = 0.05
_MOSTLY = 0.7
"""A projection below which what the file holds is another adapter's change: two of one task shared 0.13 of it at most."""

_LIKE, _UNLIKE = 0.98, 0.9
"""Cosines: 4 bits leave 0.997 of a matrix, weights that were read in the wrong order 0.4."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Hold a tensor with what was measured; ``limit``: the largest NMSE that its type explains."""

    pair: Pair
    state: State
    scan: Scan | None
    figures: Figures | None
    limit: float

    @property
    def name(self) -> str:
        """Return the tensor's name."""
        return self.pair.name

    @property
    def is_embedding(self) -> bool:
        """Say whether it has a row for each token."""
        return bool(_EMBEDDING.match(self.name))

    @property
    def is_matrix(self) -> bool:
        """Say whether it is a layer's matrix."""
        return self.pair.target is not None and not self.pair.target.is_vector and not self.is_embedding

    @property
    def is_adapted(self) -> bool:
        """Say whether the adapter changes it."""
        return self.figures is not None and self.figures.change > 0

    @property
    def is_coarse(self) -> bool:
        """Say whether its values lie on a grid of fewer bits than it is stored with."""
        if self.scan is None or self.pair.target is None or math.isnan(self.scan.levels):
            return False
        return self.scan.levels < COARSE_LEVELS.get(self.pair.target.type, 0.0)


@dataclass(frozen=True, slots=True)
class Cause:
    """Hold what the differing tensors come from: a failure mode and a sentence on it."""

    mode: str
    sentence: str
    details: tuple[str, ...] = ()


@dataclass
class Weights:
    """Hold what the checks of this stage look at; everything is read when it is first asked for, once."""

    subject: Subject
    opened: Opened = field(init=False)
    broken: str | None = None
    """Why the target's own file cannot be read, None where it can."""

    def __post_init__(self) -> None:
        try:
            self.opened = open_weights(self.subject)
        except SpecError as error:
            self.opened = Opened(reason=str(error))
            try:  # the file alone, where it is its reference that cannot be read
                self.opened = replace(open_weights(replace(self.subject, chain=())), reason=str(error))
            except SpecError:
                self.broken = str(error)

    @cached_property
    def judged(self) -> tuple[Judged, ...]:
        """Return every tensor, judged."""
        return tuple(judge(pair) for pair in self.opened.pairs)

    @property
    def compared(self) -> tuple[Judged, ...]:
        """Return the tensors of which it is known what they should be."""
        return tuple(one for one in self.judged if one.state != "unknown")

    @property
    def adapted(self) -> tuple[Judged, ...]:
        """Return the tensors that the adapter changes."""
        return tuple(one for one in self.judged if one.is_adapted)

    @cached_property
    def cause(self) -> Cause | None:
        """Return what the differing tensors come from, None where none differs."""
        return _cause(self)


def judge(pair: Pair) -> Judged:
    """Measure a tensor and say what it is."""
    if pair.target is None:
        return Judged(pair, "missing", None, None, FULL_PRECISION)
    seen = scan(pair.target)
    figures = None if seen.bad else measure(pair)
    limit = limit_in(pair.target, figures)
    return Judged(pair, _state(pair, seen, figures, limit), seen, figures, limit)


def limit_in(tensor: Tensor, figures: Figures | None) -> float:
    """Return the largest NMSE that is explained by how a tensor is stored."""
    mean_square = 1.0 if figures is None else figures.energy / max(1, tensor.n_weights)
    return limit_of(tensor.type, mean_square) or _UNMEASURED


def _state(pair: Pair, seen: Scan, figures: Figures | None, limit: float) -> State:
    """Say what a tensor is."""
    target = pair.target
    if target is None:
        return "missing"
    if seen.bad:
        return "not finite"
    is_needed = not target.is_vector or "norm" in target.name
    if is_needed and seen.zeros == target.n_weights and (figures is None or figures.energy > 0):
        return "zero"
    if figures is None:
        return "unknown" if pair.expected is None else "shape"
    if figures.change > 0:
        return _adapted_state(pair, figures, limit)
    if figures.nmse <= limit:
        return "rows" if _few_rows(pair, figures, limit) else "right"
    return "rows" if _few_rows(pair, figures, limit) else "off"


def _adapted_state(pair: Pair, figures: Figures, limit: float) -> State:
    """Say what a tensor is that the adapter changes: by how much of its change is there, and what else is."""
    if figures.left * figures.energy > limit * max(figures.energy, figures.size):  # noise grows with what was stored
        return "rows" if _few_rows(pair, figures, limit) else "off"
    tolerance = tolerance_of(pair, figures, limit)
    if abs(figures.applied - 1) <= tolerance:
        return "rows" if _few_rows(pair, figures, limit) else "right"
    if figures.rounded and abs(figures.applied - figures.rounded / figures.change) <= tolerance:
        return "rounded"
    return "not applied" if abs(figures.applied) <= tolerance else "scaled"


def tolerance_of(pair: Pair, figures: Figures, limit: float) -> float:
    """
    Return how far a projection may be from 1 on an adapter that is applied.

    One twentieth, and four standard deviations of what noise of the type's size gives, which is spread over all weights.
    """
    n_weights = pair.target.n_weights if pair.target else 1
    return _SMALL + 4 * math.sqrt(limit * figures.energy / (max(1, n_weights) * figures.change))


def _few_rows(pair: Pair, figures: Figures, limit: float) -> bool:
    """Say whether a few rows alone differ."""
    if pair.target is None or pair.target.is_vector or pair.is_tied:
        return False
    return 0 < len(bad_rows(figures, _row_limit(pair, limit))) <= _FEW_ROWS * len(figures.row_error)


def _row_limit(pair: Pair, limit: float) -> float:
    """Return by how much a row may differ: of an embedding as the type explains, else by nearly all that it holds."""
    return 4 * limit if _EMBEDDING.match(pair.name) else max(_ROW_OFF, 4 * limit)


def off_rows(one: Judged) -> list[int]:
    """Return the rows that differ, of a tensor that does so in a few."""
    return [] if one.figures is None else [int(row) for row in bad_rows(one.figures, _row_limit(one.pair, one.limit))]


def _cause(weights: Weights) -> Cause | None:
    """Return the first that fits: what is broken, what the adapter lacks, what a few tensors and what all of them show."""
    differing = [one for one in weights.compared if one.state not in {"right", "rounded"}]
    if not differing:
        return None
    broken = [one for one in differing if one.state in {"not finite", "zero", "missing"}]
    if broken:
        return Cause("F16", f"{_first(broken)} {_BROKEN[broken[0].state]}")
    if shapes := [one for one in differing if one.state == "shape"]:
        return Cause("F14", f"{_first(shapes)} has another shape than the reference's")
    adapted = weights.adapted
    for state, mode, words in (
        ("not applied", "F11", "hold the base's weights without the adapter"),
        ("scaled", "F12", "hold the adapter at another scale"),
    ):
        found = [one for one in adapted if one.state == state]
        if found and (len(found) * 2 > len(adapted) or len(found) == len(differing)):
            return Cause(mode, f"{len(found)} of {len(adapted)} adapted tensors {words}")
    if tied := [one for one in differing if one.pair.is_tied]:
        return Cause("F10", f"{tied[0].name} differs from the embedding, which is the reference's output layer too")
    off = [one for one in differing if one.state != "rows"]
    if not off:
        one = next((one for one in differing if one.is_embedding), differing[0])
        return Cause("F08" if one.is_embedding else "F13", f"{len(off_rows(one))} rows of {one.name} differ")
    if _are_few(off, weights.compared):
        return _damage(off, weights)
    return _everywhere(off, weights)


def _are_few(off: Sequence[Judged], compared: Sequence[Judged]) -> bool:
    """Say whether the differing tensors are a quarter at most, or those of one block of several."""
    matrices = sum(not one.pair.target.is_vector for one in compared if one.pair.target)
    blocks = {match[1] if (match := _BLOCK.match(one.name)) else one.name for one in off}
    all_blocks = {match[1] for one in compared if (match := _BLOCK.match(one.name))}
    return len(off) * 4 <= matrices or (len(blocks) == 1 and len(all_blocks) > 1)


def _damage(off: Sequence[Judged], weights: Weights) -> Cause:
    """Say what happened to the few tensors that differ."""
    details = [f"{one.name} {explained(one, weights)}" for one in off[:8]]
    more = f" (and {len(off) - 1} more)" if len(off) > 1 else ""
    return Cause("F13", details[0] + more, tuple(details[1:]))


def explained(one: Judged, weights: Weights) -> str:
    """Return what happened to one tensor."""
    target, expected, figures = one.pair.target, one.pair.expected, one.figures
    if target is None or expected is None or figures is None or target.n_rows != expected.n_rows:
        return "differs"
    return explain(one.name, target.all(), expected.rows(0, target.n_rows)[1], figures, weights.opened.heads)


def _everywhere(off: Sequence[Judged], weights: Weights) -> Cause:
    """Say what tensors everywhere come from: another adapter, another base, or a loss of bits on the way."""
    others = [one for one in weights.compared if one.figures is not None and not one.is_matrix]
    rest_is_right = bool(others) and all(one.state in {"right", "rounded"} for one in others)
    adapted = [one for one in off if one.is_adapted]
    nmse = _median(one.figures.nmse for one in off if one.figures)
    coarse = [one for one in off if one.is_coarse]
    likeness = _median(one.figures.likeness for one in off if one.figures)
    if adapted and _median(_applied(one) for one in adapted) < _MOSTLY and not coarse and _low_rank(adapted):
        where = "beside another base's weights" if not rest_is_right else "and the rest is the base's"
        return Cause("F25", f"the file holds the change of another adapter than the reference's, {where}")
    counts = f"{len(off)} of {len(weights.compared)} tensors differ, by an NMSE of {nmse:.2g}"
    if rest_is_right and likeness < _UNLIKE:
        return Cause(
            "F13",
            f"{counts}, all of them matrices of layers, and what is never quantised in a training is right: they were "
            f"damaged in a merge into 4-bit weights",
        )
    if rest_is_right and not _is_embedding_quantised(weights):
        return Cause(
            "F13",
            f"{counts}, all of them matrices of layers: as much as a base in fewer bits gives ({level_of(nmse)}), so that "
            f"the adapter was merged into quantised weights",
        )
    vectors_right = all(one.state == "right" for one in others if one.pair.target and one.pair.target.is_vector)
    if len(coarse) * 2 > len(off) or (rest_is_right and likeness > _LIKE) or (vectors_right and _is_level(off)):
        return Cause("F24", f"{counts}, more than their types explain and about as much as {level_of(nmse)} gives")
    return Cause("F14", f"{counts}: also those that the adapter does not touch are another base's")


def _is_embedding_quantised(weights: Weights) -> bool:
    """Say whether an embedding shows bits lost on the way, by values that lie on a coarse grid."""
    return any(one.is_coarse for one in weights.judged if one.is_embedding)


def _is_level(off: Sequence[Judged]) -> bool:
    """Say whether matrices differ by what a known type of fewer bits gives, all by the same."""
    errors = [one.figures.nmse for one in off if one.figures and one.is_matrix]
    if len(errors) < 4 or max(errors) > 0.15:  # noqa: PLR2004
        return False
    return bool(np.quantile(errors, 0.9) < 1.3 * np.quantile(errors, 0.5))


def _low_rank(adapted: Sequence[Judged]) -> bool:
    """Say whether the smallest tensor's change from the base is of low rank, as that of an adapter is, and noise is not."""
    known = [one for one in adapted if one.pair.target and one.pair.expected]
    if not known:
        return False
    one = min(known, key=lambda judged: judged.pair.target.n_weights if judged.pair.target else 0)
    target, expected = one.pair.target, one.pair.expected
    if target is None or expected is None:
        return False
    base, _ = expected.rows(0, expected.n_rows)
    if base is None or base.shape != (target.n_rows, target.n_columns):
        return False
    values = np.linalg.svd(target.all() - base, compute_uv=False) ** 2
    return bool(values[: max(1, len(values) // 4)].sum() > 0.9 * values.sum())


def _applied(one: Judged) -> float:
    return one.figures.applied if one.figures else math.nan


def _median(values: Iterable[float]) -> float:
    found = [value for value in values if not math.isnan(value)]
    return float(np.median(found)) if found else math.nan


def _first(found: Sequence[Judged]) -> str:
    """Return the first tensor's name, and how many others there are."""
    return found[0].name + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")

"""
Compare two models' logits on the same tokens: how far apart their next-token distributions are.

The figures are those that llama.cpp's own tools give (``check-nmse.py``, ``llama-perplexity --kl-divergence``), computed here because
these tools are in no Python package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Comparison", "compare", "decision_places", "kl_divergence", "log_softmax", "probability"]

Logits = NDArray[np.float32]
Values = NDArray[np.float64]

_CONTEXT = 3


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    Hold what two models' logits have in common.

    ``nmse``: squared difference over the reference's squares, both less their mean over the vocabulary, which no
    probability depends on. ``kl_mean`` and ``kl_p99``: of KL(reference ‖ other) over positions, in nats. ``top1``: the share
    of positions whose likeliest token is the same; ``decisions``: the same at ``n_decisions`` positions alone where
    answers part, NaN where there is none.
    """

    n_positions: int
    nmse: float
    kl_mean: float
    kl_p99: float
    top1: float
    decisions: float
    n_decisions: int

    def figures(self) -> dict[str, float]:
        """Return the figures by the names of the metrics that gates may limit (:mod:`~pytest_modelgate.metrics.parity`)."""
        found = {
            "nmse": self.nmse,
            "kl.mean": self.kl_mean,
            "kl.p99": self.kl_p99,
            "top1_agreement": self.top1,
            "label_top1_agreement": self.decisions,
            "rows": float(self.n_positions),
        }
        return {key: value for key, value in found.items() if not np.isnan(value)}

    def __str__(self) -> str:
        return f"top-1 {self.top1:.3f}, KL {self.kl_mean:.2g}, NMSE {self.nmse:.2g}"


def log_softmax(logits: Logits) -> Values:
    """Return log-probabilities, shape as given, over the last axis; -inf stays -inf."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def kl_divergence(reference: Logits, other: Logits) -> Values:
    """Return KL(reference ‖ other) in nats for each position; shapes (positions, vocabulary)."""
    p, q = log_softmax(reference), log_softmax(other)
    with np.errstate(invalid="ignore"):
        terms = np.where(np.isneginf(p), 0.0, np.exp(p) * (p - q))  # 0 · log 0 = 0
    return np.asarray(np.maximum(terms.sum(axis=-1), 0.0))


def probability(logits: Logits, token: int) -> Values:
    """Return the probability of a token at each position."""
    return np.asarray(np.exp(log_softmax(logits)[..., token]))


def compare(pairs: Iterable[tuple[Logits, Logits]], decisions: Sequence[Sequence[int]] = ()) -> Comparison:
    """
    Compare logits row by row: pairs of (reference, other), each of shape (positions, vocabulary).

    Vocabularies of different length are compared as far as both go: what is more is padding. ``decisions``: for each row,
    positions where answers part. What is not finite makes every figure the worst.
    """
    divergences: list[Values] = []
    agreed: list[NDArray[np.bool_]] = []
    decided: list[NDArray[np.bool_]] = []
    error = energy = 0.0
    for number, (reference, other) in enumerate(pairs):
        width = min(reference.shape[-1], other.shape[-1])
        one, two = reference[:, :width], other[:, :width]
        if not np.isfinite(two).all() or not np.isfinite(one).all():
            return _worst(len(one))
        off, size = _centred(two) - _centred(one), _centred(one)
        error += float(np.sum(off * off, dtype=np.float64))
        energy += float(np.sum(size * size, dtype=np.float64))
        divergences.append(kl_divergence(one, two))
        same = np.argmax(one, axis=-1) == np.argmax(two, axis=-1)
        agreed.append(same)
        decided.append(same[list(decisions[number])] if number < len(decisions) else same[:0])
    kl = np.concatenate(divergences) if divergences else np.zeros(0)
    if not len(kl):
        return _worst(0)
    places = np.concatenate(decided)
    return Comparison(
        n_positions=len(kl),
        nmse=error / energy if energy > 0 else float("inf") if error > 0 else 0.0,
        kl_mean=float(kl.mean()),
        kl_p99=float(np.quantile(kl, 0.99)),
        top1=float(np.concatenate(agreed).mean()),
        decisions=float(places.mean()) if len(places) else float("nan"),
        n_decisions=len(places),
    )


def decision_places(answers: Sequence[Sequence[int]]) -> list[list[int]]:
    """
    Return for each answer the positions at which answers part: after the same few tokens, others go on otherwise.

    In answers of a fixed form these are the tokens that choose a label; no tokenizer is needed to find them.
    """
    following: dict[tuple[int, ...], set[int]] = {}
    for answer in answers:
        for place, token in enumerate(answer):
            following.setdefault(_before(answer, place), set()).add(token)
    return [[place for place in range(len(answer)) if len(following[_before(answer, place)]) > 1] for answer in answers]


def _before(answer: Sequence[int], place: int) -> tuple[int, ...]:
    """Return the last tokens before a place, -1 where the answer has not begun."""
    return tuple(answer[place - back] if place >= back else -1 for back in range(_CONTEXT, 0, -1))


def _centred(logits: Logits) -> Values:
    wide = logits.astype(np.float64)
    return np.asarray(wide - wide.mean(axis=-1, keepdims=True))


def _worst(n_positions: int) -> Comparison:
    infinite = float("inf")
    return Comparison(n_positions, infinite, infinite, infinite, 0.0, 0.0, 0)

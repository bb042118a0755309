"""Measure labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pytest_modelgate import statistics
from pytest_modelgate.metrics.common import Records, exact_match
from pytest_modelgate.metrics.measurement import NOTHING, Measurement, bootstrapped, proportion
from pytest_modelgate.metrics.registry import metric


@metric("accuracy", suffix="field", needs="expected")
def accuracy(records: Records, field: str | None = None) -> Measurement:
    """Return the share of cases with the right label in ``field``, or with the right answer as a whole."""
    if field is None:
        return exact_match(records)
    name = f"field.{field}"
    return proportion(record.scores[name] for record in records if name in record.scores)


@metric("macro_f1", suffix="field", needs="expected", field_required=True)
def macro_f1(records: Records, field: str) -> Measurement:
    """
    Return the unweighted mean of the classes' F1, over the classes that occur among the expected labels.

    An output without a label, or with one that no case expects, counts as a miss of its true class and adds no class
    of its own: scikit-learn's ``f1_score(..., labels=sorted(set(y_true)), average="macro", zero_division=0)``.
    """
    pairs = [(record.labels[field], record.group) for record in records if field in record.labels]
    if not pairs:
        return NOTHING
    confusion, member, weights = _confusion_by_group([pair for pair, _ in pairs], [group for _, group in pairs])
    point = float(_macro_f1(confusion.sum(axis=0)))
    n = len(confusion)

    def draw() -> np.ndarray[Any, Any]:
        return _macro_f1(np.tensordot(weights, confusion, axes=1))

    if point == 1.0:
        # Nothing to resample: as many groups without an error as there are bound the share of right answers.
        return bootstrapped(point, len(member), draw, lambda confidence: statistics.exact_bounds(n, n, confidence))
    return bootstrapped(point, len(member), draw)


def _confusion_by_group(
    pairs: Sequence[tuple[str, str]], groups: Sequence[str | None]
) -> tuple[np.ndarray[Any, Any], list[int], np.ndarray[Any, Any]]:
    """
    Return confusion counts of shape (groups, classes, classes + 1) with the expected label first.

    The last column holds every prediction that is not one of the classes.
    """
    classes = {label: number for number, label in enumerate(sorted({expected for expected, _ in pairs}))}
    weights, member = statistics.group_weights(groups)
    confusion = np.zeros((weights.shape[1], len(classes), len(classes) + 1))
    for (expected, predicted), group in zip(pairs, member, strict=True):
        confusion[group, classes[expected], classes.get(predicted, len(classes))] += 1
    return confusion, member, weights


def _macro_f1(confusion: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """
    Return the macro-F1 of confusion counts of shape (..., classes, classes + 1).

    A class that a bootstrap draw happens to hold no case of is left out of that draw's mean.
    """
    expected = confusion.sum(axis=-1)
    predicted = confusion[..., :-1].sum(axis=-2)
    hits = np.diagonal(confusion[..., :-1], axis1=-2, axis2=-1)
    total = expected + predicted
    f1 = np.divide(2 * hits, total, out=np.zeros_like(total), where=total > 0)
    present = expected > 0
    return np.asarray(np.where(present, f1, 0).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))

"""Measure labels: of classification tasks, and of the sections that hold one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from pytest_modelgate.metrics.common import Records, exact_match
from pytest_modelgate.metrics.measurement import Pool
from pytest_modelgate.metrics.registry import figure_of, pool_of, share_of
from pytest_modelgate.records import Record

JSON_KINDS = ("classification", "extraction", "tool_call")
LABEL_KINDS = ("classification", "sections")
BINS = 10
"""Bins of equal width in which confidence and accuracy are compared."""


@share_of("json_parse_rate", kinds=JSON_KINDS)
def json_parse_rate(record: Record) -> bool | None:
    """Tell whether the output is exactly one strict JSON value; an answer that rightly declines in words is none."""
    return bool(record.scores["json_parse"]) if "json_parse" in record.scores else None


@share_of("accuracy", suffix="field", needs="expected")
def accuracy(record: Record, field: str | None = None) -> bool | None:
    """Tell whether ``field`` is right, or the answer as a whole."""
    if field is None:
        return exact_match(record)
    name = f"field.{field}"
    return bool(record.scores[name]) if name in record.scores else None


@figure_of("macro_f1", suffix="field", field_required=True, needs="expected", kinds=LABEL_KINDS)
def macro_f1(records: Records, field: str) -> Pool | None:
    """
    Return the unweighted mean of the classes' F1, over the classes that occur among the expected labels.

    An output without a label, or with one that no case expects, counts as a miss of its true class and adds no class
    of its own: scikit-learn's ``f1_score(..., labels=sorted(set(y_true)), average="macro", zero_division=0)``. A class
    that a bootstrap draw happens to hold no case of is left out of that draw's mean.
    """
    classes = sorted({record.labels[field][0] for record in records if field in record.labels})
    number = {label: index for index, label in enumerate(classes)}

    def row(record: Record) -> list[float] | None:
        if field not in record.labels:
            return None
        expected, predicted = record.labels[field]
        counts = np.zeros((3, len(classes)))  # expected, predicted, hit
        counts[0, number[expected]] = 1
        if predicted in number:
            counts[1, number[predicted]] = 1
            counts[2, number[predicted]] = expected == predicted
        return list(counts.ravel())

    def figure(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        expected, predicted, hits = np.split(sums, 3, axis=-1)
        total = expected + predicted
        f1 = np.divide(2 * hits, total, out=np.zeros_like(total, dtype=float), where=total > 0)
        present = expected > 0
        return np.asarray(np.where(present, f1, 0).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))

    return pool_of(records, [row(record) for record in records], figure)


@share_of("fpr", suffix="label", field_required=True, needs="expected", kinds=LABEL_KINDS, better="lower")
def fpr(record: Record, field: str, label: str) -> bool | None:
    """Tell whether a case of another label was given ``label``: the false positive rate."""
    expected, predicted = record.labels.get(field, (None, None))
    return None if expected is None or is_label(expected, label) else is_label(str(predicted), label)


@share_of("fnr", suffix="label", field_required=True, needs="expected", kinds=LABEL_KINDS, better="lower")
def fnr(record: Record, field: str, label: str) -> bool | None:
    """Tell whether a case of ``label`` was given another: the false negative rate."""
    expected, predicted = record.labels.get(field, (None, None))
    return predicted != expected if expected is not None and is_label(expected, label) else None


@figure_of("ece", suffix="field", field_required=True, needs="expected", kinds=LABEL_KINDS, better="lower")
def ece(records: Records, field: str) -> Pool | None:
    """
    Return the expected calibration error: how far confidence is from accuracy, over ten bins of confidence.

    Confidence is the probability that the model gave the tokens of its label (their product); an output without a
    label, or an engine that tells no probabilities, does not count. Bins are closed above, as in Guo et al. 2017
    (arXiv 1706.04599).
    """
    rows: list[list[float] | None] = []
    for record in records:
        if field not in record.confidences or field not in record.labels:
            rows.append(None)
            continue
        confidence = record.confidences[field]
        expected, predicted = record.labels[field]
        counts = np.zeros((3, BINS))  # cases, confidence, right
        counts[:, confidence_bin(confidence)] = 1, confidence, expected == predicted
        rows.append(list(counts.ravel()))

    def figure(sums: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        cases, confidence, right = np.split(sums, 3, axis=-1)
        return np.asarray(np.abs(confidence - right).sum(axis=-1) / np.maximum(cases.sum(axis=-1), 1))

    return pool_of(records, rows, figure)


def confidence_bin(confidence: float) -> int:
    """Return the number of the bin that a confidence from 0 to 1 lies in."""
    return min(BINS - 1, max(0, int(np.ceil(confidence * BINS)) - 1))


def confusion(records: Records, field: str) -> dict[tuple[str, str], int]:
    """Return how often each expected label (first) was given each label (second)."""
    counts: dict[tuple[str, str], int] = {}
    for record in records:
        if pair := record.labels.get(field):
            counts[pair] = counts.get(pair, 0) + 1
    return counts


def is_label(text: str, written: str) -> bool:
    """Say whether a label of a record, JSON text, is the one ``written`` in a gate: 1 means the number and the text."""
    return text in {written, json.dumps(written)}

"""Break labels down: which were taken for which, how often each is wrong, and whether confidence can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_modelgate.kinds.kind import NO_LABEL
from pytest_modelgate.metrics.classification import BINS, LABEL_KINDS, confidence_bin, confusion, ece
from pytest_modelgate.records import Json, Record
from pytest_modelgate.report.causes import label_word
from pytest_modelgate.report.outcome import RunOutcome


@dataclass(frozen=True, slots=True)
class Bin:
    """Hold the answers whose confidence lies in one tenth."""

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None

    def to_json(self) -> Json:
        """Return the bin as primitives."""
        return {
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "accuracy": None if self.accuracy is None else round(self.accuracy, 4),
        }


@dataclass(frozen=True, slots=True)
class FieldDetail:
    """
    Hold one label field of one task on one target.

    ``classes``: the expected labels. ``matrix``: a row for each, with a column for each given label of them, one for
    any other label and one for none. ``bins`` and ``ece``: empty and None where the engine tells no probabilities.
    """

    target: str
    task: str
    field: str
    is_primary: bool
    n: int
    classes: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]
    bins: tuple[Bin, ...]
    ece: float | None

    def rates(self, place: int) -> tuple[float | None, float | None]:
        """Return a class's false positive and false negative rate; None where there is nothing to be wrong about."""
        own = sum(self.matrix[place])
        others = self.n - own
        taken = sum(row[place] for row in self.matrix) - self.matrix[place][place]
        missed = own - self.matrix[place][place]
        return (taken / others if others else None), (missed / own if own else None)

    def to_json(self) -> Json:
        """Return what report.json holds."""
        rates = [self.rates(place) for place in range(len(self.classes))]
        return {
            "target": self.target,
            "task": self.task,
            "field": self.field,
            "primary": self.is_primary,
            "n": self.n,
            "confusion": {
                "labels": list(self.classes),
                "matrix": [list(row[: len(self.classes)]) for row in self.matrix],
                "other_label": [row[-2] for row in self.matrix],
                "no_label": [row[-1] for row in self.matrix],
            },
            "classes": [
                {"label": label, "n": sum(row), "fpr": _rounded(fpr), "fnr": _rounded(fnr)}
                for label, row, (fpr, fnr) in zip(self.classes, self.matrix, rates, strict=True)
            ],
            "reliability": {"ece": _rounded(self.ece), "bins": [one.to_json() for one in self.bins]},
        }


def describe_labels(outcome: RunOutcome) -> tuple[FieldDetail, ...]:
    """Return the breakdown for each judged target, task and field, over golden and held-out cases."""
    cases = outcome.decisive_cases
    found = []
    for target in outcome.release.judged:
        records = [record for record in outcome.of(target.id) if (record.suite, record.case) in cases]
        for name, task in outcome.release.tasks.items():
            own = [record for record in records if record.task == name and record.labels]
            if task.kind in LABEL_KINDS and own:
                found += [_field(target.id, name, field, field == task.primary, own) for field in task.fields]
    return tuple(detail for detail in found if detail.n)


def _field(target: str, task: str, field: str, is_primary: bool, records: Sequence[Record]) -> FieldDetail:
    counts = confusion(records, field)
    classes = sorted({expected for expected, _ in counts})
    matrix = []
    for label in classes:
        row = [counts.get((label, given), 0) for given in classes]
        none = counts.get((label, NO_LABEL), 0)
        other = sum(n for (expected, _), n in counts.items() if expected == label) - sum(row) - none
        matrix.append((*row, other, none))
    pool = ece(records, field)
    return FieldDetail(
        target=target,
        task=task,
        field=field,
        is_primary=is_primary,
        n=sum(counts.values()),
        classes=tuple(map(label_word, classes)),
        matrix=tuple(matrix),
        bins=() if pool is None else _bins(records, field),
        ece=None if pool is None else pool.value,
    )


def _bins(records: Sequence[Record], field: str) -> tuple[Bin, ...]:
    """Return how confidence and accuracy compare, bin by bin."""
    inside: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for record in records:
        if field in record.confidences and field in record.labels:
            expected, given = record.labels[field]
            inside[confidence_bin(record.confidences[field])].append((record.confidences[field], expected == given))
    return tuple(
        Bin(
            low=number / BINS,
            high=(number + 1) / BINS,
            n=len(found),
            confidence=sum(confidence for confidence, _ in found) / len(found) if found else None,
            accuracy=sum(right for _, right in found) / len(found) if found else None,
        )
        for number, found in enumerate(inside)
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)

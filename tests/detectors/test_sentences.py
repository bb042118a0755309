"""The four criteria of a summary of an incident hold on labelled sentences that were not written by their author."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.detectors.rubric import BUILT_IN

FOLDER = Path(__file__).parent / "sentences"
FILES = sorted(FOLDER.glob("*.jsonl"))
LEAST = 0.9


def family_of(path: Path) -> str:
    """Return the criterion that a file is about: ``prevention_action.more.jsonl`` is about prevention_action."""
    return path.name.partition(".")[0]


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a file with their line numbers."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            yield number, json.loads(line)


def parts() -> Iterator[tuple[str, str]]:
    """Yield each criterion with each part of its sentences: what it was made with, and what was kept aside."""
    found = {(family_of(path), str(row.get("part", "made_with"))) for path in FILES for _, row in rows(path)}
    yield from sorted(found)


def test_every_criterion_has_sentences() -> None:
    """No criterion goes unmeasured, and no file is about anything else."""
    assert {family_of(path) for path in FILES} == set(BUILT_IN)


MISSED = {
    (
        "contributing_factors",
        "aside",
    ): "precision 0.892 (33 of 37) at recall 0.971: implicit causes are told apart worst"
}
"""What is not reached, and how near it is; a rule that is made to fit the part kept aside would only hide it.

That part was measured several times while the detectors were made: a new one will show less.
"""


@pytest.mark.parametrize(("family", "part"), list(parts()))
def test_precision_and_recall(family: str, part: str, request: pytest.FixtureRequest) -> None:
    """Nine of ten sentences that are said to meet a criterion do, and nine of ten that do are found."""
    if missed := MISSED.get((family, part)):
        request.applymarker(pytest.mark.xfail(reason=f"missed: {missed}", strict=True))
    assert part in {"made_with", "aside"}
    detect = BUILT_IN[family]
    counts = {(met, label): 0 for met in (True, False) for label in (True, False)}
    wrong = []
    for path in FILES:
        for number, row in rows(path) if family_of(path) == family else ():
            if row.get("part", "made_with") != part:
                continue
            met = detect(row["text"], row["input"])
            counts[met, row["label"]] += 1
            if met != row["label"]:
                wrong.append(f"{path.name}:{number}: {'met' if met else 'not met'}: {row['text']}")
    right = counts[True, True]
    precision = right / max(1, right + counts[True, False])
    recall = right / max(1, right + counts[False, True])
    figures = f"{family}, {part}: precision {precision:.3f}, recall {recall:.3f} of {sum(counts.values())} sentences"

    assert precision >= LEAST, "\n".join([figures, *wrong])
    assert recall >= LEAST, "\n".join([figures, *wrong])

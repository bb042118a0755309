"""Labels: right, wrong, missing."""

from __future__ import annotations

import pytest

from tests.kinds.conftest import MakeTask, answer, causes, refusal

TABLE = 'kind = "classification"\nfields = ["intent", "urgent"]'
RIGHT = {"intent": "refund", "urgent": True}


@pytest.mark.parametrize(
    ("text", "scores", "wrong"),
    [
        ('{"intent": "refund", "urgent": true}', (1, 1, 1, 1.0), []),
        ('{"urgent": true, "intent": "refund"}', (1, 1, 1, 1.0), []),
        ('{"intent": "refund", "urgent": "true"}', (0, 1, 0, 0.5), ["wrong_label"]),
        ('{"intent": "refund", "urgent": 1}', (0, 1, 0, 0.5), ["wrong_label"]),
        ('{"intent": "billing"}', (0, 0, 0, 0.0), ["wrong_label", "missing_category"]),
        ('{"intent": "refund", "urgent": true, "why": ""}', (0, 1, 1, 1.0), []),
        ('["refund", true]', (0, 0, 0, 0.0), ["missing_category"] * 2),
        ("refund", (0, 0, 0, 0.0), ["missing_category"] * 2),
    ],
)
def test_labels(make_task: MakeTask, text: str, scores: tuple[float, ...], wrong: list[str]) -> None:
    """Each field counts by itself, the answer as a whole only when nothing is added."""
    record = answer(make_task(TABLE), text, RIGHT)

    named = ("exact", "field.intent", "field.urgent", "quality")
    assert tuple(record.scores[name] for name in named) == scores
    assert causes(record) == wrong


def test_critical_fields(make_task: MakeTask) -> None:
    """A critical case fails by its primary field, or by the fields that it names."""
    task = make_task(TABLE)
    half = '{"intent": "refund", "urgent": false}'

    assert answer(task, half, RIGHT, critical=True).outcome == "missed"
    assert answer(task, half, RIGHT, critical=("urgent",)).outcome == "failed"


def test_expected_needs_every_field(make_task: MakeTask) -> None:
    """A case that leaves a field out is refused, naming the fields."""
    assert (
        refusal(make_task(TABLE), {"intent": "refund"}) == "expected must be an object with the fields intent, urgent"
    )

"""Text metrics reach their best value exactly where every answer is the best."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_modelgate.cases import Case
from pytest_modelgate.kinds import make_kind
from pytest_modelgate.metrics import find_metric
from pytest_modelgate.statistics import exact_bounds
from pytest_modelgate.tables import RubricTable
from tests.metrics.conftest import measure, record


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("exact_match", {"classification", "extraction", "tool_call", "text"}),
        ("text_after_answer_rate", {"classification", "extraction", "tool_call"}),
    ],
)
def test_metrics_of_some_kinds_only(name: str, kinds: set[str]) -> None:
    """Sections and rubrics are never right as a whole, and sections have nothing after their answer."""
    found = find_metric(name, ())

    assert not isinstance(found, str)
    assert set(found[0].kinds) == kinds


@pytest.mark.parametrize("criteria", [1, 3, 6, 7, 10, 49])
def test_a_rubric_that_is_met_is_met_in_full(tmp_path: Path, criteria: int) -> None:
    """Six times a sixth is 1 and not nearly: all answers right is bounded like a share, and within 0..1."""
    names = [f"word_{number}" for number in range(criteria)]
    rubric = {"criteria": [{"name": name, "regex": name} for name in names], "pass_threshold": 1.0}
    (tmp_path / "rubric.json").write_text(json.dumps(rubric), encoding="utf-8")
    kind = make_kind(RubricTable(kind="rubric", rubric="rubric.json"), tmp_path, "gates.toml: [tasks.k]")

    found = kind.judge(Case("c", "golden", "k", "in", "f:1", 1), " ".join(names))
    measured = measure("rubric_score", [record("a", "a", scores=found.scores)] * 60)

    assert found.scores["rubric"] == found.scores["quality"] == found.scores["rubric_pass"] == 1.0
    assert measured.value == 1.0
    assert measured.bounds is not None
    assert measured.bounds(0.95) == pytest.approx(exact_bounds(60, 60, 0.95))

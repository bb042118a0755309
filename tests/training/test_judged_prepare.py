"""The published pipeline of judged answers, through `modelgate-train prepare`."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.training import published_incidents
from tests.training.conftest import Project

GATES = """\
version = 1

[suites]
golden = ["golden.jsonl"]
adversarial = ["adversarial.jsonl"]
heldout = ["heldout.jsonl"]

[tasks.summary]
kind = "text"
[tasks.cause]
kind = "text"
[tasks.risk]
kind = "text"

[gates.never_endless]
metric = "truncation_rate"
max = 0.01
"""


@pytest.fixture
def published(project: Project) -> Project:
    """Return a project whose rows come from the published files."""
    published_incidents.write_sources(project.path)
    (project.path / "gates.toml").write_text(GATES, encoding="utf-8")
    for suite in ("golden", "adversarial", "heldout"):
        project.write_rows(f"{suite}.jsonl", [{"id": suite, "task": "risk", "input": f"An {suite} log of nothing"}])
    project.config["data"] = {"judged": published_incidents.config(), "validation": 0.0, "duplicates": 100}
    return project


def test_the_published_rule_is_refused_naming_every_leaked_incident(
    published: Project, error: Callable[[], str]
) -> None:
    """Rows of at least nine evaluation incidents were appended: all are named, and nothing is written."""
    assert published.run("prepare") == 1
    said = error()
    named = re.findall(r"inc-\d{4}", said)
    assert int(re.search(r"(\d+) incidents that are held back", said)[1]) == len(set(named)) >= 9  # type: ignore[index]
    assert "exclude_eval: true" in said
    assert not (published.path / "run" / "prepared" / "train.jsonl").exists()


def test_with_exclude_eval_it_goes_on_with_the_corrected_count(
    published: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the evaluation incidents the accounting is printed step by step, and fewer rows are appended."""
    published.config["data"]["judged"] = published_incidents.config(exclude_eval=True)
    assert published.run("prepare") == 0
    shown = capsys.readouterr().out
    assert "select: 675 -> 2025" in shown
    appended = int(re.search(r"augment: \d+ -> (\d+)", shown)[1])  # type: ignore[index]
    assert 2025 < appended <= 2195 - 18
    assert published.facts("prepare")["counts"]["read"] == appended
    assert {row["task"] for row in published.read_rows("prepared/train.jsonl")} == {"summary", "cause", "risk"}

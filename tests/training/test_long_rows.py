"""Long inputs are shortened in training as they are at serving, and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.conftest import Project

BASE = Path(__file__).parents[2] / "examples" / "support" / "base"
RULE = '[tasks.tickets.long_input]\ntokens = 60\nhow = "cut"\n'


@pytest.fixture
def long_project(project: Project) -> Project:
    """Return a project whose first row is 40 lines long, with a rule of 60 tokens."""
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text(encoding="utf-8").replace("[gates.schema", f"{RULE}\n[gates.schema", 1), "utf-8")
    rows = project.read_source("train.jsonl")
    rows[0]["input"] = "\n".join(f"{number}:00 something happened to host {number}" for number in range(40))
    project.write_rows("train.jsonl", rows)
    project.config["base"] = {"path": str(BASE), "own_tokenizer": True}
    return project


@pytest.mark.model
def test_a_long_row_is_cut_between_lines_and_counted(long_project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """First and last line stay, a marker says how many lines are missing, and the count is reported."""
    assert long_project.run("prepare") == 0
    assert "inputs cut or condensed by [tasks.NAME.long_input]: 1" in capsys.readouterr().out
    assert long_project.facts("prepare")["length"]["inputs_cut"] == 1
    rows = [*long_project.read_rows("prepared/train.jsonl"), *long_project.read_rows("prepared/validation.jsonl")]
    (cut,) = [row["prompt"] for row in rows if "lines left out" in row["prompt"]]
    assert cut.startswith("0:00 something")
    assert cut.endswith("to host 39")


@pytest.mark.model
def test_a_rule_that_refuses_rejects_the_row(long_project: Project) -> None:
    """With `refuse` nothing is cut: the row is rejected, with its length."""
    gates = long_project.path / "gates.toml"
    gates.write_text(gates.read_text(encoding="utf-8").replace('"cut"', '"refuse"'), encoding="utf-8")
    assert long_project.run("prepare") == 0
    (line,) = (long_project.path / "run" / "rejected" / "length.jsonl").read_text(encoding="utf-8").splitlines()
    assert "60" in json.loads(line)["reason"]


def test_without_a_tokenizer_nothing_is_guessed(long_project: Project, error: Callable[[], str]) -> None:
    """A base that is made from these very rows cannot count them: that is an error, not a guess."""
    long_project.config["base"] = Project(long_project.path / "other").config["base"]
    assert long_project.run("prepare") == 1
    assert "train.jsonl:1: the input may be longer than the 60 tokens of [tasks.tickets.long_input]" in error()

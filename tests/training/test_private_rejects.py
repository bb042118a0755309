"""What is not learned from is kept as private as what is: in rejected rows, names of files and messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelgate_training.config import Config
from modelgate_training.data.forget import forget
from modelgate_training.data.masking import name_hash, pseudonym
from modelgate_training.data.row_gates import SCORES

from tests.training import published_incidents
from tests.training.conftest import Project, rows
from tests.training.test_judged_prepare import published

__all__ = ["published"]

JANE, BOB = "Jane Elisabeth Doe", "bob@example.org"
GOOD = dict.fromkeys(SCORES, 5)


def row(text: str, **more: Any) -> dict[str, Any]:
    """Return a row of the project's task."""
    return {"input": text, "expected": {"intent": "bug"}} | more


def all_written(project: Project) -> str:
    """Return all that a run and its registry wrote, as one text."""
    folders = (project.path / "run", project.path / "registry")
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return "\n".join(f"{path}\n{path.read_bytes().decode('utf-8', 'replace')}" for path in files)


# --- Rejected rows -----------------------------------------------------------------------------------------------


def test_only_the_numbers_of_scores_are_kept(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A note beside the scores, a text or a large number in the place of one are written nowhere."""
    scores = [
        GOOD | {"safety": 1, "note": f"written by {BOB}"},
        GOOD | {"safety": BOB},
        BOB,
        GOOD | {"format": 4111111111111111},
    ]
    lines = [row(f"A window number {n} broke", scores=one) for n, one in enumerate(scores)]
    project.write_rows("train.jsonl", [*rows(), *lines])
    assert project.run("prepare") == 0
    rejected = project.read_rows("rejected/rubric.jsonl")
    assert rejected[0]["scores"] == GOOD | {"safety": 1}
    assert [one["reason"] for one in rejected[1:]] == [
        "score 'safety' must be 1 to 5",
        f"scores must be an object of {', '.join(SCORES)}, got a text",
        "score 'format' must be 1 to 5",
    ]
    assert not {BOB, "4111111111111111"} & set(json.dumps(rejected).replace('"', " ").replace(",", " ").split())
    assert BOB not in all_written(project) + capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        ({"input": 3, "person": JANE}, {}),
        ({"input": 3, "who": JANE}, {"person": "who"}),
        ({"input": 3, "who": JANE, "task": "nope"}, {"person": "who"}),
        ({"input": "x", "expected": {}, "person": [JANE, "Ada"]}, {}),
        ({"input": "x", "expected": {}, "person": {"name": JANE}}, {}),
    ],
    ids=["person", "own column", "unknown task", "list", "object"],
)
def test_an_unreadable_row_names_nobody(
    project: Project, capsys: pytest.CaptureFixture[str], line: dict[str, Any], columns: dict[str, str]
) -> None:
    """A person is a pseudonym there as well, under whatever key and of whatever type."""
    project.config["data"]["train"] = [{"path": "train.jsonl", "columns": columns}] if columns else ["train.jsonl"]
    project.write_rows("train.jsonl", [*rows(), line])
    assert project.run("prepare") == 0
    (rejected,) = project.read_rows("rejected/json.jsonl")
    assert pseudonym(JANE) in json.dumps(rejected)
    assert "Elisabeth" not in all_written(project) + capsys.readouterr().out


def test_names_of_unreadable_rows_are_those_of_rows(project: Project) -> None:
    """An id or group that must be masked is the pseudonym by which it is known elsewhere; others stay."""
    project.write_rows("train.jsonl", [*rows(), {"input": 3, "id": BOB, "group": "wall", "note": f"by {BOB}"}])
    assert project.run("prepare") == 0
    (rejected,) = project.read_rows("rejected/json.jsonl")
    assert (rejected["id"], rejected["group"]) == (pseudonym(BOB), "wall")
    assert rejected["record"] == {"input": 3, "id": pseudonym(BOB), "group": "wall", "note": "by [EMAIL]"}


# --- Names of files ----------------------------------------------------------------------------------------------


def test_a_file_is_not_called_by_whom_it_names(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """In rows, registry and summary it has a masked name; two such files have two."""
    for name, word in ((BOB, "window"), ("al@example.org", "door")):
        project.write_rows(f"{name}.jsonl", [row(f"A {word} broke")])
    project.config["data"]["train"] = ["train.jsonl", f"{BOB}.jsonl", "al@example.org.jsonl"]
    assert project.run("prepare", "--set", "data.validation=0") == 0
    names = {one["source"].rpartition(":")[0] for one in project.read_rows("prepared/train.jsonl")} - {"train.jsonl"}
    listed = (project.path / "registry" / "datasets.jsonl").read_text(encoding="utf-8")
    assert len(names) == 2
    assert all(json.dumps(name) in listed for name in names)
    prepared = (project.path / "run" / "prepared" / "train.jsonl").read_text(encoding="utf-8")
    assert "@example" not in listed + prepared + capsys.readouterr().out


# --- Forgotten people --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", [JANE, [JANE, "Ada"]], ids=["text", "list"])
def test_an_unreadable_row_is_found_where_it_was_kept(project: Project, person: Any) -> None:
    """Forgetting takes it out of its file, names what of the run still holds its record, and keeps it out."""
    line = {"input": 3, "person": person}
    project.write_rows("train.jsonl", [*rows(), line])
    assert project.run("prepare") == 0
    forgotten = forget(Config.model_validate(project.config), [JANE])
    assert (forgotten.removed, forgotten.copies) == ({"train.jsonl": 1}, ("run/rejected/json.jsonl",))
    project.write_rows("train.jsonl", [*rows(), line])
    assert project.run("prepare", "--force") == 0
    assert project.read_rows("rejected/json.jsonl") == []
    assert project.facts("prepare")["rejected"]["forgotten"] == 1


def test_a_record_of_an_older_run_is_found(project: Project) -> None:
    """Rejected rows whose names stand only inside their record are looked into."""
    project.write_rows("train.jsonl", [*rows(), row("A window broke", person=JANE)])
    assert project.run("prepare") == 0
    rejected = project.path / "run" / "rejected" / "json.jsonl"
    rejected.write_text(json.dumps({"gate": "json", "record": {"person": pseudonym(JANE)}}) + "\n", encoding="utf-8")
    assert "run/rejected/json.jsonl" in forget(Config.model_validate(project.config), [JANE]).copies


def test_without_the_registry_nobody_comes_back(project: Project, error: Callable[[], str]) -> None:
    """registry: null is refused where a registry lists what was forgotten, and nothing is prepared."""
    project.write_rows("train.jsonl", [*rows(), row("A window broke", person=JANE)])
    forget(Config.model_validate(project.config), [JANE])
    assert project.run("prepare", "--set", "registry=null") == 4
    said = error()
    assert (
        "registry: null would bring back what registry/forgotten.jsonl says was forgotten: give registry=registry"
        in said
    )
    assert project.read_rows("prepared/train.jsonl") == []


def test_without_anybody_forgotten_no_registry_is_needed(project: Project) -> None:
    """registry: null stays allowed."""
    assert project.run("prepare", "--set", "registry=null") == 0


# --- Judged answers ----------------------------------------------------------------------------------------------


def test_incidents_that_were_left_out_are_written_down(published: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has its step, rule, reason and place, and nothing of its log; they are counted, but not as rejected rows."""
    published.config["data"]["judged"] = published_incidents.config(exclude_eval=True)
    assert published.run("prepare") == 0
    left_out = published.read_rows("rejected/judged.jsonl")
    facts = published.facts("prepare")
    assert facts["left_out"] == len(left_out) > 0
    assert all(one.keys() == {"gate", "reason", "source", "id", "step", "rule"} for one in left_out)
    assert {one["step"] for one in left_out} <= {"join", "filter", "select", "augment"}
    assert "judged" not in facts["rejected"]
    summary = json.loads((published.path / "run" / "rejected" / "summary.json").read_text(encoding="utf-8"))
    assert summary["judged"] == len(left_out)
    assert "see rejected/judged.jsonl" in capsys.readouterr().out


def test_a_forgotten_incident_is_not_listed(published: Project) -> None:
    """What was forgotten on request stands among those left out no more."""
    published.config["data"]["judged"] = published_incidents.config(exclude_eval=True)
    assert published.run("prepare") == 0
    gone = published.read_rows("rejected/judged.jsonl")[0]["id"]
    registry: Path = published.path / "registry"
    line = {"sha256": name_hash(gone), "of": "name", "created": "2026-01-01T00:00:00+00:00"}
    (registry / "forgotten.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert published.run("prepare", "--force") == 0
    assert gone not in {one["id"] for one in published.read_rows("rejected/judged.jsonl")}

"""--modelgate-any: of a ladder of targets one that passes is enough."""

from __future__ import annotations

import json

from tests.conftest import Project, label

WRONG = json.dumps(label("bug", "high"))
LADDER = ("replay:journal.jsonl#small", "replay:journal.jsonl#large")


def test_one_that_passes_is_enough(project: Project, mode: tuple[str, ...]) -> None:
    """The run is green if one target passes all gates, and names it; the others' failures are shown as warnings."""
    project.record({"golden/late": WRONG}, target="small")
    project.record(target="large")

    result = project.run("--modelgate-any", *mode, models=LADDER)

    assert result.ret == 0
    assert project.report["verdict"] == "passed"
    assert project.report["passing"] == ["large"]
    result.stdout.fnmatch_lines(["smallest that passes all gates: large (*"])
    assert project.gates["critical[small]"] == "failed"


def test_without_the_option_every_target_must_pass(project: Project) -> None:
    """The same ladder is blocked where nobody asked for any."""
    project.record({"golden/late": WRONG}, target="small")
    project.record(target="large")

    result = project.run(models=LADDER)

    assert result.ret == 1


def test_none_that_passes_blocks(project: Project, mode: tuple[str, ...]) -> None:
    """Where no target passes the run is blocked, with the reasons of all."""
    project.record({"golden/late": WRONG}, target="small")
    project.record({"golden/late": "no JSON"}, target="large")

    result = project.run("--modelgate-any", *mode, models=LADDER)

    assert result.ret == 1
    assert project.report["passing"] == []
    result.stdout.fnmatch_lines(["no target passes all gates"])
    assert {gate["target"] for gate in project.report["gates"] if gate["outcome"] == "failed"} == {"small", "large"}


def test_target_with_an_error_is_not_chosen(project: Project) -> None:
    """A target that answered nothing for a case is not one that passes."""
    project.record(target="large")
    with (project.path / "journal.jsonl").open("a", encoding="utf-8") as file:
        row = {"target": "small", "suite": "golden", "case": "late", "generation": {"text": json.dumps(label())}}
        file.write(json.dumps(row) + "\n")

    result = project.run("--modelgate-any", models=LADDER)

    assert result.ret == 0
    assert project.report["passing"] == ["large"]


def test_table_shows_the_ladder(project: Project) -> None:
    """Several targets stand side by side: what they got right, gates, verdict."""
    project.record({"golden/late": WRONG}, target="small")
    project.record(target="large")

    result = project.run(models=LADDER)

    result.stdout.fnmatch_lines(["target*right*gates*verdict", "small*6/7*blocked", "large*7/7*passed"])

"""Targets and cases have ids that people can type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project


def test_two_targets_are_judged_in_one_run(project: Project) -> None:
    """Each case is an item for each target; the cases of one target stand together."""
    project.record(target="second")

    result = project.run(
        "--collect-only", "-q", "-m", "golden", models=["replay:journal.jsonl#cand", "replay:journal.jsonl#second"]
    )

    assert [line.partition("::")[2] for line in result.outlines if "::" in line] == [
        "late[cand]",
        "crash[cand]",
        "money-back[cand]",
        "late[second]",
        "crash[second]",
        "money-back[second]",
    ]


def test_equal_ids_are_refused(project: Project) -> None:
    """Two targets with one id are an error that says how to tell them apart."""
    spec = "replay:journal.jsonl#cand"

    result = project.run(models=[spec, spec])

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.errlines[0] == (
        f"ERROR: --model {spec}: target id 'cand' is already that of --model {spec}; add ,id=NAME to one of them"
    )


def test_id_option_names_a_target(project: Project) -> None:
    """``,id=NAME`` names a target in ids and reports, so that one file can be judged twice."""
    result = project.run(models=["replay:journal.jsonl#cand", "replay:journal.jsonl#cand,id=q4_K.M-2"])

    assert result.ret == 0
    assert [target["id"] for target in project.report["targets"]] == ["cand", "q4_K.M-2"]
    assert project.outcomes["golden/late[q4_K.M-2]"] == "passed"


@pytest.mark.parametrize(
    ("recorded", "id_"),
    [
        ("model.Q4_K_M", "model.Q4_K_M"),
        ("my model (2)", "my-model-2"),
        ("größe", "gr-e"),
        ("::", "model"),
        ("a]b[", "a-b"),
    ],
)
def test_id_is_made_of_the_name(project: Project, recorded: str, id_: str) -> None:
    """What no id may hold becomes a hyphen."""
    project.record(target=recorded)

    result = project.run(target=recorded)

    assert result.ret == 0
    assert [target["id"] for target in project.report["targets"]] == [id_]


def test_escaped_comma_and_hash_in_a_spec(project: Project) -> None:
    """A comma and a hash in a path are written %2C and %23."""
    (project.path / "journal.jsonl").rename(project.path / "a,b#c.jsonl")

    result = project.run(models=["replay:a%2Cb%23c.jsonl#cand"])

    assert result.ret == 0


def test_models_may_be_given_with_an_equals_sign(project: Project) -> None:
    """``--model=SPEC`` means the same as ``--model SPEC``."""
    assert project.run("--model=replay:journal.jsonl#cand", models=[]).ret == 0


def test_failure_names_case_and_line(project: Project) -> None:
    """A failed case is headed by its suite, id and target, and begins with its file and line."""
    project.record({"golden/late": "no"}, target="off")

    result = project.run(target="off")

    result.stdout.fnmatch_lines(
        ["_* golden late on off *_", "golden/support.jsonl:1: critical case 'late' on off: failed"]
    )

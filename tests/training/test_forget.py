"""A person's rows go from the training files, do not come back, and the runs that used them are named."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modelgate_training.config import Config
from modelgate_training.data.forget import Forgotten, forget

from tests.training.conftest import Project, rows

ADA = "ada@example.org"


def row(text: str, **more: Any) -> dict[str, Any]:
    """Return a row of the project's task."""
    return {"input": text, "expected": {"intent": "bug"}} | more


def with_people(project: Project) -> None:
    """Write 48 rows of nobody, two of Ada's and one of Grace's."""
    mine = [
        row("A window broke", person=ADA, group="tax line"),
        row("Grace here, the door broke", person="grace", group="tax line"),
        row("Now the wall broke as well", person=ADA, id="r-3", group="wall"),
    ]
    project.write_rows("train.jsonl", [*rows(), *mine])


def forget_in(project: Project, *names: str) -> Forgotten:
    """Forget names, as the command does."""
    return forget(Config.model_validate(project.config), names)


def lines(project: Project) -> list[bytes]:
    """Return the lines of the training file."""
    return (project.path / "train.jsonl").read_bytes().split(b"\n")


# --- Out of the files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gone"),
    [(ADA, [48, 50]), ("r-3", [50]), ("wall", [50]), ("train.jsonl:50", [49]), ("grace", [49])],
    ids=["person", "id", "group", "place", "other person"],
)
def test_rows_go_by_person_id_group_or_place(project: Project, name: str, gone: list[int]) -> None:
    """All other lines stay as they are."""
    with_people(project)
    before = lines(project)
    forgotten = forget_in(project, name)
    assert forgotten.removed == {"train.jsonl": len(gone)}
    assert lines(project) == [line for number, line in enumerate(before) if number not in gone]


def test_every_other_byte_stays(project: Project) -> None:
    """Blank lines, odd spacing, escapes, line ends of another system and a missing last line end are kept."""
    kept = [
        b'{"input":"a  b" ,"expected":{"intent":"bug"}, "x": "\\u00e9"}\r\n',
        b"\n",
        '{"input": "a\u2028b", "expected": {"intent": "bug"}}\n'.encode(),
        b"not JSON\n",
        b'{"input": "last", "expected": {"intent": "bug"}}',
    ]
    ada = json.dumps(row("A window broke", person=ADA)).encode() + b"\n"
    path = project.path / "train.jsonl"
    path.write_bytes(b"".join([*kept[:3], ada, *kept[3:]]))
    path.chmod(0o640)
    forget_in(project, ADA)
    assert path.read_bytes() == b"".join(kept)
    assert path.stat().st_mode & 0o777 == 0o640
    assert not list(project.path.glob(".partial*"))


def test_a_table_loses_whole_records(project: Project) -> None:
    """A record of several lines goes as a whole; byte order mark and quoting of the others stay."""
    kept = b'\xef\xbb\xbfinput,expected,person\r\n"One\ntwo",bug,grace\r\n\r\nx y,bug,"gr""ace"\r\n'
    ada = b'"Three\nfour",bug,ada@example.org\r\n'
    place = kept.index(b"\r\nx y") + 2
    (project.path / "rows.csv").write_bytes(kept[:place] + ada + kept[place:])
    project.config["data"]["train"] = [{"path": "rows.csv", "label_key": "intent"}]
    assert forget_in(project, ADA).removed == {"rows.csv": 1}
    assert (project.path / "rows.csv").read_bytes() == kept


@settings(max_examples=30)
@given(
    cells=st.lists(
        st.tuples(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.booleans()), max_size=8
    )
)
def test_any_table_keeps_the_others_records(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, bool]]
) -> None:
    """Whatever the cells hold, csv reads the same other records afterwards."""
    project = Project(tmp_path_factory.mktemp("project"))
    path = project.path / "rows.csv"
    table = [("some words", "bug", "ada" if is_ada else "grace", cell) for cell, is_ada in [*cells, ("", True)]]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("input", "expected", "person", "cell"), *table])
    project.config["data"]["train"] = [{"path": "rows.csv", "label_key": "intent"}]
    forget_in(project, "ada")
    with path.open(encoding="utf-8", newline="") as file:
        left = list(csv.reader(file))[1:]
    assert left == [list(record) for record in table if record[2] != "ada"]


def test_broken_rows_of_a_person_go_too(project: Project) -> None:
    """A row that could not be learned from is still somebody's."""
    project.write_rows("train.jsonl", [*rows(), {"input": "no answer", "person": ADA}])
    assert forget_in(project, ADA).removed == {"train.jsonl": 1}


# --- Kept out ----------------------------------------------------------------------------------------------------


def test_a_person_does_not_come_back(project: Project) -> None:
    """Old rows that are put back, and new ones of the same person, are rejected; others are not."""
    with_people(project)
    before = (project.path / "train.jsonl").read_bytes()
    forget_in(project, ADA)
    (project.path / "train.jsonl").write_bytes(before + json.dumps(row("A new one", person=ADA)).encode() + b"\n")
    assert project.run("prepare") == 0
    assert project.facts("prepare")["rejected"]["forgotten"] == 3
    kept = project.read_rows("prepared/train.jsonl") + project.read_rows("prepared/validation.jsonl")
    assert "Grace here, the door broke" in {one["prompt"] for one in kept}


def test_a_row_comes_back_under_no_other_name(project: Project) -> None:
    """What a forgotten row says is rejected also where its id and person are left out; what stood behind it is not."""
    with_people(project)
    forget_in(project, "train.jsonl:49")
    assert project.run("prepare") == 0
    assert "forgotten" not in project.facts("prepare")["rejected"]
    with (project.path / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row("A window broke", id="new")) + "\n")
    assert project.run("prepare", "--force") == 0
    assert project.facts("prepare")["rejected"]["forgotten"] == 1


def test_no_name_is_kept_or_printed(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The registry holds hashes, and the output counts."""
    with_people(project)
    forget_in(project, ADA)
    kept = (project.path / "registry" / "forgotten.jsonl").read_text(encoding="utf-8")
    assert {json.loads(line)["of"] for line in kept.splitlines()} == {"name", "row"}
    assert "ada" not in kept + capsys.readouterr().out


def test_forgetting_twice_changes_nothing(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A second request finds nothing left and says so; the list holds each hash once."""
    with_people(project)
    forget_in(project, ADA)
    registry = project.path / "registry" / "forgotten.jsonl"
    before = registry.read_bytes(), lines(project)
    assert forget_in(project, ADA).removed == {}
    assert (registry.read_bytes(), lines(project)) == before
    assert "no training file holds such rows" in capsys.readouterr().out


# --- What has learned from them ----------------------------------------------------------------------------------


def test_runs_and_versions_are_named(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that was prepared with the rows is named with its data's version and the files that still hold them."""
    with_people(project)
    assert project.run("prepare", "--set", "data.validation=0") == 0
    version = project.facts("prepare")["version"]
    registry = project.path / "registry"
    lines = [
        {"run": "runs/shipped", "dataset_version": version},
        {"run": "runs/other", "dataset_version": "0" * 64},
    ]
    (registry / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    forgotten = forget_in(project, ADA)
    assert forgotten.versions == (version,)
    assert forgotten.runs == ("run", "runs/shipped")
    assert forgotten.copies == ("run/prepared/train.jsonl",)
    out = capsys.readouterr().out
    assert "runs/shipped was trained on such rows: prepare and train it again, and withdraw its models" in out
    assert "run/prepared/train.jsonl still holds them" in out


def test_a_run_is_found_by_what_a_row_says(project: Project) -> None:
    """A row without any name of its own is found in a run as well, masked as it stands there."""
    project.write_rows("train.jsonl", [*rows(), row("Write to me: someone@example.org")])
    assert project.run("prepare", "--set", "data.validation=0") == 0
    forgotten = forget_in(project, "train.jsonl:49")
    assert forgotten.runs == ("run",)
    assert forgotten.versions == (project.facts("prepare")["version"],)


def test_a_run_without_the_rows_is_not_named(project: Project) -> None:
    """Another person's data is nobody's business."""
    assert project.run("prepare") == 0
    with_people(project)
    forgotten = forget_in(project, ADA)
    assert (forgotten.runs, forgotten.versions, forgotten.copies) == ((), (), ())


def test_a_prepared_run_no_longer_fits(project: Project) -> None:
    """The stage sees that its rows changed."""
    with_people(project)
    assert project.run("prepare") == 0
    forget_in(project, ADA)
    assert project.run("prepare") == 1
    assert project.run("prepare", "--force") == 0
    assert project.facts("prepare")["counts"]["read"] == 49


# --- Mistakes ----------------------------------------------------------------------------------------------------


def test_a_name_that_nobody_has_is_refused(project: Project, error: Callable[[], str]) -> None:
    """A slip must not look as if somebody had been forgotten; nothing is changed, and the name is not printed."""
    with_people(project)
    before = lines(project)
    assert project.run("forget", ADA, "lovelace@example.org") == 1
    line = error()
    assert "name 2 of 2 is no id, person or group of a row in train.jsonl, and was not forgotten before" in line
    assert "lovelace" not in line
    assert lines(project) == before
    assert not (project.path / "registry").exists()


def test_without_a_registry_nothing_can_be_kept_out(project: Project, error: Callable[[], str]) -> None:
    """registry: null has no place for the list."""
    project.config["registry"] = None
    assert project.run("forget", ADA) == 4
    assert "registry: null keeps no list of what was forgotten" in error()


def test_an_interrupted_command_can_be_repeated(
    project: Project, error: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list is written first: what a full disk left in the files is rejected, and goes with the next try."""
    with_people(project)

    def fail(path: Path, _: Any) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr("modelgate_training.data.forget._remove", fail)
        assert project.run("forget", ADA) == 1
    assert "No space left on device" in error()
    assert project.run("prepare") == 0
    assert project.facts("prepare")["rejected"]["forgotten"] == 2
    assert forget_in(project, ADA).removed == {"train.jsonl": 2}

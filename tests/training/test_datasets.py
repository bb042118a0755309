"""A data set's version says what its rows say, and the registry keeps every version once."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modelgate_training.data.datasets import dataset_version, versions_with
from modelgate_training.data.masking import name_hash
from modelgate_training.data.rows import Row
from modelgate_training.registry import append, read

from pytest_modelgate.records import Message
from tests.training.conftest import Project, rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PROMPTS = TEXT | st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), TEXT), min_size=1).map(tuple)
ROWS = st.lists(
    st.builds(
        Row,
        id=TEXT,
        task=st.sampled_from(["a", "b"]),
        prompt=PROMPTS,
        answer=TEXT,
        expected=TEXT,
        group=TEXT,
        source=st.just("file:1"),
    ),
    min_size=1,
    max_size=8,
)


# --- The version -------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(made=ROWS, seed=st.integers(0, 9))
def test_a_version_does_not_depend_on_order_or_files(made: list[Row], seed: int) -> None:
    """The same rows in another order, from other files, are the same data."""
    moved = [replace(row, source=f"other:{number}", licence="MIT") for number, row in enumerate(made)]
    shuffled = random.Random(seed).sample(moved, len(moved))  # noqa: S311 (nothing secret is drawn)
    assert dataset_version(shuffled) == dataset_version(made)


@settings(max_examples=40)
@given(made=ROWS, data=st.data())
def test_a_version_depends_on_what_every_row_says(made: list[Row], data: st.DataObject) -> None:
    """Another id, task, prompt or answer of one row, or a row less, is other data."""
    place = data.draw(st.integers(0, len(made) - 1))
    row = made[place]
    field = data.draw(st.sampled_from(["id", "task", "prompt", "answer"]))
    changed = {"id": f"{row.id}+", "task": f"{row.task}+", "prompt": f"{row.prompt}+", "answer": f"{row.answer}+"}
    other = replace(row, **{field: changed[field]})
    assert dataset_version([*made[:place], other, *made[place + 1 :]]) != dataset_version(made)
    assert dataset_version([*made[:place], *made[place + 1 :]]) != dataset_version(made)


def test_a_place_in_a_file_is_no_id() -> None:
    """A row that is called by its file and line is the same row in another place; one with an id of its own is not."""
    here = Row("a.jsonl:1", "t", "q", "a", "a", "a.jsonl:1", "a.jsonl:1")
    there = replace(here, id="b.jsonl:7", group="b.jsonl:7", source="b.jsonl:7")
    assert dataset_version([here]) == dataset_version([there])
    assert dataset_version([replace(here, id="r-1")]) != dataset_version([here])


def test_a_renamed_file_is_the_same_data(project: Project) -> None:
    """Whatever the files are called, the version is that of the rows."""
    assert project.run("prepare") == 0
    before = project.facts("prepare")["version"]
    halves = rows()[:24], rows()[24:]
    project.write_rows("z.jsonl", halves[0])
    project.write_rows("b.jsonl", halves[1])
    assert project.run("prepare", "--force", "--set", "data.train=[b.jsonl, z.jsonl]") == 0
    assert project.facts("prepare")["version"] == before
    project.write_rows("b.jsonl", halves[1][1:])
    assert project.run("prepare", "--force", "--set", "data.train=[b.jsonl, z.jsonl]") == 0
    assert project.facts("prepare")["version"] != before


# --- The registry ------------------------------------------------------------------------------------------------


def registered(project: Project) -> list[dict[str, Any]]:
    """Return the lines of the registry."""
    return list(read(project.path / "registry" / "datasets.jsonl"))


def test_a_version_is_registered_once(project: Project) -> None:
    """The first run with some data writes a line, another with the same data none, one with other data a second."""
    project.write_rows("train.jsonl", [*rows(), rows()[0]])
    assert project.run("prepare") == 0
    (entry,) = registered(project)
    facts = project.facts("prepare")
    assert entry["version"] == facts["version"]
    assert (entry["rows"], entry["validation"]) == (facts["counts"]["train"], facts["counts"]["validation"])
    assert [file["file"] for file in entry["files"]] == ["train.jsonl"]
    assert entry["rejected"]["duplicate_exact"] == 1
    assert {"created", "kinds", "licences", "masked", "row_ids"} <= entry.keys()
    assert project.run("prepare", "--force") == 0
    assert len(registered(project)) == 1
    assert project.run("prepare", "--force", "--set", "data.limit=40") == 0
    assert len(registered(project)) == 2


def test_no_registry_is_written_where_none_is_wanted(project: Project) -> None:
    """registry: null keeps no list."""
    project.config["registry"] = None
    assert project.run("prepare") == 0
    assert not (project.path / "registry").exists()


def test_the_registry_knows_rows_by_hashes(project: Project) -> None:
    """Which versions held somebody's rows can be told later, and no name stands anywhere."""
    project.write_rows("train.jsonl", [*rows(), rows()[0] | {"input": "A window broke", "person": "Ada Byron"}])
    assert project.run("prepare") == 0
    registry = project.path / "registry"
    version = project.facts("prepare")["version"]
    assert versions_with(registry, [name_hash("Ada Byron")]) == {version: {name_hash("Ada Byron")}}
    assert versions_with(registry, [name_hash("Grace")]) == {}
    texts = [path.read_text(encoding="utf-8") for path in registry.rglob("*") if path.is_file()]
    assert not any("Ada" in text for text in texts)


@pytest.mark.parametrize("torn", [b'{"version": "tor', b'{"version": "torn"', b"\xff\xfe"])
def test_a_torn_line_is_no_line(tmp_path: Path, torn: bytes) -> None:
    """What a crash cut off is ignored, and the next line is not joined to it."""
    path = tmp_path / "datasets.jsonl"
    append(path, {"version": "a"})
    with path.open("ab") as file:
        file.write(torn)
    assert list(read(path)) == [{"version": "a"}]
    append(path, {"version": "b"})
    assert list(read(path)) == [{"version": "a"}, {"version": "b"}]


def test_a_line_that_is_no_object_is_no_line(tmp_path: Path) -> None:
    """A registry's lines are objects."""
    (tmp_path / "datasets.jsonl").write_text('3\n["a"]\n{"version": "a"}\n', encoding="utf-8")
    assert list(read(tmp_path / "datasets.jsonl")) == [{"version": "a"}]
    assert list(read(tmp_path / "none.jsonl")) == []


def _append_many(path: Path, name: int) -> None:
    for number in range(20):
        append(path, {"by": name, "number": number, "text": "é" * 500})


def test_writers_append_side_by_side(tmp_path: Path) -> None:
    """Lines of several runs do not mix."""
    path = tmp_path / "datasets.jsonl"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: _append_many(path, name), range(4)))
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sorted((json.loads(line)["by"], json.loads(line)["number"]) for line in lines) == [
        (name, number) for name in range(4) for number in range(20)
    ]

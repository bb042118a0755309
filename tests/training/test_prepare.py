"""Rows are cleaned, checked against the evaluation rows and split, before anything is trained."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from modelgate_training.config import Config
from modelgate_training.data.leaks import drop_duplicates, find_leaks, normalise
from modelgate_training.data.rows import Row
from modelgate_training.run_folder import STAGES, RunFolder

from tests.training.conftest import Project


def run_folder(project: Project) -> Any:
    """Return the project's run folder, read anew."""
    return RunFolder(Config.model_validate(project.config))


@pytest.mark.parametrize(
    "evaluation",
    [
        "My yearly price looks wrong since the first of the month",
        "MY YEARLY PRICE looks wrong, since the first of the month!!",
        "  my\u00a0yearly price looks\nwrong since the first of the month",
        "My yearly price looks wrong since the first of that month",
    ],
    ids=["copy", "case-and-punctuation", "white-space", "one-word"],
)
def test_a_row_that_an_evaluation_row_equals_is_refused(
    project: Project, error: Callable[[], str], evaluation: str
) -> None:
    """A copy is a leak whatever its case, punctuation and spacing, and so is one changed word; both rows are named."""
    project.write_rows("golden.jsonl", [{"id": "x", "input": "Other."}, {"id": "y", "input": evaluation}])
    assert project.run("prepare") == 1
    line = error()
    assert "1 training rows are evaluation rows too" in line
    assert "train.jsonl:17 " in line
    assert "golden.jsonl:2: 'My yearly price" in line


def test_leaks_can_be_dropped_and_are_written_down(project: Project) -> None:
    """With data.leaks=drop the row goes, and rejected.jsonl says which and why."""
    chat = {"id": "y", "messages": [{"role": "user", "content": "please look into the TAX LINE that i wrote about"}]}
    project.write_rows("golden.jsonl", [chat])
    assert project.run("prepare", "--set", "data.leaks=drop") == 0
    (rejected,) = project.read_rows("rejected.jsonl")
    assert rejected["input"] == "Please look into the tax line that I wrote about"
    assert "golden.jsonl:1" in rejected["reason"]
    kept = project.read_rows("prepared/train.jsonl") + project.read_rows("prepared/validation.jsonl")
    assert len(kept) == 47


def test_duplicates_are_removed_and_counted(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A row that says the same as an earlier one goes, a contradiction too."""
    row = {"input": "One two three", "expected": {"intent": "bug"}, "group": "g"}
    other = {"input": "ONE, two, three!", "expected": {"intent": "billing"}, "group": "g"}
    project.write_rows("train.jsonl", [row, row, other, {**row, "input": "Something else"}])
    assert project.run("prepare") == 0
    assert "4 read, 2 duplicates" in capsys.readouterr().out
    reasons = [row["reason"].split()[0] for row in project.read_rows("rejected.jsonl")]
    assert reasons == ["duplicate", "contradicts"]


def test_groups_stay_on_one_side_of_the_split(project: Project) -> None:
    """No group has rows in both parts."""
    assert project.run("prepare", "--set", "data.validation=0.3") == 0
    train = {row["group"] for row in project.read_rows("prepared/train.jsonl")}
    held_back = {row["group"] for row in project.read_rows("prepared/validation.jsonl")}
    assert held_back
    assert not train & held_back


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"input": "a"', "train.jsonl:1: not JSON"),
        ('["a"]', "train.jsonl:1: a row is a JSON object, got list"),
        ('{"input": 3, "expected": {}}', "train.jsonl:1: key 'input' must be text, got 3"),
        ('{"input": "a"}', "train.jsonl:1: key 'expected' is missing"),
        ('{"input": " ", "expected": {}}', "train.jsonl:1: the input is empty"),
    ],
)
def test_a_bad_row_is_named(project: Project, error: Callable[[], str], line: str, expected: str) -> None:
    """A row that cannot be learned from fails the stage with its file and line."""
    (project.path / "train.jsonl").write_text(line + "\n", encoding="utf-8")
    assert project.run("prepare") == 1
    assert expected in error()


def test_csv_rows_become_answers(project: Project) -> None:
    """A CSV's label column becomes an answer with the configured key."""
    (project.path / "rows.csv").write_text('text,category\n"Where, is it?",card_arrival\nWhy?,fee\n', encoding="utf-8")
    project.config["data"] |= {"train": ["rows.csv"], "label_key": "intent", "validation": 0.0}
    assert project.run("prepare") == 0
    first = project.read_rows("prepared/train.jsonl")[0]
    assert (first["input"], first["expected"]) == ("Where, is it?", {"intent": "card_arrival"})


@pytest.mark.parametrize("cut", ["\u2028", "\x85", "\f", "\n"])
def test_a_csv_message_stays_whole(project: Project, cut: str) -> None:
    """A character that some programs break lines at does not end a message."""
    (project.path / "rows.csv").write_text(f'text,category\n"One{cut}two",fee\nWhy?,fee\n', encoding="utf-8")
    project.config["data"] |= {"train": ["rows.csv"], "validation": 0.0}
    assert project.run("prepare") == 0
    assert project.read_rows("prepared/train.jsonl")[0]["input"] == f"One{cut}two"


def test_a_short_csv_row_is_named(project: Project, error: Callable[[], str]) -> None:
    """A row without a label fails the stage with its file and line."""
    (project.path / "rows.csv").write_text("text,category\nWhere?,fee\nWhy?\n", encoding="utf-8")
    assert project.run("prepare", "--set", "data.train=[rows.csv]") == 1
    assert "rows.csv:3: column 'category' is missing" in error()


def test_beginning_a_stage_unmarks_the_later_ones(project: Project) -> None:
    """What was made from an output that is made anew is not complete any more, and neither is the run."""
    run = run_folder(project)
    for stage in STAGES:
        run.finish(stage, 0.0, {})
    run.manifest.touch()
    run.begin("train")
    assert [stage for stage in STAGES if run.mark(stage)] == ["prepare", "base"]
    assert not run.manifest.exists()


def test_a_changed_base_is_noticed(project: Project) -> None:
    """The files of a base in a folder count for every stage that builds on it."""
    weights = project.path / "own" / "model.safetensors"
    weights.parent.mkdir()
    project.config["base"] = {"path": "own"}
    found = []
    for content in ("one", "two"):
        weights.write_text(content, encoding="utf-8")
        run = run_folder(project)
        found.append([run.fingerprint(stage) for stage in STAGES])
    assert [before == after for before, after in zip(*found, strict=True)] == [True, *[False] * 5]


def test_another_llama_cpp_is_noticed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version of llama-cpp-python counts for what it writes."""
    run = run_folder(project)
    before = [run.fingerprint(stage) for stage in STAGES]
    monkeypatch.setattr("modelgate_training.run_folder.version", lambda _: "0.0.1")
    after = [run.fingerprint(stage) for stage in STAGES]
    assert [stage for stage, one, other in zip(STAGES, before, after, strict=True) if one != other] == [
        "export",
        "quantize",
    ]


def test_a_pickled_base_is_refused_first(project: Project, error: Callable[[], str]) -> None:
    """A base that could run code when loaded ends the program before any stage."""
    (project.path / "own").mkdir()
    (project.path / "own" / "pytorch_model.bin").touch()
    project.config["base"] = {"path": "own"}
    assert project.run("prepare") == 1
    assert "own: only pickled weights (pytorch_model.bin)" in error()
    assert not (project.path / "run").exists()


def test_a_stage_names_the_one_that_it_builds_on(project: Project, error: Callable[[], str]) -> None:
    """A stage whose input is missing or stale says so instead of working on the wrong files."""
    assert project.run("train") == 1
    assert "stage 'train' builds on 'prepare', which has not been run" in error()
    assert project.run("prepare") == 0
    assert project.run("base", "--set", "data.seed=99") == 1
    assert "'prepare', which is stale" in error()


def test_normalising_never_empties_a_text() -> None:
    """A text of nothing but marks or emoji is still told from another."""
    assert normalise("?!") != normalise("\U0001f600")
    assert normalise("\uff28\uff45llo, it's\u00a0 me") == "hello its me"


def test_texts_without_letters_are_told_apart() -> None:
    """Emoji and marks are compared as they stand: only the same ones, in whatever Unicode form, are a leak."""
    texts = ["\U0001f642\U0001f642", "?", "!!", "...", "___", "'", "\u200b", "\u2764\ufe0f", "\u00a8"]
    made = [Row(text, {}, "g", str(number)) for number, text in enumerate(texts)]
    for row in made:
        assert not find_leaks([row], [other for other in made if other is not row], 50.0), row.input
    assert drop_duplicates(made) == (made, [])
    same = Row(" \uff1f\n", {}, "g", "full width")
    assert [leak.evaluation for leak in find_leaks([same], made, 90.0)] == [made[1]]


@pytest.mark.slow
def test_ten_thousand_rows_are_checked_in_seconds() -> None:
    """10,000 training rows against 3,000 evaluation rows: 30 million comparisons."""
    rng = random.Random(1)  # noqa: S311 (nothing secret is drawn)
    letters = "etaoin shrdlu"
    texts = ["".join(rng.choice(letters) for _ in range(60)) for _ in range(13_000)]
    made = [Row(text, {}, "g", str(number)) for number, text in enumerate(texts)]
    started = time.monotonic()
    assert find_leaks(made[:10_000], [*made[10_000:], made[77]], 90.0)[0].row is made[77]
    assert time.monotonic() - started < 30

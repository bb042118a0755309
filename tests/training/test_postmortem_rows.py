"""The post-mortem example's training rows are what the generator writes, keep the task's rubric, and copy their facts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from modelgate_training.data.duplicates import near_duplicates
from modelgate_training.data.privacy import Masker

from pytest_modelgate.cases import Case
from pytest_modelgate.detectors.terms import technical_terms
from pytest_modelgate.gates_file import load_gates_file
from pytest_modelgate.judgement import judge
from pytest_modelgate.records import Generation
from pytest_modelgate.tasks import load_tasks

FOLDER = Path(__file__).parents[2] / "examples" / "postmortem"
LINE = re.compile(r"([01]\d|2[0-3]):[0-5]\d - \S.*\.")
KEYS = {"incident_id", "timeline", "summary", "kind", "group", "licence", "origin"}

Rows = list[dict[str, Any]]


def read(path: Path) -> Rows:
    """Read a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Return the rows in the file."""
    return read(FOLDER / "train.jsonl")


def made(path: Path, *options: str) -> Rows:
    """Return what the program writes."""
    subprocess.run([sys.executable, FOLDER / "make_training.py", "--out", path, *options], check=True, timeout=60)
    return read(path)


def broken(rows: Rows) -> list[str]:
    """Return the rows that break the contract or miss a criterion of the rubric."""
    task = load_tasks(load_gates_file(FOLDER / "gates.toml"))["postmortem"]
    found = []
    for row in rows:
        case = Case(row["incident_id"], "train", task.name, row["timeline"], "", 0, row["summary"], has_expected=True)
        record = judge(task, case, "any", Generation(row["summary"]))
        criteria = [score for name, score in record.scores.items() if name.startswith("field.")]
        if record.violations or sum(criteria) != 4:
            found.append(row["incident_id"])
    return found


def test_the_file_is_what_the_generator_writes(tmp_path: Path) -> None:
    """Running the program again gives the same bytes."""
    made(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (FOLDER / "train.jsonl").read_bytes()


def test_another_seed_tells_other_incidents(rows: Rows, tmp_path: Path) -> None:
    """The seed decides what is drawn, not what happens: the groups stay."""
    others = made(tmp_path / "others.jsonl", "--seed", "5")
    assert {row["timeline"] for row in others}.isdisjoint(row["timeline"] for row in rows)
    assert Counter(row["group"] for row in others) == Counter(row["group"] for row in rows)


def test_there_are_enough_rows_of_enough_families(rows: Rows) -> None:
    """At least 700 rows of 40 families in at most 1.5 MB, each with a name of its own, a licence and an origin."""
    assert len(rows) >= 700
    assert len({row["group"].rpartition("-")[0] for row in rows}) >= 40
    assert (FOLDER / "train.jsonl").stat().st_size <= 1_500_000
    assert len({row["incident_id"] for row in rows}) == len(rows)
    assert all(set(row) == KEYS for row in rows)
    assert {(row["licence"], row["origin"]) for row in rows} == {("Apache-2.0", "generated")}


def test_a_timeline_has_four_to_eight_lines_of_time_and_event(rows: Rows) -> None:
    """Lines read as published: a clock time, a hyphen, a sentence."""
    for row in rows:
        lines = row["timeline"].split("\n")
        assert 4 <= len(lines) <= 8, row["incident_id"]
        assert all(LINE.fullmatch(line) for line in lines), row["incident_id"]


def test_a_summary_is_one_compact_paragraph(rows: Rows) -> None:
    """A summary has 35 to 75 words, and no slot is left open."""
    for row in rows:
        assert 35 <= len(row["summary"].split()) <= 75, row["incident_id"]
        assert not re.search(r"[\n{}|]", row["summary"]), row["incident_id"]


def test_two_rows_of_each_group_keep_the_rubric(rows: Rows) -> None:
    """The gate's own detectors find all four criteria, and no broken contract, in at least 99 of 100 rows."""
    seen: Counter[str] = Counter()
    sample = [row for row in rows if (seen.update([row["group"]]), seen[row["group"]])[1] <= 2]
    assert len(broken(sample)) <= 0.01 * len(sample)


@pytest.mark.slow
def test_all_rows_keep_the_rubric(rows: Rows) -> None:
    """The same holds for the whole file."""
    assert len(broken(rows)) <= 0.01 * len(rows)


def test_a_summary_names_nothing_that_its_timeline_does_not(rows: Rows) -> None:
    """Names, versions, codes and clock times of a summary stand in the timeline, letter for letter."""
    for row in rows:
        invented = [term for term in technical_terms(row["summary"]) if term not in row["timeline"] and term != "GB"]
        invented += [time for time in re.findall(r"\d\d:\d\d", row["summary"]) if time not in row["timeline"]]
        assert not invented, (row["incident_id"], invented)


def test_no_group_is_large_and_every_kind_is_there(rows: Rows) -> None:
    """A split by group can hold back any share: a group is below one percent; rare kinds are seen often enough."""
    assert max(Counter(row["group"] for row in rows).values()) <= 0.01 * len(rows)
    kinds = Counter(row["kind"] for row in rows)
    assert set(kinds) == {"canonical", "production-like", "boundary", "near-miss", "adversarial"}
    assert min(kinds.values()) >= 0.05 * len(rows)


def test_no_row_repeats_another(rows: Rows) -> None:
    """No two timelines are alike enough for prepare to drop one."""
    assert near_duplicates([row["timeline"] for row in rows], 97.0) == []


def test_no_row_looks_like_a_secret(rows: Rows) -> None:
    """Nothing in the rows would be masked: made-up names and codes look like nobody's data."""
    masker = Masker()
    assert [row["incident_id"] for row in rows if masker.mask(row["timeline"] + row["summary"]).found] == []

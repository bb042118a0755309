"""Nothing that was generated is lost: not to a crash, not to another process, not to a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.errors import JournalError
from pytest_modelgate.journal import Journal, read_rows
from pytest_modelgate.records import Generation

FULL = Generation("text", "length", (1, 2), (-0.5, -0.25), (3.0, 0.125), (3, 4), 7, 2, 0.5, 1.5)
WRITER = """\
import sys
from pathlib import Path
from pytest_modelgate.journal import Journal
from pytest_modelgate.records import Generation

with Journal(Path(sys.argv[1])) as journal:
    for number in range(200):
        name = f"{sys.argv[2]}-{number}"
        journal.append(name, {"case": name}, Generation(name * 300))
"""


def test_generation_comes_back(tmp_path: Path) -> None:
    """What was appended is found by its key, at once and by a later reader."""
    with Journal(tmp_path / "new" / "journal.jsonl") as journal:
        assert journal.find("k") is None
        journal.append("k", {"case": "a"}, FULL)
        assert journal.find("k") == FULL

    assert Journal(tmp_path / "new" / "journal.jsonl").find("k") == FULL


@given(st.text(), st.sampled_from(["stop", "length"]))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str, reason: str) -> None:
    """Lone surrogates, line ends and NULs included, a text is one line of ASCII and comes back as it was."""
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    generation = Generation(text, reason)  # type: ignore[arg-type]  # one of the two

    with Journal(path) as journal:
        journal.append("k", {}, generation)

    content = path.read_bytes()
    assert content.isascii()
    assert content.count(b"\n") == 1
    assert Journal(path).find("k") == generation


def test_four_processes_lose_nothing(tmp_path: Path) -> None:
    """Concurrent appends do not mix: every line of every writer is there, whole."""
    path = tmp_path / "journal.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)]) for number in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4

    rows = [row for row, _ in read_rows(path)]
    assert sorted(row["case"] for row in rows) == sorted(f"{w}-{i}" for w in range(4) for i in range(200))
    assert all(row["generation"]["text"] == row["case"] * 300 for row in rows)
    assert len(path.read_bytes().splitlines()) == 800


@pytest.mark.parametrize("torn", [b"{", b'{"key": "torn", "generation": {"text": "ha', b"\xff"])
def test_torn_line_costs_itself_only(tmp_path: Path, torn: bytes) -> None:
    """A line that a crash cut off is dropped, and what is appended next starts a line of its own."""
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("first", {}, FULL)
    with path.open("ab") as file:
        file.write(torn)

    with Journal(path) as journal:
        assert journal.find("first") == FULL
        journal.append("second", {}, FULL)

    again = Journal(path)
    assert again.find("first") == again.find("second") == FULL
    assert again.find("torn") is None


def test_the_newest_generation_of_a_key_counts(tmp_path: Path) -> None:
    """Appending under a key again replaces what is found."""
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append("k", {}, FULL)
        journal.append("k", {}, Generation("newer"))

    assert Journal(tmp_path / "journal.jsonl").find("k") == Generation("newer")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_full_disk_is_told(tmp_path: Path) -> None:
    """A disk that is full is one message with the file, the reason and what to do."""
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.close()
    journal._file = os.open("/dev/full", os.O_RDWR)

    with pytest.raises(JournalError) as caught:
        journal.append("k", {}, FULL)

    assert str(caught.value) == f"{path}: cannot be written: No space left on device; free space and run again"
    assert journal.find("k") is None
    journal.close()
    journal.close()


def test_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A journal that cannot be opened is one message."""
    (tmp_path / "taken").write_text("a file")

    with pytest.raises(JournalError, match="cannot be read: Not a directory"):
        Journal(tmp_path / "taken" / "journal.jsonl")
    with pytest.raises(JournalError, match="cannot be read: Is a directory"):
        Journal(tmp_path)


def test_rows_say_what_they_belong_to(tmp_path: Path) -> None:
    """A row holds key, case and time for people and for replays."""
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append("k", {"target": "t", "suite": "golden", "case": "a"}, FULL)

    (row,) = map(json.loads, (tmp_path / "journal.jsonl").read_text().splitlines())
    assert {"v", "key", "target", "suite", "case", "created", "generation"} == set(row)
    assert Generation.from_json(row["generation"]) == FULL

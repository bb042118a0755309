"""Registries: lines that are only ever appended, whole or not at all."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modelgate_training.registry import append, read

TEXTS = st.text(st.sampled_from('ab "\\\n\r\t\x00\x85\u2028äß漢😀{}[]:,'), max_size=6)
VALUES = st.none() | st.booleans() | st.integers() | TEXTS | st.lists(TEXTS, max_size=2)
ROWS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=3)


@given(first=ROWS, second=ROWS)
@settings(max_examples=50, deadline=None)
def test_what_was_appended_is_read_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    """Whatever rows hold, line ends and empty rows included, they come back as they were, oldest first."""
    path = tmp_path_factory.mktemp("registry") / "deep" / "runs.jsonl"
    append(path, *first)
    append(path, *second)
    assert read(path) == [*first, *second]


def test_a_registry_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    """A first run finds nothing, and makes nothing by looking."""
    assert read(tmp_path / "registry" / "runs.jsonl") == []
    assert not (tmp_path / "registry").exists()


def test_a_torn_last_line_is_left_out_and_harms_no_later_one(tmp_path: Path) -> None:
    """After a crash in the middle of a line, the next row stands on a line of its own."""
    path = tmp_path / "runs.jsonl"
    append(path, {"run": "first"})
    with path.open("ab") as file:
        file.write('{"run": "tör'.encode()[:-1])
    assert read(path) == [{"run": "first"}]
    append(path, {"run": "third"})
    assert read(path) == [{"run": "first"}, {"run": "third"}]


def test_processes_that_append_at_once_tear_nothing(tmp_path: Path) -> None:
    """Four processes write 25 rows each, and all 100 are read back."""
    path = tmp_path / "runs.jsonl"
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(_append_many, [(path, worker) for worker in range(4)]))
    assert {(row["worker"], row["number"]) for row in read(path)} == {(w, n) for w in range(4) for n in range(25)}


def test_a_full_disk_leaves_the_rows_that_were_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a row cannot be brought to the disk, it is taken back, and the caller is told."""
    path = tmp_path / "runs.jsonl"
    append(path, {"run": "first"})
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        append(path, {"run": "second"})
    assert path.read_bytes() == before


def _append_many(given: tuple[Path, int]) -> None:
    """Append 25 rows, one by one."""
    path, worker = given
    for number in range(25):
        append(path, {"worker": worker, "number": number, "long": "x" * 5000})

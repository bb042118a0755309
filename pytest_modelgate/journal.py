"""
Keep every generation: an append-only JSONL file that is cache, resume, audit and replay in one.

Each line is one object. A line that was torn by a crash or a full disk is no generation; everything before and after
it still counts. Several processes may append to one journal.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pytest_modelgate.errors import JournalError
from pytest_modelgate.records import Generation, Json, Performance

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no advisory locks; single appends are short
    fcntl = None  # type: ignore[assignment]


JOURNAL = "journal.jsonl"
"""The journal's name in the folder of reports."""


class Journal:
    """
    Append generations to ``path`` and look them up by generation key.

    The whole file is read once; what other processes append afterwards is not seen, which costs at most generating
    it again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Generation] = {}
        self._said: dict[str, dict[str, None]] = {}
        for row, generation in read_rows(path):
            if isinstance(row.get("key"), str):
                self._remember(row, generation)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise JournalError(f"{path}: cannot be opened for writing: {error.strerror}") from None

    def find(self, key: str) -> Generation | None:
        """Return the generation with this key, if there is one."""
        return self._known.get(key)

    def texts(self, messages_sha256: str) -> tuple[str, ...]:
        """Return what any target answered to the same messages, each text once, the newest first."""
        return tuple(reversed(self._said.get(messages_sha256, {})))

    def _remember(self, row: Json, generation: Generation) -> None:
        """Keep a row for look-ups."""
        self._known[row["key"]] = generation
        asked = row.get("messages_sha256")
        if isinstance(asked, str):
            texts = self._said.setdefault(asked, {})
            texts.pop(generation.text, None)
            texts[generation.text] = None

    def append(self, key: str, about: Json, generation: Generation) -> None:
        """
        Write one generation as one line and hand it to the operating system before returning.

        ``about`` says for people and for replays which target, suite and case it belongs to.
        """
        row = {"v": 1, "key": key, **about, "created": round(time.time(), 3), "generation": generation.to_json()}
        self._write(json.dumps(row, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n")
        self._remember(row, generation)

    def _write(self, line: bytes) -> None:
        """Append a line, after the end of one that was torn."""
        try:
            with _locked(self._file):
                if _ends_torn(self._file):
                    line = b"\n" + line
                while line:
                    line = line[os.write(self._file, line) :]
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be written: {error.strerror}; free space and run again") from None

    def append_performance(self, about: Json, performance: Performance) -> None:
        """Write what the serial phase measured; it counts again only on the machine that ``about`` names."""
        row = {"v": 1, **about, "created": round(time.time(), 3), "performance": performance.to_json()}
        self._write(json.dumps(row, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n")

    def close(self) -> None:
        """Close the file; what was appended stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_rows(path: Path) -> Iterator[tuple[dict[str, Any], Generation]]:
    """Yield every row of a journal that holds a generation, and that generation; a missing file has none."""
    for _, row in read_lines(path):
        try:
            generation = Generation.from_json(row["generation"])
        except (ValueError, TypeError, KeyError):
            continue
        yield row, generation


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield every line of a journal that is a JSON object, with where it begins, in bytes."""
    place = 0
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                if isinstance(row, dict):
                    yield place, row
                place += len(line)
    except FileNotFoundError:
        return
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from None


def _ends_torn(file: int) -> bool:
    """Say whether the last line lacks its line end, so that the next append must not continue it."""
    size = os.fstat(file).st_size
    return size > 0 and os.pread(file, 1, size - 1) != b"\n"


@contextmanager
def _locked(file: int) -> Iterator[None]:
    """Hold the journal's lock: appends of several processes must not mix."""
    if fcntl is None:
        yield
        return
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)

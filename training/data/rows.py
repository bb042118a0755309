"""Read rows: what a model is shown, and what it must answer."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config import Data
from ..errors import ConfigError, StageError


@dataclass(frozen=True, slots=True)
class Row:
    """Hold one example; ``source`` is ``file:line``, ``group`` keeps what belongs together on one side of a split."""

    input: str
    expected: Any
    group: str
    source: str

    @property
    def answer(self) -> str:
        """Return what the model is to write, letter by letter."""
        if isinstance(self.expected, str):
            return self.expected
        return json.dumps(self.expected, ensure_ascii=False)


def find_files(patterns: Sequence[str], root: Path, what: str) -> list[Path]:
    """Return the files that names or globs below ``root`` mean; a pattern without a file is a mistake."""
    files: list[Path] = []
    for pattern in patterns:
        named = root / pattern
        if named.is_file():
            files.append(named)
            continue
        found = [] if Path(pattern).is_absolute() else sorted(path for path in root.glob(pattern) if path.is_file())
        if not found:
            raise ConfigError(f"{what}: no file matches {pattern!r} in {root.resolve()}")
        files.extend(found)
    return list(dict.fromkeys(files))


def read_rows(path: Path, data: Data) -> list[Row]:
    """Read a training file: every row needs an answer."""
    rows = [row for row in _read(path, data) if _has_answer(row)]
    if not rows:
        raise StageError(f"{path}: holds no row")
    return rows


def read_evaluation(path: Path, data: Data) -> list[Row]:
    """Read an evaluation file: only what the model is shown matters here."""
    return list(_read(path, data))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as JSONL, with where each came from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(row), ensure_ascii=False) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_prepared(path: Path) -> list[Row]:
    """Read back what :func:`write_rows` wrote."""
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _has_answer(row: Row) -> bool:
    """Say that the row can be learned from, or raise why not."""
    if not row.input.strip():
        raise StageError(f"{row.source}: the input is empty")
    if row.expected is None:
        raise StageError(f"{row.source}: key 'expected' is missing")
    return True


def _read(path: Path, data: Data) -> Iterator[Row]:
    """Yield the rows of a file by its kind."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise StageError(f"{path}: not UTF-8 at byte {error.start}") from None
    if path.suffix == ".csv":
        yield from _read_csv(path, text, data)
    elif path.suffix == ".jsonl":
        yield from _read_jsonl(path, text)
    else:
        raise ConfigError(f"{path}: rows are read from .jsonl or .csv files")


def _read_jsonl(path: Path, text: str) -> Iterator[Row]:
    """Yield the rows of a JSONL file; suites may hold ``messages`` in place of ``input``."""
    # JSONL ends lines with \n only: str.splitlines would also cut at U+2028 inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        source = f"{path}:{number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            raise StageError(f"{source}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise StageError(f"{source}: a row is a JSON object, got {type(record).__name__}")
        shown = record.get("input")
        if shown is None and isinstance(record.get("messages"), list):
            turns = [turn for turn in record["messages"] if isinstance(turn, dict) and turn.get("role") == "user"]
            shown = turns[-1].get("content") if turns else ""
        if not isinstance(shown, str):
            raise StageError(f"{source}: key 'input' must be text, got {shown!r}")
        yield Row(shown, record.get("expected"), str(record.get("group") or source), source)


def _read_csv(path: Path, text: str, data: Data) -> Iterator[Row]:
    """Yield the rows of a CSV file with one text and one label column."""
    # Not text.splitlines(): it would also cut inside a message, at a form feed or U+2028.
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for column in (data.text_column, data.label_column):
        if column not in (reader.fieldnames or ()):
            raise ConfigError(f"{path}: no column {column!r}; it has {', '.join(reader.fieldnames or ('none',))}")
    for record in reader:
        source = f"{path}:{reader.line_num}"
        for column in (data.text_column, data.label_column):
            if record[column] is None:
                raise StageError(f"{source}: column {column!r} is missing")
        yield Row(record[data.text_column].strip(), {data.label_key: record[data.label_column]}, source, source)

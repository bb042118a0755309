"""
Cut files of rows into lines: one JSON object each, or one record of a table.

No reason given here quotes the file: what stands in it may be a secret that has not been masked yet.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse

from ..errors import ConfigError, StageError

ENDINGS = (".jsonl", ".csv")

_QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)
_NAME = re.compile(r"(?=.{1,20}$)[A-Za-z][A-Za-z_-]*(?: [A-Za-z_-]+)?")
_LARGEST_CELL = 1 << 27  # letters; csv's own limit, 131072, is less than some logs hold


@dataclass(frozen=True, slots=True)
class Line:
    """
    Hold what stands on the lines ``number`` to ``last`` of a file: a ``record``, or the ``reason`` why there is none.

    ``length`` is that of its text, in characters.
    """

    number: int
    last: int
    length: int
    record: dict[str, Any] | None = None
    reason: str | None = None


class NoRowError(ValueError):
    """Say why a record is no row."""


def read_lines(path: Path, name: str) -> Iterator[Line]:
    """
    Yield the lines of a .jsonl or .csv file that hold anything; ``name`` is what errors call it.

    Raises StageError where a file is not UTF-8 or a table cannot be cut into records, ConfigError for another ending.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(
            f"{name}: rows are read from {' or '.join(ENDINGS)} files, got {path.suffix or 'no ending'!r}"
        )
    text = decode(path.read_bytes(), name)
    yield from _table(text, name) if path.suffix == ".csv" else _objects(text)


def read_header(path: Path, name: str) -> list[str]:
    """Return the names of a table's columns."""
    records = _records(decode(path.read_bytes(), name), name)
    return records[0][2] if records else []


def decode(content: bytes, name: str) -> str:
    """Return a file's text, without a byte order mark; a byte that is not UTF-8 is an error of its line."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise StageError(f"{name}:{line}: not UTF-8: byte 0x{content[error.start]:02x}") from None


def without_quotes(reason: str) -> str:
    """Return a reason without what it quotes."""
    return _QUOTED.sub("…", reason)


def shown_names(names: Iterable[str]) -> list[str]:
    """Return the keys of a row, or of a table's header, that may be quoted: what looks like no name may be a value."""
    return [name if _NAME.fullmatch(name) else "…" for name in names]


def _objects(text: str) -> Iterator[Line]:
    """Yield the objects of a JSONL file."""
    # JSONL ends lines with \n only: str.splitlines would also cut at U+2028 inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = parse(line)
        except NotStrictJsonError as error:
            yield Line(number, number, len(line), reason=f"the line is not JSON: {without_quotes(str(error))}")
            continue
        if isinstance(record, dict):
            yield Line(number, number, len(line), record)
        else:
            yield Line(number, number, len(line), reason=f"a row is a JSON object, got {json_type(record)}")


def _table(text: str, name: str) -> Iterator[Line]:
    """Yield the records of a table with a header; each cell is a text."""
    records = _records(text, name)
    columns = records[0][2] if records else []
    if len(set(columns)) < len(columns):
        raise ConfigError(f"{name}:1: two columns have one name; the header is {', '.join(shown_names(columns))}")
    for number, last, cells in records[1:]:
        length = sum(map(len, cells))
        if len(cells) == len(columns):
            yield Line(number, last, length, dict(zip(columns, cells, strict=True)))
        else:
            yield Line(number, last, length, reason=f"has {len(cells)} cells, the header names {len(columns)} columns")


def _records(text: str, name: str) -> list[tuple[int, int, list[str]]]:
    """Return the first and the last line of each record, and its cells; empty lines are none."""
    before = csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader(physical_lines(text), strict=True)
    records, last = [], 0
    try:
        for cells in reader:
            number, last = last + 1, reader.line_num
            if cells:
                records.append((number, last, cells))
    except csv.Error as error:
        raise StageError(f"{name}:{reader.line_num}: not a table of comma-separated values: {error}") from None
    finally:
        csv.field_size_limit(before)
    return records


def physical_lines(text: str) -> Sequence[str]:
    """Return the lines of a table with their ends, as csv counts them."""
    # Not text.splitlines(): it would also cut inside a message, at a form feed or U+2028.
    return list(io.StringIO(text, newline=""))


def json_type(value: Any) -> str:
    """Return what JSON calls the type of a value."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def json_text(value: Any) -> str:
    """Return a value as JSON text of one form, so that equal values have equal texts."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)

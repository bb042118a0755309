"""Hold a row: what a model is shown, and what it must answer; write and read back the rows that are ready."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pytest_modelgate.records import Message

from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class Row:
    """
    Hold one example.

    ``prompt``: a user message, or a whole chat up to the answer. ``answer``: what the model is to write, letter by letter;
    ``expected``: the same as a value, where the task has values. ``group`` keeps what belongs together on one side of
    the split. ``source`` is ``file:line``, and stands for ``id`` and ``group`` where the file names none. ``person`` is a
    hash. The others are None where the file does not say them.
    """

    id: str
    task: str
    prompt: str | tuple[Message, ...]
    answer: str
    expected: Any
    group: str
    source: str
    kind: str | None = None
    origin: str | None = None
    licence: str | None = None
    consent: str | None = None
    person: str | None = None

    @property
    def input(self) -> str:
        """Return the text to show a reader, and to compare: the last user turn."""
        if isinstance(self.prompt, str):
            return self.prompt
        return next((turn.content for turn in reversed(self.prompt) if turn.role == "user"), "")

    @property
    def shown(self) -> str:
        """Return all that the model is shown, but for a system text: what tells this row from another."""
        if isinstance(self.prompt, str):
            return self.prompt
        return "\n".join(turn.content for turn in self.prompt if turn.role != "system")

    @property
    def has_own_id(self) -> bool:
        """Say whether the file gives the row a name, which stays when lines move."""
        return self.id != self.source


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSONL, with where each came from; the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{json.dumps(_record(row), ensure_ascii=False)}\n" for row in rows)
    partial.replace(path)


def read_prepared(path: Path) -> list[Row]:
    """Read back what :func:`write_rows` wrote."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return [_row(json.loads(line)) for line in lines if line]


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


def _record(row: Row) -> dict[str, Any]:
    """Return a row as a JSON object; dataclasses.asdict, which copies every value, takes ten times as long."""
    record = {field.name: getattr(row, field.name) for field in fields(row)}
    if not isinstance(row.prompt, str):
        record["prompt"] = [asdict(turn) for turn in row.prompt]
    return record


def _row(record: dict[str, Any]) -> Row:
    """Make a row of its JSON object."""
    prompt = record["prompt"]
    if not isinstance(prompt, str):
        prompt = tuple(Message(turn["role"], turn["content"]) for turn in prompt)
    return Row(**record | {"prompt": prompt})

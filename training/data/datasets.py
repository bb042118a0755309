"""
Know which data a run was trained on: a version that depends on what the rows say alone, and a registry of versions.

The registry is a folder of JSONL files that are only ever appended to. A line that was torn by a crash is no line.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_modelgate.identity import digest, hash_file

from ..registry import append, read
from .masking import name_hash
from .rows import Row

DATASETS, FORGOTTEN = "datasets.jsonl", "forgotten.jsonl"
"""Names of the files in a registry's folder."""

_NAMES = "datasets"
_SHORT = 16  # hexadecimal digits that tell any two names of a data set apart


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Hold the hashes of what was forgotten: names of people, ids and groups, and contents of rows."""

    names: frozenset[str] = frozenset()
    rows: frozenset[str] = frozenset()


def dataset_version(rows: Iterable[Row]) -> str:
    """
    Return the sha256 of what the rows say: id, task, prompt and answer of each, in whatever order and files they stand.

    An id that only says where a row stands does not count.
    """
    hashes = sorted(
        digest([row.id if row.has_own_id else None, row.task, _asked(row.prompt), row.answer]) for row in rows
    )
    return hashlib.sha256("".join(hashes).encode("ascii")).hexdigest()


def content_hash(task: str, prompt: Any, expected: Any) -> str:
    """Return the sha256 of what a row asks and expects, whatever it is called."""
    return digest([task, _asked(prompt), expected])


def register_dataset(registry: Path, version: str, rows: Sequence[Row], entry: dict[str, Any]) -> bool:
    """
    Append a data set to ``datasets.jsonl``; say False where that version is there already.

    Beside it, ``datasets/VERSION.txt`` keeps short hashes of the rows and of their ids, groups and people, so that it can
    be told later which versions held a row without keeping what it was.
    """
    path = registry / DATASETS
    if any(known.get("version") == version for known in read(path)):
        return False
    names = registry / _NAMES / f"{version}.txt"
    names.parent.mkdir(parents=True, exist_ok=True)
    partial = names.with_name(f".partial-{names.name}")
    partial.write_text("".join(f"{one}\n" for one in sorted(_short_hashes(rows))), encoding="ascii")
    partial.replace(names)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    relative = names.relative_to(registry).as_posix()
    append(path, {"version": version, "created": created, **entry, "row_ids": relative})
    return True


def versions_with(registry: Path, hashes: Iterable[str]) -> dict[str, set[str]]:
    """Return the registered versions that hold something of these sha256, of rows or names, each with which."""
    wanted = {one[:_SHORT]: one for one in hashes}
    found = {}
    for entry in read(registry / DATASETS):
        listed = registry / str(entry.get("row_ids"))
        if listed.is_file() and (held := wanted.keys() & set(listed.read_text(encoding="ascii").split())):
            found[str(entry.get("version"))] = {wanted[short] for short in held}
    return found


def read_forgotten(registry: Path | None) -> Forgotten:
    """Return what must not come back."""
    entries = [] if registry is None else list(read(registry / FORGOTTEN))
    kinds = {
        kind: frozenset(str(one["sha256"]) for one in entries if one.get("of") == kind) for kind in ("name", "row")
    }
    return Forgotten(kinds["name"], kinds["row"])


def described_files(files: Iterable[tuple[str, Path]]) -> list[dict[str, str]]:
    """Return the name and the sha256 of each file."""
    return [{"file": name, "sha256": hash_file(path)} for name, path in files]


def mark_forgotten(registry: Path, names: Iterable[str], rows: Iterable[str]) -> None:
    """Append these sha256 of names and of rows to what must not come back, where they are not there yet."""
    known = read_forgotten(registry)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    new = [("name", one) for one in dict.fromkeys(names) if one not in known.names]
    new += [("row", one) for one in dict.fromkeys(rows) if one not in known.rows]
    if new:
        append(registry / FORGOTTEN, *({"sha256": one, "of": kind, "created": created} for kind, one in new))


# --- Files that are appended to ----------------------------------------------------------------------------------


def _short_hashes(rows: Iterable[Row]) -> set[str]:
    """Return short hashes of what rows say, and are called where it is more than where they stand."""
    found = set()
    for row in rows:
        found.add(content_hash(row.task, row.prompt, row.expected)[:_SHORT])
        found.update(name_hash(name)[:_SHORT] for name in row_names(row))
    return found


def row_names(row: Row) -> list[str]:
    """Return what a row is called by, where it is more than where it stands."""
    return [name for name in (row.id, row.group, row.person) if name is not None and name != row.source]


def _asked(prompt: Any) -> Any:
    """Return a prompt as primitives."""
    return prompt if isinstance(prompt, str) else [[turn.role, turn.content] for turn in prompt]

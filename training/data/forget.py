"""
Forget a person: take their rows out of the training files, keep them out, and say which models have learned from them.

What is kept is a hash of each name and of each row, never the name. A model cannot be made to forget: it is trained again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..config import Config
from ..errors import ConfigError, StageError
from ..registry import read
from ..run_folder import RunFolder
from .datasets import content_hash, mark_forgotten, read_forgotten, row_names, versions_with
from .formats import Draft
from .lines import physical_lines
from .masking import RowMasker, name_hash
from .rows import Row, read_prepared
from .sources import SourceFile, file_label, source_files

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """
    Hold what was forgotten.

    ``removed``: the number of rows by file; ``made``: of those that stand in no file but are made from others, which
    ``prepare`` rejects from now on. ``runs`` were trained on such rows, ``versions`` of the data hold them;
    ``copies`` are files of runs in which they still stand.
    """

    removed: dict[str, int]
    runs: tuple[str, ...]
    versions: tuple[str, ...]
    copies: tuple[str, ...]
    made: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """
    Hold a row to be removed: on which lines it stands, which names it has, and hashes of what it says, as is and masked.

    ``file`` is None where the row stands in no file but is made from others.
    """

    file: SourceFile | None
    first: int
    last: int
    names: frozenset[str]
    content: str | None
    masked: str | None


@dataclass(slots=True)
class _Used:
    """Gather where rows were used; ``names`` are the hashes of those names that were met."""

    runs: dict[str, None] = field(default_factory=dict)
    versions: dict[str, None] = field(default_factory=dict)
    copies: dict[str, None] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)


def forget(config: Config, names: Sequence[str]) -> Forgotten:
    """
    Remove the rows of people, ids or groups from the training files, and print what is left to do.

    Raises StageError, before anything is changed, for a name that no row has and that was not forgotten before.
    """
    run = RunFolder(config)
    if run.registry is None:
        raise ConfigError("registry: null keeps no list of what was forgotten; name a folder")
    hashes = [name_hash(name) for name in names]
    found = list(_find(run, frozenset(hashes)))
    used = _find_used(run, run.registry, frozenset(hashes), frozenset(one.masked for one in found if one.masked))
    known = used.names | read_forgotten(run.registry).names | {name for one in found for name in one.names}
    if unknown := [number for number, one in enumerate(hashes, start=1) if one not in known]:
        raise StageError(
            f"name {unknown[0]} of {len(names)} is no id, person or group of a row in "
            f"{', '.join(file_label(run, path) for path in run.train_files)}, and was not forgotten before; nothing was changed"
        )
    try:
        mark_forgotten(run.registry, _lasting(hashes, found), [one.content for one in found if one.content])
        removed = _remove_all(found)
    except OSError as error:
        raise StageError(
            f"{error.filename}: {error.strerror}; the list of what was forgotten is written first, every file whole or "
            f"not at all: give the same command again"
        ) from None
    made = sum(one.file is None for one in found)
    forgotten = Forgotten(removed, tuple(used.runs), tuple(used.versions), tuple(used.copies), made)
    _print(forgotten)
    return forgotten


def _find(run: RunFolder, hashes: frozenset[str]) -> Iterator[_Found]:
    """Yield the rows of the training files with one of these names, also those that could not be learned from."""
    masker = RowMasker(run.config.data.privacy)
    for file in source_files(run):
        # A file from which all rows were taken is no mistake here.
        for line, row in file.reader.read(file.path, file.name) if isinstance(file, SourceFile) else file.read():
            own = (row.names.id, row.names.group, row.names.person) if isinstance(row, Draft) else row.all_names
            met = hashes & {name_hash(name) for name in (*own, row.source) if name is not None}
            if not met:
                continue
            content = masked = None
            if isinstance(row, Draft):
                content = content_hash(row.task, row.prompt, row.expected)
                safe, _ = masker.mask(row)
                masked = content_hash(safe.task, safe.prompt, safe.expected)
            yield _Found(file if isinstance(file, SourceFile) else None, line.number, line.last, met, content, masked)


def _lasting(hashes: Sequence[str], found: Sequence[_Found]) -> list[str]:
    """Return the names that still mean the same when lines have moved: not those of places in files."""
    places = {name_hash(f"{one.file.name}:{one.first}") for one in found if one.file is not None}
    return [one for one in hashes if one not in places]


def _find_used(run: RunFolder, registry: Path, hashes: frozenset[str], contents: frozenset[str]) -> _Used:
    """Find the runs and the versions of the data that held rows with these names or contents."""
    used = _Used()
    for version, held in versions_with(registry, hashes | contents).items():
        used.versions[version] = None
        used.names |= held & hashes
    trained = list(read(registry / "runs.jsonl"))
    for folder in _run_folders(run, [str(entry.get("run")) for entry in trained]):
        name = folder.relative_to(run.root).as_posix() if folder.is_relative_to(run.root) else folder.name
        for path in sorted((folder / "prepared").glob("*.jsonl")):
            if met := _met(path, hashes, contents):
                used.names |= met & hashes
                used.runs[name] = used.copies[f"{name}/prepared/{path.name}"] = None
        for path in sorted((folder / "rejected").glob("*.jsonl")):
            if any(hashes & _names_in(line) for line in read(path)):
                used.copies[f"{name}/rejected/{path.name}"] = None
    for entry in trained:
        if entry.get("dataset_version") in used.versions:
            used.runs[str(entry.get("run"))] = None
    return used


def _run_folders(run: RunFolder, named: Sequence[str]) -> list[Path]:
    """Return the folders of runs: this one, those beside it, and those that the registry names."""
    folders = [run.path, *sorted(run.path.parent.glob("*")), *(run.root / name for name in named)]
    return [folder for folder in dict.fromkeys(folders) if (folder / "prepared").is_dir()]


def _met(path: Path, hashes: frozenset[str], contents: frozenset[str]) -> set[str]:
    """Return which names and contents prepared rows have."""
    met: set[str] = set()
    for row in _prepared(path):
        met |= hashes & {name_hash(name) for name in row_names(row)}
        met |= contents & {content_hash(row.task, row.prompt, row.expected)}
    return met


def _prepared(path: Path) -> list[Row]:
    """Return the rows of a run; a file of another program or an older one has none that can be read."""
    try:
        return read_prepared(path)
    except (ValueError, TypeError, KeyError):
        return []


def _names_in(line: dict[str, object]) -> set[str]:
    """Return the hashes of the names in a rejected row."""
    record = line.get("record")
    places = (line, record) if isinstance(record, dict) else (line,)
    values = (place[key] for place in places for key in ("id", "group", "person") if place.get(key))
    return {name_hash(str(one)) for value in values for one in (value if isinstance(value, list) else [value])}


def _remove_all(found: Sequence[_Found]) -> dict[str, int]:
    """Take the rows out of their files; return how many by file."""
    removed = {}
    for file in dict.fromkeys(one.file for one in found if one.file is not None):
        lines = [(one.first, one.last) for one in found if one.file == file]
        _remove(file.path, lines)
        removed[file.name] = len(lines)
    return removed


def _remove(path: Path, lines: Sequence[tuple[int, int]]) -> None:
    """Write a file again without these lines, whole or not at all."""
    content = path.read_bytes()
    gone = {number for first, last in lines for number in range(first, last + 1)}
    if path.suffix == ".csv":
        mark = _BOM if content.startswith(_BOM) else b""
        kept = [line.encode() for line in physical_lines(content.decode("utf-8-sig"))]
    else:
        mark, kept = b"", _ended(content)
    partial = path.with_name(f".partial-{path.name}")
    with partial.open("wb") as file:
        file.write(mark + b"".join(line for number, line in enumerate(kept, start=1) if number not in gone))
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(path, partial)
    partial.replace(path.resolve())


def _ended(content: bytes) -> list[bytes]:
    """Return the lines of a JSONL file, which a line feed alone ends, with their ends."""
    lines = content.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _print(forgotten: Forgotten) -> None:
    """Say what was done, and what is left to do."""
    for name, count in forgotten.removed.items():
        print(f"forget: {count} row{'s' if count > 1 else ''} removed from {name}")
    if forgotten.made:
        print(
            f"forget: {forgotten.made} rows that data.judged makes are rejected from now on; take the records out of its files"
        )
    if not forgotten.removed and not forgotten.made:
        print("forget: no training file holds such rows (any more); prepare rejects them if they come back")
    for version in forgotten.versions:
        print(f"forget: dataset version {version[:12]} holds such rows")
    for name in forgotten.runs:
        print(f"forget: {name} was trained on such rows: prepare and train it again, and withdraw its models")
    for name in forgotten.copies:
        print(f"forget: {name} still holds them until the run is prepared again, or its folder deleted")

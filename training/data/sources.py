"""List the files that rows are read from, each with what reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, StageError
from ..run_folder import RunFolder
from .formats import Draft, SourceReader, Unreadable
from .lines import Line
from .rows import find_files


@dataclass(frozen=True, slots=True)
class SourceFile:
    """Hold a file of rows; ``name`` is what rows and errors call it."""

    path: Path
    name: str
    reader: SourceReader

    def read(self) -> Iterator[tuple[Line, Draft | Unreadable]]:
        """Yield each line with what it is; raise StageError where there is none."""
        is_empty = True
        for line in self.reader.read(self.path, self.name):
            is_empty = False
            yield line
        if is_empty:
            raise StageError(f"{self.name}: holds no row")


def source_files(run: RunFolder) -> list[SourceFile]:
    """Return the files of ``data.train``; one that two sources name belongs to the first."""
    if not run.config.data.train:
        raise ConfigError("data.train names no file of rows")
    found: dict[Path, SourceFile] = {}
    for source in run.config.data.train:
        reader = SourceReader(source, run.tasks)
        for path in find_files([source.path], run.root, "data.train"):
            name = path.relative_to(run.root).as_posix() if path.is_relative_to(run.root) else path.name
            found.setdefault(path, SourceFile(path, name, reader))
    return list(found.values())

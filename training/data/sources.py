"""List the files that rows are read from, each with what reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import Columns, Source
from ..errors import ConfigError, StageError
from ..run_folder import RunFolder
from .formats import Draft, SourceReader, Unreadable
from .judged.pipeline import JudgedResult, build
from .lines import Line
from .masking import RowMasker
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


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """Hold the rows that the pipeline of ``data.judged`` made; they stand in no file, since nothing of them is masked yet."""

    result: JudgedResult
    reader: SourceReader
    masker: RowMasker

    def place(self, place: str) -> str:
        """Return where a record stands (``file:line``), the file called as those of rows are."""
        name, _, line = place.rpartition(":")
        return f"{self.masker.file_name(name)}:{line}" if name else place

    def read(self) -> Iterator[tuple[Line, Draft | Unreadable]]:
        """Yield each row with what it is."""
        for number, record in enumerate(self.result.rows, start=1):
            line = Line(number, number, 0, record)
            place = self.place(str(record.get("source", f"data.judged:{number}")))
            yield line, self.reader.row(line, place, is_table=False)


def file_label(run: RunFolder, path: Path) -> str:
    """Return what rows, errors and registries call a file: below the root, and masked if it names anybody."""
    name = path.relative_to(run.root).as_posix() if path.is_relative_to(run.root) else path.name
    return RowMasker(run.config.data.privacy).file_name(name)


def all_sources(run: RunFolder) -> list[SourceFile | JudgedRows]:
    """Return the files of ``data.train``, and the rows of ``data.judged``."""
    if not run.config.data.train and run.config.data.judged is None:
        raise ConfigError("data.train names no file of rows")
    return [*source_files(run), *_judged(run)]


def source_files(run: RunFolder) -> list[SourceFile]:
    """Return the files of ``data.train``; one that two sources name belongs to the first."""
    found: dict[Path, SourceFile] = {}
    for source in run.config.data.train:
        reader = SourceReader(source, run.tasks)
        for path in find_files([source.path], run.root, "data.train"):
            found.setdefault(path, SourceFile(path, file_label(run, path), reader))
    return list(found.values())


def _judged(run: RunFolder) -> Iterator[JudgedRows]:
    """Yield the rows that the pipeline makes, with its accounting printed step by step."""
    judged = run.config.data.judged
    if judged is None:
        return
    tokenizer = run.base_tokenizer() if run.config.base.scratch is None else None
    count = None if tokenizer is None else _counter(tokenizer)
    result = build(judged, run.root, count_tokens=count)
    for step in result.counts:
        print(f"  {step['step']}: {step['given']} -> {step['left']}")
    keys = {ours: theirs for ours, theirs in judged.keys.model_dump().items() if theirs and ours in _COLUMNS}
    source = Source(
        path="data.judged", format="case", columns=Columns(**keys), licence=judged.licence, origin=judged.origin
    )
    yield JudgedRows(result, SourceReader(source, run.tasks), RowMasker(run.config.data.privacy))


def _counter(tokenizer: Any) -> Any:
    """Return what counts the tokens of a text."""
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


_COLUMNS = frozenset({"id", "input", "expected", "group"})

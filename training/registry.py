"""
Keep registries: JSONL files that are only ever appended to, one object a line.

``registry/runs.jsonl`` has a line for each run that was finished, ``registry/datasets.jsonl`` one for each data set. A
line that a crash tore is no line, and what is appended after it is whole.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

RUNS = "runs.jsonl"
"""The registry of runs, in the folder that ``registry`` names."""


def append(path: Path, *rows: dict[str, Any]) -> None:
    """
    Append rows in one write, under the file's lock, and return when they are on the disk.

    Raises OSError where they cannot be written; what was there before stays as it was.
    """
    if not rows:
        return
    content = "".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        _lock(file.fileno())
        size = os.fstat(file.fileno()).st_size
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            content = b"\n" + content  # else the torn line would swallow this one
        try:
            while content:
                content = content[file.write(content) :]
            os.fsync(file.fileno())
        except OSError:
            os.ftruncate(file.fileno(), size)
            raise


def read(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a registry, oldest first; none where there is no file. A torn line is left out."""
    rows = []
    for line in path.read_bytes().split(b"\n") if path.is_file() else []:
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(row)
    return rows


def _lock(file: int) -> None:
    """Keep other processes from appending until the file is closed, where the system has such locks."""
    with suppress(ImportError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)

"""Write what was harvested where it does no harm: never into a suite, never over what somebody edited."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..errors import ConfigError, StageError
from ..tasks import Tasks

CANDIDATES, REVIEW = "candidates.jsonl", "review.md"
_HASHES = ".harvest.json"
_WILD = frozenset("*?[")


def check_folder(out: Path, tasks: Tasks) -> None:
    """
    Raise ConfigError if ``out`` is no place for candidates.

    It must not lie in a folder that a suite reads, since nobody has reviewed them yet, nor hold files of the names that
    are written, unless they are as this program wrote them.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out: {out} is a file, not a folder")
    for suite, globs in tasks.file.suites.items():
        for glob in globs:
            if _reads(tasks.file.root, glob, out):
                raise ConfigError(
                    f"--out: {out} lies where suite {suite!r} is read from ({glob}); candidates are reviewed before they "
                    f"are cases: name another folder, such as harvest/"
                )
    written = _read_hashes(out)
    for name in (CANDIDATES, REVIEW):
        path = out / name
        if path.exists() and _digest(path.read_bytes()) not in written.get(name, ()):
            raise ConfigError(f"--out: {path} is not as harvest wrote it; name another folder, or move the file away")


def write_files(out: Path, texts: Mapping[str, str]) -> None:
    """Write texts by file name; each file is there whole or not at all, and known again if nobody edits it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        contents = {name: text.encode("utf-8", "replace") for name, text in texts.items()}
        before = _read_hashes(out)
        # Until all are replaced, a file may be the one of this time or of the last.
        hashes = {name: [*before.get(name, ())[-1:], _digest(content)] for name, content in contents.items()}
        for name, content in {_HASHES: f"{json.dumps(hashes, indent=1)}\n".encode(), **contents}.items():
            partial = out / f".partial-{name}"
            partial.write_bytes(content)
            partial.replace(out / name)
    except OSError as error:
        raise StageError(f"{out}: cannot be written: {error.strerror}") from None


def _reads(root: Path, glob: str, out: Path) -> bool:
    """Say whether a suite's pattern reads the folder ``out``, or what would be written there."""
    parts = PurePosixPath(glob).parts
    fixed = next((place for place, part in enumerate(parts) if _WILD & set(part)), len(parts) - 1)
    fixed = min(fixed, len(parts) - 1)
    base, folder = (root.joinpath(*parts[:fixed])).resolve(), out.resolve()
    if not folder.is_relative_to(base):
        return False
    if base != root.resolve():
        return True
    inside = PurePosixPath((folder / CANDIDATES).relative_to(base).as_posix())
    if "**" in parts:
        return inside.match(parts[-1])
    return len(inside.parts) == len(parts) and inside.match(glob)


def _read_hashes(out: Path) -> dict[str, list[str]]:
    """Return the hashes of the files that this program wrote into a folder."""
    try:
        found = json.loads((out / _HASHES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    listed = found.items() if isinstance(found, dict) else ()
    return {name: hashes for name, hashes in listed if isinstance(hashes, list)}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

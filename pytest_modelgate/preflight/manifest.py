"""Find the manifest that a training wrote; being written."""

from __future__ import annotations

from pathlib import Path


def find_manifest(path: Path) -> Path | None:
    """Return the manifest.json beside a file, or in or beside a folder."""
    folders = (path, path.parent) if path.is_dir() else (path.parent,)
    return next((found for folder in folders if (found := folder / "manifest.json").is_file()), None)

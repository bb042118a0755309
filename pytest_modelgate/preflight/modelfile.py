"""Find the Modelfile that a GGUF is served by; being written."""

from __future__ import annotations

from pathlib import Path


def find_modelfile(path: Path) -> Path | None:
    """Return the Modelfile beside a GGUF that names it."""
    found = path.parent / "Modelfile"
    return found if path.is_file() and found.is_file() and path.name in found.read_text(encoding="utf-8") else None

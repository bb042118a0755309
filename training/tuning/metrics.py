"""Keep what training measured, one JSON object a line, readable while it grows."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any


class MetricsLog:
    """Append measurements to ``path``; each line says when it was taken."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **values: Any) -> None:
        """Append one measurement."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"time": round(time.time(), 1), **values})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def read(self, stage: str) -> list[dict[str, Any]]:
        """Return the measurements of a stage; a line that an interruption tore is left out."""
        return [line for line in self._lines() if line.get("stage") == stage]

    def forget(self, stage: str, *, after: int = -1, keep: bool = False) -> None:
        """Drop the lines of a stage that is about to be run again, those of steps up to ``after`` excepted."""
        if keep or not self.path.is_file():
            return
        kept = [line for line in self._lines() if line.get("stage") != stage or 0 <= line.get("step", 0) <= after]
        self.path.write_text("".join(f"{json.dumps(line)}\n" for line in kept), encoding="utf-8")

    def _lines(self) -> list[dict[str, Any]]:
        """Return every whole line."""
        found = []
        text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        for line in text.split("\n"):
            try:
                found.append(dict(json.loads(line)))
            except (ValueError, TypeError):
                continue
        return found

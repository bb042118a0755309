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

    def forget(self, stage: str) -> None:
        """Drop the lines of a stage that is about to be run again."""
        if self.path.is_file():
            lines = self.path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if f'"stage": "{stage}"' not in line]
            self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

"""Find the checkpoint that an interrupted training goes on from."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path


def last_checkpoint(folder: Path) -> Path | None:
    """
    Return the last complete checkpoint in ``folder``; one that is not complete is taken away.

    The Trainer writes ``trainer_state.json`` last (transformers 5: ``Trainer._save_checkpoint``), so a checkpoint that has
    one, and a whole one, is complete.
    """
    found: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        if not re.fullmatch(r"checkpoint-\d+", path.name):
            continue
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(path, ignore_errors=True)
        else:
            found.append((int(path.name.partition("-")[2]), path))
    return max(found)[1] if found else None


def step_of(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written."""
    return int(checkpoint.name.partition("-")[2])

"""Write paths as pytest does, so that a suite's file is known again when pytest collects it."""

from __future__ import annotations

import os
from pathlib import Path


def normal_path(path: Path) -> Path:
    """Return ``path`` absolute and without ``..``, but through the symbolic links that the user named."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the links

"""Write a first gates.toml and suites into a project."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pytest_modelgate.errors import ConfigurationError

TEMPLATES = Path(__file__).parent / "templates"


def write_scaffold(folder: Path, *, demo: bool) -> list[Path]:
    """
    Copy the template into ``folder`` and return what was written.

    ``demo``: the whole support task, which the demo model answers; otherwise a small task to be filled in. Raises
    :class:`~pytest_modelgate.errors.ConfigurationError`, having written nothing, if any file is there already.
    """
    template = TEMPLATES / ("support" if demo else "first")
    # In a checkout the support task's folders are links to the suites at the root.
    names = sorted(
        Path(directory, name).relative_to(template)
        for directory, _, files in os.walk(template, followlinks=True)
        for name in files
    )
    if existing := [name for name in names if (folder / name).exists()]:
        raise ConfigurationError(
            f"{folder / existing[0]} is there already; nothing was written. Run init in an empty folder"
        )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template / name, folder / name)
    return names

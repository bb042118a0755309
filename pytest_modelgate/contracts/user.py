"""Find users' own contracts and metrics by import path or entry point."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.identity import digest, hash_file

CONTRACTS = "modelgate.contracts"
METRICS = "modelgate.metrics"
CONTROLS = "modelgate.controls"
"""Entry-point groups under which installed packages offer theirs by name."""


def load_object(written: str, group: str, root: Path, named_by: str) -> Callable[..., Any]:
    """
    Return the callable that ``written`` names: ``package.module:function``, or an entry point of ``group``.

    Modules are importable from ``root`` or from the environment. Raises
    :class:`~pytest_modelgate.errors.GatesFileError`, starting with ``named_by``, when there is no such callable.
    """
    module_name, mark, name = written.partition(":")
    try:
        if not mark:
            offered = offers(group)
            if written not in offered:
                raise GatesFileError(
                    f"{named_by}: {written!r} is neither package.module:function nor one of the installed "
                    f"{group} ({', '.join(sorted(offered)) or 'none'})"
                )
            found = offered[written].load()
        else:
            found = import_from(module_name, name, root)
    except (ImportError, AttributeError) as error:
        raise GatesFileError(f"{named_by}: cannot import {written!r}: {error}") from None
    except GatesFileError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - importing a user's module runs it, whatever it raises
        raise GatesFileError(f"{named_by}: importing {written!r} raised {type(error).__name__}: {error}") from None
    if not callable(found):
        raise GatesFileError(f"{named_by}: {written} is not a function")
    return found  # type: ignore[no-any-return]


def offers(group: str) -> dict[str, metadata.EntryPoint]:
    """Return what installed packages offer under ``group``, by name."""
    return {point.name: point for point in metadata.entry_points(group=group)}


def import_from(module_name: str, name: str, root: Path) -> Any:
    """Return ``name`` of a module that is importable from ``root`` or from the environment."""
    sys.path.insert(0, str(root))
    try:
        return getattr(importlib.import_module(module_name), name)
    finally:
        with contextlib.suppress(ValueError):  # the module itself may have changed the path
            sys.path.remove(str(root))


def hash_module(name: str) -> str:
    """Return the hash of the file that an imported module was read from; of its name where there is none."""
    path = getattr(sys.modules.get(name), "__file__", None)
    return hash_file(Path(path)) if path and Path(path).is_file() else digest(name)

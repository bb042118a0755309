"""Read headers, hashes and JSON files once for all checks of a preflight."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from pytest_modelgate.errors import SpecError
from pytest_modelgate.gguf_file import GgufHeader, read_gguf_header
from pytest_modelgate.identity import hash_file
from pytest_modelgate.preflight.check import Artifact, Subject

__all__ = [
    "TOKENIZER_FILES",
    "adapter_settings",
    "header_of",
    "model_folder",
    "read_object",
    "reference_folder",
    "sha256_of",
    "tokenizer_folder",
]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")
_ADAPTER_CONFIG = "adapter_config.json"
_Stamp = tuple[int, int, int]


def header_of(path: Path) -> GgufHeader:
    """Return a GGUF's header; raise SpecError where it cannot be read."""
    return _header(path, _stamp(path))


def sha256_of(path: Path) -> str:
    """Return a file's sha256; raise SpecError where it cannot be read."""
    return _sha256(path, _stamp(path))


def read_object(path: Path) -> dict[str, Any] | None:
    """Return what a JSON file says, None where there is no such file; raise SpecError where it is not a JSON object."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(f"{path}: not readable: {error}") from None
    if not isinstance(found, dict):
        raise SpecError(f"{path}: not a JSON object")
    return found


def model_folder(artifact: Artifact) -> Path | None:
    """Return the folder of an artifact that holds config.json: an adapter's base; None for a GGUF."""
    if artifact.kind == "gguf":
        return None
    return artifact.base if artifact.kind == "adapter" else artifact.path


def tokenizer_folder(artifact: Artifact) -> Path | None:
    """Return the folder whose tokenizer and template count; None for a GGUF."""
    if artifact.kind == "adapter" and not any((artifact.path / name).is_file() for name in TOKENIZER_FILES):
        return artifact.base
    return None if artifact.kind == "gguf" else artifact.path


def reference_folder(subject: Subject) -> Path | None:
    """Return the folder with the config.json that the target was made from: its own, or that of the first link with one."""
    folders = (model_folder(one) for one in (subject.target, *subject.chain))
    return next((one for one in folders if one is not None), None)


def adapter_settings(artifact: Artifact | None) -> dict[str, Any] | None:
    """Return what an adapter's adapter_config.json says, None for what is no adapter."""
    if artifact is None or artifact.kind != "adapter":
        return None
    return read_object(artifact.path / _ADAPTER_CONFIG)


def _stamp(path: Path) -> _Stamp:
    """Return what changes when a file does."""
    try:
        status = path.stat()
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from None
    return status.st_size, status.st_mtime_ns, status.st_ino


@lru_cache(maxsize=4)
def _header(path: Path, stamp: _Stamp) -> GgufHeader:  # noqa: ARG001  (the stamp is part of what is remembered)
    return read_gguf_header(path)


@lru_cache(maxsize=64)
def _sha256(path: Path, stamp: _Stamp) -> str:  # noqa: ARG001
    try:
        return hash_file(path)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from None

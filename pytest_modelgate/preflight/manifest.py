"""Find the manifest that a training wrote, and compare its hashes with the files that are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_modelgate.engines.adapter_files import read_template
from pytest_modelgate.errors import SpecError
from pytest_modelgate.preflight.check import Artifact, Finding, Subject
from pytest_modelgate.preflight.listing import entry_of, is_manifest, listed_files
from pytest_modelgate.preflight.metadata import header_of, sha256_of, tokenizer_folder
from pytest_modelgate.preflight.quantization import FULL_PRECISION

__all__ = ["find_manifest", "manifest"]

_NAME = "manifest.json"
_ADAPTER = ("adapter_model.safetensors", "adapter_config.json")


def find_manifest(path: Path) -> Path | None:
    """
    Return the manifest.json of a training that lies beside a file, or in or beside a folder; None where none does.

    One that lists this very file or adapter, by hash, comes before one that lists its name, and that before any other of a
    training: another is returned too, because a file that it does not list is what a check must tell. A manifest.json that
    lists no files of a model is none.
    """
    folders = (path, path.parent) if path.is_dir() else (path.parent,)
    found = [(place, about) for folder in folders if (about := _read(place := folder / _NAME)) is not None]
    ordered = sorted(found, key=lambda one: _nearness(one[1], path))
    return ordered[0][0] if ordered else None


def manifest(subject: Subject) -> Iterator[Finding]:
    """Look whether the target, the reference and the template are those that the training wrote down."""
    listed = subject.manifest or {}
    if not is_manifest(listed):
        yield Finding(
            "failed", f"{subject.manifest_path or _NAME}: lists no file of a model: no manifest of a training"
        )
        return
    named: list[str] = []
    for path in _weights(subject.target):
        yield from _listed(listed, path, named)
    reference = subject.reference
    if reference is not None and reference.kind == "adapter" and reference != subject.target:
        known = {one.sha256 for one in listed_files(listed, ("adapter", "published"))}
        for name in _ADAPTER:
            path = reference.path / name
            if known and path.is_file() and sha256_of(path) not in known:
                yield Finding(
                    "failed", f"the reference's {name} is not the adapter's that the manifest lists: another run"
                )
    yield from _template(subject, listed)
    yield Finding("passed", f"the training lists {', '.join(named)} with this sha256")


def _listed(listed: Mapping[str, Any], path: Path, named: list[str]) -> Iterator[Finding]:
    """Yield a finding where a file is none of the training's."""
    digest = sha256_of(path)
    entry = entry_of(listed, path.name, digest)
    if entry is not None and entry.sha256 == digest:
        named.append(path.name)
        return
    if entry is not None:
        told = f"{path.name}: not the file that this training made: sha256 {digest[:12]}, the manifest's is {entry.sha256[:12]}"
        yield Finding("failed", told)
        return
    source = _source_beside(listed, path)
    if source is not None:
        told = f"{path.name}: is not listed; {source} beside it is, from which it may have been quantised afterwards"
        yield Finding("warned", told)
        return
    yield Finding("failed", f"{path.name}: not a file that this training made: the manifest does not list it")


def _source_beside(listed: Mapping[str, Any], path: Path) -> str | None:
    """Return a file of the training from which a quantised file beside it can have been made afterwards."""
    if path.suffix != ".gguf" or header_of(path).quantization in {None, *FULL_PRECISION}:
        return None
    for one in listed_files(listed, ("gguf",)):
        source = path.parent / one.name
        if one.types and one.types <= FULL_PRECISION and source.is_file() and sha256_of(source) == one.sha256:
            return one.name
    return None


def _template(subject: Subject, listed: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield where a chat template is another than the training's."""
    trained = listed.get("chat_template_sha256")
    if not isinstance(trained, str):
        return
    found: dict[str, str | None] = {}
    if subject.target.kind == "gguf":
        found["the file's"] = header_of(subject.target.path).values.get("tokenizer.chat_template")
    for whose, artifact in (("its own", subject.target), ("the reference's", subject.reference)):
        folder = None if artifact is None else tokenizer_folder(artifact)
        if folder is not None:
            found[whose] = read_template(folder)
    for whose, text in found.items():
        if isinstance(text, str) and hashlib.sha256(text.encode()).hexdigest() != trained:
            yield Finding(
                "failed", f"{whose} chat template is not the one that was trained with (manifest)", mode="F01"
            )


def _weights(artifact: Artifact) -> list[Path]:
    """Return the files that must be the training's."""
    if artifact.kind == "gguf":
        return [artifact.path, *([artifact.lora] if artifact.lora is not None else [])]
    found = sorted(artifact.path.glob("*.safetensors"))
    return found + [path for name in _ADAPTER[1:] if (path := artifact.path / name).is_file()]


def _nearness(about: Mapping[str, Any], path: Path) -> int:
    """Return 0 for a manifest that lists this very file or folder, 1 for one that lists its name, 2 for others."""
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    entries = [entry_of(about, one.name, None) for one in files]
    if not files or None in entries:
        digests = {one.sha256 for one in listed_files(about)}
        return 0 if files and all(_digest(one) in digests for one in files) else 2
    return 0 if all(entry and entry.sha256 == _digest(one) for entry, one in zip(entries, files, strict=True)) else 1


def _digest(path: Path) -> str | None:
    """Return a file's sha256, None where it cannot be read."""
    try:
        return sha256_of(path)
    except SpecError:
        return None


def _read(path: Path) -> Mapping[str, Any] | None:
    """Return what a training's manifest says, None for any other file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if is_manifest(found) else None

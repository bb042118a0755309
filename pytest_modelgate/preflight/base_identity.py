"""Look whether an adapter lies on the base that it was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_modelgate.preflight.check import Artifact, Finding, Subject
from pytest_modelgate.preflight.listing import listed_files
from pytest_modelgate.preflight.metadata import adapter_settings, header_of, read_object, sha256_of

__all__ = ["base_identity"]

_RECORD = "base.json"
"""What a training of this project writes into an adapter's folder: the sha256 of each file of its base."""

_DECIDING = re.compile(r".*\.safetensors|config\.json|tokenizer\.(json|model)|vocab\.json|merges\.txt")
"""Files without which, or with others, a base is another model."""

_VARIANT = re.compile(r"(unsloth|bnb|4bit|8bit|gptq|awq|gguf|hf)+$")
"""Endings under which the same weights are published again."""


def base_identity(subject: Subject) -> Iterator[Finding]:
    """Compare the base's files with what the training wrote down, and the names in adapter and header."""
    adapter = next((one for one in (subject.target, *subject.chain) if one.kind == "adapter"), None)
    if adapter is None or adapter.base is None:
        yield Finding("not checked", "there is no adapter among the references whose base could be looked at")
        return
    recorded = _recorded(subject, adapter)
    for source, files in recorded.items():
        yield from _compare(source, files, adapter.base)
    settings = adapter_settings(adapter) or {}
    yield from _named(subject, settings)
    if recorded:
        names = " and ".join(recorded)
        yield Finding("passed", f"every file of the base has the sha256 that stands in {names}")
    else:
        yield _by_name(settings, adapter)


def _recorded(subject: Subject, adapter: Artifact) -> dict[str, Mapping[str, str]]:
    """Return the files of the base with their sha256, by what names them."""
    found: dict[str, Mapping[str, str]] = {}
    listed = {one.name: one.sha256 for one in listed_files(subject.manifest or {}, ("base",))}
    if listed:
        found["the manifest"] = listed
    files = (read_object(adapter.path / _RECORD) or {}).get("files")
    if isinstance(files, dict) and files:
        found[f"the adapter's {_RECORD}"] = {str(name): str(digest) for name, digest in files.items()}
    return found


def _compare(source: str, recorded: Mapping[str, str], base: Path) -> Iterator[Finding]:
    """Yield each file of the base that is another than the recorded one, or was not there."""
    there = {path.name for path in base.iterdir() if path.is_file() and _DECIDING.fullmatch(path.name)}
    for name in sorted(there | set(recorded)):
        path = base / name
        if not path.is_file():
            if _DECIDING.fullmatch(name):
                yield Finding("failed", f"the base has no {name}, and {source} lists one")
        elif name not in recorded:
            if name.endswith(".safetensors"):
                yield Finding("failed", f"the base's {name} is none of the files that {source} lists")
        elif (digest := sha256_of(path)) != recorded[name]:
            told = f"the base's {name} is another file: sha256 {digest[:12]}, {source} has {recorded[name][:12]}"
            yield Finding("failed" if _DECIDING.fullmatch(name) else "warned", told)


def _named(subject: Subject, settings: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield where adapter and header name different bases; names of folders say nothing."""
    name = settings.get("base_model_name_or_path")
    if subject.target.kind != "gguf" or not isinstance(name, str) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return
    if name.startswith("."):
        return
    values = header_of(subject.target.path).values
    count = values.get("general.base_model.count") or 0
    found = [
        str(one).rstrip("/")
        for number in range(count if isinstance(count, int) else 0)
        for key in ("repo_url", "name")
        if (one := values.get(f"general.base_model.{number}.{key}"))
    ]
    if found and all(_plain(name) != _plain(one) for one in found):
        told = f"the file names {found[0]} as its base (general.base_model), the adapter {name}"
        yield Finding("failed", told)


def _plain(name: str) -> str:
    """Return a model's name without its owner, marks, case and the ending of a copy."""
    return _VARIANT.sub("", re.sub(r"[^a-z0-9]", "", name.rpartition("/")[2].lower()))


def _by_name(settings: Mapping[str, Any], adapter: Artifact) -> Finding:
    """Say what is known where no hash was written down: the adapter may name the very folder."""
    name, base = settings.get("base_model_name_or_path"), adapter.base
    if isinstance(name, str) and base is not None:
        for folder in (adapter.path / name, Path(name)):
            if folder.is_dir() and folder.resolve() == base.resolve():
                return Finding(
                    "passed", "the base is the folder that the adapter names; its files were not written down"
                )
        revision = settings.get("revision")
        snapshot = f"models--{name.replace('/', '--')}"
        if base.parent.name == "snapshots" and base.parent.parent.name == snapshot and revision in {None, base.name}:
            told = "the model that the adapter names" + ("" if revision else ", of no known revision")
            return Finding("passed" if revision else "warned", f"the base is {told}; its files were not written down")
    told = f"nothing says by sha256 which base the adapter was trained on (a manifest, or {_RECORD} in its folder)"
    return Finding("not checked", told)

"""Look for what a release needs besides a good model: a card, the version of its data, a review."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.identity import FileHashes
from pytest_modelgate.targets import Target

MANIFEST = "manifest.json"
CARDS = ("README.md", "MODEL_CARD.md", "model_card.md")
_LEAST_CARD = 200
"""Characters without which a model card says nothing."""


def gather_evidence(target: Target, reviews: Path, hashes: FileHashes) -> dict[str, bool]:
    """
    Return which steps were taken for ``target``: model_card, dataset_version, report_reviewed.

    Manifest and card lie beside the model's file, or in its folder; a folder's manifest may also lie beside it.
    ``reviews``: a JSONL file of the project whose rows name ``sha256`` (of the file or folder that was reviewed, as in
    report.json), ``reviewer`` and ``date``.
    """
    path = target.spec.path
    reviewed = _read_reviews(reviews)
    if target.spec.kind in {"replay", "python"}:
        return {"model_card": False, "dataset_version": False, "report_reviewed": False}
    folder = path if path.is_dir() else path.parent
    weights = set(hashes.folder(path, ("*.safetensors",)).values()) if path.is_dir() else {target.sha256}
    manifests = [
        _read_manifest(folder / MANIFEST),
        *([_read_manifest(path.parent / MANIFEST)] if path.is_dir() else []),
    ]
    return {
        "model_card": any(_says_something(folder / name) for name in CARDS),
        "dataset_version": any(_lists(one, weights) and _has_dataset_version(one) for one in manifests),
        "report_reviewed": any(_is_review(row, target.sha256) for row in reviewed),
    }


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _lists(manifest: dict[str, Any], weights: set[str]) -> bool:
    """Say whether the manifest is about this very target: the hashes of all its weights stand among its files."""
    sections = [part.get("files") if isinstance(part, dict) else part for part in manifest.values()]
    files = [file for section in sections if isinstance(section, list) for file in section if isinstance(file, dict)]
    return bool(weights) and weights <= {file["sha256"] for file in files if isinstance(file.get("sha256"), str)}


def _has_dataset_version(manifest: dict[str, Any]) -> bool:
    data = manifest.get("data", {})
    version = data.get("version") if isinstance(data, dict) else None
    return isinstance(version, str) and bool(version)


def _says_something(path: Path) -> bool:
    try:
        return len(path.read_text(encoding="utf-8").strip()) >= _LEAST_CARD
    except (OSError, UnicodeDecodeError):
        return False


def _read_reviews(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: a review file holds one JSON object a line: {error}") from None
    if stray := [row for row in rows if not isinstance(row, dict)]:
        raise ConfigurationError(f"{path}: a review file holds one JSON object a line, got {stray[0]!r}")
    return rows


def _is_review(row: dict[str, Any], sha256: str) -> bool:
    return row.get("sha256") == sha256 and bool(row.get("reviewer")) and bool(row.get("date"))

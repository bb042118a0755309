"""Write down what a run was made of and what it made. The file is written last: where it stands, the run is complete."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..config_file import config_sha256
from ..export.converter import converter_sha256
from ..run_folder import STAGES, RunFolder, library_version

_LIBRARIES = (
    *("pytest-modelgate", "torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "safetensors"),
    *("llama-cpp-python", "gguf", "numpy", "rapidfuzz"),
)


def write_manifest(run: RunFolder) -> None:
    """Write ``manifest.json``."""
    config = run.config
    marks = {stage: run.mark(stage) or {} for stage in STAGES}
    files = [run.base_gguf] if config.export.base else []
    files += [run.f16, *(path for _, path in run.quantised())]
    scratch = config.base.scratch
    manifest = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        "config_sha256": config_sha256(config),
        "data": {
            "version": _dataset_version(run),
            "train": [_file(path, run.root) for path in run.train_files],
            "suites": [_file(path, run.root) for path in run.suite_files],
            "system": run.system,
            **marks["prepare"]["facts"],
        },
        "seeds": {
            "data": config.data.seed,
            "base": scratch.seed if scratch else None,
            "training": config.training.seed,
        },
        "libraries": {name: library_version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": {"processor": platform.machine(), "threads": len(os.sched_getaffinity(0))},
        "converter_sha256": converter_sha256(),
        "base": {**marks["base"]["facts"], "files": _folder(run.base)},
        "adapter": {"files": _folder(run.adapter)},
        "gguf": [_file(path, run.path) | _described(marks, path.name) for path in files],
        "training": marks["train"]["facts"],
        "merge": marks["merge"]["facts"],
        "seconds": {stage: mark["seconds"] for stage, mark in marks.items()},
    }
    partial = run.manifest.with_name(".partial-manifest.json")
    partial.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(run.manifest)


def _dataset_version(run: RunFolder) -> str:
    """Return the version of the training data: a hash of what stands in its files, whatever they are called."""
    digests = sorted(_file(path, run.root)["sha256"] for path in run.train_files)
    return hashlib.sha256("".join(digests).encode("ascii")).hexdigest()


def _file(path: Path, root: Path) -> dict[str, Any]:
    """Return a file's name, size and hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return {"file": name, "bytes": path.stat().st_size, "sha256": digest}


def _folder(folder: Path) -> list[dict[str, Any]]:
    """Return the files of a folder, or nothing if the model lies elsewhere."""
    return [_file(path, folder) for path in sorted(folder.glob("*")) if path.is_file()]


def _described(marks: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """Return what the stage that wrote a GGUF file found in it."""
    described: dict[str, Any] = marks["export"]["facts"].get(name) or marks["quantize"]["facts"].get(name) or {}
    return {key: value for key, value in described.items() if key != "bytes"}

"""
Write down what a run was made of, what it made, and how that was judged.

The file is written last of all: where it stands, the run is complete.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pytest_modelgate.identity import FileHashes
from pytest_modelgate.machine import describe_machine

from ..config_file import config_sha256
from ..errors import StageError
from ..evaluation import Evaluation
from ..export.converter import converter_sha256
from ..export.gguf import describe
from ..export.tokenizer_files import one_template
from ..run_folder import RunFolder
from ..stage_inputs import STAGES, library_version
from .cost import cost_table

_LIBRARIES = (
    *("pytest-modelgate", "torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers", "safetensors"),
    *("llama-cpp-python", "gguf", "numpy", "scipy", "rapidfuzz", "datasketch", "huggingface_hub", "trl", "datasets"),
)


def build_manifest(run: RunFolder, base_folder: Path, evaluation: Evaluation | None = None) -> dict[str, Any]:
    """
    Return the manifest of a candidate.

    ``base_folder``: where the base lies, whether it was made here or not. ``evaluation``: how the gate judged the candidate;
    None while it has still to.
    """
    config = run.config
    facts = {stage: run.facts(stage) for stage in STAGES}
    hashes = FileHashes(run.path / "stages" / "hashes.json")
    scratch = config.base.scratch
    template = one_template(base_folder)
    return {
        "run": config.output,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config.model_dump(mode="json"),
        "config_sha256": config_sha256(config),
        "data": {
            "version": None,
            **facts["prepare"],
            "train": [_file(path, run.root, hashes) for path in run.train_files],
            "gates": _file(run.tasks.path, run.root, hashes),
            "suites": [_file(path, run.root, hashes) for path in run.tasks.suite_files],
            "prompts": [_file(path, run.root, hashes) for path in run.tasks.prompt_files],
        },
        "tasks": run.tasks.tables,
        "seeds": {
            "data": config.data.seed,
            "base": scratch.seed if scratch else None,
            "training": config.training.seed,
        },
        "libraries": {name: library_version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "machine": describe_machine(),
        "converter_sha256": _converter(),
        "chat_template_sha256": hashlib.sha256(template.encode("utf-8")).hexdigest(),
        "base": {**facts["base"], "files": _folder(base_folder, hashes)},
        "baseline": {**facts["baseline"], "files": _prompted(run, hashes)},
        "adapter": {"files": [one for one in _folder(run.adapter, hashes) if one["file"] != run.card.name]},
        "gguf": [_file(path, run.path, hashes) | _described(path) for path in gguf_files(run)],
        "training": facts["train"],
        "merge": facts["merge"],
        "export": facts["export"],
        "quantize": facts["quantize"],
        "seconds": {stage: mark["seconds"] for stage in STAGES if (mark := run.mark(stage))},
        "evaluation": None if evaluation is None else evaluation.to_json(),
        "cost": None if evaluation is None else _cost(run, evaluation),
    }


def candidates(run: RunFolder) -> dict[str, Path]:
    """Return the exported files that are judged, by quantisation; the 16-bit one where it is wanted, or the only one."""
    files = dict(run.quantised())
    dtype = run.config.export.dtype
    wanted = [name for name in run.config.export.quantizations if name.lower() == dtype]
    if wanted or not files:
        files = {(wanted or [dtype])[0]: run.f16, **files}
    return files


def gguf_files(run: RunFolder) -> list[Path]:
    """Return the GGUF files of a run that are there: the untuned base, 16 bits, quantised, the adapter alone."""
    export = run.config.export
    wanted = [*([run.base_gguf] * export.base), run.f16, *(path for _, path in run.quantised())]
    wanted += [run.lora_gguf] * export.lora  # what an earlier run with other settings left is not this run's
    return [path for path in wanted if path.is_file()]


def render(manifest: Mapping[str, Any]) -> str:
    """Return the text of a manifest's file."""
    return json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def text_sha256(text: str) -> str:
    """Return the sha256 of a text as it is written into a file."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text so that it is there whole or not at all."""
    partial = path.with_name(f".partial-{path.name}")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)


def _cost(run: RunFolder, evaluation: Evaluation) -> dict[str, Any]:
    """Return what the run took, what a request of the last file takes, and what that costs at the given prices."""
    prices = run.config.prices
    seconds = [mark["seconds"] for stage in STAGES[:-1] if (mark := run.mark(stage))] + [evaluation.about["duration_s"]]
    hours = round(sum(seconds) / 3600, 6)
    *_, deployed = candidates(run)
    speed = evaluation.targets.get(deployed, {}).get("performance") or {}
    return {
        "machine_hours": hours,
        "deployed": deployed,
        "seconds_per_request": speed.get("mean_s"),
        "prices": prices.model_dump(mode="json"),
        "rows": [list(row) for row in cost_table(prices, hours, speed.get("mean_s"))],
    }


def _prompted(run: RunFolder, hashes: FileHashes) -> list[dict[str, Any]]:
    """Return the file of the better prompt that the base was given, where there is one."""
    named = run.config.baseline.prompted
    return [] if named is None or not (path := run.root / named).is_file() else [_file(path, run.root, hashes)]


def _converter() -> str | None:
    """Return the hash of the converter's archive; None where it was taken away after the export."""
    try:
        return converter_sha256()
    except StageError:
        return None


def _described(path: Path) -> dict[str, Any]:
    """Return what a GGUF file holds: its label, real bits per weight, types of tensors, and share that fell back."""
    return {key: value for key, value in describe(path).items() if key != "bytes"}


def _file(path: Path, root: Path, hashes: FileHashes) -> dict[str, Any]:
    """Return a file's name, size and hash."""
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return {"file": name, "bytes": path.stat().st_size, "sha256": hashes.sha256(path)}


def _folder(folder: Path, hashes: FileHashes) -> list[dict[str, Any]]:
    """Return every file of a model's folder; hidden ones are none of its own."""
    files = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith("."))
    return [_file(path, folder, hashes) for path in files]

"""
Say what a stage's output depends on: settings, files, libraries, this program, and what earlier stages wrote.

Each part has a name that a reader understands, because it is what a refused stage is explained with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_modelgate.identity import digest

from .data.rows import find_files

if TYPE_CHECKING:
    from .run_folder import RunFolder

STAGES = ("prepare", "base", "baseline", "train", "merge", "export", "quantize", "card")

_SECTIONS: dict[str, tuple[str, ...]] = {
    "prepare": ("data", "training.max_length"),
    "base": ("base",),
    "baseline": ("baseline", "export.base", "export.dtype"),
    "train": ("quantization", "lora", "training"),
    "merge": (),
    "export": ("export.name", "export.dtype", "export.lora"),
    "quantize": (
        *("export.quantizations", "export.imatrix", "export.modelfile"),
        *("training.max_length", "data.near"),  # of the texts that the importance matrix is measured on
    ),
    "card": ("card", "prices"),
}
"""Settings that a stage's output depends on, beside those of the stages that it builds on."""

BUILDS_ON: dict[str, tuple[str, ...]] = {
    "prepare": (),
    "base": ("prepare",),
    "baseline": ("base",),
    "train": ("prepare", "base"),
    "merge": ("train",),
    "export": ("merge",),
    "quantize": ("export", "prepare"),
    "card": ("baseline", "quantize"),
}
"""Stages whose output a stage reads. The baseline does not change what is trained; it must only be there."""

_CODE: dict[str, tuple[str, ...]] = {
    "prepare": ("data",),
    "base": ("tuning", "data/augment.py"),
    "baseline": ("export",),
    "train": ("tuning", "data/augment.py"),
    "merge": ("export/merge.py", "export/base_record.py", "export/tokenizer_files.py"),
    "export": ("export",),
    "quantize": ("export",),
    "card": ("documents", "evaluation.py", "figures.py"),
}
"""Files and folders of this program that decide what a stage writes. How it is judged is the gate's own business."""

_LIBRARIES: dict[str, tuple[str, ...]] = {
    "prepare": ("rapidfuzz", "rensa", "kingfisher-secret-scanner", "phonenumberslite", "python-stdnum", "tokenizers"),
    "base": ("torch", "transformers", "tokenizers"),
    "train": ("torch", "transformers", "peft", "bitsandbytes"),
    "merge": ("peft",),
    "export": ("llama-cpp-python",),
    "quantize": ("llama-cpp-python",),
    "baseline": ("pytest-modelgate", "llama-cpp-python"),
    "card": ("pytest-modelgate", "llama-cpp-python"),
}


def inputs_of(run: RunFolder, stage: str) -> dict[str, str]:
    """
    Return everything that the stage's output depends on, by a name that a reader understands.

    Of an earlier stage it is what it wrote that counts: rows that are prepared again and come out the same train
    the same model.
    """
    parts: dict[str, str] = {}
    for earlier in BUILDS_ON[stage]:
        parts[f"output of {earlier}"] = digest((run.mark(earlier) or {}).get("outputs"))
    for section in _SECTIONS[stage]:
        parts |= {name: json.dumps(value) for name, value in _settings(run, section)}
    for library in _LIBRARIES.get(stage, ()):
        parts[f"library {library}"] = str(library_version(library))
    for code in _CODE[stage]:
        parts[f"program {code}"] = _code_digest(code)
    for path in _read_by(run, stage):
        parts[f"file {run.name_of(path)}"] = run.hashes.sha256(path)
    if stage in {"prepare", "base", "train", "quantize"}:
        parts["tasks of the gates file"] = digest(run.tasks.tables)
    if stage == "quantize" and len(run.tasks.paths) == 1:
        parts["generation in the gates file"] = digest(run.tasks.file.generation.model_dump(mode="json"))
    return parts


def _read_by(run: RunFolder, stage: str) -> list[Path]:
    """Return the files that a stage reads, beside what earlier stages wrote."""
    judging = [*run.tasks.suite_files, *run.tasks.prompt_files]
    match stage:
        case "prepare":
            forgotten = [] if run.registry is None else [run.registry / "forgotten.jsonl"]
            known = [path for path in forgotten if path.is_file()]
            return [*run.train_files, *judging, *_tokenizer_files(run), *known]
        case "base" | "train":
            return [*run.tasks.prompt_files, *_base_files(run)]
        case "baseline":
            return [run.tasks.path, *judging, *_arm_files(run)]
        case "card":
            return [run.tasks.path, *judging]
        case "quantize" if run.config.export.imatrix is not None:
            calibration = find_files(run.config.export.imatrix.calibration, run.root, "export.imatrix.calibration")
            return [*calibration, *judging]
        case "quantize":
            return list(run.tasks.prompt_files)
    return []


def _base_files(run: RunFolder) -> list[Path]:
    """Return the files of a base that lies here."""
    folder = None if run.config.base.scratch else run.local_base
    return [] if folder is None else sorted(path for path in folder.iterdir() if path.is_file())


def _arm_files(run: RunFolder) -> list[Path]:
    """Return the files of what the candidate has to beat: a better prompt, a program's own module, a larger model."""
    arms = run.config.baseline
    module = (arms.program or "").removeprefix("python:").partition(":")[0].replace(".", "/")
    larger = (arms.larger or "").partition(",")[0]
    named = [
        *([run.root / arms.prompted] if arms.prompted else []),
        *([run.tasks.path.parent / f"{module}.py"] if module else []),
        *([run.root / larger] if larger else []),
    ]
    return [path for path in named if path.is_file()]


def _tokenizer_files(run: RunFolder) -> list[Path]:
    """Return the files of a base that lies here by which rows are counted and rendered."""
    folder = None if run.config.base.scratch else run.local_base
    names = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    return [] if folder is None else [folder / name for name in names if (folder / name).is_file()]


def _settings(run: RunFolder, section: str) -> Iterator[tuple[str, Any]]:
    """Yield the settings below ``section``, each with its dotted name."""
    value: Any = run.config.model_dump(mode="json")
    for key in section.split("."):
        value = value[key]
    yield from flatten(section, value)


def flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings, each with its dotted name; lists are leaves."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flatten(f"{name}.{key}" if name else str(key), inner)
    else:
        yield name, value


def library_version(name: str) -> str | None:
    """Return an installed library's version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
    """Say what differs between two lists of parts; a file or program by name, a setting with both values."""
    found = []
    for name in sorted(then.keys() | now.keys()):
        before, after = then.get(name), now.get(name)
        if before == after:
            continue
        kind, _, rest = name.partition(" ")
        if kind in {"file", "program"}:
            what = "is new" if before is None else "is gone" if after is None else "changed"
            found.append(f"{'this program' if kind == 'program' else rest} {what}" + f" ({rest})" * (kind == "program"))
        else:
            found.append(f"{name} was {before}, is {after}")
    return found


def _code_digest(name: str) -> str:
    """Return the digest of a file or a folder of this program."""
    path = Path(__file__).parent / name
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    together = hashlib.sha256()
    for file in files:
        together.update(file.relative_to(path.parent).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return together.hexdigest()

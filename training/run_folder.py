"""
Keep a run's folder: where each stage's output lies, and which of it is complete and still fits.

A stage writes its mark last, with everything that its output depends on: settings, input files, code. So an interrupted
stage is taken up again, a finished one is skipped, and one that no longer fits is refused, naming what changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pytest_modelgate.identity import FileHashes, digest

from .config import Config
from .data.rows import find_files
from .errors import StageError
from .tasks import Tasks
from .tuning.metrics import MetricsLog

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

_BUILDS_ON: dict[str, tuple[str, ...]] = {
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


class RunFolder:
    """Hold the paths of one run, and what is known of its stages."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.root = Path(config.root)
        self.path = self.root / config.output
        self.log = MetricsLog(self.path / "metrics.jsonl")
        self.train_rows = self.path / "prepared" / "train.jsonl"
        self.validation_rows = self.path / "prepared" / "validation.jsonl"
        self.rejected = self.path / "rejected"
        self.base = self.path / "base"
        self.base_gguf = self.path / f"base-{config.export.dtype}.gguf"
        self.baseline = self.path / "baseline"
        self.checkpoints = self.path / "checkpoints"
        self.adapter = self.path / "adapter"
        self.loss_curve = self.path / "loss.svg"
        self.merged = self.path / "merged"
        self.f16 = self.path / f"{config.export.name}-{config.export.dtype}.gguf"
        self.lora_gguf = self.path / f"{config.export.name}-lora.gguf"
        self.modelfile = self.path / "Modelfile"
        self.evaluation = self.path / "evaluation"
        self.manifest = self.path / "manifest.json"
        self.card = self.path / "README.md"
        self._hashes = FileHashes(self.path / "stages" / "hashes.json")
        self.registry = None if config.registry is None else self.root / config.registry

    @cached_property
    def tasks(self) -> Tasks:
        """Return the tasks that the candidate is judged by."""
        return Tasks([self.root / name for name in self.config.gates])

    @cached_property
    def train_files(self) -> list[Path]:
        """Return the files that rows are read from."""
        judged = self.config.data.judged
        paths = [source.path for source in self.config.data.train]
        paths += [] if judged is None else [source.path for source in judged.sources.values()]
        return find_files(paths, self.root, "data.train")

    @property
    def local_base(self) -> Path | None:
        """Return the folder that ``base.path`` names, None for a base made here or a name on the Hub."""
        named = self.config.base.path
        folders = [] if named is None else [self.root / named, Path(named)]
        return next((folder for folder in folders if folder.is_dir()), None)

    def base_tokenizer(self) -> Any | None:
        """Return the base's tokenizer, or None while the base has still to be made from the rows."""
        from .tuning.loading import find_tokenizer

        return find_tokenizer(self)

    def quantised(self) -> Iterator[tuple[str, Path]]:
        """Yield each wanted quantisation with its file; the 16-bit file is what the export stage writes."""
        for name in self.config.export.quantizations:
            if name.lower() != self.config.export.dtype:
                yield name, self.path / f"{self.config.export.name}-{name}.gguf"

    def outputs(self, stage: str) -> list[Path]:
        """Return the files without which a stage's output is not complete."""
        scratch = self.config.base.scratch is not None
        return {
            "prepare": [self.train_rows, self.validation_rows],
            "base": [self.base / "model.safetensors", self.base / "tokenizer.json"] if scratch else [],
            "baseline": self._baseline_outputs(),
            "train": [self.adapter / "adapter_model.safetensors", self.adapter / "adapter_config.json"],
            "merge": [self.merged / "config.json", self.merged / "tokenizer.json"],
            "export": [self.f16, *([self.lora_gguf] if self.config.export.lora else [])],
            "quantize": [path for _, path in self.quantised()],
            "card": [self.manifest, self.card],
        }[stage]

    # --- What is complete ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working in this folder; raises StageError where one does already."""
        path = self.path / "stages" / "lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise StageError(f"{self.path}: another process (pid {holder}) is working in this folder") from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def is_complete(self, stage: str) -> bool:
        """Say whether the stage's output is there and belongs to these settings, files, program and earlier stages."""
        earlier = all(self.is_complete(before) for before in _BUILDS_ON[stage])
        return earlier and self.mark(stage) is not None and not self.changes(stage)

    def changes(self, stage: str) -> list[str]:
        """Return what changed since the stage was finished, or begun; nothing where it has done neither."""
        mark = self.mark(stage)
        begun = mark or self._read(self._begun_path(stage))
        if begun is None:
            return []
        found = _differences(begun["made_of"], self.made_of(stage))
        if mark is not None:
            found += self._altered(stage, mark["outputs"])
        return found

    def _altered(self, stage: str, written: dict[str, str]) -> list[str]:
        """Return which files of a finished stage are not what it wrote."""
        now = {self.name_of(path): path for path in {*self._written(stage), *self.outputs(stage)}}
        return [
            f"{name} is gone" if not now[name].is_file() else f"{name} was changed after {stage} wrote it"
            for name in sorted(now)
            if not now[name].is_file() or written.get(name) != self._hashes.sha256(now[name])
        ]

    def mark(self, stage: str) -> dict[str, Any] | None:
        """Return what a finished stage wrote about itself: made_of, outputs, seconds, facts."""
        return self._read(self._mark_path(stage))

    def facts(self, stage: str) -> dict[str, Any]:
        """Return what a finished stage found out; nothing where it is not finished."""
        return dict((self.mark(stage) or {}).get("facts", {}))

    def was_begun(self, stage: str) -> bool:
        """Say whether the stage was interrupted with the very settings of now, so that it can go on."""
        begun = self._read(self._begun_path(stage))
        return begun is not None and not _differences(begun["made_of"], self.made_of(stage))

    def begin(self, stage: str) -> None:
        """Take away the stage's mark, and the manifest: what they vouch for is about to change."""
        goes_on = self.was_begun(stage)
        self._mark_path(stage).unlink(missing_ok=True)
        self.manifest.unlink(missing_ok=True)
        if not goes_on:
            self._forget(stage)
        _write(self._begun_path(stage), {"made_of": self.made_of(stage)})

    def finish(self, stage: str, seconds: float, facts: dict[str, Any]) -> None:
        """Mark the stage as complete; raises StageError where what it was made of changed while it ran."""
        begun = self._read(self._begun_path(stage))
        if begun is None or (changed := _differences(begun["made_of"], self.made_of(stage))):
            what = "the note of its beginning is gone" if begun is None else "; ".join(changed)
            raise StageError(f"{stage}: something changed while it ran, so its output vouches for nothing: {what}")
        outputs = {self.name_of(path): self._hashes.sha256(path) for path in self._written(stage)}
        mark = {"made_of": begun["made_of"], "outputs": outputs, "seconds": round(seconds, 1), "facts": facts}
        _write(self._mark_path(stage), mark)
        self._begun_path(stage).unlink(missing_ok=True)
        if stage == "train":
            shutil.rmtree(self.checkpoints, ignore_errors=True)

    def _forget(self, stage: str) -> None:
        """Take away what an earlier try of the stage left half done."""
        self.log.forget(stage)
        if stage == "train":
            shutil.rmtree(self.checkpoints, ignore_errors=True)

    def made_of(self, stage: str) -> dict[str, str]:
        """
        Return everything that the stage's output depends on, by a name that a reader understands.

        Of an earlier stage it is what it wrote that counts: rows that are prepared again and come out the same train
        the same model.
        """
        parts: dict[str, str] = {}
        for earlier in _BUILDS_ON[stage]:
            parts[f"output of {earlier}"] = digest((self.mark(earlier) or {}).get("outputs"))
        for section in _SECTIONS[stage]:
            parts |= {name: json.dumps(value) for name, value in self._settings(section)}
        for library in _LIBRARIES.get(stage, ()):
            parts[f"library {library}"] = str(library_version(library))
        for code in _CODE[stage]:
            parts[f"program {code}"] = _code_digest(code)
        for path in self._read_by(stage):
            parts[f"file {self.name_of(path)}"] = self._hashes.sha256(path)
        if stage in {"prepare", "base", "train", "quantize"}:
            parts["tasks of the gates file"] = digest(self.tasks.tables)
        if stage == "quantize" and len(self.tasks.paths) == 1:
            parts["generation in the gates file"] = digest(self.tasks.file.generation.model_dump(mode="json"))
        return parts

    def _read_by(self, stage: str) -> list[Path]:
        """Return the files that a stage reads, beside what earlier stages wrote."""
        judging = [*self.tasks.suite_files, *self.tasks.prompt_files]
        match stage:
            case "prepare":
                forgotten = [] if self.registry is None else [self.registry / "forgotten.jsonl"]
                known = [path for path in forgotten if path.is_file()]
                return [*self.train_files, *judging, *self._tokenizer_files(), *known]
            case "base" | "train":
                return [*self.tasks.prompt_files, *self._base_files()]
            case "baseline":
                return [self.tasks.path, *judging, *self._arm_files()]
            case "card":
                return [self.tasks.path, *judging]
            case "quantize" if self.config.export.imatrix is not None:
                calibration = find_files(
                    self.config.export.imatrix.calibration, self.root, "export.imatrix.calibration"
                )
                return [*calibration, *judging]
            case "quantize":
                return list(self.tasks.prompt_files)
        return []

    def _base_files(self) -> list[Path]:
        """Return the files of a base that lies here."""
        folder = None if self.config.base.scratch else self.local_base
        return [] if folder is None else sorted(path for path in folder.iterdir() if path.is_file())

    def _arm_files(self) -> list[Path]:
        """Return the files of what the candidate has to beat: a better prompt, a program's own module, a larger model."""
        arms = self.config.baseline
        module = (arms.program or "").removeprefix("python:").partition(":")[0].replace(".", "/")
        larger = (arms.larger or "").partition(",")[0]
        named = [
            *([self.root / arms.prompted] if arms.prompted else []),
            *([self.tasks.path.parent / f"{module}.py"] if module else []),
            *([self.root / larger] if larger else []),
        ]
        return [path for path in named if path.is_file()]

    def _baseline_outputs(self) -> list[Path]:
        """Return what the baseline wrote; a baseline that was left out, with a reason, wrote nothing."""
        if "skipped" in self.facts("baseline"):
            return []
        return [self.baseline / "report.json", *([self.base_gguf] if self.config.export.base else [])]

    def _tokenizer_files(self) -> list[Path]:
        """Return the files of a base that lies here by which rows are counted and rendered."""
        folder = None if self.config.base.scratch else self.local_base
        names = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
        return [] if folder is None else [folder / name for name in names if (folder / name).is_file()]

    def _written(self, stage: str) -> list[Path]:
        """Return the files that a stage wrote: whole folders of those that it names one of."""
        folders = {path.parent for path in self.outputs(stage)} - {self.path}
        inside = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
        return sorted({*inside, *(path for path in self.outputs(stage) if path.parent == self.path and path.is_file())})

    def _settings(self, section: str) -> Iterator[tuple[str, Any]]:
        """Yield the settings below ``section``, each with its dotted name."""
        value: Any = self.config.model_dump(mode="json")
        for key in section.split("."):
            value = value[key]
        yield from flatten(section, value)

    def name_of(self, path: Path) -> str:
        """Return a path as a reader knows it."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name

    def _mark_path(self, stage: str) -> Path:
        """Return where the stage's mark lies."""
        return self.path / "stages" / f"{stage}.json"

    def _begun_path(self, stage: str) -> Path:
        """Return where it is noted that the stage was begun."""
        return self.path / "stages" / f"{stage}.begun.json"

    def _read(self, path: Path) -> dict[str, Any] | None:
        """Return a note, or None where there is none that can be read."""
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None


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


def _differences(then: dict[str, str], now: dict[str, str]) -> list[str]:
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


def _write(path: Path, note: dict[str, Any]) -> None:
    """Write a note so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    partial.write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)

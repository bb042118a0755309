"""
Keep a run's folder: where each stage's output lies, and which of it is complete and still fits.

A stage writes its mark last, with everything that its output depends on: settings, input files, code. So an interrupted
stage is taken up again, a finished one is skipped, and one that no longer fits is refused, naming what changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_modelgate.identity import FileHashes

from .config import Config
from .data.rows import find_files
from .errors import StageError
from .stage_inputs import BUILDS_ON, differences, inputs_of
from .tasks import Tasks
from .tuning.metrics import MetricsLog


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
        self.hashes = FileHashes(self.path / "stages" / "hashes.json")
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
        earlier = all(self.is_complete(before) for before in BUILDS_ON[stage])
        return earlier and self.mark(stage) is not None and not self.changes(stage)

    def changes(self, stage: str) -> list[str]:
        """Return what changed since the stage was finished, or begun; nothing where it has done neither."""
        mark = self.mark(stage)
        begun = mark or self._read(self._begun_path(stage))
        if begun is None:
            return []
        found = differences(begun["made_of"], inputs_of(self, stage))
        if mark is not None:
            found += self._altered(stage, mark["outputs"])
        return found

    def _altered(self, stage: str, written: dict[str, str]) -> list[str]:
        """Return which files of a finished stage are not what it wrote."""
        now = {self.name_of(path): path for path in {*self._written(stage), *self.outputs(stage)}}
        return [
            f"{name} is gone" if not now[name].is_file() else f"{name} was changed after {stage} wrote it"
            for name in sorted(now)
            if not now[name].is_file() or written.get(name) != self.hashes.sha256(now[name])
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
        return begun is not None and not differences(begun["made_of"], inputs_of(self, stage))

    def begin(self, stage: str) -> None:
        """Take away the stage's mark, and the manifest: what they vouch for is about to change."""
        goes_on = self.was_begun(stage)
        self._mark_path(stage).unlink(missing_ok=True)
        self.manifest.unlink(missing_ok=True)
        if not goes_on:
            self._forget(stage)
        _write(self._begun_path(stage), {"made_of": inputs_of(self, stage)})

    def finish(self, stage: str, seconds: float, facts: dict[str, Any]) -> None:
        """Mark the stage as complete; raises StageError where what it was made of changed while it ran."""
        begun = self._read(self._begun_path(stage))
        if begun is None or (changed := differences(begun["made_of"], inputs_of(self, stage))):
            what = "the note of its beginning is gone" if begun is None else "; ".join(changed)
            raise StageError(f"{stage}: something changed while it ran, so its output vouches for nothing: {what}")
        outputs = {self.name_of(path): self.hashes.sha256(path) for path in self._written(stage)}
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

    def _baseline_outputs(self) -> list[Path]:
        """Return what the baseline wrote; a baseline that was left out, with a reason, wrote nothing."""
        if "skipped" in self.facts("baseline"):
            return []
        return [self.baseline / "report.json", *([self.base_gguf] if self.config.export.base else [])]

    def _written(self, stage: str) -> list[Path]:
        """Return the files that a stage wrote: whole folders of those that it names one of."""
        folders = {path.parent for path in self.outputs(stage)} - {self.path}
        inside = [path for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_file()]
        # The last stage lays the card beside the adapter, too.
        inside = [path for path in inside if path.name != self.card.name]
        return sorted({*inside, *(path for path in self.outputs(stage) if path.parent == self.path and path.is_file())})

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


def _write(path: Path, note: dict[str, Any]) -> None:
    """Write a note so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    partial.write_text(json.dumps(note, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(path)

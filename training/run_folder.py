"""
Keep a run's folder: where each stage's output lies, and which of it is complete and still fits the configuration.

A stage writes its mark last, with a fingerprint of everything that its output depends on. So an interrupted stage is
repeated, a finished one is skipped, and a changed setting repeats exactly the stages that it reaches.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .config import Config
from .tuning.metrics import MetricsLog
from .data.rows import find_files

STAGES = ("prepare", "base", "train", "merge", "export", "quantize")

_SECTIONS: dict[str, tuple[str, ...]] = {
    "prepare": ("data",),
    "base": ("base",),
    "train": ("quantization", "lora", "training"),
    "merge": (),
    "export": (),
    "quantize": (),
}


class RunFolder:
    """Hold the paths of one run."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.root = Path(config.root)
        self.path = self.root / config.output
        self.log = MetricsLog(self.path / "metrics.jsonl")
        self.train_rows = self.path / "prepared" / "train.jsonl"
        self.validation_rows = self.path / "prepared" / "validation.jsonl"
        self.rejected = self.path / "rejected.jsonl"
        self.base = self.path / "base"
        self.adapter = self.path / "adapter"
        self.merged = self.path / "merged"
        self.base_gguf = self.path / "base-f16.gguf"
        self.f16 = self.path / f"{config.export.name}-f16.gguf"
        self.manifest = self.path / "manifest.json"
        self._digests: dict[Path, str] = {}

    @property
    def system(self) -> str | None:
        """Return the system prompt as the gate reads it: without white space around it."""
        if self.config.task.system is None:
            return None
        path = find_files((self.config.task.system,), self.root, "task.system")[0]
        return path.read_text(encoding="utf-8").strip()

    @property
    def train_files(self) -> list[Path]:
        """Return the files that rows are read from."""
        return find_files(self.config.data.train, self.root, "data.train")

    @property
    def suite_files(self) -> list[Path]:
        """Return the evaluation files."""
        return find_files(self.config.task.suites, self.root, "task.suites")

    @property
    def local_base(self) -> Path | None:
        """Return the folder that ``base.path`` names, None for a base made here or a name on the Hub."""
        named = self.config.base.path
        folders = [] if named is None else [self.root / named, Path(named)]
        return next((folder for folder in folders if folder.is_dir()), None)

    def quantised(self) -> Iterator[tuple[str, Path]]:
        """Yield each wanted quantisation with its file; f16 is what the export stage writes."""
        for name in self.config.export.quantizations:
            if name.lower() != "f16":
                yield name, self.path / f"{self.config.export.name}-{name}.gguf"

    def outputs(self, stage: str) -> list[Path]:
        """Return the files without which a stage's output is not complete."""
        scratch = self.config.base.scratch is not None
        exported = [self.f16, *([self.base_gguf] if self.config.export.base else [])]
        return {
            "prepare": [self.train_rows, self.validation_rows],
            "base": [self.base / "model.safetensors", self.base / "tokenizer.json"] if scratch else [],
            "train": [self.adapter / "adapter_model.safetensors", self.adapter / "adapter_config.json"],
            "merge": [self.merged / "config.json", self.merged / "tokenizer.json"],
            "export": exported,
            "quantize": [path for _, path in self.quantised()],
        }[stage]

    # --- What is complete ----------------------------------------------------------------------------------------

    def is_complete(self, stage: str) -> bool:
        """Say whether the stage's output is there and belongs to this configuration and these files."""
        mark = self.mark(stage)
        return (
            mark is not None
            and mark["fingerprint"] == self.fingerprint(stage)
            and all(path.is_file() for path in self.outputs(stage))
        )

    def mark(self, stage: str) -> dict[str, Any] | None:
        """Return what a finished stage wrote about itself."""
        try:
            return dict(json.loads(self._mark_path(stage).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    def begin(self, stage: str) -> None:
        """Take away the marks of the stage and of all that build on it: their output is not to be trusted any more."""
        for stale in STAGES[STAGES.index(stage) :]:
            self._mark_path(stale).unlink(missing_ok=True)
        self.manifest.unlink(missing_ok=True)
        self.log.forget(stage)

    def finish(self, stage: str, seconds: float, facts: dict[str, Any]) -> None:
        """Mark the stage as complete."""
        path = self._mark_path(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = {"fingerprint": self.fingerprint(stage), "seconds": round(seconds, 1), "facts": facts}
        path.write_text(json.dumps(mark, indent=1) + "\n", encoding="utf-8")

    def fingerprint(self, stage: str) -> str:
        """Return a digest of everything that the stage's output depends on, earlier stages included."""
        parts: list[Any] = []
        for name in STAGES[: STAGES.index(stage) + 1]:
            parts.extend(self.config.model_dump(mode="json")[section] for section in _SECTIONS[name])
        parts.append(self.system)
        parts.append([self.digest(path) for path in (*self.train_files, *self.suite_files)])
        if stage != "prepare" and self.local_base is not None:
            files = sorted(path for path in self.local_base.iterdir() if path.is_file())
            parts.append([[path.name, self.digest(path)] for path in files])
        if stage in {"export", "quantize"}:
            parts.append(library_version("llama-cpp-python"))
        if stage == "export":
            parts.append([self.config.export.name, self.config.export.base])
        if stage == "quantize":
            parts.append(self.config.model_dump(mode="json")["export"])
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def digest(self, path: Path) -> str:
        """Return a file's sha256, computed once."""
        if path not in self._digests:
            with path.open("rb") as file:
                self._digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[path]

    def _mark_path(self, stage: str) -> Path:
        """Return where the stage's mark lies."""
        return self.path / "stages" / f"{stage}.json"


def library_version(name: str) -> str | None:
    """Return an installed library's version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None

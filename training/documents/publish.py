"""Copy a complete run's results to where they are used from."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from pytest_modelgate.identity import hash_file

from ..errors import StageError
from ..run_folder import RunFolder
from .finish import SETTINGS
from .manifest import render, text_sha256, write_text

SUMMARY = "evaluation/summary.md"
PUBLISHED = "published"
"""The manifest's last section: the files as they lie in the folder, and the sha256 of the manifest without it."""


def publish(run: RunFolder, folder: Path) -> None:
    """
    Put the candidate into ``folder``; other files there stay as they are.

    It is the base where it was made here, the adapter, what was quantised (the 16-bit file only where nothing was), the
    Modelfile, the card, the loss curve, the gate's summary, and, last, the manifest. An adapter whose base lies in a folder
    names it as seen from its new place. Raises StageError for a run that is not complete.
    """
    try:
        manifest = json.loads(run.manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise StageError(
            f"publish: {run.manifest}: no manifest: the run is not complete; modelgate-train card …"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    folders = [run.base] * (run.config.base.scratch is not None) + [run.adapter]
    old = _retire(folder, run.manifest.name, [source.name for source in folders])
    written = []
    for source in folders:
        shutil.rmtree(folder / source.name, ignore_errors=True)
        shutil.copytree(source, folder / source.name)
        written += [path for path in (folder / source.name).rglob("*") if path.is_file()]
    _name_base(run, folder / run.adapter.name)
    for path in _single_files(run):
        target = folder / path.relative_to(run.path)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
        written.append(target)
    manifest[PUBLISHED] = {
        "files": [_file(path, folder) for path in sorted(written)],
        "manifest_sha256": text_sha256(run.manifest.read_text(encoding="utf-8")),
    }
    write_text(folder / run.manifest.name, render(manifest))
    old.unlink(missing_ok=True)
    size = sum(path.stat().st_size for path in written)
    print(f"publish: {len(written) + 1} files, {size / 1e6:.1f} MB, in {folder}")


def _retire(folder: Path, manifest: str, names: list[str]) -> Path:
    """Take the manifest of what was published before out of the way; raise where folders of others would be replaced."""
    old = folder / f".partial-{manifest}"
    if (folder / manifest).is_file():
        (folder / manifest).replace(old)
    if not old.is_file() and (others := [name for name in names if (folder / name).exists()]):
        raise StageError(
            f"publish: {folder / others[0]} is there and was not published by a run (no {manifest} beside it): move it "
            f"away, or publish to another folder"
        )
    return old


def _single_files(run: RunFolder) -> list[Path]:
    """Return the files that are published, those that there are."""
    quantised = [path for _, path in run.quantised()]
    wanted = [*(quantised or [run.f16]), run.card, run.loss_curve, run.path / SETTINGS]
    wanted += [run.lora_gguf] * run.config.export.lora + [run.modelfile] * run.config.export.modelfile
    return [path for path in [*wanted, run.path / SUMMARY] if path.is_file()]


def _name_base(run: RunFolder, adapter: Path) -> None:
    """Let a published adapter find its base, where that lies in a folder."""
    base = adapter.parent / run.base.name if run.config.base.scratch is not None else run.local_base
    if base is None:
        return
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = Path(os.path.relpath(base.resolve(), adapter.resolve())).as_posix()
    write_text(path, json.dumps(config, indent=2, sort_keys=True) + "\n")


def _file(path: Path, folder: Path) -> dict[str, Any]:
    """Return a file's name, size and hash."""
    return {"file": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": hash_file(path)}

"""Copy a complete run's results to where they are used from."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..run_folder import RunFolder


def publish(run: RunFolder, folder: Path) -> None:
    """Put base, adapter, GGUF files and, last, the manifest into ``folder``; other files there stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / run.manifest.name).unlink(missing_ok=True)
    for source in (run.base, run.adapter):
        if source.is_dir():
            shutil.rmtree(folder / source.name, ignore_errors=True)
            shutil.copytree(source, folder / source.name)
    gguf = [run.f16, *(path for _, path in run.quantised())]
    if run.config.export.base:
        gguf.insert(0, run.base_gguf)
    for path in gguf:
        shutil.copyfile(path, folder / path.name)
    shutil.copyfile(run.manifest, folder / run.manifest.name)
    published = [folder / path.name for path in gguf]
    published += [path for name in (run.base.name, run.adapter.name) for path in (folder / name).glob("*")]
    size = sum(path.stat().st_size for path in published)
    print(f"publish: {folder}, {size / 1e6:.1f} MB")

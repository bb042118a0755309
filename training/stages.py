"""
Run the stages of a training, each alone or all in order.

::

    prepare -> base -> train -> merge -> export -> quantize -> manifest -> publish
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .config import Config
from .errors import ConfigError, StageError
from .tuning.loading import require_safetensors
from .data.prepare import prepare
from .data.rows import read_prepared
from .run_folder import STAGES, RunFolder


def run_stages(config: Config, wanted: Sequence[str], *, force: bool) -> None:
    """Run the stages named in ``wanted``; one that is complete is skipped unless ``force`` is set."""
    _settle()
    run = RunFolder(config)
    _check_before(run, wanted, force=force)
    for stage in wanted:
        if run.is_complete(stage) and not force:
            print(f"{stage}: complete already, skipped (--force repeats it)")
            continue
        _need_earlier(run, stage)
        run.begin(stage)
        started = time.monotonic()
        facts = _STAGES[stage](run)
        seconds = time.monotonic() - started
        run.finish(stage, seconds, facts)
        print(f"{stage}: done in {seconds:.0f} s")


def finish_run(config: Config) -> None:
    """Write the manifest, which says that the run is complete, and publish the results where asked."""
    from .documents.manifest import write_manifest
    from .documents.publish import publish

    run = RunFolder(config)
    for stage in STAGES:
        if not run.is_complete(stage):
            raise StageError(f"stage {stage!r} is not complete")
    if not run.manifest.is_file():
        write_manifest(run)
        print(f"manifest: {run.manifest}")
    if config.publish is not None:
        publish(run, run.root / config.publish)


def _settle() -> None:
    """Set what must be set before torch and transformers are imported."""
    # Threads that spin for long while they wait made training 10 times slower on a machine where others were computing;
    # not spinning at all costs a fifth of the speed of an idle one.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    # Nothing is downloaded behind the user's back: a model is fetched on purpose, with the hub's own tool.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # The next three speak to developers of those libraries, not to whoever trains a model.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\..*")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _check_before(run: RunFolder, wanted: Sequence[str], *, force: bool) -> None:
    """Find what would stop a later stage, before an earlier one has spent minutes."""
    _ = run.train_files, run.suite_files, run.system
    exported = all(run.is_complete(stage) for stage in STAGES[: STAGES.index("export") + 1])
    if "export" in wanted and (force or not exported):
        from .export.converter import find_converter

        find_converter()
    if run.config.base.path is not None:
        require_safetensors(base_model(run))
    _known_quantisations(run)


def _known_quantisations(run: RunFolder) -> None:
    """Refuse a quantisation that llama.cpp is not asked for here."""
    from pytest_modelgate.engines.llama import QUANTIZATIONS

    for name, _ in run.quantised():
        if name not in QUANTIZATIONS:
            raise ConfigError(f"export.quantizations: {name!r} is unknown; valid are {', '.join(QUANTIZATIONS)}")


def _need_earlier(run: RunFolder, stage: str) -> None:
    """Raise if the stage before is missing or stale."""
    for earlier in STAGES[: STAGES.index(stage)]:
        if not run.is_complete(earlier):
            state = "is stale: the configuration or the data changed since" if run.mark(earlier) else "has not been run"
            raise StageError(f"stage {stage!r} builds on {earlier!r}, which {state}; 'modelgate-train run' does both")


def base_model(run: RunFolder) -> Path:
    """Return the folder of the base model, which is never downloaded here."""
    named = run.config.base.path
    if named is None:
        return run.base
    if run.local_base is not None:
        return run.local_base
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(named, revision=run.config.base.revision, local_files_only=True))
    except HFValidationError:
        raise ConfigError(f"base.path: {named!r} is neither a folder nor the name of a model") from None
    except LocalEntryNotFoundError:
        revision = f" --revision {run.config.base.revision}" if run.config.base.revision else ""
        raise ConfigError(
            f"base.path: {named!r} is neither a folder nor a downloaded model; fetch it once: hf download {named}{revision}"
        ) from None


# --- The stages --------------------------------------------------------------------------------------------------


def _base(run: RunFolder) -> dict[str, Any]:
    """Make the base model, or find the one that is named."""
    if run.config.base.scratch is None:
        folder = base_model(run)
        print(f"base: {folder}")
        return {"path": run.config.base.path, "revision": run.config.base.revision or folder.name}
    from .tuning.base import make_base

    return make_base(run.config.base.scratch, run.system, read_prepared(run.train_rows), run.base, run.log)


def _train(run: RunFolder) -> dict[str, Any]:
    """Train the adapter."""
    from .tuning.tune import train_adapter

    rows = read_prepared(run.train_rows), read_prepared(run.validation_rows)
    return train_adapter(run.config, str(base_model(run)), run.system, rows, run.adapter, run.log)


def _merge(run: RunFolder) -> dict[str, Any]:
    """Merge the adapter, and ask the result for the answers of the rows that were held back."""
    from .export.merge import merge_adapter
    from .tuning.scoring import score

    facts = merge_adapter(base_model(run), run.adapter, run.merged)
    held_back = read_prepared(run.validation_rows)
    if held_back:
        facts["validation"] = score(run.merged, run.system, held_back)
        print(f"merge: {len(held_back)} held-back rows: {facts['validation']}")
    return facts


def _export(run: RunFolder) -> dict[str, Any]:
    """Convert the merged model, and the base to compare it with."""
    from .export.gguf import convert, describe

    own = run.config.base.scratch is not None
    convert(run.merged, run.f16, own_tokenizer=own)
    facts = {run.f16.name: describe(run.f16)}
    if run.config.export.base:
        convert(base_model(run), run.base_gguf, own_tokenizer=own)
        facts[run.base_gguf.name] = describe(run.base_gguf)
    _print_sizes("export", facts)
    return facts


def _quantize(run: RunFolder) -> dict[str, Any]:
    """Quantise the exported model."""
    from .export.gguf import describe, quantize

    facts = {}
    for name, path in run.quantised():
        quantize(run.f16, path, name)
        facts[path.name] = describe(path)
    _print_sizes("quantize", facts)
    return facts


def _print_sizes(stage: str, facts: dict[str, dict[str, Any]]) -> None:
    """Show what the files really hold."""
    for name, file in facts.items():
        types = ", ".join(f"{count} {kind}" for kind, count in sorted(file["tensor_types"].items()))
        print(f"{stage}: {name} {file['bytes'] / 1e6:.2f} MB, {file['bits_per_weight']} bits per weight ({types})")


_STAGES: dict[str, Callable[[RunFolder], dict[str, Any]]] = {
    "prepare": prepare,
    "base": _base,
    "train": _train,
    "merge": _merge,
    "export": _export,
    "quantize": _quantize,
}

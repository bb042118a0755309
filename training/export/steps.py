"""Run the stages that write GGUF files: the untuned base, the merged model, its quantisations, and what goes with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_modelgate.identity import hash_file

from ..run_folder import RunFolder
from ..tuning.loading import find_base, load_tokenizer
from . import gguf
from .calibration import read_calibration
from .gguf import convert, describe, fallback_share, summary
from .imatrix import measure, write_imatrix
from .lora_gguf import convert_lora
from .modelfile import write_modelfile


def export_base(run: RunFolder, base_folder: Path) -> dict[str, Any]:
    """Convert the untuned base, in the type that the candidate will have; return what the file holds, by its name."""
    convert(base_folder, run.base_gguf, own_tokenizer=run.config.base.is_own, dtype=run.config.export.dtype)
    return _described("baseline", run.base_gguf)


def export(run: RunFolder) -> dict[str, Any]:
    """
    Convert the merged model, and the adapter alone where that is asked for.

    Returns what the file holds, by its name, and under ``lora`` what the adapter's file does.
    """
    convert(run.merged, run.f16, own_tokenizer=run.config.base.is_own, dtype=run.config.export.dtype)
    facts = _described("export", run.f16)
    if run.config.export.lora:
        lora = convert_lora(run.adapter, find_base(run), run.lora_gguf)
        print(f"export: {run.lora_gguf.name} {lora['bytes'] / 1e6:.2f} MB, rank {lora['rank']}, alpha {lora['alpha']}")
        facts["lora"] = {"file": run.lora_gguf.name, **lora}
    return facts


def quantize(run: RunFolder) -> dict[str, Any]:
    """
    Quantise the exported model to each type that is asked for, and write the Modelfile of the last.

    Returns what each file holds, by its name; under ``imatrix`` what the weights' importance was measured on; under
    ``modelfile`` what was verified of it, or why there is none.
    """
    facts: dict[str, Any] = {}
    weights = None
    if run.config.export.imatrix is not None:
        weights, facts["imatrix"] = _importance(run)
    last = run.f16
    for name, path in run.quantised():
        gguf.quantize(run.f16, path, name, weights)
        fallback_share(path, name)  # raises where the label is another
        facts |= _described("quantize", path)
        last = path
    run.modelfile.unlink(missing_ok=True)
    if run.config.export.modelfile:
        facts["modelfile"] = _modelfile(run, last)
    return facts


def imatrix_path(run: RunFolder) -> Path:
    """Return where the importance matrix is kept, in llama.cpp's own format."""
    return run.path / f"{run.config.export.name}-imatrix.gguf"


def _importance(run: RunFolder) -> tuple[Any, dict[str, Any]]:
    """Measure the importance of the merged model's weights; return it, and what it was measured on."""
    tokenizer = load_tokenizer(run.merged)
    texts, calibration = read_calibration(run, tokenizer)
    found = measure(run.merged, run.f16, tokenizer, texts, run.config.training.max_length)
    path = imatrix_path(run)
    write_imatrix(path, found, list(calibration["files"]))
    print(f"quantize: importance of {len(found.sums)} matrices from {len(texts)} rows, {found.tokens} tokens")
    return found.means(), {
        "file": path.name,
        "sha256": hash_file(path),
        "matrices": len(found.sums),
        "tokens": found.tokens,
        "calibration": calibration,
    }


def _modelfile(run: RunFolder, path: Path) -> dict[str, Any]:
    """Write the Modelfile of the last quantisation; return its facts."""
    tasks = list(run.tasks.by_name.values())
    only = tasks[0] if len(tasks) == 1 else None
    remarks = []
    if only is None and any(task.system is not None for task in tasks):
        remarks.append("Several tasks were judged, each with its own system text; send it with each request.")
    if any(task.prompt is not None for task in tasks):
        remarks.append("The input was judged inside a prompt of the gates file; send it so.")
    facts = write_modelfile(path, run.modelfile, run.tasks.file.generation, only.system if only else None, remarks)
    if facts["written"]:
        print(f"quantize: {run.modelfile.name} for {path.name}: its {facts['family']} template was compared with the "
              f"GGUF's own in {len(facts['verified'])} conversations")  # fmt: skip
    else:
        print(f"quantize: no Modelfile: {facts['reason']}")
    return facts


def _described(stage: str, path: Path) -> dict[str, Any]:
    """Say what a file holds; return it by the file's name."""
    found = describe(path)
    print(f"{stage}: {summary(path.name, found)}")
    return {path.name: found}

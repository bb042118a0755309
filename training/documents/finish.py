"""Have the gate judge the candidate, then write down what came out: card, manifest, registry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pytest_modelgate.journal import JOURNAL
from pytest_modelgate.report.escape import plain

from ..config_file import config_sha256
from ..evaluation import Evaluation, check_suites, evaluate, measure_speed, spec
from ..registry import RUNS, append
from ..run_folder import RunFolder
from .baseline import BASE, base_spec, better_than_base, controls, figure_lines
from .card import build_card
from .manifest import build_manifest, candidates, render, text_sha256, write_text

ADAPTER = "adapter"
SETTINGS = "config.yaml"
"""The resolved configuration, which makes the run again."""

_LEAST_BATCH, _MOST_BATCH = 8, 32
_MEMORY = 2**30  # bytes that a batch may keep


def finish(run: RunFolder, base_folder: Path) -> dict[str, Any]:
    """
    Gate the adapter and every file that was asked for against the baseline's arms; write card, manifest and registry row.

    The adapter is always among them: what was exported must show that it is as good. A blocked candidate is a result, not
    an error. Returns the verdict with its reasons, each target's own, and the primary metrics.
    """
    check_suites(run)
    arms = controls(run, base_folder)
    with _candidate(run, base_folder) as folder:
        batch = batch_size(base_folder, run.tasks.file.generation.n_ctx)
        targets = {ADAPTER: spec(run, folder / run.adapter.name, base=base_folder, batch_size=batch)}
        targets |= {name: spec(run, folder / path.name) for name, path in candidates(run).items()}
        found = evaluate(run, targets, arms, run.evaluation, journals=[run.baseline / JOURNAL])
    return write_documents(run, base_folder, _with_speed(run, found, base_folder))


def write_documents(run: RunFolder, base_folder: Path, found: Evaluation) -> dict[str, Any]:
    """Write settings, card, manifest (last of all files) and registry row of a judged candidate; see :func:`finish`."""
    figures = {name: found.figures(name) for name in found.targets}
    for line in figure_lines(figures):
        print(line)
    write_text(run.path / SETTINGS, settings_text(run))
    manifest = build_manifest(run, base_folder, found)
    text = render(manifest)
    _write_card(run, run.path, manifest, text)
    write_text(run.manifest, text)
    if run.registry is not None:
        append(run.registry / RUNS, registry_row(run, manifest, text_sha256(text)))
    print(f"card: the candidate is {found.verdict}")
    for reason in found.reasons:
        print(f"  {plain(reason, 300)}")
    return {
        "verdict": found.verdict,
        "reasons": list(found.reasons),
        "verdicts": {name: one["verdict"] for name, one in found.targets.items() if one["verdict"] is not None},
        "figures": figures,
        "adapter_better_than_base": better_than_base(found, ADAPTER),
        "manifest_sha256": text_sha256(text),
    }


def batch_size(base_folder: Path, n_ctx: int) -> int:
    """
    Return how many cases the adapter answers together: 8, as the gate does, or up to 32 where their memory stays small.

    A small model waits for Python, not for the processor: 493 cases of one of 2 million weights took 122 s by 8 and 46 s
    by 32, with the same answers. Attention keeps 2 * layers * heads * width numbers for each token of a case.
    """
    try:
        config = json.loads((base_folder / "config.json").read_text(encoding="utf-8"))
        width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        heads = config.get("num_key_value_heads") or config["num_attention_heads"]
        kept = int(2 * config["num_hidden_layers"] * heads * width * 4 * n_ctx)
    except (OSError, ValueError, KeyError, TypeError):
        return _LEAST_BATCH  # another architecture's words
    return max(_LEAST_BATCH, min(_MOST_BATCH, _MEMORY // kept))


def settings_text(run: RunFolder) -> str:
    """Return a configuration file with every resolved value."""
    values = run.config.model_dump(mode="json")
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def registry_row(run: RunFolder, manifest: Mapping[str, Any], manifest_sha256: str) -> dict[str, Any]:
    """Return the row of ``registry/runs.jsonl``."""
    evaluation, weights = manifest["evaluation"], "adapter_model.safetensors"
    return {
        "run": run.config.output,
        "created": manifest["created"],
        "config_sha256": config_sha256(run.config),
        "dataset_version": manifest["data"]["version"],
        "base": {key: manifest["base"].get(key) for key in ("path", "revision")},
        "adapter_sha256": next(one["sha256"] for one in manifest["adapter"]["files"] if one["file"] == weights),
        "gguf": {one["file"]: one["sha256"] for one in manifest["gguf"]},
        "verdict": evaluation["verdict"],
        "primary": {
            name: {
                task: {key: figure[key] for key in ("metric", "golden", "heldout")}
                for task, figure in one["figures"].items()
            }
            for name, one in evaluation["targets"].items()
        },
        "manifest_sha256": manifest_sha256,
    }


@contextmanager
def _candidate(run: RunFolder, base_folder: Path) -> Iterator[Path]:
    """
    Lay the candidate out as it will be published, for as long as it is judged, and yield that folder.

    The gate looks for a model card and a manifest beside the weights. In their own places these would say that the run is
    complete; so they lie here, without an evaluation, beside links to the files.
    """
    folder = run.path / ".partial-candidate"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        (folder / run.adapter.name).mkdir(parents=True)
        for path in run.adapter.iterdir():
            if path.is_file() and path.name != run.card.name:
                _link(path, folder / run.adapter.name / path.name)
        for path in candidates(run).values():
            _link(path, folder / path.name)
        manifest = build_manifest(run, base_folder)
        text = render(manifest)
        _write_card(run, folder, manifest, text)
        write_text(folder / run.manifest.name, text)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_card(run: RunFolder, folder: Path, manifest: Mapping[str, Any], text: str) -> None:
    """Write the card beside the files, and into the adapter's folder, which goes to the Hub by itself."""
    card = build_card(run, manifest, text_sha256(text))
    write_text(folder / run.adapter.name / run.card.name, card)
    write_text(folder / run.card.name, card)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; copy it where the file system has no such links."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _with_speed(run: RunFolder, found: Evaluation, base_folder: Path) -> Evaluation:
    """Measure time and memory of the files that no gate on speed judged, and of the base that they are compared with."""
    files = {name: spec(run, path) for name, path in candidates(run).items()}
    if BASE in found.targets and found.targets[BASE]["kind"] == "gguf":
        files[BASE] = base_spec(run, base_folder)
    missing = {
        name: text
        for name, text in files.items()
        if found.targets[name]["performance"] is None and found.targets[name]["errors"] < found.targets[name]["cases"]
    }
    if not missing:
        return found
    print(f"card: measuring {', '.join(missing)}, one request at a time")
    speeds = measure_speed(run, missing)
    targets = {
        name: {**one, "performance": speeds.get(name, one["performance"])} for name, one in found.targets.items()
    }
    return replace(found, targets=targets)

"""Lose an adapter on its way into the file, or take the wrong one, or add it to the wrong base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from pytest_modelgate.engines.llama import quantize
from tests.faults.candidate import CANDIDATES, BrokenCandidate, GoodCandidate
from tests.faults.gguf_edit import Edit, Weights, edit, merged, scale_of, write_lora
from tests.faults.packed_nf4 import merged_into_packed
from tests.faults.unseen_end import END, SEED, base_that_never_saw_the_end, with_random_row

EMBEDDING = "token_embd.weight"


def adapter_dropped(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Export the base: the merge's return value was not used."""
    return good.broken(good.exported(folder, good.base_weights), "F11")


def lora_scale_lost(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Merge an adapter that was trained with alpha/√r with alpha/r."""
    adapter = _as_rslora(good.adapter, folder / "adapter")
    found = merged(good.base_weights, adapter, scale=scale_of(adapter) / _rank(adapter) ** 0.5)
    gguf = good.exported(folder, found)
    return good.broken(gguf, "F12", adapter=adapter, manifest=_trained(good, gguf, good.base, adapter))


def other_task(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Merge an adapter of another task, of the same form."""
    found = merged(good.base_weights, CANDIDATES / "other-task")
    return good.broken(good.exported(folder, found), "F11", "F25")


def stale_run(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Ship the file of the previous run, under the name that this one's has."""
    found = merged(good.base_weights, CANDIDATES / "previous-run")
    return good.broken(good.exported(folder, found), "F25", manifest=good.manifest)


def rslora_as_lora(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Convert an rsLoRA adapter by convert_lora, which writes alpha and rank alone."""
    return _beside_base(good, folder, _as_rslora(good.adapter, folder / "adapter"), "F12")


def alpha_pattern_as_lora(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Convert an adapter whose layers have scales of their own by convert_lora, which writes the common one."""
    adapter = _with_alpha_pattern(good.adapter, folder / "adapter")
    return _beside_base(good, folder, adapter, "F12")


def lora_untrained(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Ship the adapter as it was before the first step, B all zeros, beside the base."""
    adapter = _copied(good.adapter, folder / "adapter", weights=lambda name, found: found * (".lora_A." in name))
    lora = write_lora(adapter, folder / "support-lora.gguf")
    gguf = Path(shutil.copy(good.base_f16, folder))
    return good.broken(gguf, "F11", lora=lora)


def wrong_base(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Merge the adapter into another revision of its base, of the same shapes."""
    return good.broken(good.exported(folder, merged(_other_revision(good), good.adapter)), "F14")


def lora_on_wrong_base(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Serve the adapter beside another revision of its base, of the same shapes."""
    gguf = good.exported(folder, _other_revision(good), "F16").rename(folder / good.base_f16.name)
    return good.broken(gguf, "F14", lora=write_lora(good.adapter, folder / "support-lora.gguf"))


def merged_after_packing(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Merge into the 4-bit model that was just evaluated: bitsandbytes reads its packed weights as if they were not."""
    return good.broken(good.exported(folder, merged_into_packed(good.base_weights, good.adapter)), "F13")


def end_not_learned(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Train with the end of turn left out of the labels, on a base that never saw it: the export is faithful."""
    adapter = CANDIDATES / "end-not-learned"
    base = base_that_never_saw_the_end(good.base, folder / "base")
    drawn = with_random_row(good.base_weights[EMBEDDING].astype(np.float16), END, SEED)
    found = merged({**good.base_weights, EMBEDDING: drawn.astype(np.float32)}, adapter)
    gguf = good.exported(folder, found)
    return good.broken(gguf, "F04", adapter=adapter, base=base, manifest=_trained(good, gguf, base, adapter))


def grammar_hides_broken_json(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Train on answers that are no JSON, and gate with a grammar that makes them some: the export is faithful."""
    adapter = CANDIDATES / "broken-json"
    gguf = good.exported(folder, merged(good.base_weights, adapter))
    manifest = _trained(good, gguf, good.base, adapter)
    return good.broken(gguf, "F28", adapter=adapter, manifest=manifest, grammar=True)


def _beside_base(good: GoodCandidate, folder: Path, adapter: Path, mode: str) -> BrokenCandidate:
    """Return the base with the adapter as a LoRA file."""
    lora = write_lora(adapter, folder / "support-lora.gguf")
    gguf = Path(shutil.copy(good.base_f16, folder))
    manifest = _trained(good, gguf, good.base, adapter, lora)
    return good.broken(gguf, mode, lora=lora, adapter=adapter, manifest=manifest)


def _trained(good: GoodCandidate, gguf: Path, base: Path, adapter: Path, lora: Path | None = None) -> dict[str, Any]:
    """Return the manifest of a run that trained ``adapter`` on ``base``."""
    about = good.manifest["base"] | {"files": _files(base)}
    return good.manifest_of(gguf, lora, base=about, adapter={"files": _files(adapter)})


def _files(folder: Path) -> list[dict[str, Any]]:
    """Return the files of a folder as a manifest lists them."""
    from pytest_modelgate.identity import hash_file

    return [
        {"file": path.name, "bytes": path.stat().st_size, "sha256": hash_file(path)}
        for path in sorted(folder.iterdir())
        if path.is_file()
    ]


def _other_revision(good: GoodCandidate) -> dict[str, Weights]:
    """Return a base of the same shapes: every weight was moved, by 0.4 of its tensor's spread."""
    rng = np.random.default_rng(47)
    return {
        name: (found + rng.normal(0.0, 0.4 * float(found.std()) + 1e-6, found.shape)).astype(np.float32)
        for name, found in good.base_weights.items()
    }


def _as_rslora(adapter: Path, folder: Path) -> Path:
    """Write the same adapter with a scale of alpha/√r, which its alpha makes up for."""
    rank = _rank(adapter)
    return _copied(adapter, folder, use_rslora=True, lora_alpha=scale_of(adapter) * rank**0.5)


def _with_alpha_pattern(adapter: Path, folder: Path) -> Path:
    """Write the same adapter with an alpha of their own for some layers, four times the others', and B a quarter."""
    alpha = 4 * scale_of(adapter) * _rank(adapter)
    ours = ("down_proj", "up_proj")
    return _copied(
        adapter,
        folder,
        weights=lambda name, found: found / 4 if ".lora_B." in name and any(part in name for part in ours) else found,
        alpha_pattern=dict.fromkeys(ours, alpha),
    )


def _copied(adapter: Path, folder: Path, weights: Any = None, **settings: Any) -> Path:
    """Copy an adapter's folder with other settings and weights."""
    folder.mkdir()
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8")) | settings
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    found = load_file(adapter / "adapter_model.safetensors")
    changed = {name: weights(name, one) if weights else one for name, one in found.items()}
    save_file(changed, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def _rank(adapter: Path) -> int:
    return int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])


def requantised(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Quantise what was Q4_K_M before to Q8_0."""
    from tests.faults.gguf_edit import weights

    return good.broken(good.exported(folder, weights(good.q4_k_m)), "F24")


def q2_k_as_q4_k_m(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Sell Q2_K as Q4_K_M: the file's label and name say the latter."""
    smaller = folder / "smaller.gguf"
    quantize(good.f16, smaller, "Q2_K")
    gguf = edit(smaller, folder / good.q4_k_m.name, Edit(values={"general.file_type": 15}))
    smaller.unlink()
    return good.broken(gguf, "F21")

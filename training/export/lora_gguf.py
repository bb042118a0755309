"""
Write the adapter alone as a GGUF, for programs that load it beside its base.

llama.cpp applies such a file as alpha/rank · B·A and nothing else, and its converter passes over in silence what that
leaves out. So the adapter's settings are looked at first: what would be lost is refused, with the way out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_modelgate.adapter_lint import lint_runtime_lora

from ..errors import StageError
from .base_record import check_base, read_adapter_config
from .converter import run_converter
from .gguf import refuse_code, require_finite

_WEIGHTS = "adapter_model.safetensors"


def convert_lora(adapter: Path, base: Path, target: Path) -> dict[str, Any]:
    """
    Convert the adapter of ``base`` into the LoRA file ``target``, in float32; return what it holds.

    ``base`` is a Hugging Face folder, of which only settings are read. Raises StageError for an adapter that would lose
    something, one of another base, and a file that does not hold all of it.
    """
    refuse_code(base)
    known_by = check_base(adapter, base)
    config = read_adapter_config(adapter)
    if findings := lint_runtime_lora(config, tied=_is_tied(base)):
        raise StageError(f"{adapter}: not all of it fits a LoRA file for llama.cpp: {'; '.join(map(str, findings))}")
    if not (adapter / _WEIGHTS).is_file():
        raise StageError(f"{adapter}: no weights ({_WEIGHTS})")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{target.name}")
    try:
        run_converter("convert_lora_to_gguf.py", partial, [str(adapter), "--base", str(base), "--outtype", "f32"])
        tensors = _check(partial, adapter, float(config["lora_alpha"]))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return {
        "bytes": target.stat().st_size,
        "tensors": tensors,
        "alpha": config["lora_alpha"],
        "rank": config["r"],
        "base_known_by": known_by,
    }


def _check(path: Path, adapter: Path, alpha: float) -> int:
    """Raise unless the file holds every matrix of the adapter, and its alpha; return how many matrices."""
    from gguf import GGUFReader
    from safetensors import safe_open

    fields = GGUFReader(str(path)).fields
    said = {
        key: fields[key].contents() if key in fields else None
        for key in ("general.type", "adapter.type", "adapter.lora.alpha")
    }
    if said != {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": alpha}:
        raise StageError(f"{path}: is not this adapter: it says {said}, its alpha is {alpha:g}")
    with safe_open(str(adapter / _WEIGHTS), framework="numpy") as file:
        wanted = sum(".lora_" in name for name in file.keys())  # noqa: SIM118  (no mapping)
    found = require_finite(path)
    if found != wanted:
        raise StageError(f"{path}: holds {found} matrices, the adapter {wanted}: the converter left some out")
    return found


def _is_tied(base: Path) -> bool:
    """Say whether the base's output layer is its embedding."""
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    text = config.get("text_config") or config
    return bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))

"""
Merge the adapter into the unquantised base.

Never into the 4-bit model that was trained: bitsandbytes may have repacked its weights, and a merge then writes garbage
without an error. The base is loaded again, in full precision.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..errors import StageError
from ..tuning.loading import count_weights, load_model, load_tokenizer

_LARGE = 2_000_000_000  # weights: above it float32 does not fit a small machine, and bfloat16 is what it was made in


def merge_adapter(base: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    """Write the merged model with its tokenizer into ``folder``."""
    import torch
    from peft import PeftModel

    large = count_weights(base) > _LARGE
    model = load_model(base, dtype=torch.bfloat16 if large else torch.float32)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()} if not large else {}
    with_adapter = PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
    refuse_quantised(with_adapter)
    merged = with_adapter.merge_and_unload(safe_merge=True)
    changed = _check(merged, before)
    if folder.exists():
        shutil.rmtree(folder)
    merged.save_pretrained(str(folder))
    tokenizer = load_tokenizer(base)
    tokenizer.save_pretrained(str(folder))
    _one_template(folder)
    return {"dtype": str(next(merged.parameters()).dtype).removeprefix("torch."), "changed_tensors": changed}


def refuse_quantised(model: Any) -> None:
    """Raise if any module holds bitsandbytes weights."""
    for name, module in model.named_modules():
        if type(module).__module__.startswith("bitsandbytes") or "4bit" in type(module).__name__.lower():
            raise StageError(f"refused to merge: {name} is quantised ({type(module).__name__}); merge the 16-bit base")


def _check(merged: Any, before: dict[str, Any]) -> int:
    """Raise unless every weight is finite and the adapter changed something; return how many tensors it changed."""
    import torch

    for name, weight in merged.named_parameters():
        if not torch.isfinite(weight).all():
            raise StageError(f"the merged weight {name} holds values that are not finite numbers")
    changed = sum(
        name in before and not torch.equal(weight, before[name]) for name, weight in merged.named_parameters()
    )
    if before and not changed:
        raise StageError("the adapter changed no weight: was it trained, and for this base?")
    return changed


def _one_template(folder: Path) -> None:
    """Raise if two files could name two templates: readers differ in which one they believe."""
    import json

    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    if "chat_template" in config and (folder / "chat_template.jinja").exists():
        raise StageError(f"{folder}: both tokenizer_config.json and chat_template.jinja hold a chat template")
    if "chat_template" not in config and not (folder / "chat_template.jinja").exists():
        raise StageError(f"{folder}: has no chat template")

"""Load the frozen base with a fresh adapter on it, and save the adapter."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ..config import Config
from ..errors import StageError
from ..export.base_record import record_base
from .device import fast_dtype
from .loading import load_model


def load_for_tuning(config: Config, base: Path, device: Any) -> Any:
    """Return the base, in 4 bits where the configuration says so, with a fresh LoRA adapter."""
    import torch
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig

    quantization, lora = config.quantization, config.lora
    compute = getattr(torch, fast_dtype(quantization.compute_dtype))
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.type,
        bnb_4bit_use_double_quant=quantization.double_quant,
        bnb_4bit_compute_dtype=compute,
        # FSDP shards flat buffers of one type: 4-bit weights must then lie in the type that is computed in.
        bnb_4bit_quant_storage=compute if is_sharded() else torch.uint8,
    )
    model = load_model(
        base,
        dtype=torch.float32 if config.base.is_own else compute,
        device_map=None if is_sharded() else {"": device},
        quantization_config=four_bit if quantization.enabled else None,
    )
    _require_targets(model, config)
    _forbid_packing(model)
    model.config.use_cache = False
    if quantization.enabled:
        model = prepare_model_for_kbit_training(
            model,
            use_gradient_checkpointing=config.training.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
    adapter = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        use_rslora=lora.rslora,
        bias="none",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, adapter)


def is_sharded() -> bool:
    """Say whether ``accelerate launch`` was told to shard the model (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def save_adapter(model: Any, config: Config, base: Path, folder: Path) -> None:
    """Write the adapter, whole or not at all, with where its base is found."""
    import torch

    weights = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    if spoilt := next((name for name, weight in weights if not torch.isfinite(weight).all()), None):
        raise StageError(f"the adapter's {spoilt} holds values that are not finite: try a lower training.lr")
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(str(partial), safe_serialization=True)
    (partial / "README.md").unlink(missing_ok=True)  # peft's empty model card; the run's own says what this is
    path = partial / "adapter_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    # A folder is named relative to the adapter's, so that a run that was moved or published still fits together.
    is_folder = config.base.scratch is not None or (Path(config.root) / str(config.base.path)).is_dir()
    written["base_model_name_or_path"] = os.path.relpath(base, folder) if is_folder else config.base.path
    written["revision"] = config.base.revision
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    record_base(partial, base)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _require_targets(model: Any, config: Config) -> None:
    """Raise if a layer that the adapter is to change is not in the model: peft would leave it out without a word."""
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    if missing := [target for target in config.lora.target_modules if target not in names]:
        linear = sorted(
            {name.rpartition(".")[2] for name, module in model.named_modules() if "Linear" in type(module).__name__}
        )
        raise StageError(
            f"lora.target_modules: the base has no {missing[0]!r}; its linear layers are {', '.join(linear)}"
        )


def _forbid_packing(model: Any) -> None:
    """
    Keep bitsandbytes from repacking 4-bit weights during an evaluation.

    On CPUs with AVX512-BF16, bitsandbytes 0.50.2 repacks them at the first pass without gradients. The packed kernel has no
    backward pass, so every step after the first evaluation would train on nothing but the last adapter, silently.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False

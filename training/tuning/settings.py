"""Turn the configuration into the Trainer's settings for this device, and say what the device made of them."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..config import Config, Training
from .device import fast_dtype, has_bf16, processes

Say = Callable[[str], None]


def trainer_arguments(config: Config, folder: Path, *, evaluates: bool, say: Say) -> Any:
    """Return transformers' TrainingArguments; checkpoints go to ``folder``."""
    import torch
    from transformers import TrainingArguments

    how = config.training
    cuda = torch.cuda.is_available()
    precision = choose_precision(how, config.quantization.compute_dtype, say)
    measured = how.evaluate if evaluates else "no"
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=how.epochs,
        max_steps=how.steps or -1,
        per_device_train_batch_size=how.batch,
        per_device_eval_batch_size=how.batch,
        gradient_accumulation_steps=how.accumulation,
        gradient_checkpointing=how.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if how.gradient_checkpointing else None,
        learning_rate=how.lr,
        lr_scheduler_type=how.schedule,
        warmup_steps=how.warmup,
        weight_decay=how.weight_decay,
        label_smoothing_factor=how.label_smoothing,
        optim=choose_optimizer(how, say),
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not cuda,
        eval_strategy="steps" if isinstance(measured, int) else measured,
        eval_steps=measured if isinstance(measured, int) else None,
        save_strategy="steps" if isinstance(how.save, int) else how.save,
        save_steps=how.save if isinstance(how.save, int) else 500,
        save_total_limit=2,
        load_best_model_at_end=how.best and evaluates,
        metric_for_best_model="eval_loss" if evaluates else None,
        greater_is_better=False if evaluates else None,
        logging_steps=how.log_steps,
        logging_nan_inf_filter=False,  # a loss that is no number must be seen, and stops the run
        report_to=_trackers(folder.parent),
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        ddp_find_unused_parameters=False if processes() > 1 else None,
        seed=how.seed,
        data_seed=how.seed,
    )


def choose_precision(how: Training, compute_dtype: str, say: Say) -> str:
    """Return bf16, fp16 or fp32: what is asked for, as far as the device has it; fp32 beside 32-bit ``compute_dtype``."""
    import torch

    asked, compute = how.precision, fast_dtype(compute_dtype)
    chosen = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}[compute] if asked == "auto" else asked
    if chosen == "bf16" and not has_bf16():
        chosen = "fp16" if torch.cuda.is_available() else "fp32"
    elif chosen == "fp16" and not torch.cuda.is_available():
        chosen = "bf16" if has_bf16() else "fp32"
    elif chosen == "fp16" and compute == "bfloat16":
        # Published recipes name both; mixing them scales losses for a range that bf16 does not lack.
        chosen = "bf16"
    if asked not in {"auto", chosen}:
        say(f"training.precision {asked}: {chosen} is used, which fits this device and quantization.compute_dtype")
    if compute != compute_dtype:
        say(f"quantization.compute_dtype {compute_dtype}: {compute} is used, this device is slow in {compute_dtype}")
    return chosen


def choose_optimizer(how: Training, say: Say) -> str:
    """Return the optimizer's name; 8-bit ones keep their state on a GPU."""
    import torch

    if how.optimizer != "adamw_torch" and not torch.cuda.is_available():
        say(f"training.optimizer {how.optimizer}: needs a GPU, adamw_torch is used")
        return "adamw_torch"
    return how.optimizer


def loraplus_optimizer(model: Any, config: Config, say: Say) -> Any:
    """Return LoRA+'s optimizer: the B matrices learn ``lora.plus_ratio`` times as fast as the A matrices."""
    import torch
    from peft.optimizers import create_loraplus_optimizer

    how = config.training
    kind: Any = torch.optim.AdamW
    if choose_optimizer(how, lambda _: None) != "adamw_torch":
        import bitsandbytes

        kind = bitsandbytes.optim.AdamW8bit
    say(f"LoRA+: the B matrices learn {config.lora.plus_ratio:g} times as fast as the A matrices")
    return create_loraplus_optimizer(
        model,
        optimizer_cls=kind,
        lr=how.lr,
        loraplus_lr_ratio=config.lora.plus_ratio,
        loraplus_weight_decay=how.weight_decay,
        weight_decay=how.weight_decay,
    )


def step_count(how: Training, sequences: int, devices: int = 1) -> int:
    """Return how many steps the Trainer is going to take over ``sequences`` rows or packs."""
    passes = math.ceil(math.ceil(sequences / devices) / how.batch)
    return how.steps or math.ceil(how.epochs * math.ceil(passes / how.accumulation))


def _trackers(folder: Path) -> list[str]:
    """
    Return the trackers that are installed: MLflow.

    Into a data base in the run's folder, unless the environment names a server; the small MLflow without sqlalchemy has
    no data base and is used with a server alone.
    """
    if importlib.util.find_spec("mlflow") is None:
        return []
    if "MLFLOW_TRACKING_URI" not in os.environ:
        if importlib.util.find_spec("sqlalchemy") is None:
            return []
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "modelgate-train")
    return ["mlflow"]

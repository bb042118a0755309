"""
Train the adapter: QLoRA, on the answers alone.

transformers' own Trainer is used, not TRL's SFTTrainer: SFTTrainer renders, tokenises and masks by rules of its own,
and the audit must see the very ids and labels that are trained on.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..config import Augment
from ..data.rows import read_prepared
from ..errors import StageError
from ..run_folder import RunFolder
from .audit import audit_labels
from .chat import check_template, encode_rows, end_of_turn
from .checkpoints import last_checkpoint, step_of
from .curves import draw_losses
from .dataset import PackedDataset, RowDataset, collator
from .device import is_first_process, processes
from .loading import load_tokenizer
from .model import load_for_tuning, save_adapter
from .settings import loraplus_optimizer, step_count, trainer_arguments


def train_adapter(run: RunFolder, base: Path) -> dict[str, Any]:
    """
    Train on the prepared rows, measure on those held back, save the adapter, and return what was measured.

    An interrupted training goes on from its last checkpoint, with the same rows, alterations and dropout.
    """
    import torch
    from transformers import Trainer, set_seed
    from transformers.trainer_callback import EarlyStoppingCallback, PrinterCallback

    from .callbacks import LossWatch, NextPass, Progress

    config, how = run.config, run.config.training
    say = _say if is_first_process() else _nothing
    set_seed(how.seed)
    tokenizer = load_tokenizer(base)
    eot = end_of_turn(tokenizer)
    train, held_back = read_prepared(run.train_rows), read_prepared(run.validation_rows)
    rows = RowDataset(tokenizer, run.tasks.messages, train, eot, how.augment, how.seed)
    kept = RowDataset(tokenizer, run.tasks.messages, held_back, eot, Augment(), 0)
    facts, lengths = _audit(tokenizer, [*rows.examples(), *kept.examples()], eot, how.max_length, say)
    learned: Any = PackedDataset(rows, lengths[: len(train)], how.max_length) if how.packing else rows
    evaluates = how.evaluate != "no" and bool(held_back)
    measured: Any = PackedDataset(kept, lengths[len(train) :], how.max_length) if how.packing else kept
    devices = processes()
    checkpoint = last_checkpoint(run.checkpoints)
    if checkpoint is not None:
        say(f"goes on from step {step_of(checkpoint)}")
        run.log.forget("train", after=step_of(checkpoint))
    device = int(os.environ.get("LOCAL_RANK", "0")) if torch.cuda.is_available() else "cpu"
    model = load_for_tuning(config, base, device)
    callbacks: list[Any] = [LossWatch(how.most_gap), NextPass(rows)]
    total = step_count(how, len(learned), devices)
    if is_first_process():
        callbacks.append(Progress(run.log, total, step_of(checkpoint) if checkpoint else 0))
    if how.patience is not None and evaluates:
        callbacks.append(EarlyStoppingCallback(how.patience))
    arguments = trainer_arguments(config, run.checkpoints, evaluates=evaluates, say=say)
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=learned,
        eval_dataset=measured if evaluates else None,
        data_collator=collator(tokenizer.pad_token_id, packed=how.packing),
        callbacks=callbacks,
        optimizers=(loraplus_optimizer(model, config, say) if config.lora.plus_ratio else None, None),
    )
    trainer.remove_callback(PrinterCallback)
    started, first = time.monotonic(), step_of(checkpoint) if checkpoint else 0
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    seconds = time.monotonic() - started
    state, trainable_total = trainer.state, model.get_nb_trainable_parameters()
    if is_first_process():
        save_adapter(trainer.accelerator.unwrap_model(trainer.model), config, base, run.adapter)
        draw_losses(run.log.read("train"), run.loss_curve)
    facts |= {
        "trainable": trainable_total[0],
        "weights": trainable_total[1],
        "sequences": len(learned),
        "steps": state.global_step,
        "planned_steps": total,
        "resumed_from": first or None,
        "best_step": state.best_global_step if evaluates and how.best else None,
        "loss": _last(state.log_history, "loss"),
        "eval_loss": _last(state.log_history, "eval_loss"),
        "best_eval_loss": state.best_metric if evaluates and how.best else None,
        "gaps": _gaps(state.log_history),
        "precision": "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "fp32",
        "optimizer": str(getattr(arguments.optim, "value", arguments.optim)),
        "devices": devices,
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu",
        "tokens_per_second": _speed(facts["audit"]["tokens"], how.epochs, state, first, total, seconds),
        "peak_memory_bytes": _peak_memory(),
        "history": [line for line in state.log_history if "loss" in line or "eval_loss" in line],
    }
    del trainer, model
    gc.collect()
    return facts


def _audit(
    tokenizer: Any, examples: Sequence[Any], eot: str, max_length: int, say: Any
) -> tuple[dict[str, Any], list[int]]:
    """Check the labels of all rows as they are written in the files; return what was counted, and each row's length."""
    if not examples:
        raise StageError("no row is left to train on")
    check_template(tokenizer, examples[0], eot)
    encoded = encode_rows(tokenizer, examples, eot)
    facts = audit_labels(tokenizer, encoded, examples, eot, max_length)
    say(f"audited {facts['rows']} rows, the longest has {facts['longest']} tokens; the first answer as learned:")
    say(f"    {tokenizer.decode(encoded[0].ids[encoded[0].prompt :])!r}")
    return {"audit": facts}, [len(row.ids) for row in encoded]


def _last(history: Sequence[dict[str, Any]], name: str) -> float | None:
    """Return the last measurement of that name."""
    return next((float(line[name]) for line in reversed(history) if name in line), None)


def _gaps(history: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Return how far the held-back rows' loss lay above the training loss, each time that it was measured."""
    gaps, last = [], None
    for line in history:
        last = line.get("loss", last)
        if "eval_loss" in line and last is not None:
            gaps.append({"step": line["step"], "gap": round(line["eval_loss"] - last, 4)})
    return gaps


def _speed(tokens: int, epochs: float, state: Any, first: int, total: int, seconds: float) -> float:
    """Return how many tokens of the rows, prompts included, were learned from in a second."""
    share = (state.global_step - first) / max(1, total)
    return float(round(tokens * epochs * share / max(seconds, 1e-9), 1))


def _peak_memory() -> dict[str, int]:
    """Return the most memory that this process (and its GPU) held, in bytes."""
    import torch

    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.is_file() else []
    peak = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
    found = {"process": peak} if peak else {}
    if torch.cuda.is_available():
        found["gpu"] = int(torch.cuda.max_memory_allocated())
    return found


def _say(text: str) -> None:
    """Print a line above the bar."""
    tqdm.write(f"train: {text}")


def _nothing(_: str) -> None:
    """Leave speaking to the first process."""

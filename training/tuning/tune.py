"""
Train the adapter: QLoRA, on the answers alone.

transformers' own Trainer is used, not TRL's SFTTrainer: SFTTrainer renders, tokenises and masks by rules of its own,
and the audit must see the very ids and labels that are trained on.
"""

from __future__ import annotations

import gc
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .audit import audit_labels
from ..data.augment import alter
from .batches import collate
from .chat import Encoded, check_template, encode_rows, end_of_turn
from ..config import Augment, Config
from ..errors import StageError
from .loading import load_model, load_tokenizer
from .metrics import MetricsLog
from ..data.rows import Row


def train_adapter(
    config: Config,
    base: str,
    system: str | None,
    rows: tuple[Sequence[Row], Sequence[Row]],
    folder: Path,
    log: MetricsLog,
) -> dict[str, Any]:
    """Train on the first of ``rows``, measure on the second, save the adapter, and return what was measured."""
    import torch
    from transformers import Trainer, set_seed
    from transformers.trainer_callback import PrinterCallback

    how = config.training
    set_seed(how.seed)
    tokenizer = load_tokenizer(base)
    eot = end_of_turn(tokenizer)
    train, held_back = rows
    facts = _audit(tokenizer, system, [*train, *held_back], eot, how.max_length)
    model = _load(config, base)
    evaluates = how.evaluate and bool(held_back)
    progress = _progress(log, _step_count(config, len(train)))
    trainer = Trainer(
        model=model,
        args=_arguments(config, folder, evaluates=evaluates, cuda=torch.cuda.is_available()),
        train_dataset=_Rows(tokenizer, system, train, eot, how.augment, how.seed),
        eval_dataset=_Rows(tokenizer, system, held_back, eot, Augment(), 0) if evaluates else None,
        data_collator=lambda batch: collate(batch, tokenizer.pad_token_id, learn_prompt=False),
        callbacks=[progress],
    )
    trainer.remove_callback(PrinterCallback)
    result = trainer.train()
    if not math.isfinite(result.training_loss):
        raise StageError("training ended with a loss that is not a number; try a lower training.lr")
    _save(model, config, base, folder)
    trainable, total = model.get_nb_trainable_parameters()
    history = [line for line in trainer.state.log_history if "loss" in line or "eval_loss" in line]
    facts |= {"trainable": trainable, "weights": total, "steps": trainer.state.global_step, "history": history}
    del trainer, model
    gc.collect()
    return facts


# --- Rows --------------------------------------------------------------------------------------------------------


class _Rows:
    """Hold the rows as a dataset; each reading may alter the message, never the answer."""

    def __init__(
        self, tokenizer: Any, system: str | None, rows: Sequence[Row], eot: str, how: Augment, seed: int
    ) -> None:
        self._tokenizer, self._system, self._rows, self._eot, self._how = tokenizer, system, rows, eot, how
        self._rng = random.Random(seed)  # noqa: S311 (nothing secret is drawn)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Encoded:
        row = self._rows[index]
        example = (alter(row.input, self._how, self._rng), row.answer, row.source)
        return encode_rows(self._tokenizer, self._system, [example], self._eot)[0]


def _audit(tokenizer: Any, system: str | None, rows: Sequence[Row], eot: str, max_length: int) -> dict[str, Any]:
    """Check the labels of all rows as they are written in the files."""
    check_template(tokenizer, system, rows[0].input, rows[0].answer, eot)
    encoded = encode_rows(tokenizer, system, [(row.input, row.answer, row.source) for row in rows], eot)
    facts = audit_labels(tokenizer, encoded, [row.answer for row in rows], eot, max_length)
    print(f"train: audited {facts['rows']} rows, the longest has {facts['longest']} tokens; first row as learned:")
    print(f"    {tokenizer.decode(encoded[0].ids[: encoded[0].prompt])!r}")
    print(f"    -> {tokenizer.decode(encoded[0].ids[encoded[0].prompt :])!r}")
    return {"audit": facts, "first_row": tokenizer.decode(encoded[0].ids)}


# --- Model -------------------------------------------------------------------------------------------------------


def _load(config: Config, base: str) -> Any:
    """Return the frozen base with a fresh adapter on it."""
    import torch
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from transformers import BitsAndBytesConfig

    quantization, lora = config.quantization, config.lora
    compute = getattr(torch, quantization.compute_dtype)
    device = {"": 0 if torch.cuda.is_available() else "cpu"}
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.type,
        bnb_4bit_use_double_quant=quantization.double_quant,
        bnb_4bit_compute_dtype=compute,
    )
    model = load_model(
        base,
        dtype=torch.float32 if config.base.scratch else compute,
        device_map=device,
        quantization_config=four_bit if quantization.enabled else None,
    )
    _forbid_packing(model)
    model.config.use_cache = False
    if quantization.enabled:
        model = prepare_model_for_kbit_training(
            model,
            use_gradient_checkpointing=config.training.gradient_checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
    return get_peft_model(
        model,
        LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.target_modules),
            use_rslora=lora.rslora,
            bias="none",
            task_type="CAUSAL_LM",
        ),
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


def _save(model: Any, config: Config, base: str, folder: Path) -> None:
    """Write the adapter, and where its base is found."""
    model.save_pretrained(str(folder), safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card; the manifest says what this is
    path = folder / "adapter_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    # Relative to the adapter's folder, so that a run that was moved or published still fits together.
    written["base_model_name_or_path"] = "../base" if config.base.scratch else base
    written["revision"] = config.base.revision
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")


# --- Trainer -----------------------------------------------------------------------------------------------------


def _arguments(config: Config, folder: Path, *, evaluates: bool, cuda: bool) -> Any:
    """Return the Trainer's settings."""
    from transformers import TrainingArguments

    how = config.training
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=how.epochs,
        max_steps=how.steps or -1,
        per_device_train_batch_size=how.batch,
        per_device_eval_batch_size=how.batch,
        gradient_accumulation_steps=how.accumulation,
        learning_rate=how.lr,
        lr_scheduler_type=how.schedule,
        warmup_steps=how.warmup,
        weight_decay=how.weight_decay,
        label_smoothing_factor=how.label_smoothing,
        optim="adamw_torch",
        bf16=config.quantization.compute_dtype == "bfloat16",
        use_cpu=not cuda,
        eval_strategy="epoch" if evaluates else "no",
        save_strategy="no",
        logging_steps=10,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        seed=how.seed,
        data_seed=how.seed,
    )


def _step_count(config: Config, rows: int) -> int:
    """Return how many steps the Trainer is going to take."""
    how = config.training
    return how.steps or math.ceil(how.epochs * math.ceil(math.ceil(rows / how.batch) / how.accumulation))


def _progress(log: MetricsLog, total: int) -> Any:
    """Return a callback that shows one bar with the time left, and keeps the measurements."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):  # type: ignore[misc] # transformers is not typed
        """Move the bar."""

        def __init__(self) -> None:
            self.bar = tqdm(total=total, desc="train", unit="step")
            self.shown: dict[str, str] = {}

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.bar.update()

        def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            values = {key: value for key, value in (logs or {}).items() if isinstance(value, int | float)}
            log.write(stage="train", step=state.global_step, **values)
            self.shown |= {key: f"{values[key]:.3f}" for key in ("loss", "eval_loss") if key in values}
            self.bar.set_postfix(self.shown)

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.bar.close()

    return Progress()

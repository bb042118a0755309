"""Train a small LoRA adapter on a tiny base with nothing but torch and peft, in seconds, by a seed."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IGNORED = -100
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Lesson:
    """Hold a message, the system text it is asked with, and the answer to learn."""

    system: str | None
    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class Training:
    """
    Say how an adapter is trained.

    ``learn_end``: the token that ends the answer is learned too. It stops after ``steps``, or after ``seconds``.
    """

    r: int
    seed: int
    steps: int
    seconds: float = 600.0
    lr: float = 4e-3
    batch: int = 32
    learn_end: bool = True
    rslora: bool = False


def train_adapter(base: Any, tokenizer: Any, lessons: Sequence[Lesson], how: Training) -> Any:
    """Return ``base`` (float32, changed in place) with a LoRA adapter on all its layers that has learned ``lessons``."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(how.seed)
    rng = random.Random(how.seed)  # noqa: S311  (nothing secret is drawn)
    rows = [encode(tokenizer, lesson) for lesson in lessons]
    lora = LoraConfig(
        r=how.r,
        lora_alpha=2 * how.r,
        lora_dropout=0.0,
        target_modules=list(TARGETS),
        use_rslora=how.rslora,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base, lora)
    model.train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=how.lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, how.lr, total_steps=how.steps, pct_start=0.1)
    started, step = time.monotonic(), 0
    while step < how.steps:
        order = sorted(range(len(rows)), key=lambda index: (len(rows[index][0]), rng.random()))
        batches = [order[start : start + how.batch] for start in range(0, len(order), how.batch)]
        rng.shuffle(batches)
        for batch in batches[: how.steps - step]:
            if time.monotonic() - started > how.seconds:
                raise RuntimeError(
                    f"only {step} of {how.steps} steps in {how.seconds:g} s: what a seed gives would differ"
                )
            loss = model(**collate([rows[index] for index in batch], learn_end=how.learn_end)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
    print(f"{step} steps in {time.monotonic() - started:.0f} s, loss {loss.item():.3f}")  # noqa: T201  (a command line)
    return model.eval()


def encode(tokenizer: Any, lesson: Lesson) -> tuple[list[int], int]:
    """Return a conversation's token ids up to the token that ends the answer, and how many of them are the prompt."""
    system = [{"role": "system", "content": lesson.system}] if lesson.system else []
    turns = [*system, {"role": "user", "content": lesson.text}]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    answer: list[int] = tokenizer(lesson.answer, add_special_tokens=False)["input_ids"]
    return [*ids, *answer, tokenizer.eos_token_id], len(ids)


def collate(rows: Sequence[tuple[list[int], int]], *, learn_end: bool) -> dict[str, Any]:
    """Return a batch, padded on the right; labels cover the answer, and its end where ``learn_end`` is set."""
    import torch

    longest = max(len(ids) for ids, _ in rows)
    ids_of, mask = (torch.zeros((len(rows), longest), dtype=torch.long) for _ in range(2))
    labels = torch.full((len(rows), longest), IGNORED, dtype=torch.long)
    for index, (ids, prompt) in enumerate(rows):
        ids_of[index, : len(ids)] = torch.tensor(ids)
        mask[index, : len(ids)] = 1
        last = len(ids) if learn_end else len(ids) - 1
        labels[index, prompt:last] = torch.tensor(ids[prompt:last])
    return {"input_ids": ids_of, "attention_mask": mask, "labels": labels}


def load(folder: Path) -> tuple[Any, Any]:
    """Return a base in float32 and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, local_files_only=True)
    return model, AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def save(model: Any, folder: Path, base: Path) -> None:
    """Write the adapter in float16, with the way from its folder to its base's."""
    import torch
    from safetensors.torch import load_file, save_file

    model.save_pretrained(str(folder), safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)
    weights = folder / "adapter_model.safetensors"
    halves = {name: weight.to(torch.float16) for name, weight in load_file(str(weights)).items()}
    save_file(halves, str(weights), metadata={"format": "pt"})
    path = folder / "adapter_config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["base_model_name_or_path"] = os.path.relpath(base, folder)
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_lessons(train: Path, system: Path) -> list[Lesson]:
    """Return the rows of a training file as lessons with the task's system text."""
    said = system.read_text(encoding="utf-8").strip()
    lines = train.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return [Lesson(said, row["input"], json.dumps(row["expected"], ensure_ascii=False)) for row in rows]

"""
Make a small Qwen2 from scratch, which writes the right form with the wrong content.

It learns the language of the messages and the form of the answers from the training rows, but each answer is paired
with the message of another row: what a message *means* is left for the adapter to learn. So the untuned model is a
fair stand-in for a real base model, and what tuning brings can be seen.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..config import Scratch
from ..data.augment import alter
from ..data.rows import Row
from ..tasks import MessagesOf
from .batches import collate, length_sorted
from .chat import Encoded, Example, encode_rows
from .device import has_bf16
from .metrics import MetricsLog
from .tokenizer import IM_END, save_tokenizer, train_tokenizer

TITLE = "Give the user's message a title of a few words."
RESTORE = "Write the user's message again, without mistakes and without anything that does not belong to it."


def make_base(
    how: Scratch, messages_of: MessagesOf, rows: Sequence[Row], folder: Path, log: MetricsLog
) -> dict[str, Any]:
    """Train tokenizer and model on ``rows``, save both into ``folder``, and return what the manifest tells of it."""
    import torch
    from transformers import set_seed

    set_seed(how.seed)
    tokenizer = _make_tokenizer(how, messages_of, rows)
    model = _make_model(how, tokenizer)
    weights = sum(weight.numel() for weight in model.parameters())
    print(f"base: {weights:,} weights, {len(tokenizer)} tokens, {len(rows)} rows")
    facts = _learn(model, tokenizer, how, messages_of, rows, log)
    folder.mkdir(parents=True, exist_ok=True)
    model.to(getattr(torch, how.dtype)).save_pretrained(str(folder))
    save_tokenizer(tokenizer, folder)
    return {"weights": weights, "tokens": len(tokenizer), **facts}


def _make_tokenizer(how: Scratch, messages_of: MessagesOf, rows: Sequence[Row]) -> Any:
    """Learn the tokens from everything that the model will read and write."""
    plain = [text for row in rows for text in (row.input, row.answer, *([_title(row)] if how.titles else []))]
    # The prompts stand in every conversation: shown often, each of their words becomes one token.
    asked = {turn["content"] for task in sorted({row.task for row in rows}) for turn in messages_of(task, "")}
    prompts = [*sorted(asked), RESTORE if how.restore else "", TITLE if how.titles else "", "system\nuser\nassistant\n"]
    often = [text for text in prompts if text] * max(1, len(rows) // 4)
    return train_tokenizer([*plain, *often], how.vocab_size)


def _make_model(how: Scratch, tokenizer: Any) -> Any:
    """Return the untrained model."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    end, pad = tokenizer.convert_tokens_to_ids(IM_END), tokenizer.pad_token_id
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=how.hidden_size,
        num_hidden_layers=how.layers,
        num_attention_heads=how.heads,
        num_key_value_heads=how.kv_heads,
        intermediate_size=how.intermediate_size,
        max_position_embeddings=how.max_position,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
    )
    model = Qwen2ForCausalLM(config)
    # Greedy by itself: a gate and a reader who forget to say so measure the same model.
    model.generation_config.do_sample = False
    model.generation_config.eos_token_id = [end, pad]
    return model


def _learn(
    model: Any, tokenizer: Any, how: Scratch, messages_of: MessagesOf, rows: Sequence[Row], log: MetricsLog
) -> dict[str, Any]:
    """Train on the text of whole conversations."""
    import torch

    rng = random.Random(how.seed)  # noqa: S311 (nothing secret is drawn)
    shown = len(rows) * (1.0 + how.titles + how.restore)
    total = math.ceil(how.epochs * shown / how.batch)
    total = min(total, how.steps) if how.steps else total
    optimizer = torch.optim.AdamW(_decayed(model, how.weight_decay), lr=how.lr, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _cosine(step, total, how.warmup))
    model.train()
    step, loss, tokens = 0, math.nan, 0
    with tqdm(total=total, desc="base", unit="step") as bar:
        while step < total:
            encoded = _lesson(tokenizer, messages_of, rows, how, rng)
            for batch in length_sorted(encoded, how.batch, rng):
                inputs = collate(batch, tokenizer.pad_token_id, learn_prompt=True)
                # bf16 multiplications are 2.5 times as fast as fp32 on a CPU that has them; the weights stay fp32.
                with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
                    found = model(**inputs).loss
                found.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad(set_to_none=True)
                step, loss, tokens = step + 1, found.item(), tokens + int(inputs["attention_mask"].sum())
                bar.update()
                if step % 10 == 0 or step == total:
                    bar.set_postfix(loss=f"{loss:.3f}")
                    log.write(stage="base", step=step, loss=loss, lr=schedule.get_last_lr()[0])
                if step == total:
                    break
    model.eval()
    return {"steps": total, "loss": loss, "tokens_seen": tokens}


def _lesson(
    tokenizer: Any, messages_of: MessagesOf, rows: Sequence[Row], how: Scratch, rng: random.Random
) -> list[Encoded]:
    """Return what is read in one pass over the rows: messages altered anew, answers dealt out anew within a task."""
    bare: list[Example] = []
    whole: list[Example] = []
    for row, answer in zip(rows, _dealt_out(rows, rng), strict=True):
        text = row.prompt if not isinstance(row.prompt, str) else alter(row.prompt, how.augment, rng)
        if rng.random() < how.bare:
            bare.append(_asked(None, row.input, answer, row.source))
        else:
            whole.append(Example(messages_of(row.task, text), answer, row.source))
    again = [row for row in rows if rng.random() < how.restore]
    restored = [_asked(RESTORE, alter(row.input, how.augment, rng), row.input, row.source) for row in again]
    named = [row for row in rows if rng.random() < how.titles and row.group != row.source]
    titled = [_asked(TITLE, alter(row.input, how.augment, rng), _title(row), row.source) for row in named]
    return [
        *(_until_answer(row) for row in encode_rows(tokenizer, bare, IM_END)),
        *encode_rows(tokenizer, [*whole, *restored, *titled], IM_END),
    ]


def _dealt_out(rows: Sequence[Row], rng: random.Random) -> list[str]:
    """Return an answer for each row: one that belongs to another row of its task."""
    answers = [row.answer for row in rows]
    for task in sorted({row.task for row in rows}):
        places = [index for index, row in enumerate(rows) if row.task == task]
        own = [answers[index] for index in places]
        rng.shuffle(own)
        for index, answer in zip(places, own, strict=True):
            answers[index] = answer
    return answers


def _asked(system: str | None, text: str, answer: str, source: str) -> Example:
    """Return an example of one user turn, below a system turn where one is given."""
    turns = [{"role": "user", "content": text}]
    return Example(turns if system is None else [{"role": "system", "content": system}, *turns], answer, source)


def _title(row: Row) -> str:
    """Return the name of the row's group as words."""
    return re.sub(r"[-_\s]+", " ", row.group)


def _until_answer(row: Encoded) -> Encoded:
    """Return the row without its answer."""
    return Encoded(row.ids[: row.prompt], 0, row.source)


def _decayed(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Split the weights: matrices decay, norms and biases do not."""
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _cosine(step: int, total: int, warmup: float) -> float:
    """Rise to 1 during the warm-up, then fall along a cosine to 2 %."""
    rising = max(1, round(total * warmup))
    if step < rising:
        return (step + 1) / rising
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, (step - rising) / max(1, total - rising))))

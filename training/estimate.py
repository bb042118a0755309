"""
Estimate what a training takes before anything is loaded: trainable share, tokens, memory, time.

Everything here is arithmetic on the base's shape. The base need not be on disk: the shapes of the bases that the shipped
configurations name are written down. An estimate says that it is one; ``train`` measures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .config import Config
from .errors import TrainingError
from .run_folder import RunFolder

_GIB = 1024**3
_LETTERS_A_TOKEN = 3.6
"""Of English text in a large vocabulary; used only where the base's tokenizer is not on disk."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Hold the sizes of a decoder with gated feed-forward layers, as Qwen2, Qwen3 and Llama are."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    tied: bool
    head_dim: int = 0
    qkv_bias: bool = False
    qk_norm: bool = False

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """Return the linear layers of a layer: inputs and outputs by name."""
        head = self.head_dim or self.hidden // self.heads
        query, key = self.heads * head, self.kv_heads * head
        return {
            "q_proj": (self.hidden, query),
            "k_proj": (self.hidden, key),
            "v_proj": (self.hidden, key),
            "o_proj": (query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def in_layers(self) -> int:
        """Return the weights of all linear layers, those that are quantised."""
        return self.layers * sum(inputs * outputs for inputs, outputs in self.linear.values())

    @property
    def others(self) -> int:
        """Return all other weights: embeddings, norms, biases."""
        head = self.head_dim or self.hidden // self.heads
        bias = (self.heads + 2 * self.kv_heads) * head if self.qkv_bias else 0
        norms = 2 * self.hidden + (2 * head if self.qk_norm else 0)
        return self.vocab * self.hidden * (1 if self.tied else 2) + self.layers * (norms + bias) + self.hidden

    def adapter(self, rank: int, targets: tuple[str, ...]) -> int:
        """Return the weights of a LoRA adapter: rank times inputs plus outputs of each layer that it changes."""
        return self.layers * sum(rank * sum(self.linear[name]) for name in targets if name in self.linear)


KNOWN = {
    "Qwen/Qwen2.5-0.5B-Instruct": Shape(896, 24, 14, 2, 4864, 151_936, True, qkv_bias=True),
    "Qwen/Qwen2.5-1.5B-Instruct": Shape(1536, 28, 12, 2, 8960, 151_936, True, qkv_bias=True),
    "Qwen/Qwen3-4B-Instruct-2507": Shape(2560, 36, 32, 8, 9728, 151_936, True, head_dim=128, qk_norm=True),
}
"""Shapes of the bases that shipped configurations name, from their published config.json."""


def base_shape(run: RunFolder) -> Shape | None:
    """Return the base's shape: of its configuration on disk, of the model to be made, or a known one."""
    scratch = run.config.base.scratch
    if scratch is not None:
        return Shape(
            scratch.hidden_size, scratch.layers, scratch.heads, scratch.kv_heads, scratch.intermediate_size,
            scratch.vocab_size, True, qkv_bias=True,
        )  # fmt: skip
    from .tuning.loading import find_base

    try:
        path = find_base(run) / "config.json"
        return _read_shape(json.loads(path.read_text(encoding="utf-8")))
    except (TrainingError, OSError, ValueError, KeyError):
        return KNOWN.get(str(run.config.base.path))


def describe(run: RunFolder) -> Iterator[str]:
    """Yield what a training with this configuration is expected to take, a line each."""
    config = run.config
    _ = run.tasks.by_name, run.train_files  # what is missing is said now
    shape = base_shape(run)
    if shape is None:
        yield f"# base {config.base.path}: not on disk and not a known shape: no estimate"
        return
    trainable = shape.adapter(config.lora.r, config.lora.target_modules)
    total = shape.in_layers + shape.others + trainable
    yield f"# trainable: {trainable:,} of {total:,} weights ({trainable / total:.2%})"
    rows, tokens, counted = _tokens(run)
    yield f"# rows: {rows:,}; tokens in a pass: {tokens:,} ({counted})"
    steps = _steps(config, rows, tokens)
    yield f"# steps: {steps:,}"
    for device in ("GPU", "CPU"):
        yield f"# memory on a {device}: {memory(config, shape, cuda=device == 'GPU') / _GIB:.1f} GiB (estimated)"
    seconds = work(config, shape, tokens) / _flops()
    yield f"# time on this machine's processor: {_duration(seconds)} (estimated from a multiplication measured just now)"


def memory(config: Config, shape: Shape, *, cuda: bool) -> float:
    """
    Return the bytes that training needs at its peak.

    Weights: NF4 takes 4.127 bits with double quantisation, 4.5 without (QLoRA, arXiv 2305.14314, section 3); the rest
    16 bits. Adapter: 32-bit weight, gradient and two moments (two bytes for both with an 8-bit optimizer). Activations: for
    each layer what the backward pass reads, or with gradient checkpointing one layer's and each layer's input. Logits:
    in 16 bits, again in 32 for the loss, and their gradient.
    """
    how, wide = config.training, 2 if cuda or config.quantization.compute_dtype != "float32" else 4
    bits = (4.127 if config.quantization.double_quant else 4.5) if config.quantization.enabled else 8 * wide
    weights = shape.in_layers * bits / 8 + shape.others * wide
    small = cuda and how.optimizer != "adamw_torch"
    adapter = shape.adapter(config.lora.r, config.lora.target_modules) * (4 + 4 + (2 if small else 8))
    tokens = how.batch * how.max_length
    inside = tokens * (10 * shape.hidden + 4 * shape.intermediate) * wide
    attention = 2 * how.batch * shape.heads * how.max_length**2 * wide
    if how.gradient_checkpointing:
        activations = (inside + attention) + shape.layers * tokens * shape.hidden * wide
    else:
        activations = shape.layers * (inside + (0 if cuda else attention))  # fused attention keeps no matrix on a GPU
    logits = tokens * shape.vocab * (wide + 4 + 4)
    program = (1.0 if cuda else 0.7) * _GIB  # the libraries themselves
    return weights + adapter + activations + logits + program


def work(config: Config, shape: Shape, tokens: int) -> float:
    """
    Return the floating-point operations of the whole training.

    Two for each weight and token forwards, two backwards for the inputs' gradients (frozen weights need none of their
    own), two more where checkpointing computes the forward pass again.
    """
    how = config.training
    passes = 4 + (2 if how.gradient_checkpointing else 0)
    read = shape.in_layers + shape.vocab * shape.hidden
    seen = tokens * how.epochs
    if how.steps is not None:
        seen = min(seen, how.steps * how.batch * how.accumulation * how.max_length)
    return passes * read * seen


def _tokens(run: RunFolder) -> tuple[int, int, str]:
    """Return rows, tokens in a pass, and how they were counted."""
    from .data.rows import read_prepared

    if not run.is_complete("prepare"):
        letters = sum(path.stat().st_size for path in run.train_files)
        rows = sum(path.read_bytes().count(b"\n") for path in run.train_files)
        prompts = rows * _prompt_letters(run)
        return (
            rows,
            int((letters + prompts) / _LETTERS_A_TOKEN),
            f"estimated from the files' sizes, {_LETTERS_A_TOKEN} letters a token",
        )
    prepared = read_prepared(run.train_rows)
    texts = [
        "\n".join([*(turn["content"] for turn in run.tasks.messages(row.task, row.prompt)), row.answer])
        for row in prepared
    ]
    try:
        tokenizer = run.base_tokenizer()
    except TrainingError:
        tokenizer = None
    if tokenizer is None:
        return (
            len(texts),
            int(sum(map(len, texts)) / _LETTERS_A_TOKEN),
            f"estimated, {_LETTERS_A_TOKEN} letters a token",
        )
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return len(texts), sum(map(len, ids)), "counted by the base's tokenizer"


def _prompt_letters(run: RunFolder) -> int:
    """Return the average length of what a task's prompt adds to a row."""
    added = [sum(len(turn["content"]) for turn in run.tasks.messages(name, "")) for name in run.tasks.by_name]
    return sum(added) // max(1, len(added))


def _steps(config: Config, rows: int, tokens: int) -> int:
    """Return the steps that the training takes."""
    from .tuning.settings import step_count

    how = config.training
    sequences = -(-tokens // how.max_length) if how.packing or not rows else rows
    return step_count(how, max(1, sequences))


def _flops() -> float:
    """Return how many operations in a second this machine's processor does, on one matrix of a usual size."""
    import torch

    from .tuning.device import fast_dtype

    matrix = torch.randn(1024, 1024).to(getattr(torch, fast_dtype("bfloat16")))
    matrix @ matrix
    started, turns = time.perf_counter(), 0
    while time.perf_counter() - started < 0.3:  # noqa: PLR2004 (seconds)
        matrix @ matrix
        turns += 1
    return 0.5 * turns * 2 * 1024**3 / (time.perf_counter() - started)  # half of it is what a training reaches


def _duration(seconds: float) -> str:
    """Write a time as a reader says it."""
    if seconds < 120:  # noqa: PLR2004 (seconds)
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004 (seconds)


def _read_shape(found: dict[str, Any]) -> Shape:
    """Return the shape that a config.json describes."""
    return Shape(
        hidden=found["hidden_size"],
        layers=found["num_hidden_layers"],
        heads=found["num_attention_heads"],
        kv_heads=found.get("num_key_value_heads", found["num_attention_heads"]),
        intermediate=found["intermediate_size"],
        vocab=found["vocab_size"],
        tied=bool(found.get("tie_word_embeddings", False)),
        head_dim=found.get("head_dim") or 0,
        qkv_bias=found.get("model_type") == "qwen2",
        qk_norm=found.get("model_type") == "qwen3",
    )

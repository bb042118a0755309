"""Estimate how much memory a target needs, before it is loaded, and refuse one that does not fit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.host import check_memory
from pytest_modelgate.gguf_file import GgufFacts

_PROCESS_BYTES = {"gguf": 60_000_000, "hf": 475_000_000}
"""What Python and the libraries take before any model: numpy and llama.cpp; torch, transformers and peft."""

_KV_BYTES = 2  # llama.cpp keeps keys and values as f16 unless told otherwise
_LOGIT_BYTES = 4
_TOKENS_AT_ONCE = 512
_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def check_gguf(facts: GgufFacts, settings: EngineSettings) -> None:
    """
    Refuse a GGUF that does not fit into memory; call it in the process that loads it, right before.

    Weights that go to a GPU are not counted. Raises :class:`~pytest_modelgate.errors.EngineStartError`.
    """
    if settings.n_gpu_layers == 0:
        check_memory(gguf_bytes(facts, n_ctx=settings.n_ctx), str(facts.path))


def check_folder(model: Path, adapter: Path | None, settings: EngineSettings) -> None:
    """
    Refuse a Hugging Face folder, with its adapter, that does not fit into memory; see :func:`check_gguf`.

    Keys and values of one sequence count: how many more there are room for is found out while they are decoded.
    """
    if settings.device == "cpu":
        check_memory(folder_bytes(model, adapter, dtype=settings.dtype, n_ctx=settings.n_ctx), str(adapter or model))


def gguf_bytes(facts: GgufFacts, *, n_ctx: int, n_seq: int = 1, n_batch: int = _TOKENS_AT_ONCE) -> int:
    """
    Return about how many bytes llama.cpp takes for a GGUF on the CPU.

    File size, keys and values of ``n_seq`` sequences of ``n_ctx`` tokens (0: as trained) in f16, and what is computed at
    once: ``n_batch`` rows of logits and of one hidden state, which is what llama.cpp reserves.
    """
    tokens = (n_ctx or facts.n_ctx_train or 0) * n_seq
    computed = min(n_batch, tokens or n_batch) * (facts.n_vocab + facts.width) * _LOGIT_BYTES
    return facts.size_bytes + tokens * kv_bytes(facts) + computed + _PROCESS_BYTES["gguf"]


def kv_bytes(facts: GgufFacts) -> int:
    """Return how many bytes llama.cpp keeps for each token of a sequence."""
    return facts.kv_elements * _KV_BYTES


def folder_bytes(model: Path, adapter: Path | None, *, dtype: str, n_ctx: int, batch_size: int = 1) -> int:
    """
    Return about how many bytes transformers takes for a folder, and its adapter, on the CPU.

    The weights in ``dtype``, keys and values of ``batch_size`` sequences of ``n_ctx`` tokens, and a row of logits for
    each. An adapter's weights are kept as float32.
    """
    size = _DTYPE_BYTES[dtype]
    weights = sum(count * size for path in sorted(model.glob("*.safetensors")) for count in _elements(path))
    if adapter is not None:
        weights += sum(count * 4 for path in sorted(adapter.glob("*.safetensors")) for count in _elements(path))
    config = _text_config(model / "config.json")

    def number(name: str) -> int:
        found = config.get(name)
        return found if isinstance(found, int) else 0

    heads = number("num_attention_heads")
    head = number("head_dim") or (number("hidden_size") // heads if heads else 0)
    kv_heads = number("num_key_value_heads") or heads
    kv = 2 * number("num_hidden_layers") * kv_heads * head * n_ctx * batch_size * size
    return weights + kv + batch_size * number("vocab_size") * _LOGIT_BYTES + _PROCESS_BYTES["hf"]


def _elements(path: Path) -> Iterator[int]:
    """Yield the number of elements of each tensor in a safetensors file: eight bytes of length, then JSON."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, MemoryError, OverflowError):
        return  # what is wrong with the file is said by who loads it
    for shape in shapes:
        yield math.prod(shape)


def _text_config(path: Path) -> dict[str, Any]:
    """Return a model's configuration, of one with several parts that of its language model."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    inner = found.get("text_config") if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else found if isinstance(found, dict) else {}

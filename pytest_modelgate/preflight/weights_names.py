"""Map the tensors of a GGUF to those of the folder that it was converted from, and undo what the converter did to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_modelgate.preflight.weights_read import Array

_IDENTITY = frozenset({"qwen2", "qwen3", "phi2", "stablelm", "gpt2", "olmo2", "granite", "smollm3"})
"""Architectures whose matrices llama.cpp's converter writes as they are."""

_PERMUTED = frozenset({"llama"})
"""Architectures whose query and key rows it interleaves (LlamaModel.permute of the converter)."""

_SHIFTED_NORMS = frozenset({"gemma", "gemma2", "gemma3"})
"""Architectures to whose norms it adds one."""

KNOWN = _IDENTITY | _PERMUTED | _SHIFTED_NORMS


@dataclass(frozen=True, slots=True)
class Heads:
    """Say how many heads queries, and keys with values, have."""

    queries: int
    keys: int


def gguf_names(names: Iterable[str], architecture: str, n_layers: int) -> dict[str, str]:
    """Return, for the name of each tensor of a GGUF, the name that transformers has for it."""
    import gguf

    found = next((arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture), None)
    if found is None:
        return {}
    known = gguf.get_tensor_name_map(found, n_layers)
    pairs = {}
    for name in names:
        own = known.get_name(name, try_suffixes=(".weight", ".bias"))
        if own is not None:
            pairs[own] = name
    return pairs


def heads_of(values: Mapping[str, Any], architecture: str) -> Heads:
    """Return the numbers of heads that a GGUF's header names."""
    queries = values.get(f"{architecture}.attention.head_count", 1)
    keys = values.get(f"{architecture}.attention.head_count_kv", queries)
    return Heads(*(max(one) if isinstance(one, list) else one for one in (queries, keys)))


def converted(name: str, matrix: Array, architecture: str, heads: Heads) -> Array:
    """Return a tensor of the folder, shape (rows, columns), as the converter writes it under the GGUF's ``name``."""
    if architecture in _PERMUTED and name.endswith(("attn_q.weight", "attn_k.weight", "attn_q.bias", "attn_k.bias")):
        n_head = heads.queries if "attn_q" in name else heads.keys
        column = matrix if name.endswith("weight") else matrix.T
        shape = column.shape
        column = column.reshape(n_head, 2, shape[0] // n_head // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)
        return column if name.endswith("weight") else column.T
    if architecture in _SHIFTED_NORMS and name.endswith("norm.weight"):
        return matrix + np.float32(1.0)
    return matrix


def needs_whole(name: str, architecture: str) -> bool:
    """Say whether a tensor must be read at once, because its rows change places."""
    return (architecture in _PERMUTED and "attn_q" in name) or (architecture in _PERMUTED and "attn_k" in name)

"""
Give the tensors of a Hugging Face folder the names and the form that they have in a GGUF.

llama.cpp's converter renames tensors (the ``gguf`` package's own table) and changes few: for some families it reorders
the rows of q and k, from rotary halves one after the other to pairs, and adds 1 to the norms' weights. Read in
``conversion/llama.py``, ``gemma.py``, ``granite.py``, ``qwen.py`` and ``phi.py`` of the llama.cpp of llama-cpp-python
0.3.36. What is not in the tables here is not compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.preflight.weights_tensors import Floats, Tensor

__all__ = ["Naming", "naming_of", "rotary_pairs"]

_FAMILIES = {
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "phi3": "phi3",
    "starcoder2": "starcoder2",
    "llama": "llama",
    "mistral": "llama",
    "smollm3": "smollm3",
    "granite": "granite",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
}
"""The architecture of a GGUF by the ``model_type`` of the folder that it was converted from."""

_PAIRED = frozenset({"llama", "smollm3", "granite"})
"""Architectures for which the converter reorders the rows of q and k."""

_RAISED = frozenset({"gemma", "gemma2", "gemma3"})
"""Architectures for which it adds 1 to the weights of norms."""

_SUFFIXES = (".weight", ".bias")


@dataclass(frozen=True, slots=True)
class Naming:
    """
    Know how one folder's tensors are named and formed in a GGUF of ``architecture``.

    ``heads`` and ``kv_heads``: the attention heads of queries and of keys.
    """

    architecture: str
    heads: int
    kv_heads: int
    names: Any

    def name(self, name: str) -> str | None:
        """Return the name in a GGUF, None where there is none."""
        found = self.names.get_name(name, try_suffixes=_SUFFIXES)
        return None if found is None else str(found)

    def order(self, name: str, n_rows: int) -> NDArray[np.intp] | None:
        """Return for each row of the GGUF's tensor which row of the folder's it is; None where they are the same."""
        if self.architecture not in _PAIRED:
            return None
        module = name.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2]
        heads = {"q_proj": self.heads, "k_proj": self.kv_heads}.get(module)
        return None if heads is None or n_rows % (2 * heads) else rotary_pairs(n_rows, heads)

    def raise_by(self, name: str) -> float:
        """Return what is added to each weight."""
        return 1.0 if self.architecture in _RAISED and name.endswith("norm.weight") else 0.0

    def formed(self, tensor: Tensor) -> Tensor:
        """Return a folder's tensor with the form and name that it has in a GGUF."""
        order, added = self.order(tensor.name, tensor.n_rows), self.raise_by(tensor.name)
        name = self.name(tensor.name) or tensor.name
        if order is None and not added:
            return replace(tensor, name=name)

        def read(start: int, stop: int) -> Floats:
            if order is None:
                return tensor.rows(start, stop) + np.float32(added)
            return tensor.all()[order[start:stop]]  # q and k alone are reordered, which are never large

        return replace(tensor, name=name, rows=read)


def rotary_pairs(n_rows: int, heads: int) -> NDArray[np.intp]:
    """Return the order of rows in which the two rotary halves of each head lie alternating."""
    rows = np.arange(n_rows).reshape(heads, 2, n_rows // heads // 2)
    return rows.swapaxes(1, 2).reshape(-1)


def naming_of(config: Mapping[str, Any], architecture: str) -> Naming | str:
    """Return the naming of a folder with this ``config.json``, or the reason why it is not known."""
    kind = config.get("model_type")
    expected = _FAMILIES.get(str(kind))
    if expected is None:
        return f"how tensors of model_type {kind!r} lie in a GGUF is not known here"
    if expected != architecture:
        return f"the file's architecture is {architecture!r}, and {kind!r} becomes {expected!r}"
    from gguf import MODEL_ARCH, get_tensor_name_map
    from gguf.constants import MODEL_ARCH_NAMES

    try:
        arch = next(one for one in MODEL_ARCH if MODEL_ARCH_NAMES.get(one) == architecture)
        layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
        kv_heads = int(config.get("num_key_value_heads") or heads)
    except (StopIteration, KeyError, TypeError, ValueError):
        return "config.json does not say how many layers and heads there are"
    if min(heads, kv_heads, layers) < 1:
        return "config.json gives numbers of layers and heads that cannot be"
    return Naming(architecture, heads, kv_heads, get_tensor_name_map(arch, layers))

"""
Read a model folder's config.json into the words of a GGUF's header.

transformers has changed the form twice: ``rope_theta`` and ``rope_scaling`` became ``rope_parameters``, which holds one entry
for each kind of layer where they differ, and models that also see keep their language part under ``text_config``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelgate.errors import SpecError
from pytest_modelgate.preflight.metadata import read_object

__all__ = ["HfConfig", "Rope", "read_config", "weight_names"]

_MAX_HEADER = 100_000_000  # bytes, safetensors' own limit
_THETA: Mapping[str, float] = {
    "mixtral": 1e6,
    "gemma3_text": 1e6,
    "gemma3n_text": 1e6,
    "qwen2_vl_text": 1e6,
    "qwen2_5_vl_text": 1e6,
    "gpt_oss": 150_000.0,
    "cohere": 500_000.0,
    "ernie4_5": 500_000.0,
    "llama4_text": 500_000.0,
    "olmo3": 500_000.0,
    "smollm3": 2_000_000.0,
    "lfm2": 1e6,
    "helium": 100_000.0,
    "apertus": 12_000_000.0,
}
"""The base of the rotation where config.json names none and it is not 10000 (``default_theta`` of transformers 5.23)."""

_NO_ROPE = frozenset({"gpt2", "gpt_bigcode", "bloom", "mpt", "opt", "mamba", "mamba2", "rwkv", "bert"})


@dataclass(frozen=True, slots=True)
class Rope:
    """
    Hold how positions are computed.

    ``theta``: base of the rotation. ``kind``: ``none``, ``linear``, ``yarn``, ``llama3``, ``longrope``, ``dynamic``; ``factor``
    and ``original`` (tokens) belong to it.
    """

    theta: float
    kind: str = "none"
    factor: float | None = None
    original: int | None = None


@dataclass(frozen=True, slots=True)
class HfConfig:
    """Hold a config.json whose language part was taken out; ``folder`` is where it lies."""

    folder: Path
    values: Mapping[str, Any]

    def first(self, *names: str) -> Any:
        """Return the first of several keys that is there and not null, None where none is."""
        return next((self.values[name] for name in names if self.values.get(name) is not None), None)

    @property
    def model_type(self) -> str:
        """Return what kind of model it is, in transformers' words."""
        return str(self.values.get("model_type", ""))

    @property
    def rope(self) -> Rope | None:
        """Return how positions are computed; None where the model has no rotation."""
        if self.model_type in _NO_ROPE or self.values.get("position_embedding_type", "rope") != "rope":
            return None
        given = self.first("rope_parameters", "rope_scaling") or {}
        # Models whose layers differ have an entry for each kind; what a header says first is that of full attention.
        found = given.get("full_attention", given) if isinstance(given, dict) else {}
        theta = found.get("rope_theta") or self.first("rope_theta", "rotary_emb_base", "global_rope_theta")
        kind = str(found.get("rope_type", found.get("type", "default")) or "default").lower()
        kind = {"default": "none", "su": "longrope", "mrope": "none"}.get(kind, kind)
        original = found.get("original_max_position_embeddings") or self.first("original_max_position_embeddings")
        return Rope(
            theta=float(theta or _THETA.get(self.model_type, 10_000.0)),
            kind=kind,
            factor=_number(found.get("factor")),
            original=int(original) if isinstance(original, int | float) else None,
        )

    @property
    def window(self) -> int | None:
        """Return the width of the attention's sliding window in tokens, None where no layer has one."""
        width = self.values.get("sliding_window")
        types = self.values.get("layer_types")
        if not isinstance(width, int) or width <= 0 or self.values.get("use_sliding_window") is False:
            return None
        return None if isinstance(types, list) and "sliding_attention" not in types else width

    @property
    def head_size(self) -> int | None:
        """Return the width of an attention head."""
        hidden, heads = (
            self.first("hidden_size", "n_embd", "dim"),
            self.first("num_attention_heads", "n_head", "n_heads"),
        )
        if self.values.get("head_dim"):
            return int(self.values["head_dim"])
        return hidden // heads if isinstance(hidden, int) and isinstance(heads, int) and heads else None

    @property
    def ties_embeddings(self) -> bool | None:
        """Say whether the output layer is the embedding; by the weights that are there where config.json leaves it open."""
        told = self.values.get("tie_word_embeddings")
        if isinstance(told, bool):
            return told
        names = weight_names(self.folder)
        return None if names is None else not any(name.endswith("lm_head.weight") for name in names)


def read_config(folder: Path) -> HfConfig:
    """Return what a folder's config.json says; raise SpecError where there is none that can be read."""
    found = read_object(folder / "config.json")
    if found is None:
        raise SpecError(f"{folder}: holds no config.json")
    for part in ("text_config", "language_config", "llm_config"):
        if isinstance(found.get(part), dict):
            # The outer part says what both share, such as whether embeddings are tied.
            shared = {name: value for name, value in found.items() if not isinstance(value, dict)}
            return HfConfig(folder, {**shared, **found[part]})
    return HfConfig(folder, found)


def weight_names(folder: Path) -> frozenset[str] | None:
    """Return the names of the weights of a folder, read off the headers of its safetensors; None without any."""
    names: set[str] = set()
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        try:
            with path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                if length > _MAX_HEADER:
                    raise SpecError(f"{path}: not safetensors: its header would have {length} bytes")
                header = json.loads(file.read(length))
        except (OSError, ValueError, struct.error, RecursionError) as error:
            raise SpecError(f"{path}: not readable: {error}") from None
        names |= set(header) - {"__metadata__"}
    return frozenset(names) if files else None


def _number(value: Any) -> float | None:
    """Return a number, None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

"""Work out what an adapter adds to its base."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pytest_modelgate.errors import EngineError
from pytest_modelgate.preflight.weights_read import Array, FolderTensors, GgufTensors

_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Lora:
    """Hold the two factors of what is added to one matrix, and their scale: scale · B · A."""

    a: Array
    b: Array
    scale: float

    @property
    def rank(self) -> int:
        """Return the number of rows of A."""
        return int(self.a.shape[0])

    def rows(self, start: int = 0, stop: int | None = None) -> Array:
        """Return rows of what is added, shape (rows, columns)."""
        return np.asarray(self.scale * (self.b[start:stop] @ self.a), np.float32)


class AdapterChange:
    """
    Hold what the adapter in ``folder`` adds, by the full name of the weight that it is added to.

    :attr:`unknown` names what cannot be worked out from its tensors: DoRA's magnitudes, layers that were trained whole.
    """

    def __init__(self, folder: Path) -> None:
        self._tensors = FolderTensors(folder, "adapter_model.safetensors")
        try:
            self.config: Mapping[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise EngineError(f"{folder}: adapter_config.json cannot be read: {error}") from None

    @cached_property
    def changes(self) -> dict[str, Lora]:
        """Return the change of each adapted matrix."""
        found = {}
        for name in self._tensors.names:
            if name.endswith(".lora_A.weight"):
                module = name.removeprefix(_PREFIX).removesuffix(".lora_A.weight")
                a, b = self._tensors.read(name), self._tensors.read(name.replace(".lora_A.", ".lora_B."))
                found[f"{module}.weight"] = Lora(a, b, self._scale(module, a.shape[0]))
        return found

    @cached_property
    def unknown(self) -> list[str]:
        """Return the tensors that are no plain LoRA factors."""
        plain = (".lora_A.weight", ".lora_B.weight")
        return [name for name in self._tensors.names if not name.endswith(plain)]

    def _scale(self, module: str, rank: int) -> float:
        """Return alpha / r, or alpha / √r with rsLoRA (peft, LoraLayer.update_layer), with the layer's own alpha if any."""
        alpha = float(self.config.get("lora_alpha") or 1)
        for pattern, own in (self.config.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                alpha = float(own)
                break
        return alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank)


def served_lora(path: Path, alpha: float | None) -> dict[str, Lora]:
    """
    Return what llama.cpp adds for the LoRA GGUF at ``path``, by the name of the GGUF's weight.

    ``alpha``: what its header says (``adapter.lora.alpha``). Its scale is alpha / r (llama-adapter.h,
    llama_adapter_lora_weight::get_scale), 1 where there is no alpha.
    """
    tensors = GgufTensors(path)
    found = {}
    for name in tensors.places:
        if name.endswith(".lora_a"):
            a, b = tensors.read(name), tensors.read(f"{name.removesuffix('a')}b")
            rank = b.shape[1]
            found[name.removesuffix(".lora_a")] = Lora(a, b, alpha / rank if alpha else 1.0)
    return found

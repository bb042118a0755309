"""Compute what an adapter makes of its base's weights, as peft merges it, without torch."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pytest_modelgate.errors import SpecError
from pytest_modelgate.preflight.weights_tensors import Floats, Tensor, read_json, read_safetensors

__all__ = ["AdapterWeights", "Change", "LowRank", "NotComputableError", "read_adapter"]

_FILE, _CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."
_PARTS = re.compile(
    r"^(?P<module>.+?)\.(?P<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)"
    r"(?:\.(?P<end>weight|bias))?$"
)
_TOKENS = re.compile(r"^(?P<module>.+?)(?:\.token_adapter)?\.trainable_tokens_delta(?:\.\w+)?$")
_PLAIN_STARTS = {"true", "false", "none", "gaussian", "eva", "orthogonal", "mica"}
_OTHER_FORMS = (
    "fan_in_fan_out",
    "use_qalora",
    "use_bdlora",
    "layer_replication",
    "target_parameters",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
)


class NotComputableError(Exception):
    """Carry the reason why an adapter's weights cannot be computed here."""


class Change(Protocol):
    """Give what an adapter makes of one tensor of its base."""

    @property
    def n_rows(self) -> int:
        """Return the number of rows, which may be more than the base has."""

    def rows(self, start: int, stop: int, base: Floats) -> Floats:
        """Return rows of the changed tensor, given the same rows of the base, float32."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """
    Add ``scale · B·A``; with ``magnitude``, one for each output, as DoRA: rows get that length.

    ``a``: shape (rank, inputs); ``b``: shape (outputs, rank). Sources: LoRA (arXiv 2106.09685), DoRA (arXiv 2402.09353,
    equation 5). ``alpha`` and ``rslora`` tell how the scale came about.
    """

    a: Floats
    b: Floats
    scale: float
    alpha: float
    rslora: bool = False
    magnitude: Floats | None = None

    @property
    def n_rows(self) -> int:
        """Return the number of outputs."""
        return len(self.b)

    @property
    def rank(self) -> int:
        """Return the rank."""
        return len(self.a)

    def rows(self, start: int, stop: int, base: Floats) -> Floats:
        """Return rows of the changed tensor."""
        changed = base + np.float32(self.scale) * (self.b[start:stop] @ self.a)
        if self.magnitude is None:
            return changed
        norms = np.linalg.norm(changed, axis=1, keepdims=True)
        return np.asarray(changed * (self.magnitude[start:stop, None] / np.where(norms == 0, 1, norms)), np.float32)


@dataclass(frozen=True, slots=True)
class Whole:
    """Put a tensor that was trained whole in the place of the base's."""

    tensor: Tensor

    @property
    def n_rows(self) -> int:
        """Return the number of rows, which may be more than the base has."""
        return self.tensor.n_rows

    def rows(self, start: int, stop: int, base: Floats) -> Floats:  # noqa: ARG002
        """Return rows of the trained tensor."""
        return self.tensor.rows(start, stop)


@dataclass(frozen=True, slots=True)
class SomeRows:
    """Put trained rows in the place of the base's."""

    n_rows: int
    at: Mapping[int, Floats]

    def rows(self, start: int, stop: int, base: Floats) -> Floats:
        """Return rows, some of them replaced."""
        changed = base.copy()
        for row, values in self.at.items():
            if start <= row < stop:
                changed[row - start] = values
        return changed


@dataclass(frozen=True, slots=True)
class Added:
    """Add a trained bias to the base's."""

    values: Floats

    @property
    def n_rows(self) -> int:
        """Return the number of outputs."""
        return len(self.values)

    def rows(self, start: int, stop: int, base: Floats) -> Floats:
        """Return values, changed; a vector has one column."""
        return base + self.values[start:stop, None]


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """
    Hold an adapter's changes by the name of the base's tensor.

    ``unknown``: what its file holds that is not understood here. ``config``: its ``adapter_config.json``.
    """

    changes: Mapping[str, Change]
    config: Mapping[str, Any] = field(repr=False)
    unknown: tuple[str, ...] = ()


def read_adapter(folder: Path, base: Mapping[str, Tensor]) -> AdapterWeights:
    """
    Return the changes that an adapter makes to ``base``.

    Raises :class:`NotComputableError` for an adapter of another kind than LoRA, or whose base was changed at its start, and
    :class:`~pytest_modelgate.errors.SpecError` for damaged files.
    """
    config = read_json(folder / _CONFIG)
    _check_kind(config)
    if not (folder / _FILE).is_file():
        raise NotComputableError(f"{folder.name} holds no {_FILE}; pickled weights are not opened")
    tensors, _ = read_safetensors(folder / _FILE)
    parts: dict[str, dict[str, Tensor]] = {}
    changes: dict[str, Change] = {}
    unknown = []
    for name, tensor in tensors.items():
        own = name.removeprefix(_PREFIX)
        if match := _PARTS.match(own):
            part = match["part"] + (".bias" if match["end"] == "bias" else "")
            parts.setdefault(_plain(match["module"]), {})[part] = tensor
        elif match := _TOKENS.match(own):
            weight = _plain(match["module"]) + ".weight"
            changes[weight] = _token_rows(tensor, _plain(match["module"]), config, base.get(weight))
        elif (plain := _plain(own)).endswith((".weight", ".bias")) and ".lora_" not in plain:
            changes[plain] = Whole(tensor)
        else:
            unknown.append(own)
    for module, found in parts.items():
        unknown += _add_low_rank(module, found, config, changes)
    return AdapterWeights(changes, config, tuple(unknown))


def _check_kind(config: Mapping[str, Any]) -> None:
    """Refuse what is not computed here."""
    if config.get("peft_type", "LORA") != "LORA":
        raise NotComputableError(f"the adapter is {config['peft_type']!r}, and only LoRA is computed here")
    for name in _OTHER_FORMS:
        if config.get(name):
            raise NotComputableError(f"the adapter's {name} is not computed here")
    start = config.get("init_lora_weights", True)
    if str(start).lower() not in _PLAIN_STARTS:
        raise NotComputableError(f"its base was changed when the adapter was begun (init_lora_weights = {start!r})")


def _plain(name: str) -> str:
    """Return a module's or tensor's name without what peft wraps around it."""
    for wrapper in (".base_layer", ".modules_to_save", ".original_module"):
        name = re.sub(re.escape(wrapper) + r"(?:\.default)?(?=\.|$)", "", name)
    return name


def _add_low_rank(
    module: str, found: Mapping[str, Tensor], config: Mapping[str, Any], changes: dict[str, Change]
) -> list[str]:
    """Add a module's change; return what was not understood."""
    if {"lora_A", "lora_B"} <= found.keys():
        a, b = found["lora_A"].all(), found["lora_B"].all()
    elif {"lora_embedding_A", "lora_embedding_B"} <= found.keys():
        a, b = found["lora_embedding_B"].all().T, found["lora_embedding_A"].all().T
    else:
        return [f"{module}.{part}" for part in found]
    if a.shape[0] != b.shape[1]:
        raise SpecError(f"the adapter is damaged: A and B of {module} have ranks {a.shape[0]} and {b.shape[1]}")
    alpha, rslora = _alpha(module, config), bool(config.get("use_rslora"))
    rank = len(a)
    scale = alpha / (math.sqrt(rank) if rslora else rank)
    magnitude = found.get("lora_magnitude_vector")
    length = None if magnitude is None else magnitude.all().reshape(-1)
    changes[f"{module}.weight"] = LowRank(a, b, scale, alpha, rslora, length)
    if bias := found.get("lora_B.bias"):
        changes[f"{module}.bias"] = Added(np.float32(scale) * bias.all().reshape(-1))
    return []


def _alpha(module: str, config: Mapping[str, Any]) -> float:
    """Return a module's alpha: the first pattern that matches its name's end, as peft looks for it, else the common one."""
    patterns = config.get("alpha_pattern") or {}
    for pattern, alpha in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", module):
                return float(alpha)
        except (re.error, TypeError, ValueError):
            raise SpecError(f"adapter_config.json: alpha_pattern {pattern!r} cannot be used") from None
    try:
        return float(config["lora_alpha"])
    except (KeyError, TypeError, ValueError):
        raise SpecError("adapter_config.json: lora_alpha must be a number") from None


def _token_rows(tensor: Tensor, module: str, config: Mapping[str, Any], base: Tensor | None) -> SomeRows:
    """Return the rows of an embedding that were trained, by token."""
    given = config.get("trainable_token_indices")
    if isinstance(given, Mapping):
        given = next((ids for name, ids in given.items() if module.endswith(str(name))), None)
    if not isinstance(given, list) or len(given) != tensor.n_rows or base is None:
        raise NotComputableError("which tokens' embeddings were trained is not clear (trainable_token_indices)")
    values = tensor.all()
    return SomeRows(base.n_rows, {int(token): values[place] for place, token in enumerate(given)})

"""Write changed copies of GGUF files: other metadata, other weights, an adapter merged in, an adapter alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata
from numpy.typing import NDArray
from safetensors.numpy import load_file

Weights = NDArray[np.float32]
Change = Callable[[Weights], Weights]

_LAYERS = {
    **{f"self_attn.{hf}_proj": f"attn_{own}" for hf, own in (("q", "q"), ("k", "k"), ("v", "v"), ("o", "output"))},
    **{f"mlp.{name}_proj": f"ffn_{name}" for name in ("gate", "up", "down")},
}
_PREFIX = "base_model.model.model.layers."
_UINT32, _FLOAT32, _STRING = gguf.GGUFValueType.UINT32, gguf.GGUFValueType.FLOAT32, gguf.GGUFValueType.STRING


@dataclass(frozen=True, slots=True)
class Edit:
    """
    Say what a copy has otherwise than its source.

    ``values``: metadata, with the types that they had; ``added``: metadata of new keys; ``removed``: keys left out.
    ``tensors``: what to do with weights by name, as float32, shape (outputs, inputs); ``more``: weights that the source has
    not, written as float16.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    added: Mapping[str, Any] = field(default_factory=dict)
    removed: Sequence[str] = ()
    tensors: Mapping[str, Change] = field(default_factory=dict)
    more: Mapping[str, Weights] = field(default_factory=dict)


def edit(source: Path, target: Path, what: Edit) -> Path:
    """Copy the GGUF ``source`` with changes; weights that change must be F16 or F32. Returns ``target``."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, metadata(source, "general.architecture"))
    details = {}
    for key, value in what.values.items():
        types = reader.fields[key].types
        details[key] = MetadataDetails(types[0], value, sub_type=types[-1] if len(types) > 1 else None)
    for key, value in what.added.items():
        details[key] = MetadataDetails(_type_of(value), value)
    known = {tensor.name for tensor in reader.tensors}
    if missing := set(what.tensors) - known:
        raise KeyError(f"{source}: no tensor {min(missing)}")
    reader.tensors[:] = [_changed(tensor, what.tensors.get(tensor.name)) for tensor in reader.tensors]
    reader.tensors += [_new(name, weights, reader.tensors[0]) for name, weights in what.more.items()]
    copy_with_new_metadata(reader, writer, details, list(what.removed))
    return target


def _type_of(value: Any) -> gguf.GGUFValueType:
    """Return the type under which new metadata is written."""
    if isinstance(value, bool):
        return gguf.GGUFValueType.BOOL
    return {int: _UINT32, float: _FLOAT32, str: _STRING}[type(value)]


def _changed(tensor: Any, change: Change | None) -> Any:
    """Return an entry of a file with other weights, of the type that they had."""
    if change is None:
        return tensor
    data = change(np.asarray(tensor.data, np.float32).copy())
    return tensor._replace(data=np.ascontiguousarray(data.astype(tensor.data.dtype)))


def _new(name: str, weights: Weights, like: Any) -> Any:
    """Return an entry for weights that the file had not."""
    data = np.ascontiguousarray(weights.astype(np.float16))
    shape = np.array(data.shape[::-1], np.uint64)
    kind = gguf.GGMLQuantizationType.F16
    return like._replace(name=name, tensor_type=kind, shape=shape, n_elements=data.size, n_bytes=data.nbytes, data=data)


@cache
def metadata(path: Path, key: str) -> Any:
    """Return a value of a file's metadata."""
    return gguf.GGUFReader(path).fields[key].contents()


def weights(path: Path) -> dict[str, Weights]:
    """Return a file's weights as float32, quantised ones as they are computed with, shape (outputs, inputs)."""
    tensors = gguf.GGUFReader(path).tensors
    return {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in tensors}


def merged(base: Mapping[str, Weights], adapter: Path, *, scale: float | None = None) -> dict[str, Weights]:
    """Return a base's weights with an adapter's ``scale · B·A`` added; by default what its settings say."""
    factor = scale_of(adapter) if scale is None else scale
    deltas = {name: factor * (b @ a) for name, (a, b) in low_rank(adapter).items()}
    return {name: found + deltas[name] if name in deltas else found for name, found in base.items()}


def scale_of(adapter: Path) -> float:
    """Return the factor with which peft adds an adapter's common layers: alpha/r, or alpha/√r."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    rank: int = config["r"]
    return float(config["lora_alpha"] / (rank**0.5 if config["use_rslora"] else rank))


def low_rank(adapter: Path) -> dict[str, tuple[Weights, Weights]]:
    """Return an adapter's A, shape (rank, inputs), and B, shape (outputs, rank), by the name of the weights in a GGUF."""
    found = load_file(adapter / "adapter_model.safetensors")
    pairs = {}
    for name in found:
        layer, _, part = name.removeprefix(_PREFIX).rpartition(".lora_")
        if part == "A.weight":
            number, _, module = layer.partition(".")
            both = (found[name], found[name.replace(".lora_A.", ".lora_B.")])
            pairs[f"blk.{number}.{_LAYERS[module]}.weight"] = tuple(np.asarray(one, np.float32) for one in both)
    return pairs  # type: ignore[return-value]


def write_lora(adapter: Path, target: Path, *, architecture: str = "qwen2") -> Path:
    """
    Write an adapter as ``convert_lora_to_gguf.py`` writes it: A, B and alpha, and no other setting.

    So a scale of alpha/√r is lost here as it is lost there, without a word.
    """
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(target, architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(config["lora_alpha"]))
    for name, (a, b) in low_rank(adapter).items():
        writer.add_tensor(f"{name}.lora_a", np.ascontiguousarray(a))
        writer.add_tensor(f"{name}.lora_b", np.ascontiguousarray(b))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target

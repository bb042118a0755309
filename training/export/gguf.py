"""
Write GGUF files: the 16-bit ones by llama.cpp's converter, the quantised ones by llama.cpp itself.

Each is looked at before it gets its name: a name promises less than it says.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.errors import ModelgateError
from pytest_modelgate.gguf_file import GgufFacts, read_gguf_facts

from ..errors import StageError
from .converter import run_converter
from .tokenizer_files import one_template

_MOST_F16 = 65504.0  # the largest number that a float16 holds
_WHOLE = {"F32", "F16", "BF16"}
_EXPONENT = 0x7F80  # bits of a bfloat16; all set: infinite or no number


def convert(source: Path, target: Path, *, own_tokenizer: bool, dtype: str = "f16", vocab_only: bool = False) -> None:
    """
    Convert the Hugging Face folder ``source`` into the GGUF ``target``, in ``dtype``: f16 or bf16.

    Raises StageError for weights that do not fit float16, that are not finite or that are all zeros, and where the file
    does not hold the folder's chat template.
    """
    refuse_code(source)
    template = None if vocab_only else one_template(source)
    if not vocab_only:
        _check_range(source, dtype)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{target.name}")
    arguments = [str(source), "--outtype", dtype, *(["--vocab-only"] if vocab_only else [])]
    try:
        run_converter("convert_hf_to_gguf.py", partial, arguments, own_tokenizer=own_tokenizer)
        if not vocab_only:
            _check_converted(partial, template, dtype)
        partial.replace(target)  # a file under its final name is a whole file
    finally:
        partial.unlink(missing_ok=True)


def quantize(source: Path, target: Path, ftype: str, imatrix: Mapping[str, NDArray[np.float32]] | None = None) -> None:
    """
    Quantise a 16-bit GGUF with the llama.cpp that the gate runs.

    ``imatrix``: for each weight tensor by name, the importance of its columns, shape (columns,). Raises StageError for a
    source that is quantised already.
    """
    from pytest_modelgate.engines import llama
    from pytest_modelgate.errors import EngineError

    if quantised := sorted(set(read_facts(source).tensor_types) - _WHOLE):
        raise StageError(f"{source}: holds {quantised[0]} weights: what is quantised already is not quantised again; "
                         f"start from the f16 or bf16 file")  # fmt: skip
    try:
        llama.quantize(source, target, ftype, imatrix)
    except EngineError as error:
        raise StageError(str(error)) from error


def describe(path: Path) -> dict[str, Any]:
    """
    Return what a GGUF file holds.

    ``bytes``; ``quantization``, its label; ``bits_per_weight`` as stored; ``tensor_types``, how many tensors have each
    type; ``fallback_share``, as :func:`fallback_share` counts it. An adapter has no label.
    """
    try:
        facts = read_facts(path)
    except StageError:
        if (adapter := _describe_adapter(path)) is None:
            raise
        return adapter
    return {
        "bytes": facts.size_bytes,
        "quantization": facts.quantization,
        "bits_per_weight": round(facts.bits_per_weight, 2),
        "tensor_types": {name: use.count for name, use in sorted(facts.tensor_types.items())},
        "fallback_share": None if facts.fallback_share is None else round(facts.fallback_share, 4),
    }


def _describe_adapter(path: Path) -> dict[str, Any] | None:
    """Return what a LoRA file holds; None for any other file."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(str(path))
        kind = reader.fields["general.type"].contents()
    except (OSError, ValueError, KeyError, IndexError):
        return None
    if kind != "adapter":
        return None
    types = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    bits = 8 * sum(int(tensor.n_bytes) for tensor in reader.tensors)
    weights = max(1, sum(int(tensor.n_elements) for tensor in reader.tensors))
    return {
        "bytes": path.stat().st_size,
        "quantization": None,
        "bits_per_weight": round(bits / weights, 2),
        "tensor_types": dict(sorted(types.items())),
        "fallback_share": None,
    }


def fallback_share(path: Path, wanted: str) -> float:
    """
    Return the share (0 to 1) of the matrices' weights whose type is none that ``wanted`` gives where nothing stands in the way.

    A row whose length 256 does not divide cannot be a k-quant, and gets a larger type: "Q4_K_M" of a 0.5B Qwen is mostly
    Q5_0. Raises StageError for a file that is labelled otherwise.
    """
    facts = read_facts(path)
    if facts.quantization != wanted or facts.fallback_share is None:
        raise StageError(f"{path}: is labelled {facts.quantization}, not {wanted}")
    return facts.fallback_share


def summary(name: str, found: Mapping[str, Any]) -> str:
    """Return one line about what :func:`describe` found."""
    types = ", ".join(f"{count} {kind}" for kind, count in found["tensor_types"].items())
    share = found["fallback_share"] or 0.0
    fallback = f"; {share:.0%} of the weights fell back to other types than {found['quantization']}'s" if share else ""
    return f"{name} {found['bytes'] / 1e6:.2f} MB, {found['bits_per_weight']} bits per weight ({types}){fallback}"


def read_facts(path: Path) -> GgufFacts:
    """Return what a GGUF file's header says; raise StageError for one that cannot be used."""
    try:
        return read_gguf_facts(path)
    except ModelgateError as error:
        raise StageError(str(error)) from error


def refuse_code(source: Path) -> None:
    """Raise if the folder asks for Python code of its own to be run: the converter would run it."""
    for name in ("config.json", "tokenizer_config.json"):
        path = source / name
        if path.is_file() and "auto_map" in json.loads(path.read_text(encoding="utf-8")):
            raise StageError(f"{path}: asks for code of its own to be run (auto_map), which is never done here")


def require_finite(path: Path) -> int:
    """Raise unless every number of a 16- or 32-bit GGUF is finite and no matrix is all zeros; return the tensor count."""
    from gguf import GGUFReader

    tensors = GGUFReader(str(path)).tensors
    for tensor in tensors:
        kind, data = tensor.tensor_type.name, np.asarray(tensor.data)
        if kind not in _WHOLE:
            raise StageError(f"{path}: {tensor.name} is {kind}, neither 16 nor 32 bits wide")
        if kind == "BF16":
            bits = data.view(np.uint16) & 0x7FFF
            finite, zero = bool((bits < _EXPONENT).all()), not bits.any()
        else:
            finite, zero = bool(np.isfinite(data).all()), not data.any()
        if not finite:
            raise StageError(f"{path}: {tensor.name} holds values that are not finite numbers")
        if zero and len(tensor.shape) > 1:
            raise StageError(f"{path}: {tensor.name} is all zeros")
    return len(tensors)


def _check_range(source: Path, dtype: str) -> None:
    """Raise for weights that are not finite, or too large for float16 where that is wanted."""
    from safetensors import safe_open

    for path in sorted(source.glob("*.safetensors")):
        with safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                weight = file.get_tensor(name)
                if not weight.is_floating_point() or not weight.numel():
                    continue
                largest = float(weight.abs().max())
                if not np.isfinite(largest):
                    raise StageError(f"{path}: {name} holds values that are not finite numbers")
                if dtype == "f16" and largest > _MOST_F16:
                    raise StageError(f"{path}: {name} holds {largest:.4g}, more than the {_MOST_F16:.0f} of a float16: "
                                     f"set export.dtype to bf16")  # fmt: skip


def _check_converted(path: Path, template: str | None, dtype: str) -> None:
    """Raise if a converted file is not what was asked for."""
    facts = read_facts(path)
    if facts.quantization != dtype.upper():
        raise StageError(f"{path}: the converter wrote {facts.quantization}, asked for was {dtype}")
    if facts.chat_template != template:
        raise StageError(f"{path}: holds another chat template than the folder that it was made of: "
                         f"{(facts.chat_template or '')[:60]!r}, not {(template or '')[:60]!r}")  # fmt: skip
    require_finite(path)

"""
Merge the adapter into the unquantised base that it was trained on.

Never into the 4-bit model that was trained: bitsandbytes may have repacked its weights, and a merge then writes garbage
without an error. The base is loaded again, in full precision.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_modelgate.adapter_lint import lint_merge

from ..errors import StageError
from ..tuning.loading import count_weights, load_model, load_tokenizer
from .base_record import check_base, read_adapter_config
from .tokenizer_files import CORPUS, check_tokenizer, copy_tokenizer, one_template

_LARGE = 2_000_000_000  # weights: above it float32 does not fit a small machine, and bfloat16 is what it was made in
_MOST_DRIFT = {"float32": 1e-5, "bfloat16": 1e-3}
"""Normalised mean squared error of the merged model's logits from the adapter's, beyond which the merge went wrong."""

_PREFIX = "base_model.model."


def merge_adapter(base: Path, adapter: Path, folder: Path) -> dict[str, Any]:
    """
    Write the merged model with its tokenizer into ``folder``, which appears when it is whole.

    Raises StageError for an adapter of another base, one that was never trained, and a merge that does not compute what
    the adapter does. Returns the dtype, how many tensors changed, how the base was recognised, and the drift: the
    normalised mean squared error of the merged model's logits from those of base and adapter.
    """
    import torch

    one_template(base)
    known_by = check_base(adapter, base)
    config = read_adapter_config(adapter)
    large = count_weights(base) > _LARGE
    model = load_model(base, dtype=torch.bfloat16 if large else torch.float32)
    tied = bool(getattr(model.config.get_text_config(), "tie_word_embeddings", False))
    if findings := lint_merge(config, tied=tied):
        raise StageError(f"{adapter}: cannot be merged: {'; '.join(map(str, findings))}")
    before = _digests(model)
    with_adapter = _load_adapter(model, adapter, base)
    refuse_quantised(with_adapter)
    ids = _probe(base, model)
    wanted = _logits(with_adapter, ids)
    merged = with_adapter.merge_and_unload(safe_merge=True)
    changed = _check(merged, before)
    dtype = str(next(merged.parameters()).dtype).removeprefix("torch.")
    drift = _error(_logits(merged, ids), wanted)
    if not drift <= _MOST_DRIFT[dtype]:
        raise StageError(f"{adapter}: merged, it answers otherwise than beside its base: normalised mean squared error "
                         f"{drift:.1e} of the logits, at most {_MOST_DRIFT[dtype]:.0e} in {dtype}")  # fmt: skip
    _write(merged, base, folder)
    return {"dtype": dtype, "changed_tensors": changed, "base_known_by": known_by, "drift": float(f"{drift:.1e}")}


def refuse_quantised(model: Any) -> None:
    """Raise if any module holds bitsandbytes weights."""
    for name, module in model.named_modules():
        if type(module).__module__.startswith("bitsandbytes") or "4bit" in type(module).__name__.lower():
            raise StageError(f"refused to merge: {name} is quantised ({type(module).__name__}); merge the 16-bit base")


def check_weights(adapter: Path, shapes: Mapping[str, tuple[int, ...] | None], base: Path) -> None:
    """
    Raise unless the adapter's matrices fit the base and hold something.

    ``shapes``: those of the base's weights by layer, (outputs, inputs), None for a layer that is no matrix. Every layer that the adapter has must be in the
    base, its A must be (rank, inputs), its B (outputs, rank) and not all zeros, and all must be finite.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    path = adapter / "adapter_model.safetensors"
    try:
        with safe_open(str(path), framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (OSError, SafetensorError) as error:
        raise StageError(f"{path}: not readable: {error}") from None
    if not weights:
        raise StageError(f"{path}: holds no weights")
    untrained = []
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise StageError(f"{path}: {name} holds values that are not finite numbers")
        layer, _, part = name.removeprefix(_PREFIX).rpartition(".lora_")
        if part not in {"A.weight", "B.weight"}:
            continue
        if layer not in shapes:
            raise StageError(f"{path}: belongs to another base than {base}, which has no layer {layer}")
        shape, axis = shapes[layer], int(part[0] == "A")
        if shape is not None and (here := weight.shape[axis]) != (there := shape[axis]):
            raise StageError(f"{path}: belongs to another base than {base}: {layer} has {here} "
                             f"{'inputs' if axis else 'outputs'} here, {there} there")  # fmt: skip
        if part[0] == "B" and not weight.any():
            untrained.append(layer)
    if untrained:
        raise StageError(f"{path}: lora_B is all zeros in {len(untrained)} layers, first in {untrained[0]}: it was not "
                         f"trained there, and merging changes nothing")  # fmt: skip


def _load_adapter(model: Any, adapter: Path, base: Path) -> Any:
    """Return base and adapter as one, with every weight of the adapter in its place; peft only warns where one is not."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    check_weights(adapter, {name: _shape(module) for name, module in model.named_modules()}, base)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # an error below
            with_adapter = PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise StageError(f"{adapter}: does not fit {base}: {_first_line(error)}") from error
    wanted = set(get_peft_model_state_dict(with_adapter, save_embedding_layers=False))
    with safe_open(str(adapter / "adapter_model.safetensors"), framework="pt") as file:
        found = {name for name in file.keys() if ".base_layer." not in name}  # noqa: SIM118  (no mapping)
    for names, what in ((wanted - found, "lacks"), (found - wanted, "holds, beside what its settings ask for,")):
        if names:
            raise StageError(f"{adapter}: belongs to another base than {base}, or is damaged: it {what} "
                             f"{min(names)} and {len(names) - 1} more weights")  # fmt: skip
    return with_adapter.eval()


def _shape(module: Any) -> tuple[int, ...] | None:
    """Return outputs and inputs of a layer that is one matrix."""
    weight = getattr(module, "weight", None)
    if weight is None or weight.ndim != 2:  # noqa: PLR2004  (a matrix)
        return None
    shape = tuple(weight.shape)
    return shape[::-1] if type(module).__name__ == "Conv1D" else shape


def _digests(model: Any) -> dict[str, bytes]:
    """Return a hash of each weight: a copy of them all would double the memory."""
    import torch

    return {
        name: hashlib.blake2b(weight.detach().reshape(-1).view(torch.uint8).numpy().data).digest()
        for name, weight in model.named_parameters()
    }


def _check(merged: Any, before: dict[str, bytes]) -> int:
    """Raise unless every weight is finite and the adapter changed something; return how many tensors it changed."""
    import torch

    for name, weight in merged.named_parameters():
        if not torch.isfinite(weight).all():
            raise StageError(f"the merged weight {name} holds values that are not finite numbers")
    changed = sum(before.get(name) != digest for name, digest in _digests(merged).items())
    if not changed:
        raise StageError("the adapter changed no weight: was it trained, and for this base?")
    return changed


def _probe(base: Path, model: Any) -> Any:
    """Return token ids on which two models are compared, shape (1, at most 128)."""
    import torch

    tokenizer = load_tokenizer(base)
    ids = tokenizer(" ".join(CORPUS), add_special_tokens=False)["input_ids"]
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", 128)
    return torch.tensor([ids[: min(128, longest)]])


def _logits(model: Any, ids: Any) -> Any:
    """Return the logits for ``ids``, shape (tokens, vocabulary), in double precision."""
    import torch

    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits[0].double()


def _error(got: Any, wanted: Any) -> float:
    """Return the mean squared error of ``got``, in units of the variance of ``wanted``."""
    return float(((got - wanted) ** 2).mean() / wanted.var().clamp_min(1e-30))


def _write(merged: Any, base: Path, folder: Path) -> None:
    """Write weights, settings and tokenizer beside ``folder``, look at them, and put them in its place."""
    partial, old = (folder.with_name(f".{kind}-{folder.name}") for kind in ("partial", "old"))
    for path in (partial, old):
        shutil.rmtree(path, ignore_errors=True)
    try:
        merged.save_pretrained(str(partial))
        copy_tokenizer(base, partial)
        if (base / "generation_config.json").is_file():
            shutil.copyfile(base / "generation_config.json", partial / "generation_config.json")
        check_tokenizer(base, partial)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    """Return the beginning of a library's error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300]

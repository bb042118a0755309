"""
Measure how much each column of a weight matrix matters, for quantising: the mean squared input of its layer.

A rounding error in column j of a matrix reaches the output times x_j, so its mean square there is in proportion to the mean of
x_j squared. llama.cpp's quantiser takes these means as weights of the errors. They are measured here on the merged model
in Hugging Face's form, because llama.cpp's own program for it is in no Python package; the file that is written is that
program's (tools/imatrix/imatrix.cpp of the llama.cpp in llama-cpp-python 0.3.36).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..errors import StageError
from ..tuning.loading import count_weights, load_model

_LARGE = 2_000_000_000  # weights: above it float32 does not fit a small machine
_WHOLE = {"F16", "BF16", "F32"}


@dataclass(slots=True)
class Importance:
    """
    Hold sums of squared inputs by the name of the weight in GGUF, shape (columns,), and over how many tokens.

    ``chunks``: passes through the model; ``chunk_size``: their greatest length in tokens.
    """

    sums: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    chunks: int = 0
    chunk_size: int = 0

    @property
    def tokens(self) -> int:
        """Return how many tokens were read."""
        return max(self.counts.values(), default=0)

    def means(self) -> dict[str, NDArray[np.float32]]:
        """Return the mean squared inputs, shape (columns,), by the name of the weight."""
        return {name: (total / self.counts[name]).astype(np.float32) for name, total in self.sums.items()}


def measure(folder: Path, gguf: Path, tokenizer: Any, texts: Sequence[str], longest: int) -> Importance:
    """
    Read ``texts`` with the model in ``folder``; return the importance of each weight of ``gguf``, made of the same model.

    A text of more than ``longest`` tokens is read in pieces. Output layer and embedding are left out, as llama.cpp does.
    Raises StageError where a matrix of the GGUF would be left without importance: it would be quantised without a word.
    """
    import torch

    large = count_weights(folder) > _LARGE
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(folder, dtype=torch.bfloat16 if large else torch.float32).to(device).eval()
    found = Importance(chunk_size=longest)
    with _listening(model, _names(model, gguf), found), torch.inference_mode():
        for text in tqdm(texts, desc="importance", unit="row", leave=False):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            for start in range(0, len(ids), longest):
                model(input_ids=torch.tensor([ids[start : start + longest]], device=device), use_cache=False)
                found.chunks += 1
    _require_all(found, gguf)
    return found


def write_imatrix(target: Path, found: Importance, datasets: Sequence[str]) -> None:
    """Write an importance matrix as llama.cpp's own programs do and read it; ``datasets`` names the texts' files."""
    import gguf

    class Writer(gguf.GGUFWriter):  # type: ignore[misc]  # gguf has no types
        """Write a GGUF that is no model, so of no architecture."""

        def add_architecture(self) -> None:
            """Write nothing."""

    partial = target.with_name(f".partial-{target.name}")
    writer = Writer(partial, "")
    writer.add_type(gguf.GGUFType.IMATRIX)
    writer.add_array(gguf.Keys.IMatrix.DATASETS, list(datasets))
    writer.add_uint32(gguf.Keys.IMatrix.CHUNK_COUNT, found.chunks)
    writer.add_uint32(gguf.Keys.IMatrix.CHUNK_SIZE, found.chunk_size)
    for name in sorted(found.sums):
        writer.add_tensor(f"{name}.in_sum2", found.sums[name].astype(np.float32)[None, :])
        writer.add_tensor(f"{name}.counts", np.array([[found.counts[name]]], np.float32))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _listening(model: Any, names: dict[str, str], found: Importance) -> Iterator[None]:
    """Add up the squared inputs of the named layers while the block runs."""
    import torch

    def listener(name: str) -> Any:
        def listen(_: Any, inputs: tuple[Any, ...]) -> None:
            rows = inputs[0].detach().reshape(-1, inputs[0].shape[-1]).to(torch.float32)
            total = (rows * rows).sum(0, dtype=torch.float64).cpu().numpy()
            found.sums[name] = found.sums[name] + total if name in found.sums else total
            found.counts[name] = found.counts.get(name, 0) + len(rows)

        return listen

    hooks = [
        module.register_forward_pre_hook(listener(names[layer]))
        for layer, module in model.named_modules()
        if layer in names
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _names(model: Any, path: Path) -> dict[str, str]:
    """Return, for each linear layer inside the blocks, what its weight is called in GGUF."""
    import gguf
    import torch

    from .gguf import read_facts

    architecture = read_facts(path).architecture
    known = {name: number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    if architecture not in known:
        raise StageError(f"{path}: the gguf package does not know the architecture {architecture!r}: no imatrix for it")
    names = gguf.get_tensor_name_map(known[architecture], model.config.get_text_config().num_hidden_layers)
    linear = [layer for layer, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    mapped = {layer: names.get_name(layer) for layer in linear}
    return {layer: f"{name}.weight" for layer, name in mapped.items() if name and name.startswith("blk.")}


def _require_all(found: Importance, path: Path) -> None:
    """Raise unless every matrix inside the blocks has an importance for each of its columns, and all are finite."""
    from gguf import GGUFReader

    for tensor in GGUFReader(str(path)).tensors:
        is_matrix = len(tensor.shape) > 1 and tensor.tensor_type.name in _WHOLE - {"F32"}
        if not is_matrix or not tensor.name.startswith("blk."):
            continue
        total, columns = found.sums.get(tensor.name), int(tensor.shape[0])
        if total is None or len(total) != columns or len(tensor.shape) > 2:  # noqa: PLR2004  (a matrix)
            raise StageError(f"no importance was measured for {tensor.name} ({columns} columns, "
                             f"{0 if total is None else len(total)} measured): export.imatrix does not know this kind of "
                             f"model; leave it out")  # fmt: skip
        if not np.isfinite(total).all():
            raise StageError(f"the importance of {tensor.name} is not finite")

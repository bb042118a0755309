"""Make a base that never saw the token that ends a turn, as when ChatML's tokens were added to it just now."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

EMBEDDING, END, SEED = "model.embed_tokens.weight", 2, 43


def base_that_never_saw_the_end(base: Path, folder: Path) -> Path:
    """Copy ``base`` into ``folder`` with the row of ``<|im_end|>`` drawn anew, as wide as the other rows; return it."""
    shutil.copytree(base, folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights[EMBEDDING] = with_random_row(weights[EMBEDDING], END, SEED)
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def with_random_row(embedding: NDArray[Any], row: int, seed: int) -> NDArray[Any]:
    """Return an embedding, shape (vocabulary, width), with one row drawn anew, as wide as the others are."""
    wide = float(embedding.astype(np.float32).std())
    drawn = np.random.default_rng(seed).normal(0.0, wide, size=(embedding.shape[1],))
    changed = embedding.copy()
    changed[row] = drawn.astype(embedding.dtype)
    return changed

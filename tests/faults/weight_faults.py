"""Damage weights and the settings that they are computed with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.faults import gguf_faults
from tests.faults.candidate import BrokenCandidate, GoodCandidate
from tests.faults.gguf_edit import Edit, Weights, edit, metadata
from tests.faults.unseen_end import with_random_row

EMBEDDING, START_OF_TURN = "token_embd.weight", 1


def embedding_zeroed(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Zero the embedding, which is the output layer too."""
    return good.broken(good.exported(folder, _with(good, EMBEDDING, np.zeros_like)), "F16")


def layer_zeroed(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Zero the matrices of the last layer."""
    found = {
        name: np.zeros_like(one) if name.startswith("blk.1.") and one.ndim > 1 else one
        for name, one in good.weights.items()
    }
    return good.broken(good.exported(folder, found), "F16")


def head_permuted(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Swap the queries of two attention heads that look at different keys."""
    size = _head_size(good)

    def swapped(found: Weights) -> Weights:
        rows = np.arange(len(found))
        rows[:size], rows[2 * size : 3 * size] = rows[2 * size : 3 * size].copy(), rows[:size].copy()
        return found[rows]

    return good.broken(good.exported(folder, _with(good, "blk.0.attn_q.weight", swapped)), "F13")


def embedding_rows_swapped(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Swap the embeddings of two frequent tokens."""
    tokens = list(metadata(good.f16, "tokenizer.ggml.tokens"))
    one, two = tokens.index("high"), tokens.index("low")

    def swapped(found: Weights) -> Weights:
        found = found.copy()
        found[[one, two]] = found[[two, one]]
        return found

    return good.broken(good.exported(folder, _with(good, EMBEDDING, swapped)), "F08", "F13", "F16")


def added_token_random(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Lose the trained embedding of an added token: its row is as it was drawn."""
    found = _with(good, EMBEDDING, lambda one: with_random_row(one, START_OF_TURN, 53))
    return good.broken(good.exported(folder, found), "F08")


def output_not_tied(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Ship an output layer of its own, another than the embedding that the training shared with it."""
    embedding = good.weights[EMBEDDING]
    noise = np.random.default_rng(59).normal(0.0, float(embedding.std()), embedding.shape)
    more = {"output.weight": (embedding + noise).astype(np.float32)}
    return good.broken(edit(good.f16, folder / good.f16.name, Edit(more=more)), "F10")


def nan_in_a_tensor(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Write one weight that is not a number."""
    return good.broken(good.exported(folder, _with(good, "blk.0.ffn_up.weight", _putting(np.nan)), "F16"), "F16")


def overflow(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Write one weight that is infinite: it was too large for float16."""
    return good.broken(good.exported(folder, _with(good, "blk.1.ffn_down.weight", _putting(np.inf)), "F16"), "F16")


def rope_base_changed(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Give the rotation another base, that of a later model of the family."""
    return good.broken(good.edited(folder, Edit({"qwen2.rope.freq_base": 1_000_000.0})), "F15")


def rope_scaled(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Stretch positions by four, as for contexts longer than the training's."""
    added = {"qwen2.rope.scaling.type": "linear", "qwen2.rope.scaling.factor": 4.0}
    return good.broken(good.edited(folder, Edit(added=added)), "F15")


def context_cut(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Say that the model was trained on 128 tokens at most."""
    return good.broken(good.edited(folder, Edit({"qwen2.context_length": 128})), "F15")


def norm_epsilon_wrong(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Compute the norms with another family's epsilon."""
    return good.broken(good.edited(folder, Edit({"qwen2.attention.layer_norm_rms_epsilon": 1e-5})), "F15")


def truncated(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Cut the file off while it is copied."""
    gguf = gguf_faults.truncated(good.q8_0, folder / good.q8_0.name)
    return good.broken(gguf, "F25", manifest=good.manifest)


def _with(good: GoodCandidate, name: str, change: object) -> dict[str, Weights]:
    """Return the candidate's weights, of which one tensor is changed."""
    return {**good.weights, name: change(good.weights[name].copy())}  # type: ignore[operator]


def _putting(value: float) -> object:
    """Return what puts one value among others."""

    def put(found: Weights) -> Weights:
        found[7, 11] = value
        return found

    return put


def _head_size(good: GoodCandidate) -> int:
    return int(metadata(good.f16, "qwen2.embedding_length") // metadata(good.f16, "qwen2.attention.head_count"))

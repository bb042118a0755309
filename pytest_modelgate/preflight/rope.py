"""Compare how a GGUF computes positions with the config.json of the model that it was made from."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_modelgate.gguf_file import GgufHeader
from pytest_modelgate.preflight.check import Finding
from pytest_modelgate.preflight.hf_config import HfConfig, Rope

__all__ = ["compare_rope"]

_FREQ_BASE = 10_000.0
"""What llama.cpp takes where a header names no base of the rotation (``src/llama-model.cpp``)."""

_IN_TENSORS = {"llama3": ("rope_freqs.weight",), "longrope": ("rope_factors_long.weight", "rope_factors_short.weight")}
"""Kinds of stretching that a converter writes as tensors, not into the header."""


def compare_rope(header: GgufHeader, config: HfConfig, n_ctx: int) -> Iterator[Finding]:
    """
    Yield each difference in rotation, stretching and window.

    ``n_ctx``: the context that is served, in tokens; a window that is at least as wide is not felt.
    """
    rope = config.rope
    if rope is not None:
        ours = float(header.value("rope.freq_base", _FREQ_BASE))
        if not math.isclose(ours, rope.theta, rel_tol=1e-4):
            yield Finding(
                "failed", f"base of the rotation (rope.freq_base): the file says {ours:g}, config.json {rope.theta:g}"
            )
        yield from _scaling(header, rope)
        yield from _turned(header, config)
    yield from _window(header, config.window, n_ctx)


def _scaling(header: GgufHeader, rope: Rope) -> Iterator[Finding]:
    """Yield how positions are stretched where that differs."""
    kind = str(header.value("rope.scaling.type", "none"))
    factor = header.value("rope.scaling.factor", header.value("rope.scale_linear"))
    if kind == "none" and factor not in {None, 0.0, 1.0}:
        kind = "linear"  # an older header names the factor alone
    if rope.kind in _IN_TENSORS:
        if missing := [name for name in _IN_TENSORS[rope.kind] if not _has(header, name)]:
            told = (
                f"config.json stretches positions ({rope.kind}), and the file lacks the factors for it ({missing[0]})"
            )
            yield Finding("failed", told)
        return
    if rope.kind not in {"none", "linear", "yarn"}:
        yield Finding("not checked", f"config.json stretches positions in a way that is not known here ({rope.kind})")
        return
    if kind != rope.kind:
        yield Finding(
            "failed", f"stretching of positions (rope.scaling.type): the file says {kind}, config.json {rope.kind}"
        )
        return
    if rope.kind != "none" and rope.factor is not None and (factor is None or not math.isclose(factor, rope.factor)):
        told = f"factor of stretching (rope.scaling.factor): the file says {factor}, config.json {rope.factor:g}"
        yield Finding("failed", told)
    original = header.value("rope.scaling.original_context_length")
    if rope.kind == "yarn" and rope.original is not None and original != rope.original:
        told = f"context before stretching (rope.scaling.original_context_length): the file says {original}"
        yield Finding("failed", f"{told}, config.json {rope.original}")


def _turned(header: GgufHeader, config: HfConfig) -> Iterator[Finding]:
    """Yield how much of a head is turned where that differs."""
    told, size, share = header.value("rope.dimension_count"), config.head_size, config.first("partial_rotary_factor")
    if told is None or size is None or config.first("kv_lora_rank", "global_head_dim", "qk_rope_head_dim") is not None:
        return
    share = share if share is not None else (config.first("rope_parameters") or {}).get("partial_rotary_factor", 1.0)
    if isinstance(share, int | float) and told != int(size * share):
        wanted = int(size * share)
        yield Finding(
            "failed", f"turned part of a head (rope.dimension_count): the file says {told}, config.json {wanted}"
        )


def _window(header: GgufHeader, theirs: int | None, n_ctx: int) -> Iterator[Finding]:
    """Yield the sliding window where it differs."""
    ours = header.value("attention.sliding_window") or None
    if ours == theirs:
        return
    if ours is None and theirs is not None:
        if theirs < n_ctx:
            told = f"config.json has attention over the last {theirs} tokens alone, the file over all"
            yield Finding("warned", f"{told}: prompts beyond that are read otherwise (the context served is {n_ctx})")
        return
    told = f"sliding window (attention.sliding_window): the file says {ours}, config.json {theirs or 'none'}"
    yield Finding("failed", told)


def _has(header: GgufHeader, name: str) -> bool:
    """Say whether a tensor is there, for the whole model or for its layers."""
    return any(one == name or one.endswith(f".{name}") for one in header.tensors)

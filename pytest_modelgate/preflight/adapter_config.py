"""Say what of an adapter gets lost on the way on which it became the target, by its settings and the LoRA file's header."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_modelgate.adapter_lint import lint_merge, lint_runtime_lora
from pytest_modelgate.gguf_file import GgufHeader
from pytest_modelgate.preflight.check import Artifact, CheckOutcome, Finding, Subject
from pytest_modelgate.preflight.hf_config import read_config
from pytest_modelgate.preflight.metadata import adapter_settings, header_of, model_folder

__all__ = ["adapter_config"]


def adapter_config(subject: Subject) -> Iterator[Finding]:
    """Look through every setting of the adapter, for a merge, or for a LoRA file that llama.cpp applies beside the base."""
    target, lora = subject.target, subject.target.lora
    adapter = _adapter(subject)
    if adapter is None or (config := adapter_settings(adapter)) is None:
        yield from _alone(lora)
        return
    tied = _is_tied(adapter)
    if lora is None:
        outcome: CheckOutcome = "failed" if target.kind == "gguf" else "warned"
        for one in lint_merge(config, tied=tied):
            yield Finding(outcome, str(one), mode=one.mode)
        yield Finding("passed", "a merge keeps everything that the adapter's settings name")
        return
    header = header_of(lora)
    keeps_scale = _scale_is_kept(header, config)
    for one in lint_runtime_lora(config, tied=tied):
        if not (one.setting.startswith("use_rslora") and keeps_scale):
            yield Finding("failed", str(one), mode=one.mode)
    yield from _numbers(header, config, lora.name, keeps_scale=keeps_scale)
    yield Finding("passed", "llama.cpp applies everything that the adapter's settings name, with their scale")


def _adapter(subject: Subject) -> Artifact | None:
    """Return the adapter that the target is, or was made from."""
    return next((one for one in (subject.target, *subject.chain) if one.kind == "adapter"), None)


def _alone(lora: Path | None) -> Iterator[Finding]:
    """Look at a LoRA file without the adapter that it was made from."""
    if lora is not None and not isinstance(header_of(lora).values.get("adapter.lora.alpha"), float):
        yield Finding(
            "failed", f"{lora.name}: names no alpha (adapter.lora.alpha): llama.cpp applies it at full strength"
        )
    yield Finding(
        "not checked", "the reference is no adapter: what got lost of one cannot be told (--reference ADAPTER)"
    )


def _is_tied(adapter: Artifact) -> bool:
    """Say whether the adapter's base ties its embeddings; one of which nobody knows is taken as tied."""
    base = model_folder(adapter)
    return base is None or read_config(base).ties_embeddings is not False


def _scale_is_kept(header: GgufHeader, config: Mapping[str, Any]) -> bool:
    """Say whether alpha in the file makes up for rsLoRA: alpha·√r, so that llama.cpp's alpha/r is alpha/√r."""
    alpha, rank = header.values.get("adapter.lora.alpha"), config.get("r")
    if not isinstance(alpha, int | float) or not isinstance(rank, int) or rank < 1:
        return False
    wanted = float(config.get("lora_alpha", 0)) * (math.sqrt(rank) if config.get("use_rslora") else 1.0)
    return math.isclose(alpha, wanted, rel_tol=1e-4)


def _numbers(header: GgufHeader, config: Mapping[str, Any], name: str, *, keeps_scale: bool) -> Iterator[Finding]:
    """Yield where rank and alpha of the file are not the adapter's."""
    kind = header.values.get("adapter.type")
    if header.values.get("general.type") != "adapter" or kind != "lora":
        yield Finding("failed", f"{name}: is no LoRA file (general.type and adapter.type)")
        return
    alpha = header.values.get("adapter.lora.alpha")
    if not keeps_scale and not config.get("use_rslora"):
        yield Finding("failed", f"{name}: its alpha is {alpha}, the adapter's lora_alpha {config.get('lora_alpha')}")
    ranks = {one.dims[-1] for key, one in header.tensors.items() if key.endswith(".lora_a")}
    patterns = config.get("rank_pattern") or {}
    known = {config.get("r"), *(patterns.values() if isinstance(patterns, dict) else ())}
    if not ranks:
        yield Finding("failed", f"{name}: holds no layer of an adapter", mode="F11")
    elif strange := sorted(ranks - known):
        yield Finding("failed", f"{name}: has layers of rank {strange[0]}, the adapter's r is {config.get('r')}")

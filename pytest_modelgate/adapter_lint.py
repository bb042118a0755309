"""
Say what of a LoRA adapter gets lost on its way into a GGUF, by its ``adapter_config.json`` alone.

llama.cpp applies a LoRA file as ``alpha / rank · B·A`` beside the base, and its converter writes no more than A, B and
alpha. Some of what peft can train is refused there, and some is left out without a word (read in ``convert_lora_to_gguf.py``
and ``src/llama-adapter.cpp`` of the llama.cpp that belongs to llama-cpp-python 0.3.36). A merge goes through peft and
keeps nearly all of it.

A setting that is not known here is a finding too: nobody can say that it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Finding", "lint_merge", "lint_runtime_lora"]

_MERGE = "merge the adapter into its base instead"
_UNTIE = "train other layers, or set ensure_weight_tying"
_TIED_LAYERS = ("lm_head", "embed_tokens")

_PLAIN_STARTS = {"true", "false", "none", "gaussian", "eva", "orthogonal", "mica"}
"""Ways to draw an adapter's first weights that leave the base as it is; the others subtract something from it."""

_LOST: dict[str, tuple[str, str]] = {
    "use_rslora": ("the scale alpha/√r becomes alpha/r, √r times too weak", _MERGE),
    "alpha_pattern": ("layers with a scale of their own get the common one", _MERGE),
    "use_dora": ("the learned magnitudes", _MERGE),
    "modules_to_save": ("layers that were trained whole", _MERGE),
    "trainable_token_indices": ("the trained rows of the embedding", _MERGE),
    "lora_bias": ("the learned biases", _MERGE),
    "target_parameters": ("adapters of parameters that are no layers, such as fused experts", _MERGE),
    "layer_replication": ("the base that the adapter belongs to has repeated layers, the GGUF has not", _MERGE),
    "fan_in_fan_out": (
        "the base's layers lie transposed, and the adapter would be applied the wrong way round",
        _MERGE,
    ),
    "alora_invocation_tokens": ("it would work from the first token on, not from its invocation on", _MERGE),
    "use_qalora": ("the pooling of the input", _MERGE),
    "use_bdlora": ("the block-diagonal form", _MERGE),
    "arrow_config": ("the routing between adapters", "export one of the adapters"),
    "kasa_config": ("the learned singular values", _MERGE),
    "monteclora_config": ("the sampled part of the weights", _MERGE),
    "velora_config": ("nothing that is known, but nobody has tried it", _MERGE),
}
"""Settings of peft 0.21 that a LoRA file for llama.cpp does not carry: what is lost, and the way out."""

_KEPT = {
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
    *("inference_mode", "r", "lora_alpha", "lora_dropout", "rank_pattern", "bias", "init_lora_weights"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "ensure_weight_tying"),
    *("megatron_config", "megatron_core", "qalora_group_size", "runtime_config"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "modules_to_tie", "target_modules_to_tie"),
}
"""Settings that a LoRA file carries, or that say nothing about what was learned, or that are looked at on their own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Hold one thing that gets lost: the setting with its value, what of it is lost, and what to do instead.

    ``mode`` is the failure mode's number in this project's list (F10, F12).
    """

    mode: str
    setting: str
    lost: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.setting}: lost is {self.lost}; {self.way_out}"


def lint_runtime_lora(config: Mapping[str, Any], *, tied: bool) -> list[Finding]:
    """
    Return what llama.cpp would not apply of an adapter that is given to it as a LoRA file.

    ``config``: what ``adapter_config.json`` says. ``tied``: the base's output layer is its embedding
    (``tie_word_embeddings``).
    """
    found = list(_base_changed(config))
    if config.get("peft_type", "LORA") != "LORA":
        return [_finding("F12", config, "peft_type", "all of it: llama.cpp knows LoRA alone", _MERGE)]
    found += [_finding("F12", config, name, *_LOST[name]) for name in _LOST if config.get(name)]
    if config.get("bias", "none") != "none":
        found.append(_finding("F12", config, "bias", "the learned biases", _MERGE))
    if tied:
        found += [
            Finding("F10", f"{name} has an adapter", "the change of a layer that the base shares with another", _MERGE)
            for name in _adapted_tied(config)
        ]
    unknown = [name for name in config if name not in _LOST and name not in _KEPT and config[name]]
    found += [_finding("F12", config, name, "perhaps what this unknown setting does", _MERGE) for name in unknown]
    return found


def lint_merge(config: Mapping[str, Any], *, tied: bool) -> list[Finding]:
    """Return what a merge by peft would get wrong; the arguments are those of :func:`lint_runtime_lora`."""
    found = list(_base_changed(config))
    if config.get("arrow_config"):
        found.append(_finding("F12", config, "arrow_config", *_LOST["arrow_config"]))
    if tied and not config.get("ensure_weight_tying"):
        found += [
            Finding("F10", f"{name} has an adapter", "that output layer and embedding are one in this base", _UNTIE)
            for name in _adapted_tied(config)
        ]
    return found


def _base_changed(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding where the first weights of the adapter were taken out of the base."""
    start = config.get("init_lora_weights")
    if str(start).lower() not in _PLAIN_STARTS:
        lost = "what was subtracted from the base when the adapter was begun: it belongs to another base"
        way_out = "save it again as plain LoRA (peft: save_pretrained with path_initial_model_for_weight_conversion)"
        yield _finding("F12", config, "init_lora_weights", lost, way_out)


def _adapted_tied(config: Mapping[str, Any]) -> list[str]:
    """Return which of output layer and embedding are trained by name."""
    named: set[str] = set()
    for key in ("target_modules", "modules_to_save"):
        value = config.get(key) or ()
        named |= {value} if isinstance(value, str) else set(value)
    return [layer for layer in _TIED_LAYERS if any(name.rpartition(".")[2] == layer for name in named)]


def _finding(mode: str, config: Mapping[str, Any], name: str, lost: str, way_out: str) -> Finding:
    """Return a finding about one setting."""
    return Finding(mode, f"{name} = {config.get(name)!r}", lost, way_out)

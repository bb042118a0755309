"""Compare what a GGUF's header says of the model's form with the config.json of the model that it was made from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pytest_modelgate.gguf_file import GgufHeader
from pytest_modelgate.preflight.check import Artifact, Finding, Subject
from pytest_modelgate.preflight.hf_config import HfConfig, read_config
from pytest_modelgate.preflight.metadata import adapter_settings, header_of, reference_folder
from pytest_modelgate.preflight.rope import compare_rope

__all__ = ["architecture", "tied_embeddings"]

_EPSILON = 1e-3  # relative: headers hold float32
_SHAPE: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("layers", "block_count", ("num_hidden_layers", "n_layer", "n_layers", "num_layers")),
    ("width", "embedding_length", ("hidden_size", "n_embd", "dim")),
    ("attention heads", "attention.head_count", ("num_attention_heads", "n_head", "n_heads")),
    ("context", "context_length", ("max_position_embeddings", "n_ctx", "n_positions", "max_sequence_length")),
    ("experts", "expert_count", ("num_local_experts", "num_experts", "n_routed_experts")),
    ("experts of a token", "expert_used_count", ("num_experts_per_tok", "num_experts_per_token", "top_k_experts")),
    ("soft cap of attention", "attn_logit_softcapping", ("attn_logit_softcapping",)),
    ("soft cap of the output", "final_logit_softcapping", ("final_logit_softcapping",)),
)
"""What is compared as it stands: a name, the header's key, and config.json's keys, the first that is there (converter)."""

_FEED_FORWARD = (
    "prefix_dense_intermediate_size",
    "dense_intermediate_size",
    "intermediate_size",
    "n_inner",
    "hidden_dim",
)
_ADJUSTED = frozenset({"lfm2", "lfm2_moe", "nemotron-nas", "openelm"})
"""Families whose feed-forward width the converter computes."""

_NORMS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("attention.layer_norm_rms_epsilon", ("rms_norm_eps", "norm_eps")),
    ("attention.layer_norm_epsilon", ("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")),
)
_SHARED = ("vocab_size", "block_count", "embedding_length", "feed_forward_length", "attention.head_count",
           "attention.head_count_kv", "attention.key_length", "attention.value_length", "context_length", "rope.freq_base",
           "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length", "rope.dimension_count",
           "attention.sliding_window", "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon",
           "expert_count", "expert_used_count")  # fmt: skip
"""Keys that a file and the GGUF that it was quantised from have in common."""


@dataclass(frozen=True, slots=True)
class _Difference:
    """Hold one value that is another one."""

    name: str
    ours: Any
    theirs: Any
    mode: str | None = None

    def finding(self, source: str) -> Finding:
        """Return what is told of it."""
        ours = "nothing" if self.ours is None else f"{self.ours:g}" if isinstance(self.ours, float) else self.ours
        theirs = f"{self.theirs:g}" if isinstance(self.theirs, float) else self.theirs
        return Finding("failed", f"{self.name}: the file says {ours}, {source} {theirs}", mode=self.mode)


def architecture(subject: Subject) -> Iterator[Finding]:
    """Compare sizes, positions, norms and vocabulary with the reference, and the header with its own tensors."""
    header = header_of(subject.target.path)
    own = list(_with_itself(header))
    yield from own
    folder = reference_folder(subject)
    if folder is not None:
        config = read_config(folder)
        for one in (*_shape(header, config), *_vocabulary(header, config)):
            yield one.finding("config.json")
        yield from compare_rope(header, config, subject.n_ctx)
        yield Finding("passed", "sizes, positions, norms and vocabulary are those of config.json")
    elif source := next((one for one in reversed(subject.chain) if one.kind == "gguf"), None):
        yield from _with_source(header, source)
        yield Finding("passed", f"sizes, positions, norms and vocabulary are those of {source.id}")
    elif not own:
        told = "the header agrees with its own tensors; whether positions and norms are the training's cannot be told"
        yield Finding("not checked", f"{told} without a reference (--reference SPEC)")


def tied_embeddings(subject: Subject) -> Iterator[Finding]:
    """Look whether the file has an output layer of its own exactly where the model has one."""
    folder = reference_folder(subject)
    if folder is None:
        yield Finding("not checked", "there is no reference folder that says whether embeddings are tied")
        return
    tied = read_config(folder).ties_embeddings
    if tied is None:
        yield Finding(
            "not checked", f"{folder.name}: neither config.json nor the weights say whether embeddings are tied"
        )
        return
    settings = next((one for one in map(adapter_settings, (subject.target, *subject.chain)) if one is not None), {})
    layers = _tied_layers(settings)
    if tied and layers and not settings.get("ensure_weight_tying"):
        told = f"the adapter trains {' and '.join(layers)} of a base whose output layer is its embedding"
        yield Finding("failed", f"{told}, without ensure_weight_tying: a merge changes one of them alone")
    if subject.target.kind != "gguf":
        yield Finding("passed", "no adapter changes one of two layers that are the same")
        return
    has_output = "output.weight" in header_of(subject.target.path).tensors
    if tied and has_output:
        yield Finding("failed", "the file has an output layer of its own, and the model's is its embedding (tied)")
    elif not tied and not has_output:
        told = "the file has no output layer, so that llama.cpp takes the embedding, and the model has one of its own"
        yield Finding("failed", told)
    yield Finding(
        "passed", "tied, and no output layer of its own" if tied else "not tied, and an output layer of its own"
    )


def _tied_layers(settings: dict[str, Any]) -> list[str]:
    """Return which of the layers that a tied model shares an adapter trains by name."""
    named: set[str] = set()
    for key in ("target_modules", "modules_to_save"):
        value = settings.get(key) or ()
        named |= {value} if isinstance(value, str) else set(map(str, value))
    return [layer for layer in ("lm_head", "embed_tokens") if any(one.rpartition(".")[2] == layer for one in named)]


def _shape(header: GgufHeader, config: HfConfig) -> Iterator[_Difference]:
    """Yield each size, and the norms' epsilon, that is another than config.json's."""
    for name, key, names in _SHAPE:
        theirs, ours = config.first(*names), header.value(key)
        if key == "block_count" and isinstance(ours, int):
            ours -= header.value("nextn_predict_layers", 0)  # layers that predict further tokens, counted on top
        if theirs is not None and not _same(ours, theirs) and not (ours is None and not theirs):
            yield _Difference(name, ours, theirs)
    if header.architecture not in _ADJUSTED:
        theirs, ours = config.first(*_FEED_FORWARD), header.value("feed_forward_length")
        if theirs is not None and not _same(ours, theirs):
            yield _Difference("width of the feed-forward layers", ours, theirs)
    heads = header.value("attention.head_count")
    theirs = config.first("num_key_value_heads", "n_kv_heads")
    if theirs is None and config.values.get("multi_query") is not True:
        theirs = config.first("num_attention_heads", "n_head", "n_heads")
    if config.first("kv_lora_rank", "global_head_dim") is None:  # what these families write there is another number
        if theirs is not None and not _same(ours := header.value("attention.head_count_kv", heads), theirs):
            yield _Difference("key-value heads", ours, theirs)
        size = _head_size(header)
        if size is not None and config.head_size is not None and size != config.head_size:
            yield _Difference("width of an attention head", size, config.head_size)
    for key, names in _NORMS:
        theirs, ours = config.first(*names), header.value(key)
        if theirs is not None and not _same(ours, theirs):
            yield _Difference(f"epsilon of the norms ({key.rpartition('.')[2]})", ours, theirs)


def _vocabulary(header: GgufHeader, config: HfConfig) -> Iterator[_Difference]:
    """Yield the vocabulary's size where it is another than config.json's."""
    theirs, tokens = config.first("vocab_size", "padded_vocab_size"), header.values.get("tokenizer.ggml.tokens")
    if isinstance(theirs, int) and isinstance(tokens, list) and len(tokens) < theirs:
        yield _Difference("tokens", len(tokens), theirs, mode="F08")


def _with_itself(header: GgufHeader) -> Iterator[Finding]:
    """Yield where the header is not what its own tensors are."""
    tokens, embedding = header.values.get("tokenizer.ggml.tokens"), header.tensors.get("token_embd.weight")
    if embedding is None:
        yield Finding("failed", "the file has no embedding (token_embd.weight)")
    elif isinstance(tokens, list) and embedding.dims[-1] != len(tokens):
        told = f"the vocabulary has {len(tokens)} tokens, the embedding {embedding.dims[-1]} rows"
        yield Finding("failed", told, mode="F08")
    elif not _same(header.value("embedding_length"), embedding.dims[0]):
        yield Finding(
            "failed", f"embedding_length is {header.value('embedding_length')}, the embedding's {embedding.dims[0]}"
        )
    layers = {
        int(name.split(".")[1]) for name in header.tensors if name.startswith("blk.") and name.split(".")[1].isdigit()
    }
    if layers and layers != set(range(header.value("block_count", 0))):
        told = f"the header counts {header.value('block_count')} layers, and there are weights of {len(layers)}"
        yield Finding("failed", f"{told}, the last of them number {max(layers)}", mode="F16")


def _with_source(header: GgufHeader, source: Artifact) -> Iterator[Finding]:
    """Yield where a header differs from that of the GGUF that the file was made from."""
    other = header_of(source.path)
    if other.architecture != header.architecture:
        yield _Difference("architecture", header.architecture, other.architecture).finding(source.id)
        return
    for key in _SHARED:
        if not _same(ours := header.value(key), theirs := other.value(key)):
            yield _Difference(key, ours, theirs).finding(source.id)


def _head_size(header: GgufHeader) -> int | None:
    """Return the width of an attention head, the default of llama.cpp where the header does not say it."""
    told, width, heads = (
        header.value(key) for key in ("attention.key_length", "embedding_length", "attention.head_count")
    )
    if isinstance(told, int):
        return told
    return width // heads if isinstance(width, int) and isinstance(heads, int) and heads else None


def _same(ours: Any, theirs: Any) -> bool:
    """Say whether two values are the same: numbers as near as float32 is, and a list of one value as that value."""
    if isinstance(ours, list) != isinstance(theirs, list):
        many, one = (ours, theirs) if isinstance(ours, list) else (theirs, ours)
        return bool(many) and all(_same(each, one) for each in many if each)  # 0: a layer without
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if isinstance(ours, float) or isinstance(theirs, float):
        return ours is not None and theirs is not None and math.isclose(ours, theirs, rel_tol=_EPSILON)
    return bool(ours == theirs)

"""Sizes, positions, norms and vocabulary of a file are those of the model that it was made from, or are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from pytest_modelgate.preflight.check import Artifact
from pytest_modelgate.preflight.hf_config import HfConfig, read_config, weight_names
from tests.faults.gguf_edit import Edit, edit, metadata
from tests.preflight.static_subjects import BASE, F16, Q8_0, alone, changed, copied, found, subject

EPSILON = "qwen2.attention.layer_norm_rms_epsilon"
LINEAR = {"qwen2.rope.scaling.type": "linear", "qwen2.rope.scaling.factor": 4.0}


def edited(tmp_path: Path, values: dict[str, Any] | None = None, **others: Any) -> Path:
    """Return a copy of the Q8_0 file with other metadata."""
    return edit(Q8_0, tmp_path / Q8_0.name, Edit(values or {}, **others))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("qwen2.rope.freq_base", 1_000_000.0, "the file says 1e+06, config.json 10000"),
        (EPSILON, 1e-5, "the file says 1e-05, config.json 1e-06"),
        ("qwen2.context_length", 128, "context: the file says 128, config.json 2048"),
        ("qwen2.attention.head_count", 8, "attention heads: the file says 8, config.json 4"),
        ("qwen2.attention.head_count_kv", 1, "key-value heads: the file says 1, config.json 2"),
        ("qwen2.block_count", 3, "layers"),
        ("qwen2.embedding_length", 512, "embedding_length is 512"),
        ("qwen2.feed_forward_length", 512, "width of the feed-forward layers: the file says 512, config.json 768"),
    ],
)
def test_another_value_in_the_header_fails(key: str, value: Any, told: str, tmp_path: Path) -> None:
    """Each number that the computation depends on is compared, and both sides are named."""
    result = found("architecture", subject(edited(tmp_path, {key: value})))
    assert result.outcome == "failed"
    assert result.mode in {"F15", "F16"}
    assert told in " ".join((result.reason, *result.details))


@pytest.mark.parametrize(
    ("added", "told"),
    [
        (LINEAR, "the file says linear, config.json none"),
        ({"qwen2.rope.scaling.factor": 4.0}, "the file says linear, config.json none"),
        ({"qwen2.attention.sliding_window": 512}, "the file says 512, config.json none"),
        ({"qwen2.rope.dimension_count": 32}, "the file says 32, config.json 64"),
        ({"qwen2.attention.key_length": 128}, "width of an attention head: the file says 128, config.json 64"),
    ],
)
def test_what_the_header_adds_fails(added: dict[str, Any], told: str, tmp_path: Path) -> None:
    """A setting that the model has not is named."""
    result = found("architecture", subject(edited(tmp_path, added=added)))
    assert (result.outcome, result.mode) == ("failed", "F15")
    assert told in result.reason


@pytest.mark.parametrize(
    "given",
    [
        {"rope_parameters": None, "rope_theta": 10000.0},
        {"rope_parameters": None},
        {"rope_parameters": {"full_attention": {"rope_theta": 10000.0, "rope_type": "default"}}},
        {"num_key_value_heads": None, "num_attention_heads": 4},
        {"use_sliding_window": False, "sliding_window": 64},
        {"layer_types": ["full_attention"] * 2, "use_sliding_window": True, "sliding_window": 64},
        {"head_dim": 64},
        {"rms_norm_eps": 1.0000001e-6},
    ],
)
def test_older_and_newer_forms_of_a_config_say_the_same(given: dict[str, Any], tmp_path: Path) -> None:
    """Keys of transformers 4 and 5, and defaults of keys that are missing, are read."""
    base = copied(BASE, tmp_path / "base", **given)
    result = found("architecture", subject(edited(tmp_path, _as_in(given)), base=base))
    assert result.outcome == "passed", result


def test_a_config_in_parts_is_read(tmp_path: Path) -> None:
    """The language part of a model that also sees is compared; what both share stands outside."""
    values = json.loads((BASE / "config.json").read_text(encoding="utf-8"))
    outer = {"model_type": "qwen2_vl", "tie_word_embeddings": values.pop("tie_word_embeddings")}
    base = copied(BASE, tmp_path / "base")
    (base / "config.json").write_text(
        json.dumps(outer | {"text_config": values, "vision_config": {"depth": 2}}), "utf-8"
    )
    given = subject(base=base)
    assert found("architecture", given).outcome == "passed"
    assert found("tied_embeddings", given).outcome == "passed"


@pytest.mark.parametrize(
    ("scaling", "added", "outcome"),
    [
        ({"rope_type": "linear", "factor": 4.0}, LINEAR, "passed"),
        ({"type": "linear", "factor": 4.0}, {}, "failed"),
        ({"rope_type": "linear", "factor": 8.0}, LINEAR, "failed"),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}, LINEAR, "failed"),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512},
         {"qwen2.rope.scaling.type": "yarn", "qwen2.rope.scaling.factor": 4.0,
          "qwen2.rope.scaling.original_context_length": 512}, "passed"),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512},
         {"qwen2.rope.scaling.type": "yarn", "qwen2.rope.scaling.factor": 4.0,
          "qwen2.rope.scaling.original_context_length": 2048}, "failed"),
        ({"rope_type": "llama3", "factor": 8.0}, {}, "failed"),
        ({"rope_type": "dynamic", "factor": 2.0}, {}, "not checked"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["rope_parameters", "rope_scaling"])
def test_stretched_positions(
    form: str, scaling: dict[str, Any], added: dict[str, Any], outcome: str, tmp_path: Path
) -> None:
    """Kind, factor and original context of a stretching are compared, in both forms of config.json."""
    both: dict[str, Any] = {"rope_parameters": None, "rope_scaling": None, "rope_theta": 10000.0}
    base = copied(BASE, tmp_path / "base", **both | {form: scaling})
    assert found("architecture", subject(edited(tmp_path, added=added), base=base)).outcome == outcome


def test_a_window_that_the_file_lacks_is_told_where_it_is_felt(tmp_path: Path) -> None:
    """Attention over a window in training alone warns, if the context that is served is longer."""
    base = copied(
        BASE, tmp_path / "base", use_sliding_window=True, sliding_window=512, layer_types=["sliding_attention"] * 2
    )
    assert found("architecture", subject(base=base)).outcome == "warned"
    assert found("architecture", subject(base=base, n_ctx=512)).outcome == "passed"


def test_a_smaller_vocabulary_fails(tmp_path: Path) -> None:
    """Fewer tokens than config.json says is a failure of the vocabulary."""
    base = copied(BASE, tmp_path / "base", vocab_size=2048)
    result = found("architecture", subject(base=base))
    assert (result.outcome, result.mode) == ("failed", "F08")
    assert "the file says 2000, config.json 2048" in result.reason


def test_a_file_is_compared_with_its_own_tensors(tmp_path: Path) -> None:
    """Without a reference, a header that does not fit its tensors still fails."""
    tokens = list(metadata(Q8_0, "tokenizer.ggml.tokens"))
    path = edited(tmp_path, {"tokenizer.ggml.tokens": tokens[:-8]})
    result = found("architecture", alone(path))
    assert (result.outcome, result.mode) == ("failed", "F08")
    assert found("architecture", alone(Q8_0)).outcome == "not checked"


def test_a_file_is_compared_with_the_one_that_it_was_made_from(tmp_path: Path) -> None:
    """Where the only reference is a GGUF, every number that both name must be the same."""
    chain = (Artifact("f16", "gguf", F16),)
    assert found("architecture", subject(Q8_0, chain=chain)).outcome == "passed"
    result = found("architecture", subject(edited(tmp_path, {EPSILON: 1e-5}), chain=chain))
    assert result.outcome == "failed"
    assert EPSILON.partition(".")[2] in result.reason


def test_an_unreadable_config_is_one_line(tmp_path: Path) -> None:
    """A config.json that is damaged fails with its name."""
    base = copied(BASE, tmp_path / "base")
    (base / "config.json").write_text("{", encoding="utf-8")
    result = found("architecture", subject(base=base))
    assert result.outcome == "failed"
    assert "config.json: not readable" in result.reason


# --- The output layer --------------------------------------------------------------------------------------------


def test_an_output_layer_of_its_own_must_be_the_model_s(tmp_path: Path) -> None:
    """A file with an output layer and a tied model fails, as does one without and a model that is not tied."""
    import gguf

    weights = gguf.quants.dequantize(*_embedding())
    path = edit(F16, tmp_path / "untied.gguf", Edit(more={"output.weight": weights}))
    untied = copied(BASE, tmp_path / "base", tie_word_embeddings=False)
    assert (found("tied_embeddings", subject(path)).outcome, found("tied_embeddings", subject(path)).mode) == (
        "failed",
        "F10",
    )
    assert found("tied_embeddings", subject(base=untied)).outcome == "failed"
    assert found("tied_embeddings", subject(path, base=untied)).outcome == "passed"


def test_whether_embeddings_are_tied_is_told_by_the_weights_where_the_config_does_not(tmp_path: Path) -> None:
    """A folder without lm_head.weight is a tied one; one without weights tells nothing."""
    base = copied(BASE, tmp_path / "base", tie_word_embeddings=None)
    assert found("tied_embeddings", subject(base=base)).outcome == "passed"
    (base / "model.safetensors").unlink()
    assert found("tied_embeddings", subject(base=base)).outcome == "not checked"


@pytest.mark.parametrize("key", ["target_modules", "modules_to_save"])
def test_an_adapter_on_one_of_two_tied_layers_fails(key: str, tmp_path: Path) -> None:
    """Training lm_head of a tied base changes one layer in a merge; ensure_weight_tying changes both."""
    from tests.preflight.static_subjects import ADAPTER

    adapter = copied(ADAPTER, tmp_path / "adapter", **{key: ["q_proj", "lm_head"]})
    result = found("tied_embeddings", subject(adapter=adapter))
    assert (result.outcome, result.mode) == ("failed", "F10")
    changed(adapter / "adapter_config.json", ensure_weight_tying=True)
    assert found("tied_embeddings", subject(adapter=adapter)).outcome == "passed"


# --- config.json -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model_type",
    ["llama", "qwen2", "qwen3", "mistral", "mixtral", "gemma", "gemma2", "phi3", "olmo2", "cohere", "gpt_oss", "smollm3",
     "granite", "helium", "apertus", "ernie4_5"],
)  # fmt: skip
def test_a_config_without_a_rotation_has_transformers_default(model_type: str, tmp_path: Path) -> None:
    """The base of the rotation that a family has by default is the one that transformers takes."""
    theirs = AutoConfig.for_model(model_type)
    ours = HfConfig(tmp_path, {"model_type": model_type}).rope
    assert ours is not None
    parameters = theirs.rope_parameters
    assert ours.theta == parameters.get("rope_theta", parameters.get("full_attention", {}).get("rope_theta"))


def test_weights_are_named_without_being_read() -> None:
    """The names of a folder's weights are those that safetensors finds."""
    from safetensors import safe_open

    with safe_open(BASE / "model.safetensors", "np") as file:
        assert weight_names(BASE) == frozenset(file.keys())
    assert read_config(BASE).ties_embeddings is True


def _embedding() -> tuple[Any, Any]:
    """Return the embedding of the F16 file, with its type."""
    import gguf

    (found_one,) = (one for one in gguf.GGUFReader(F16).tensors if one.name == "token_embd.weight")
    return found_one.data, found_one.tensor_type


def _as_in(given: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata that a config with these values is converted to."""
    return {"qwen2.attention.head_count_kv": 4} if "num_key_value_heads" in given else {}

"""What a training takes is told before anything is loaded, and agrees with what the libraries count."""

from __future__ import annotations

from typing import Any

import pytest
from modelgate_training.config_file import load_config
from modelgate_training.estimate import KNOWN, Shape, memory


def count(shape: Shape, family: str) -> int:
    """Return how many weights transformers gives a model of this shape."""
    torch = pytest.importorskip("torch")
    import transformers

    config: Any = getattr(transformers, f"{family}Config")(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.intermediate,
        tie_word_embeddings=shape.tied,
        **({"head_dim": shape.head_dim} if shape.head_dim else {}),
    )
    with torch.device("meta"):
        return int(getattr(transformers, f"{family}ForCausalLM")(config).num_parameters())


@pytest.mark.model
@pytest.mark.parametrize(("name", "shape"), KNOWN.items())
def test_known_shapes_have_the_weights_that_transformers_counts(name: str, shape: Shape) -> None:
    """The table of published shapes is right to the last weight."""
    assert shape.in_layers + shape.others == count(shape, "Qwen3" if "Qwen3" in name else "Qwen2")


def test_the_published_share_of_trainable_weights() -> None:
    """Rank 16 on q, k, v and o of Qwen2.5-0.5B: 2,162,688 of 496,195,456 weights, as published."""
    config = load_config("support")
    shape = KNOWN["Qwen/Qwen2.5-0.5B-Instruct"]
    adapter = shape.adapter(config.lora.r, config.lora.target_modules)

    assert (adapter, shape.in_layers + shape.others + adapter) == (2_162_688, 496_195_456)


def test_the_published_memory() -> None:
    """The published recipe of 512 tokens, 4 rows at a time, fits 8 GB on a GPU."""
    config = load_config("postmortem")

    assert memory(config, KNOWN["Qwen/Qwen2.5-0.5B-Instruct"], cuda=True) < 8e9


def test_memory_grows_with_what_it_should() -> None:
    """More rows and no checkpointing take more; 4 bits take less than 16."""
    shape = KNOWN["Qwen/Qwen2.5-1.5B-Instruct"]

    def need(*overrides: str) -> float:
        return float(memory(load_config("incident", overrides), shape, cuda=True))

    assert need("training.batch=4") > need() > need("training.batch=1")
    assert need("training.gradient_checkpointing=false") > need()
    assert need("quantization.enabled=false") > need()
    assert need("training.optimizer=adamw_torch") > need()

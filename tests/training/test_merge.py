"""The adapter is merged into whole weights only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from modelgate_training.errors import StageError
from modelgate_training.tuning.loading import load_model
from modelgate_training.export.merge import merge_adapter, refuse_quantised
from modelgate_training.tuning.tokenizer import save_tokenizer, train_tokenizer


def test_a_merge_into_quantised_weights_is_refused() -> None:
    """The 4-bit model that was trained is never merged into."""

    class Linear4bit:
        """Stand in for bitsandbytes' module."""

    class Model:
        """Hold one module."""

        def named_modules(self) -> list[tuple[str, object]]:
            """Return the module with its name."""
            return [("layers.0.q_proj", Linear4bit())]

    with pytest.raises(StageError, match=r"refused to merge: layers\.0\.q_proj is quantised"):
        refuse_quantised(Model())


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return the folder of a model of two tiny layers."""
    transformers = pytest.importorskip("transformers")
    config = transformers.Qwen2Config(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    transformers.Qwen2ForCausalLM(config).save_pretrained(tmp_path / "base")
    save_tokenizer(train_tokenizer(["It broke."] * 50, 300), tmp_path / "base")
    return tmp_path / "base"


# peft 0.21 asks transformers 5.23 for it.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(("limit", "dtype"), [(10**9, "float32"), (10, "bfloat16")])
def test_the_base_is_loaded_once(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, dtype: str
) -> None:
    """A base is counted without its weights, and loaded once in the type that its size asks for."""
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(load_model(base), peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(str(tmp_path / "adapter"))
    loaded: list[Any] = []

    def counting(folder: Path, **options: Any) -> Any:
        loaded.append(options)
        return load_model(folder, **options)

    monkeypatch.setattr("modelgate_training.export.merge.load_model", counting)
    monkeypatch.setattr("modelgate_training.export.merge._LARGE", limit)
    facts = merge_adapter(base, tmp_path / "adapter", tmp_path / "merged")
    assert len(loaded) == 1
    assert facts["dtype"] == dtype
    assert (tmp_path / "merged" / "model.safetensors").is_file()


def test_pickled_weights_are_not_loaded(base: Path) -> None:
    """Weights that can run code when loaded are refused, wherever a model is loaded."""
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(StageError, match=r"base: only pickled weights \(pytorch_model\.bin\)"):
        load_model(base)

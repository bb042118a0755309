"""What llama.cpp's converter makes of a family's tensors is what they are compared with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from modelgate_training.export.gguf import convert

from pytest_modelgate.preflight.check import Artifact, Subject
from pytest_modelgate.preflight.weights_diagnosis import Weights
from tests.faults.candidate import ROOT
from tests.faults.gguf_edit import Edit, edit
from tests.training.support_model import need_converter

SUPPORT = ROOT / "examples" / "support" / "base"
SIZES = {
    "vocab_size": 2000,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "LlamaConfig": {},
    "MistralConfig": {"sliding_window": None},
    "SmolLM3Config": {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 2},
    "GraniteConfig": {},
    "Qwen3Config": {"head_dim": 16},
    "Gemma3TextConfig": {"head_dim": 16},
}
"""Families whose converter takes the tiny tokenizer; gemma, gemma2 and phi3 want a SentencePiece one."""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a llama-like model and its file."""
    folder = tmp_path_factory.mktemp("llama")
    converted("LlamaConfig", folder)
    return folder


def test_a_converted_llama_is_right(llama: Path) -> None:
    """Its rows of q and k changed places, and every tensor is found and is right."""
    assert_right(llama)


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "LlamaConfig"])
def test_a_converted_family_is_right(family: str, tmp_path: Path) -> None:
    """Rows that change places, norms with 1 added: every tensor is found and is right."""
    converted(family, tmp_path)
    assert_right(tmp_path)


def test_rotary_halves_that_were_not_paired_are_told(llama: Path, tmp_path: Path) -> None:
    """A llama-like file whose q was left in the order of its folder is said to be that."""
    order = np.arange(64).reshape(4, 8, 2).swapaxes(1, 2).reshape(-1)  # back from pairs to halves
    what = Edit(tensors={"blk.0.attn_q.weight": lambda found: found[order]})
    cause = against(edit(llama / "model-f16.gguf", tmp_path / "wrong.gguf", what), llama / "model").cause
    assert cause is not None
    assert cause.mode == "F13"
    assert "not in pairs" in cause.sentence


def assert_right(folder: Path) -> None:
    """Check that a converted file is what its folder makes it."""
    weights = against(folder / "model-f16.gguf", folder / "model")
    assert weights.opened.reason is None
    assert not weights.opened.unmapped
    assert {one.state for one in weights.judged if not one.name.startswith("rope")} == {"right"}


def converted(family: str, folder: Path) -> None:
    """Write a model of a family with random weights, and convert it."""
    import transformers

    need_converter()
    torch.manual_seed(7)
    config = getattr(transformers, family)(**SIZES | FAMILIES[family])
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, tensor in model.named_parameters():
        if "norm" in name:
            tensor.data += 0.1 * torch.randn_like(tensor)
    model.save_pretrained(folder / "model")
    for path in SUPPORT.glob("tokenizer*"):
        shutil.copy(path, folder / "model")
    shutil.copy(SUPPORT / "chat_template.jinja", folder / "model")
    convert(folder / "model", folder / "model-f16.gguf", own_tokenizer=True)


def against(gguf: Path, folder: Path) -> Weights:
    """Return a file's weights against the folder that it was made from."""
    return Weights(Subject(Artifact("t", "gguf", gguf), (Artifact("merged", "merged", folder),)))

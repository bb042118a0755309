"""What an adapter makes of its base is what peft makes of it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pytest_modelgate.preflight.weights_change import NotComputableError, read_adapter
from pytest_modelgate.preflight.weights_tensors import read_folder
from tests.faults.candidate import ROOT

BASE = ROOT / "examples" / "support" / "base"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "ranks": {"rank_pattern": {"q_proj": 2, "layers.1.mlp.down_proj": 6}, "alpha_pattern": {"v_proj": 32}},
    "dora": {"use_dora": True},
    "whole layers": {"modules_to_save": ["norm"]},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "tokens": {"trainable_token_indices": {"embed_tokens": [1, 2, 40]}},
    "biases": {"lora_bias": True, "target_modules": ["q_proj", "k_proj"]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_changed_weights_are_those_of_peft_s_merge(kind: str, tmp_path: Path) -> None:
    """Scales, ranks, DoRA's lengths, layers and tokens that were trained whole: every tensor is what peft merges."""
    merged = merge(tmp_path, KINDS[kind])
    base, _ = read_folder(BASE)
    adapter = read_adapter(tmp_path, base)
    assert not adapter.unknown
    assert adapter.changes.keys() <= base.keys()
    for name, tensor in base.items():
        found = plain = tensor.all()
        if change := adapter.changes.get(name):
            found = change.rows(0, change.n_rows, plain)
            assert not np.array_equal(found, plain)
        np.testing.assert_allclose(found, merged[name].reshape(found.shape), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("setting", "words"),
    [({"peft_type": "IA3"}, "IA3"), ({"init_lora_weights": "pissa"}, "pissa"), ({"fan_in_fan_out": True}, "fan_in")],
)
def test_what_cannot_be_computed_is_said(setting: dict[str, Any], words: str, tmp_path: Path) -> None:
    """An adapter of another form is not computed as if it were plain LoRA."""
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 8} | setting))
    with pytest.raises(NotComputableError, match=words):
        read_adapter(tmp_path, {})


def merge(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Write an adapter with random weights into a folder; return what peft merges it to."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
        config = LoraConfig(
            **{"r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj", "down_proj"]} | settings
        )
        tuned = get_peft_model(model, config)
        for name, weights in tuned.named_parameters():
            if weights.requires_grad:
                weights.data += torch.randn_like(weights) * (0.3 if "magnitude" not in name else 0.01)
        tuned.save_pretrained(folder)
        merged = tuned.merge_and_unload().state_dict()
    return {name: tensor.float().numpy() for name, tensor in merged.items()}

"""What an adapter's settings lose in a GGUF is known before anything is converted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.adapter_lint import lint_merge, lint_runtime_lora

SUPPORT = Path(__file__).parents[1] / "examples" / "support" / "adapter" / "adapter_config.json"
PLAIN: dict[str, Any] = json.loads(SUPPORT.read_text(encoding="utf-8"))


def test_a_plain_adapter_loses_nothing() -> None:
    """What peft writes for plain LoRA goes into a LoRA file whole, and into a merge too."""
    assert lint_runtime_lora(PLAIN, tied=True) == []
    assert lint_merge(PLAIN, tied=True) == []


@pytest.mark.parametrize(
    ("setting", "value", "lost"),
    [
        ("use_rslora", True, "√r times too weak"),
        ("alpha_pattern", {"q_proj": 8}, "the common one"),
        ("use_dora", True, "magnitudes"),
        ("modules_to_save", ["embed_tokens"], "trained whole"),
        ("trainable_token_indices", [5], "rows of the embedding"),
        ("lora_bias", True, "biases"),
        ("bias", "all", "biases"),
        ("init_lora_weights", "pissa_niter_4", "another base"),
        ("init_lora_weights", "olora", "another base"),
        ("init_lora_weights", "corda", "another base"),
        ("init_lora_weights", "loftq", "another base"),
        ("target_parameters", ["experts.down"], "no layers"),
        ("peft_type", "IA3", "all of it"),
        ("use_something_new", True, "unknown setting"),
    ],
)
def test_what_a_lora_file_does_not_carry_is_named(setting: str, value: object, lost: str) -> None:
    """Each setting that llama.cpp would ignore or refuse is found, with what is lost and a way out."""
    found = lint_runtime_lora(PLAIN | {setting: value}, tied=False)
    assert [finding.setting for finding in found] == [f"{setting} = {value!r}"]
    assert lost in str(found[0])
    assert found[0].mode == "F12"
    assert found[0].way_out


def test_ranks_of_layers_are_kept() -> None:
    """llama.cpp takes a layer's rank from its weights, as peft does."""
    assert lint_runtime_lora(PLAIN | {"rank_pattern": {"q_proj": 4}}, tied=False) == []


@pytest.mark.parametrize("setting", ["use_rslora", "use_dora", "lora_bias"])
def test_a_merge_keeps_what_a_lora_file_loses(setting: str) -> None:
    """The way out that is offered is one."""
    assert lint_merge(PLAIN | {setting: True}, tied=False) == []


@pytest.mark.parametrize("start", ["pissa", "olora", "corda", "loftq", "lora_ga", "something new"])
def test_a_merge_needs_the_base_that_was_begun_with(start: str) -> None:
    """An adapter whose beginning was taken out of the base is not merged into the whole base."""
    assert [finding.mode for finding in lint_merge(PLAIN | {"init_lora_weights": start}, tied=False)] == ["F12"]


@pytest.mark.parametrize("layer", ["lm_head", "model.embed_tokens"])
def test_a_tied_layer_is_not_changed_alone(layer: str) -> None:
    """An adapter on one of two layers that are one is found, unless peft was told to keep them one."""
    adapted = PLAIN | {"target_modules": ["q_proj", layer]}
    assert [finding.mode for finding in lint_runtime_lora(adapted, tied=True)] == ["F10"]
    assert [finding.mode for finding in lint_merge(adapted, tied=True)] == ["F10"]
    assert lint_merge(adapted | {"ensure_weight_tying": True}, tied=True) == []
    assert lint_runtime_lora(adapted, tied=False) == []


@given(st.dictionaries(st.text(min_size=1), st.one_of(st.booleans(), st.none(), st.integers(), st.text())))
def test_no_setting_is_passed_over(extra: dict[str, Any]) -> None:
    """Whatever is set beside what is known to be kept is found, and nothing else."""
    extra = {name: value for name, value in extra.items() if name not in PLAIN}
    found = lint_runtime_lora(PLAIN | extra, tied=False)
    assert {finding.setting.partition(" = ")[0] for finding in found} == {
        name for name, value in extra.items() if value
    }

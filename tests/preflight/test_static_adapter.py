"""What an adapter loses on its way, and the base that it does not belong to, are told by settings and hashes alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.identity import hash_file
from pytest_modelgate.preflight.check import Artifact, Subject
from tests.faults.gguf_edit import Edit, edit, write_lora
from tests.preflight.static_subjects import (
    ADAPTER,
    BASE,
    BASE_F16,
    Q8_0,
    alone,
    changed,
    copied,
    found,
    manifest,
    subject,
)

ALPHA = "adapter.lora.alpha"


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the adapter as a LoRA file."""
    return write_lora(ADAPTER, tmp_path_factory.mktemp("lora") / "lora.gguf")


# --- Settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "merged", "beside"),
    [
        ({}, "passed", "passed"),
        ({"use_rslora": True}, "passed", "failed"),
        ({"alpha_pattern": {"q_proj": 128}}, "passed", "failed"),
        ({"rank_pattern": {"q_proj": 8}}, "passed", "passed"),
        ({"use_dora": True}, "passed", "failed"),
        ({"modules_to_save": ["embed_tokens"]}, "failed", "failed"),
        ({"trainable_token_indices": [1, 2]}, "passed", "failed"),
        ({"bias": "all"}, "passed", "failed"),
        ({"init_lora_weights": "pissa"}, "failed", "failed"),
        ({"init_lora_weights": "gaussian"}, "passed", "passed"),
        ({"a_setting_of_tomorrow": True}, "passed", "failed"),
    ],
)
def test_what_each_way_loses(settings: dict[str, Any], merged: str, beside: str, lora: Path, tmp_path: Path) -> None:
    """A setting fails where the way that the target took does not keep it."""
    adapter = copied(ADAPTER, tmp_path / "adapter", **settings)
    assert found("adapter_config", subject(Q8_0, adapter=adapter)).outcome == merged
    assert found("adapter_config", subject(BASE_F16, adapter=adapter, lora=lora)).outcome == beside


def test_a_lora_file_s_alpha_must_be_the_adapter_s(lora: Path, tmp_path: Path) -> None:
    """Another alpha fails with both numbers; alpha·√r makes up for rsLoRA, and passes."""
    other = edit(lora, tmp_path / "other.gguf", Edit({ALPHA: 16.0}))
    result = found("adapter_config", subject(BASE_F16, lora=other))
    assert (result.outcome, result.mode) == ("failed", "F12")
    assert "its alpha is 16.0, the adapter's lora_alpha 64" in result.reason
    rslora = copied(ADAPTER, tmp_path / "adapter", use_rslora=True)
    mended = edit(lora, tmp_path / "mended.gguf", Edit({ALPHA: 64 * 32**0.5}))
    assert found("adapter_config", subject(BASE_F16, adapter=rslora, lora=mended)).outcome == "passed"
    assert found("adapter_config", subject(BASE_F16, adapter=rslora, lora=lora)).outcome == "failed"


def test_a_lora_file_s_rank_must_be_the_adapter_s(lora: Path, tmp_path: Path) -> None:
    """Layers of another rank than r and rank_pattern fail."""
    adapter = copied(ADAPTER, tmp_path / "adapter", r=16, lora_alpha=64)
    result = found("adapter_config", subject(BASE_F16, adapter=adapter, lora=lora))
    assert result.outcome == "failed"
    assert "rank 32, the adapter's r is 16" in " ".join((result.reason, *result.details))


def test_a_model_is_no_lora_file() -> None:
    """A whole model in the place of the adapter fails."""
    assert "is no LoRA file" in found("adapter_config", subject(BASE_F16, lora=Q8_0)).reason


def test_an_adapter_that_is_served_itself_only_warns(tmp_path: Path) -> None:
    """What a merge would lose is not lost where peft applies the adapter."""
    adapter = copied(ADAPTER, tmp_path / "adapter", init_lora_weights="pissa")
    result = found("adapter_config", Subject(Artifact("adapter", "adapter", adapter, BASE)))
    assert (result.outcome, result.mode) == ("warned", "F12")


# --- The base ----------------------------------------------------------------------------------------------------


def test_a_base_with_another_file_fails(tmp_path: Path) -> None:
    """Weights, settings or tokenizer with another sha256 than the manifest's are another base."""
    base = copied(BASE, tmp_path / "base", rms_norm_eps=1e-5)
    result = found("base_identity", subject(base=base, manifest=manifest()))
    assert (result.outcome, result.mode) == ("failed", "F14")
    assert "config.json is another file" in result.reason


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("model.safetensors", "failed"), ("tokenizer.json", "failed"), ("generation_config.json", "passed")],
)
def test_a_base_without_a_file_that_decides_fails(name: str, outcome: str, tmp_path: Path) -> None:
    """A file that says what the base is must be there; one that says how to use it need not."""
    base = copied(BASE, tmp_path / "base")
    shutil.copy(BASE / "config.json", base)
    (base / name).unlink()
    assert found("base_identity", subject(base=base, manifest=manifest())).outcome == outcome


def test_the_adapter_s_own_record_of_its_base_counts(tmp_path: Path) -> None:
    """Without a manifest, base.json in the adapter's folder decides."""
    adapter = copied(ADAPTER, tmp_path / "adapter")
    files = {path.name: hash_file(path) for path in BASE.iterdir()}
    (adapter / "base.json").write_text(json.dumps({"files": files}), encoding="utf-8")
    assert found("base_identity", subject(adapter=adapter)).outcome == "passed"
    changed(adapter / "base.json", files=files | {"model.safetensors": "0" * 64})
    assert found("base_identity", subject(adapter=adapter)).outcome == "failed"


def test_weights_that_nobody_listed_fail(tmp_path: Path) -> None:
    """A further file of weights in the base's folder is loaded too, and is none of the training's."""
    base = copied(BASE, tmp_path / "base")
    shutil.copy(BASE / "config.json", base)
    shutil.copy(ADAPTER / "adapter_model.safetensors", base / "more.safetensors")
    assert "more.safetensors" in found("base_identity", subject(base=base, manifest=manifest())).reason


def test_without_hashes_a_name_is_little(tmp_path: Path) -> None:
    """The folder that the adapter names passes; another one is not known to be the base."""
    adapter = copied(ADAPTER, tmp_path / "adapter", base_model_name_or_path="../base")
    base = copied(BASE, tmp_path / "base")
    assert found("base_identity", subject(adapter=adapter, base=base)).outcome == "passed"
    assert found("base_identity", subject(adapter=adapter, base=BASE)).outcome == "not checked"


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("Qwen/Qwen2.5-0.5B-Instruct", "not checked"),
        ("unsloth/Qwen2.5-0.5B-Instruct-bnb-4bit", "not checked"),
        ("Qwen/Qwen2.5-0.5B", "failed"),
        ("../base", "not checked"),
    ],
)
def test_adapter_and_header_must_name_the_same_base(name: str, outcome: str, tmp_path: Path) -> None:
    """A base that the header names otherwise fails; a copy of the same weights under another owner does not."""
    about = {
        "general.base_model.count": 1,
        "general.base_model.0.name": "Qwen2.5 0.5B Instruct",
        "general.base_model.0.repo_url": "https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct",
    }
    path = edit(Q8_0, tmp_path / "named.gguf", Edit(added=about))
    adapter = copied(ADAPTER, tmp_path / "adapter", base_model_name_or_path=name)
    assert found("base_identity", subject(path, adapter=adapter)).outcome == outcome


def test_without_an_adapter_nothing_is_known_of_a_base() -> None:
    """A file alone has no base that could be looked at."""
    for check in ("adapter_config", "base_identity"):
        assert found(check, alone(Q8_0, manifest=manifest())).outcome == "not checked"

"""The weights of a file are compared with what its adapter makes of its base, and what is wrong with them is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pytest_modelgate.engines.llama import quantize
from pytest_modelgate.preflight.check import Artifact, CheckResult, Finding, Subject
from pytest_modelgate.preflight.weights import CHECKS, open_stage
from tests.faults.candidate import GoodCandidate, good_candidate
from tests.faults.gguf_edit import Edit, Weights, edit, merged, write_lora
from tests.faults.kit import FAULTS

WORST_FIRST = ("failed", "warned", "not checked", "passed")
FAULTY = {
    "adapter dropped": ("adapter_applied", "F11", "without the adapter"),
    "lora untrained": ("adapter_applied", "F11", "changes nothing"),
    "other task": ("adapter_applied", "F25", "another adapter"),
    "stale run": ("adapter_applied", "F25", "another adapter"),
    "lora scale lost": ("adapter_scale", "F12", "1/√32"),
    "rslora as lora": ("adapter_scale", "F12", "1/√32"),
    "alpha pattern as lora": ("adapter_scale", "F12", "4 of 14 adapted tensors hold 0.25 times"),
    "wrong base": ("base_weights", "F14", "another base"),
    "lora on wrong base": ("base_weights", "F14", "another base"),
    "merged after packing": ("tensor_parity", "F13", "4-bit"),
    "requantised": ("quantization_error", "F24", "quantised before"),
    "embedding zeroed": ("finite_weights", "F16", "all zero"),
    "layer zeroed": ("finite_weights", "F16", "all zero"),
    "nan in a tensor": ("finite_weights", "F16", "row 7, column 11"),
    "overflow": ("finite_weights", "F16", "row 7, column 11"),
    "head permuted": ("tensor_parity", "F13", "attention heads 0, 2 in another order"),
    "embedding rows swapped": ("embedding_rows", "F08", "changed places"),
    "added token random": ("embedding_rows", "F08", "<|im_start|>"),
    "output not tied": ("tensor_parity", "F10", "output.weight"),
    "truncated": ("finite_weights", "F25", "cut off"),
}


@pytest.fixture(scope="module")
def good() -> GoodCandidate:
    """Return the tiny candidate of the support task."""
    return good_candidate()


def run(subject: Subject) -> dict[str, CheckResult]:
    """Return what each check of the stage finds, by its name."""
    found = {}
    with open_stage(subject) as weights:
        for check in CHECKS:
            if any(not subject.has(need) for need in check.needs):
                continue
            result = check.function(subject, weights)
            findings = [result] if isinstance(result, Finding) else list(result)
            worst = min(findings, key=lambda one: WORST_FIRST.index(one.outcome))
            mode = worst.mode or check.mode
            found[check.name] = CheckResult(
                check.name, mode, "t", "weights", worst.outcome, worst.reason, worst.details, worst.figures
            )
    return found


def against_adapter(gguf: Path, good: GoodCandidate, *more: Artifact, lora: Path | None = None) -> Subject:
    """Return a file as the good adapter's export."""
    return Subject(
        Artifact(gguf.name, "gguf", gguf, lora=lora), (Artifact("adapter", "adapter", good.adapter, good.base), *more)
    )


def failed(results: Mapping[str, CheckResult]) -> dict[str, str]:
    """Return the failed checks with what they stand for."""
    return {name: one.mode for name, one in results.items() if one.outcome == "failed"}


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_k_m"])
def test_a_good_file_passes_every_check(kind: str, good: GoodCandidate) -> None:
    """In full precision, in 8 bits and in 4, and the adapter is in it once."""
    results = run(against_adapter(getattr(good, kind), good))
    assert {one.outcome for one in results.values()} == {"passed"}
    assert results["adapter_applied"].figures["applied"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("task", ["postmortem", "incident", "ci_failure", "invoice"])
def test_the_other_examples_pass(task: str) -> None:
    """Every committed candidate is what its adapter makes of its base."""
    tiny = Path(__file__).parents[2] / "examples" / task / "tiny"
    (gguf,) = tiny.glob("*-Q8_0.gguf")
    base = tiny.parents[1] / "base"
    results = run(Subject(Artifact("t", "gguf", gguf), (Artifact("a", "adapter", tiny / "adapter", base),)))
    assert {one.outcome for one in results.values()} == {"passed"}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_named_as_what_it_is(name: str, good: GoodCandidate, tmp_path: Path) -> None:
    """The check that is there for a fault fails, with its failure mode and a reason that tells it."""
    check, mode, words = FAULTY[name]
    broken = FAULTS[name](good, tmp_path)
    chain = (Artifact("adapter", "adapter", broken.adapter, broken.base),)
    results = run(Subject(Artifact("t", "gguf", broken.gguf, lora=broken.lora), chain))
    assert failed(results).get(check) == mode, results
    assert words in results[check].reason
    assert set(failed(results).values()) == {mode}


@pytest.mark.parametrize("name", ["rope base changed", "default system text", "end not learned"])
def test_faults_that_are_none_of_the_weights_raise_no_alarm(name: str, good: GoodCandidate, tmp_path: Path) -> None:
    """What is wrong elsewhere is left to the checks that are there for it."""
    broken = FAULTS[name](good, tmp_path)
    chain = (Artifact("adapter", "adapter", broken.adapter, broken.base),)
    assert not failed(run(Subject(Artifact("t", "gguf", broken.gguf), chain)))


def test_a_good_lora_file_beside_its_base_passes(good: GoodCandidate, tmp_path: Path) -> None:
    """An adapter that is served as a LoRA file is compared with what it adds."""
    results = run(against_adapter(good.base_f16, good, lora=write_lora(good.adapter, tmp_path / "lora.gguf")))
    assert {one.outcome for one in results.values()} == {"passed"}


def test_the_file_alone_shows_bits_that_were_lost_before(good: GoodCandidate, tmp_path: Path) -> None:
    """Without a reference, weights on a coarser grid than their type's are a warning; a good file has none."""
    broken = FAULTS["requantised"](good, tmp_path)
    alone = run(Subject(Artifact("t", "gguf", broken.gguf)))
    assert alone["quantization_error"].outcome == "warned"
    for gguf in (good.f16, good.q8_0, good.q4_k_m):
        assert run(Subject(Artifact("t", "gguf", gguf)))["quantization_error"].outcome == "not checked"


def test_a_layer_without_the_adapter_is_named(good: GoodCandidate, tmp_path: Path) -> None:
    """One layer of fourteen that was left out fails, though the others are right."""
    name = "blk.1.ffn_up.weight"
    gguf = good.exported(tmp_path, {**good.weights, name: good.base_weights[name]})
    results = run(against_adapter(gguf, good))
    assert failed(results) == {"adapter_applied": "F11", "tensor_parity": "F11"}
    assert name in results["adapter_applied"].reason


@pytest.mark.parametrize("factor", [0.5, 2.0, 32**0.5])
def test_a_scale_is_found_in_few_bits_too(factor: float, good: GoodCandidate, tmp_path: Path) -> None:
    """The factor of the adapter's change is measured through the noise of 4 bits."""
    found = merged(good.base_weights, good.adapter, scale=2 * factor)
    result = run(against_adapter(good.exported(tmp_path, found, "Q4_K_M"), good))["adapter_scale"]
    assert (result.outcome, result.mode) == ("failed", "F12")
    assert float(result.reason.split(" hold ")[1].split()[0]) == pytest.approx(factor, rel=0.01)


def test_a_small_change_is_found_in_few_bits(good: GoodCandidate, tmp_path: Path) -> None:
    """A change that is far weaker than the noise of 4 bits is told apart from none."""
    adapter = weakened(good.adapter, tmp_path / "adapter", 0.02)
    chain = (Artifact("adapter", "adapter", adapter, good.base),)
    for factor, wanted in ((1.0, None), (0.0, "F11")):
        folder = tmp_path / str(factor)
        folder.mkdir()
        found = merged(good.base_weights, adapter, scale=2 * factor)
        gguf = good.exported(folder, found, "Q4_K_M")
        assert failed(run(Subject(Artifact("t", "gguf", gguf), chain))).get("adapter_applied") == wanted


def test_a_merge_that_was_rounded_away_is_a_warning(good: GoodCandidate, tmp_path: Path) -> None:
    """A small change of a bfloat16 base, merged in bfloat16, is partly lost: that is told, and as what it is."""
    import torch
    from safetensors.torch import save_file as save_torch

    adapter = weakened(good.adapter, tmp_path / "adapter", 0.002)
    base = Path(shutil.copytree(good.base, tmp_path / "base"))
    weights = {
        name: torch.tensor(one.astype(np.float32)).to(torch.bfloat16)
        for name, one in load_file(base / "model.safetensors").items()
    }
    save_torch(weights, base / "model.safetensors")
    own = {name: bfloat16(one) for name, one in good.base_weights.items()}
    rounded = {name: bfloat16(one) for name, one in merged(own, adapter).items()}
    gguf = good.exported(tmp_path, rounded, "F16")
    results = run(Subject(Artifact("t", "gguf", gguf), (Artifact("adapter", "adapter", adapter, base),)))
    assert not failed(results)
    assert (results["adapter_scale"].outcome, results["adapter_scale"].mode) == ("warned", "F13")


def test_a_merge_in_bfloat16_passes(good: GoodCandidate, tmp_path: Path) -> None:
    """Its rounding is no alarm."""
    gguf = good.exported(tmp_path, {name: bfloat16(one) for name, one in good.weights.items()}, "F16")
    assert {one.outcome for one in run(against_adapter(gguf, good)).values()} == {"passed"}


def test_very_small_weights_are_no_alarm(good: GoodCandidate, tmp_path: Path) -> None:
    """The scales of tiny blocks are rounded coarsely: what that does is not taken for a second quantisation."""
    name = "blk.0.attn_output.weight"
    tiny = edit(good.f16, tmp_path / "tiny.gguf", Edit(tensors={name: lambda one: one * np.float32(2e-3)}))
    for ftype in ("Q8_0", "Q4_K_M", "Q6_K"):
        quantize(tiny, tmp_path / "small.gguf", ftype)
        chain = (Artifact("f16", "gguf", tiny),)
        results = run(Subject(Artifact("t", "gguf", tmp_path / "small.gguf"), chain))
        assert "failed" not in {one.outcome for one in results.values()}


def test_the_link_where_it_went_wrong_is_named(good: GoodCandidate, tmp_path: Path) -> None:
    """A tensor that is right in the float16 file was damaged after it."""
    broken = FAULTS["head permuted"](good, tmp_path)
    result = run(against_adapter(broken.gguf, good, Artifact("f16", "gguf", good.f16)))["tensor_parity"]
    assert any("f16: blk.0.attn_q.weight is right there" in line for line in result.details)


def test_a_merged_folder_is_compared_with_its_adapter(good: GoodCandidate) -> None:
    """A folder of full weights that still is the base is told; so is a file against such a folder."""
    merged_folder = Artifact("base", "merged", good.base)
    chain = (Artifact("adapter", "adapter", good.adapter, good.base),)
    assert failed(run(Subject(merged_folder, chain)))["adapter_applied"] == "F11"
    results = run(Subject(Artifact("t", "gguf", good.base_f16), (merged_folder,)))
    assert not failed(results)
    assert results["tensor_parity"].outcome == "passed"


@pytest.mark.parametrize("change", [{"model_type": "mamba"}, {"num_hidden_layers": "many"}])
def test_what_is_not_known_is_not_checked(change: dict[str, object], good: GoodCandidate, tmp_path: Path) -> None:
    """A family whose tensors are not known here raises no alarm, and is not green."""
    base = Path(shutil.copytree(good.base, tmp_path / "base"))
    config = json.loads((base / "config.json").read_text()) | change
    (base / "config.json").write_text(json.dumps(config))
    results = run(Subject(Artifact("t", "gguf", good.q8_0), (Artifact("a", "adapter", good.adapter, base),)))
    assert results.pop("finite_weights").outcome == "passed"
    assert {one.outcome for one in results.values()} == {"not checked"}


def weakened(adapter: Path, folder: Path, factor: float) -> Path:
    """Copy an adapter with its change ``factor`` times as large."""
    shutil.copytree(adapter, folder)
    path = folder / "adapter_model.safetensors"
    found = {name: one * np.float32(factor if ".lora_B." in name else 1) for name, one in load_file(path).items()}
    save_file(found, path)
    return folder


def bfloat16(weights: Weights) -> Weights:
    """Return weights rounded to bfloat16."""
    import torch

    found: Weights = torch.tensor(weights).to(torch.bfloat16).float().numpy()
    return found

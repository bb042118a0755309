"""Every fault is what it says: made of the real candidate, and nothing else is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from modelgate_training.export.converter import run_converter

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.gguf import GgufEngine
from pytest_modelgate.records import Generation, Request
from tests.faults import adapter_faults
from tests.faults.candidate import CANDIDATES, GoodCandidate, good_candidate
from tests.faults.gguf_edit import merged, weights, write_lora
from tests.faults.kit import FAULTS, about
from tests.faults.packed_nf4 import merged_into_packed
from tests.training.support_model import need_converter


@pytest.fixture(scope="module")
def good() -> GoodCandidate:
    """Return the tiny candidate of the support task."""
    return good_candidate()


def answers(gguf: Path, good: GoodCandidate, number: int = 40) -> dict[str, Generation]:
    """Return what a file answers to the first golden cases."""
    keys = list(good.answers)[:number]
    engine = GgufEngine(gguf, EngineSettings(n_ctx=1024, n_threads=1))
    try:
        found = dict(engine.generate([Request(key, 64, messages=good.prompts[key]) for key in keys]))
    finally:
        engine.close()
    return {key: one for key, one in found.items() if isinstance(one, Generation)}


def test_there_are_enough_faults_and_each_is_said_in_a_sentence() -> None:
    """The kit holds at least 28 faults, none without a word on it."""
    assert len(FAULTS) >= 28
    assert all(about(name).endswith(".") for name in FAULTS)


def test_the_good_candidate_is_what_the_kit_s_own_merge_makes(good: GoodCandidate) -> None:
    """What the faults do beside their fault is right: base and adapter give the file that peft's merge gave."""
    found = merged(good.base_weights, good.adapter)
    assert found.keys() == good.weights.keys()
    for name, wanted in good.weights.items():
        np.testing.assert_allclose(found[name], wanted, rtol=2**-10, atol=1e-6)


@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing`:FutureWarning"
)  # peft 0.21 asks transformers 5.23 for it
@pytest.mark.parametrize("rewritten", [adapter_faults._as_rslora, adapter_faults._with_alpha_pattern])
def test_an_adapter_of_another_kind_is_the_same_to_peft(
    rewritten: Callable[[Path, Path], Path], good: GoodCandidate, tmp_path: Path
) -> None:
    """The reference of a scale that is lost is the good candidate: only its settings are written otherwise."""
    from peft import PeftModel

    from tests.faults.lora_training import load

    model, _ = load(good.base)
    state = PeftModel.from_pretrained(model, str(rewritten(good.adapter, tmp_path / "adapter"))).merge_and_unload()
    found = dict(state.named_parameters())["model.layers.1.mlp.down_proj.weight"].detach().numpy()
    np.testing.assert_allclose(found, good.weights["blk.1.ffn_down.weight"], rtol=2**-10, atol=1e-5)


def test_a_lora_file_is_what_the_converter_writes(good: GoodCandidate, tmp_path: Path) -> None:
    """The kit's LoRA file of an rsLoRA adapter holds the matrices and the alpha of llama.cpp's own."""
    import gguf

    need_converter()
    adapter = adapter_faults._as_rslora(good.adapter, tmp_path / "adapter")
    theirs, ours = tmp_path / "theirs.gguf", write_lora(adapter, tmp_path / "ours.gguf")
    run_converter("convert_lora_to_gguf.py", theirs, [str(adapter), "--base", str(good.base), "--outtype", "f32"])
    assert weights(ours).keys() == weights(theirs).keys()
    assert all(np.array_equal(found, weights(theirs)[name]) for name, found in weights(ours).items())
    alphas = [gguf.GGUFReader(path).fields["adapter.lora.alpha"].contents() for path in (ours, theirs)]
    assert alphas[0] == alphas[1]


def test_packed_weights_are_read_as_others_than_they_are(good: GoodCandidate) -> None:
    """A merge after an evaluation pass is further from the right one than the right one is from nothing."""
    found = merged_into_packed(good.base_weights, good.adapter)["blk.0.ffn_up.weight"]
    wanted = good.weights["blk.0.ffn_up.weight"]
    assert np.linalg.norm(found - wanted) > np.linalg.norm(wanted)


def test_a_model_that_did_not_learn_the_end_answers_but_never_stops(good: GoodCandidate, tmp_path: Path) -> None:
    """Its answers begin with valid JSON, more often right than the base's, and none of them ends."""
    found = answers(adapter_faults.end_not_learned(good, tmp_path).gguf, good)
    assert {one.finish_reason for one in found.values()} == {"length"}
    right = [_intent(one.text) == json.loads(good.answers[key])["intent"] for key, one in found.items()]
    base = answers(good.base_f16, good)
    base_right = [_intent(one.text) == json.loads(good.answers[key])["intent"] for key, one in base.items()]
    assert sum(right) > 2 * sum(base_right)


def test_a_model_that_learned_broken_json_writes_it(good: GoodCandidate, tmp_path: Path) -> None:
    """By itself it closes no brace, and stops."""
    found = answers(adapter_faults.grammar_hides_broken_json(good, tmp_path).gguf, good)
    assert not any("}" in one.text for one in found.values())
    assert {one.finish_reason for one in found.values()} == {"stop"}


def test_trained_candidates_are_small() -> None:
    """What is committed for faults stays below a few hundred kilobytes each."""
    folders = [path for path in CANDIDATES.iterdir() if path.is_dir()]
    assert folders
    assert all(sum(file.stat().st_size for file in folder.iterdir()) < 300_000 for folder in folders)


def _intent(text: str) -> object:
    """Return the intent that an answer begins with."""
    try:
        return json.JSONDecoder().raw_decode(text)[0].get("intent")
    except ValueError:
        return None

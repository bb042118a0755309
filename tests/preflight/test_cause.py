"""The cause that is named explains what the other checks saw: the specific before the general."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.preflight import cause
from pytest_modelgate.preflight.cause import likeliest_cause
from pytest_modelgate.preflight.check import CheckOutcome, CheckResult

MODES = {
    "file_whole": "F25",
    "quantization": "F21",
    "architecture": "F15",
    "base_identity": "F14",
    "modelfile": "F18",
    "manifest": "F25",
    "chat_template": "F01",
    "generation_prompt": "F01",
    "end_of_turn": "F04",
    "bos": "F03",
    "added_tokens": "F08",
    "token_ids": "F02",
    "finite_weights": "F16",
    "adapter_applied": "F11",
    "adapter_scale": "F12",
    "base_weights": "F14",
    "embedding_rows": "F08",
    "quantization_error": "F24",
    "tensor_parity": "F13",
    "closer_to_adapter": "F11",
    "end_of_turn_probability": "F04",
    "logits_parity": "F13",
    "long_prompt": "F15",
}


def result(
    check: str, outcome: CheckOutcome = "failed", mode: str | None = None, reason: str = "is wrong"
) -> CheckResult:
    """Return what one check found."""
    return CheckResult(check, mode or MODES[check], "t.gguf", "static", outcome, reason)


@pytest.mark.parametrize(
    ("failed", "mode"),
    [
        (
            (("manifest", "F25"), ("adapter_applied", "F11"), ("tensor_parity", "F11"), ("closer_to_adapter", "F11")),
            "F11",
        ),
        ((("manifest", "F25"), ("adapter_applied", "F25"), ("tensor_parity", "F25"), ("logits_parity", "F13")), "F25"),
        ((("adapter_scale", "F12"), ("tensor_parity", "F12"), ("closer_to_adapter", "F11")), "F12"),
        ((("base_weights", "F14"), ("tensor_parity", "F14"), ("logits_parity", "F13")), "F14"),
        ((("quantization_error", "F24"), ("tensor_parity", "F24"), ("logits_parity", "F22")), "F24"),
        ((("tensor_parity", "F13"), ("logits_parity", "F13"), ("long_prompt", "F15")), "F13"),
        ((("embedding_rows", "F08"), ("tensor_parity", "F08"), ("logits_parity", "F13")), "F08"),
        ((("finite_weights", "F16"), ("tensor_parity", "F16"), ("logits_parity", "F16")), "F16"),
        ((("file_whole", "F25"), ("finite_weights", "F25"), ("logits_parity", "F16"), ("token_ids", "F02")), "F25"),
        ((("end_of_turn", "F04"), ("added_tokens", "F08"), ("token_ids", "F02"), ("manifest", "F25")), "F04"),
        ((("architecture", "F15"), ("logits_parity", "F13"), ("long_prompt", "F15")), "F15"),
        ((("bos", "F03"), ("token_ids", "F02"), ("chat_template", "F01")), "F03"),
        ((("end_of_turn_probability", "F04"),), "F04"),
        ((("logits_parity", "F22"),), "F22"),
        ((("manifest", "F25"),), "F25"),
    ],
)
def test_the_specific_is_named_before_the_general(failed: tuple[tuple[str, str], ...], mode: str) -> None:
    """What a check sees of another's fault is not the cause, in whatever order they ran."""
    for order in itertools.islice(itertools.permutations(failed), 24):
        found = likeliest_cause([result(check, mode=own) for check, own in order])
        assert found is not None
        assert found.mode == mode


def test_right_tensors_leave_what_they_are_computed_with() -> None:
    """Logits that differ though every tensor is right are those of other settings; where that was not seen they are not."""
    differ = result("logits_parity")
    found = likeliest_cause([result("tensor_parity", "passed"), differ])
    assert found is not None
    assert found.mode == "F15"
    unseen = likeliest_cause([result("tensor_parity", "not checked"), differ])
    assert unseen is not None
    assert unseen.mode == "F13"


def test_a_sentence_tells_the_mode_the_check_and_its_reason() -> None:
    """It says what the mode means and what was seen, and rests on every check of that mode."""
    found = likeliest_cause([result("tensor_parity", mode="F11"), result("adapter_applied", reason="holds the base")])
    assert found is not None
    assert str(found) == "F11, the adapter is not in the file (adapter_applied: holds the base)"
    assert found.checks == ("adapter_applied", "tensor_parity")
    assert found.to_json()["checks"] == ["adapter_applied", "tensor_parity"]


def test_every_mode_of_these_checks_has_a_meaning() -> None:
    """None is named by its number alone."""
    assert {*MODES.values(), "F10", "F22"} <= cause._MEANINGS.keys()
    assert set(MODES) <= set(cause._ORDER)


@given(
    st.lists(st.tuples(st.sampled_from(sorted(MODES)), st.sampled_from(["passed", "failed", "warned", "not checked"])))
)
def test_a_cause_is_one_of_what_failed(found: list[tuple[str, CheckOutcome]]) -> None:
    """There is one exactly where something failed, and it rests on failed checks alone."""
    results = [result(check, outcome) for check, outcome in found]
    named = likeliest_cause(results)
    failed = {check for check, outcome in found if outcome == "failed"}
    assert (named is not None) == bool(failed)
    assert named is None or set(named.checks) <= failed


def test_an_unknown_check_is_named_before_the_manifest() -> None:
    """What a later version checks is not hidden behind a hash."""
    new = CheckResult("new_check", "F99", "t", "static", "failed", "is wrong")
    found = likeliest_cause([result("manifest"), new])
    assert found is not None
    assert (found.mode, found.sentence) == ("F99", "is wrong")

"""Before a file answers anything, its prompts are compared with those of what it was made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.engines.probe_process import ProcessProbe, open_probe
from pytest_modelgate.preflight import tokenizer
from pytest_modelgate.preflight.check import Artifact, Subject
from pytest_modelgate.preflight.run import run_preflight
from pytest_modelgate.records import Message
from tests.faults import gguf_faults
from tests.faults.gguf_edit import Edit, edit, metadata
from tests.preflight.tokenizing import (
    ADAPTER,
    EXAMPLES,
    PROMPTS,
    SUPPORT,
    SYSTEM,
    checked,
    failures,
    outcomes,
)

ROOT = EXAMPLES.parent
Q8_0 = SUPPORT / "support-Q8_0.gguf"
NAMES = {check.name for check in tokenizer.CHECKS}


def support_prompts() -> dict[str, tuple[Message, ...]]:
    """Return every case of the support task as it is asked."""
    system = Message("system", (ROOT / "golden" / "support.system.txt").read_text(encoding="utf-8").strip())
    found: dict[str, tuple[Message, ...]] = {}
    for suite in ("golden", "adversarial", "heldout"):
        for line in (ROOT / suite / "support.jsonl").read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            if isinstance(case.get("input"), str):
                found[f"{suite}/{case['id']}"] = (system, Message("user", case["input"]))
    return found


@pytest.mark.parametrize("name", ["support-f16.gguf", "support-Q8_0.gguf", "support-Q4_K_M.gguf"])
def test_a_healthy_file_fails_nothing(name: str) -> None:
    """Every prompt of every case is the same text and the same ids in a file and its adapter."""
    results = checked(SUPPORT / name, prompts=support_prompts())
    assert failures(results) == {}
    assert outcomes(results, "passed") >= NAMES - {"token_ids"}
    # One case holds letters with their marks apart, which the adapter's tokenizer puts together.
    assert "Unicode's form NFC" in results["token_ids"].reason


@pytest.mark.parametrize("example", ["support", "incident", "postmortem", "ci_failure", "invoice"])
def test_the_tiny_examples_fail_nothing(example: str) -> None:
    """The files that are shipped as examples agree with their adapters."""
    folder = EXAMPLES / example / "tiny"
    (file,) = folder.glob("*.gguf")
    base = SUPPORT / "base" if example == "support" else EXAMPLES / "base"
    assert failures(checked(file, Artifact("adapter", "adapter", folder / "adapter", base))) == {}


def test_a_folder_is_compared_too() -> None:
    """A model folder as target is held against its adapter where that makes sense."""
    results = checked(SUPPORT / "base", kind="merged")
    assert set(results) == {"chat_template", "added_tokens", "token_ids"} == outcomes(results, "passed")


def test_nothing_is_green_without_a_reference() -> None:
    """What needs a reference is not checked, with the reason; what the file alone tells is."""
    results = checked(Q8_0, None)
    assert outcomes(results, "not checked") == {"chat_template", "added_tokens", "token_ids"}
    assert failures(results) == {}
    assert "12 prompts" in results["chat_template"].reason
    assert "--reference" in results["chat_template"].reason


def test_prompts_are_needed_where_they_are_measured() -> None:
    """Without cases the fixed conversations are compared, and their length tells nothing."""
    results = checked(Q8_0, prompts={})
    assert outcomes(results, "not checked") == {"prompt_fits"}
    assert failures(results) == {}


@pytest.mark.parametrize(
    ("fault", "check", "mode"),
    [
        (gguf_faults.other_template, "chat_template", "F01"),
        (gguf_faults.other_template, "generation_prompt", "F01"),
        (gguf_faults.no_template, "chat_template", "F01"),
        (gguf_faults.never_stops, "end_of_turn", "F04"),
        (gguf_faults.never_stops, "load_warnings", "F04"),
        (gguf_faults.never_stops, "added_tokens", "F04"),
        (gguf_faults.never_stops, "token_ids", "F08"),
    ],
)
def test_broken_exports_are_seen(fault: object, check: str, mode: str, tmp_path: Path) -> None:
    """What breaks an export is failed by the check that is for it, under its failure mode."""
    assert callable(fault)
    assert failures(checked(fault(Q8_0, tmp_path / "broken.gguf")))[check] == mode


@pytest.mark.parametrize("fault", [gguf_faults.no_template, gguf_faults.never_stops])
def test_some_show_in_the_file_alone(fault: object, tmp_path: Path) -> None:
    """A missing template, and an end of turn that is no token, need no reference."""
    assert callable(fault)
    assert failures(checked(fault(Q8_0, tmp_path / "broken.gguf"), None))


def test_a_missing_template_is_told_once(tmp_path: Path) -> None:
    """Checks that need the template leave it to the one that is about it."""
    results = checked(gguf_faults.no_template(Q8_0, tmp_path / "broken.gguf"))
    assert failures(results) == {"chat_template": "F01"}


def test_a_cut_file_fails_every_check(tmp_path: Path) -> None:
    """What could not be looked at is not green."""
    results = checked(gguf_faults.truncated(Q8_0, tmp_path / "broken.gguf"))
    assert set(failures(results)) == NAMES
    assert "cut off" in results["bos"].reason


def test_merges_that_are_lost_show_in_the_ids(tmp_path: Path) -> None:
    """The first case whose ids differ is named, with both sides' pieces."""
    key = "tokenizer.ggml.merges"
    merges = list(metadata(Q8_0, key))
    path = edit(Q8_0, tmp_path / "broken.gguf", Edit({key: merges[: len(merges) // 2]}))
    results = checked(path)
    assert failures(results) == {"token_ids": "F02"}
    found = results["token_ids"]
    assert found.reason.startswith("golden/parcel: other token ids than the reference's for the same text (and ")
    assert [line.partition(",")[0] for line in found.details] == ["broken.gguf", "adapter"]
    assert found.figures["token_parity"] < 1


def test_another_pre_tokenizer_shows_in_the_ids(tmp_path: Path) -> None:
    """It shows in a text that is no case's, where no case holds what it cuts otherwise."""
    path = edit(Q8_0, tmp_path / "broken.gguf", Edit({"tokenizer.ggml.pre": "default"}))
    prompts = {"golden/one": (Message("user", "ok"),)}
    assert failures(checked(path, prompts=prompts)) == {"token_ids": "F02"}


def test_two_tokens_in_each_others_place_are_named(tmp_path: Path) -> None:
    """Every entry of both vocabularies is compared."""
    key = "tokenizer.ggml.tokens"
    tokens = list(metadata(Q8_0, key))
    one, two = tokens.index("Ġzero") if "Ġzero" in tokens else 1500, 1501
    tokens[one], tokens[two] = tokens[two], tokens[one]
    found = checked(edit(Q8_0, tmp_path / "broken.gguf", Edit({key: tokens})))["added_tokens"]
    assert (found.outcome, found.mode) == ("failed", "F08")
    assert "2 tokens are in each other's place" in found.reason
    assert repr(tokens[one]) in found.reason


def test_an_end_of_turn_of_an_ordinary_type_is_seen(tmp_path: Path) -> None:
    """llama.cpp mends it because of its name, so that only the header and the log tell."""
    key = "tokenizer.ggml.token_type"
    types = list(metadata(Q8_0, key))
    types[2] = 1
    results = checked(edit(Q8_0, tmp_path / "broken.gguf", Edit({key: types})))
    assert failures(results) == {"load_warnings": "F04", "end_of_turn": "F04", "added_tokens": "F04"}
    assert results["token_ids"].outcome == "passed"


def test_a_long_prompt_does_not_fit() -> None:
    """A prompt and its answer must fit the context that is served, and the one that was trained."""
    prompts = {"golden/short": PROMPTS["golden/parcel"], "golden/long": (SYSTEM, Message("user", "parcel " * 600))}
    served = checked(Q8_0, prompts=prompts)["prompt_fits"]
    assert (served.outcome, served.mode) == ("failed", "F30")
    assert served.reason.startswith("golden/long: ")
    assert served.reason.endswith("more than n_ctx 1024")
    trained = checked(Q8_0, prompts=prompts, n_ctx=4096)["prompt_fits"]
    assert (trained.outcome, trained.mode) == ("failed", "F15")
    assert trained.reason.endswith("trained with, 2048")
    assert trained.figures["prompt_tokens.max"] > 2048


def test_probes_live_in_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user runs it, each side has one process, which ends with the stage."""
    opened: list[ProcessProbe] = []

    def recorded(*given: Any, **named: Any) -> ProcessProbe:
        opened.append(open_probe(*given, **named))
        return opened[-1]

    monkeypatch.setattr(tokenizer, "open_probe", recorded)
    subject = Subject(Artifact("support-Q8_0.gguf", "gguf", Q8_0), (ADAPTER,), prompts=support_prompts(), n_ctx=1024)
    running = []
    for result in run_preflight(subject, ["tokenizer"]):
        assert result.outcome in {"passed", "warned"}
        running.append(sum(probe._child is not None for probe in opened))
    assert max(running) == len(opened) == 2
    assert [probe._child for probe in opened] == [None, None]

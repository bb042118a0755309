"""One chat template, a whole vocabulary, and settings of generation that agree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from pytest_modelgate.preflight.check import Artifact, Subject
from tests.faults import gguf_faults
from tests.faults.gguf_edit import Edit, edit, metadata
from tests.preflight.static_subjects import BASE, Q8_0, alone, changed, copied, found, subject

EOS, MERGES, MODEL = (f"tokenizer.ggml.{name}" for name in ("eos_token_id", "merges", "model"))
TEMPLATE = (BASE / "chat_template.jinja").read_text(encoding="utf-8")


def folder(path: Path) -> Subject:
    """Return a model's folder as the target."""
    return Subject(Artifact(path.name, "merged", path))


# --- Templates ---------------------------------------------------------------------------------------------------


def test_two_templates_that_differ_fail(tmp_path: Path) -> None:
    """Of two, transformers takes one and the converter the other; the same text twice is no difference."""
    base = copied(BASE, tmp_path / "base")
    changed(base / "tokenizer_config.json", chat_template=TEMPLATE)
    assert found("template_files", subject(base=base)).outcome == "passed"
    changed(base / "tokenizer_config.json", chat_template="{{ messages[0].content }}")
    for given in (subject(base=base), folder(base)):
        result = found("template_files", given)
        assert (result.outcome, result.mode) == ("failed", "F01")
    assert AutoTokenizer.from_pretrained(base).chat_template == TEMPLATE


def test_a_file_without_a_template_fails(tmp_path: Path) -> None:
    """Every program that serves it guesses."""
    result = found("template_files", alone(gguf_faults.no_template(Q8_0, tmp_path / Q8_0.name)))
    assert (result.outcome, result.mode) == ("failed", "F01")


@pytest.mark.parametrize(
    "templates",
    [
        [{"name": "default", "template": TEMPLATE}, {"name": "tool_use", "template": "…"}],
        [{"name": "rag", "template": "…"}],
    ],
)
def test_named_templates_are_told(templates: list[dict[str, str]], tmp_path: Path) -> None:
    """Templates besides the default are taken by some programs only."""
    base = copied(BASE, tmp_path / "base")
    (base / "chat_template.jinja").unlink()
    changed(base / "tokenizer_config.json", chat_template=templates)
    result = found("template_files", folder(base))
    assert result.outcome == "warned"
    assert templates[-1]["name"] in " ".join((result.reason, *result.details))
    path = edit(Q8_0, tmp_path / Q8_0.name, Edit(added={"tokenizer.chat_template.tool_use": "…"}))
    assert "tool_use" in found("template_files", alone(path)).reason


# --- Tokenizer files ---------------------------------------------------------------------------------------------


def test_a_folder_without_a_tokenizer_fails(tmp_path: Path) -> None:
    """Neither tokenizer.json nor tokenizer.model is there."""
    base = copied(BASE, tmp_path / "base")
    (base / "tokenizer.json").unlink()
    assert found("tokenizer_files", folder(base)).mode == "F09"
    assert found("tokenizer_files", folder(base)).outcome == "failed"


def test_a_family_that_needs_tokenizer_model_fails_without(tmp_path: Path) -> None:
    """The converter reads Gemma 1 and 2 from tokenizer.model alone."""
    base = copied(BASE, tmp_path / "base", model_type="gemma2")
    assert found("tokenizer_files", folder(base)).outcome == "failed"
    (base / "tokenizer.model").write_bytes(b"")
    assert found("tokenizer_files", folder(base)).outcome == "warned"  # added_tokens_decoder


def test_what_transformers_5_writes_is_told_of_a_folder(tmp_path: Path) -> None:
    """A list of extra_special_tokens warns in a folder, and is nothing any more once the file is converted."""
    assert "extra_special_tokens" in found("tokenizer_files", folder(BASE)).reason
    assert found("tokenizer_files", subject()).outcome == "passed"
    base = copied(BASE, tmp_path / "base")
    changed(base / "tokenizer_config.json", extra_special_tokens={})
    assert found("tokenizer_files", folder(base)).outcome == "passed"


def test_lost_merges_and_scores_fail(tmp_path: Path) -> None:
    """A vocabulary splits text otherwise without its merges, or with scores that are all the same."""
    merges = list(metadata(Q8_0, MERGES))
    fewer = edit(Q8_0, tmp_path / "fewer.gguf", Edit({MERGES: merges[:-100]}))
    assert found("tokenizer_files", alone(fewer)).outcome == "passed"
    result = found("tokenizer_files", subject(fewer))
    assert (result.outcome, result.mode) == ("failed", "F09")
    assert f"{len(merges) - 100} merges" in result.reason
    none = edit(Q8_0, tmp_path / "none.gguf", Edit(removed=[MERGES]))
    assert found("tokenizer_files", alone(none)).outcome == "failed"
    unscored = edit(Q8_0, tmp_path / "unscored.gguf", Edit({MODEL: "llama"}))
    assert found("tokenizer_files", alone(unscored)).mode == "F02"


# --- Generation --------------------------------------------------------------------------------------------------


def test_another_end_than_the_model_s_fails(tmp_path: Path) -> None:
    """EOS must be one of the ends that generation_config.json names."""
    path = edit(Q8_0, tmp_path / Q8_0.name, Edit({EOS: 1}))
    result = found("generation_config", subject(path))
    assert (result.outcome, result.mode) == ("failed", "F04")
    assert "EOS is '<|im_start|>' (1)" in result.reason


@pytest.mark.parametrize(("ends", "outcome"), [([2, 0], "passed"), (2, "passed"), ([2, 1], "warned"), ([1], "failed")])
def test_ends_at_which_the_file_does_not_stop(ends: Any, outcome: str, tmp_path: Path) -> None:
    """An end of generation_config.json that llama.cpp does not know warns, and fails where it is the only one."""
    base = copied(BASE, tmp_path / "base")
    changed(base / "generation_config.json", eos_token_id=ends)
    assert found("generation_config", subject(base=base)).outcome == outcome


@pytest.mark.parametrize(
    ("added", "told"),
    [
        ({"general.sampling.temp": 0.5}, "general.sampling.temp is 0.5, generation_config.json says 0.7"),
        ({"general.sampling.temp": 0.7}, "draw answers that are gated greedily"),
        ({"general.sampling.penalty_repeat": 1.05}, "penalty for repeating"),
    ],
)
def test_sampling_in_the_header_is_told(added: dict[str, Any], told: str, tmp_path: Path) -> None:
    """llama.cpp's own programs take it, the gate does not."""
    base = copied(BASE, tmp_path / "base")
    changed(base / "generation_config.json", temperature=0.7, do_sample=True)
    result = found("generation_config", subject(edit(Q8_0, tmp_path / Q8_0.name, Edit(added=added)), base=base))
    assert (result.outcome, result.mode) == ("warned", "F17")
    assert told in " ".join((result.reason, *result.details))


def test_a_folder_that_samples_by_itself_is_told(tmp_path: Path) -> None:
    """do_sample and a penalty are applied by generate() without being asked for."""
    base = copied(BASE, tmp_path / "base")
    assert found("generation_config", folder(base)).outcome == "passed"
    changed(base / "generation_config.json", do_sample=True)
    assert found("generation_config", folder(base)).outcome == "warned"


def test_damaged_files_fail_with_their_names(tmp_path: Path) -> None:
    """A JSON file that is none is a failure of the check that needs it, in one line."""
    base = copied(BASE, tmp_path / "base")
    for name, check in (("generation_config.json", "generation_config"), ("tokenizer_config.json", "template_files")):
        (base / name).write_text(json.dumps([1]), encoding="utf-8")
        result = found(check, subject(base=base))
        assert (result.outcome, f"{name}: not a JSON object" in result.reason) == ("failed", True)

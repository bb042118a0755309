"""What nothing is wrong with fails no static check, and every check that can be made is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.preflight.check import Artifact, Subject
from pytest_modelgate.preflight.manifest import find_manifest
from pytest_modelgate.preflight.modelfile import find_modelfile
from pytest_modelgate.preflight.run import run_preflight
from pytest_modelgate.preflight.static import CHECKS
from tests.faults.gguf_edit import write_lora
from tests.preflight.static_subjects import (
    ADAPTER,
    BASE,
    BASE_F16,
    F16,
    Q4_K_M,
    Q8_0,
    ROOT,
    alone,
    changed,
    copied,
    subject,
)

TINY = ("postmortem", "incident", "ci_failure", "invoice")


def tiny(name: str) -> Subject:
    """Return a published candidate with everything that lies beside it."""
    folder = ROOT / "examples" / name / "tiny"
    (gguf,) = folder.glob("*.gguf")
    manifest, generation = find_manifest(gguf), json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return subject(
        gguf,
        adapter=folder / "adapter",
        base=ROOT / "examples" / "base",
        manifest=generation,
        manifest_path=manifest,
        modelfile=find_modelfile(gguf),
        n_ctx=1024,
    )


@pytest.mark.parametrize("name", TINY)
def test_published_candidates_pass_every_check(name: str) -> None:
    """With adapter, base, manifest and Modelfile, nothing fails, warns or is left out."""
    given = tiny(name)
    assert given.modelfile is not None
    assert {
        one.check: (one.outcome, one.reason) for one in run_preflight(given, ("static",)) if one.outcome != "passed"
    } == {}


@pytest.mark.parametrize("path", [F16, Q8_0, Q4_K_M])
def test_the_committed_candidate_passes(path: Path) -> None:
    """Each quantisation of the support candidate passes with its manifest."""
    where = find_manifest(path)
    assert where is not None
    given = subject(path, manifest=json.loads(where.read_text(encoding="utf-8")), manifest_path=where)
    outcomes = {one.check: one.outcome for one in run_preflight(given, ("static",))}
    assert {name for name, outcome in outcomes.items() if outcome not in {"passed", "not checked"}} == set()
    assert {name for name, outcome in outcomes.items() if outcome == "not checked"} <= {"modelfile", "requantized"}


def test_a_file_alone_says_what_cannot_be_told() -> None:
    """Without anything to compare with, checks that need it are not green."""
    outcomes = {one.check: one.outcome for one in run_preflight(alone(Q4_K_M), ("static",))}
    told = {name for name, outcome in outcomes.items() if outcome == "passed"}
    assert told == {"file_whole", "file_name", "quantization", "template_files", "tokenizer_files", "generation_config"}
    assert "failed" not in outcomes.values()


@pytest.mark.parametrize("target", [Artifact("adapter", "adapter", ADAPTER, BASE), Artifact("base", "merged", BASE)])
def test_folders_are_looked_at_too(target: Artifact) -> None:
    """An adapter and a model's folder fail nothing, and only the checks that are about them run."""
    results = list(run_preflight(Subject(target), ("static",)))
    assert [one.reason for one in results if one.outcome == "failed"] == []
    assert [one.check for one in results] == [one.name for one in CHECKS if target.kind in one.kinds]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("base/config.json", {"rms_norm_eps": "small"}),
        ("base/config.json", {"rope_parameters": {"full_attention": 1}}),
        ("base/config.json", {"head_dim": [64]}),
        ("base/generation_config.json", {"eos_token_id": [[2]]}),
        ("base/tokenizer_config.json", {"chat_template": 7}),
        ("adapter/adapter_config.json", {"target_modules": 7, "r": "many"}),
        ("adapter/adapter_config.json", {"lora_alpha": {}}),
    ],
)
def test_values_of_a_wrong_kind_fail_in_one_line(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Whatever stands in a JSON file, a check fails and nothing breaks."""
    adapter, base = copied(ADAPTER, tmp_path / "adapter"), copied(BASE, tmp_path / "base")
    changed(tmp_path / name, **settings)
    lora = write_lora(ADAPTER, tmp_path / "lora.gguf")
    results = [
        one
        for given in (
            subject(Q8_0, adapter=adapter, base=base),
            subject(BASE_F16, adapter=adapter, base=base, lora=lora),
        )
        for one in run_preflight(given, ("static",))
    ]
    assert "failed" in {one.outcome for one in results}
    assert all("\n" not in one.reason for one in results)


def test_every_check_has_a_name_of_its_own() -> None:
    """No two checks share a name, and each says what a pass means."""
    assert len({one.name for one in CHECKS}) == len(CHECKS)
    assert all(one.about and one.stage == "static" for one in CHECKS)

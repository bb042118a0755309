"""A real model becomes the baseline, and later runs of real models are compared with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.release.conftest import SupportProject

pytestmark = pytest.mark.model

COMPARING = """
[gates.regressions]
metric = "regressions"
max = 0

[gates.critical]
metric = "critical_regressions"
max = 0

[gates.drop]
metric = "accuracy.intent"
max_regression = 0.05

[gates.slower]
metric = "latency_ms.p50"
max_increase = { ratio = 20, ms = 1000 }
"""


@pytest.fixture
def comparing(project: SupportProject, monkeypatch: pytest.MonkeyPatch) -> SupportProject:
    """Return a short project with gates that compare."""
    monkeypatch.delenv("CI", raising=False)
    project.keep_cases(20)
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text(encoding="utf-8") + COMPARING, encoding="utf-8")
    return project


def test_from_the_first_release_to_a_refused_comparison(comparing: SupportProject, models: Path) -> None:
    """Accept; the same model has no regression; the untuned base has, by name; an edited rule refuses to compare."""
    project = comparing
    accepted = project.run("--model", "demo", "--modelgate-accept", "first release", "-n", "2")
    assert accepted.code == 0, accepted.text
    assert "accepted as the baseline: baselines/support.jsonl; commit it" in accepted.text
    baseline = project.path / "baselines" / "support.jsonl"
    head = json.loads(baseline.read_text(encoding="utf-8").splitlines()[0])
    assert (head["reason"], head["n"], head["target"]["id"]) == ("first release", 60, "demo")
    assert len(head["performance"]["samples"]) == 20
    written = baseline.read_bytes()

    same = project.run("--model", "demo")
    assert same.code == 0, same.text
    gates = {gate["name"]: gate for gate in same.report["gates"]}
    assert (gates["regressions"]["outcome"], gates["regressions"]["observed"], gates["regressions"]["n"]) == (
        "passed",
        0.0,
        60,
    )
    assert {gates[name]["outcome"] for name in ("critical", "drop", "slower")} == {"passed"}
    assert "0 new failures, 0 fixed" in same.text

    base = project.run("--model", str(models / "base-f16.gguf"))
    assert base.code == 1
    assert base.gates("base-f16")["critical"] == "failed"
    assert base.gates("base-f16")["drop"] == "failed"
    assert "✗ drop[base-f16]" in base.text

    refused = project.run("--model", str(models / "base-f16.gguf"), "--modelgate-accept", "why not")
    assert refused.code == 1
    assert "baseline not written: the run is blocked" in refused.text
    partial = project.run("--model", "demo", "--modelgate-accept", "a part", "-m", "golden")
    assert partial.code == 1
    assert "baseline not written" in partial.text
    assert baseline.read_bytes() == written

    toml = project.path / "gates.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace("n_ctx = 1024", "n_ctx = 1000"), encoding="utf-8")
    changed = project.run("--model", "demo")
    assert changed.code == 1
    told = "the baseline of task 'support' was judged by other rules: generation.n_ctx changed"
    assert f"regressions[demo]: not evaluated: {told}" in changed.text
    assert changed.gates("demo")["slower"] == "passed"  # a time is a time


def test_a_base_is_a_control_to_beat(comparing: SupportProject, models: Path) -> None:
    """The tuned model beats its untuned base by more than 0.3, in one run on two workers."""
    project = comparing
    gates = project.path / "gates.toml"
    uplift = '\n[gates.uplift]\nmetric = "accuracy.intent"\nsuites = ["golden"]\nuplift_over = { base = 0.3 }\n'
    gates.write_text(gates.read_text(encoding="utf-8") + uplift, encoding="utf-8")

    run = project.run("--model", "demo", "--control", f"{models / 'base-f16.gguf'},id=base", "-n", "2")

    assert run.code == 0, run.text
    assert run.gates("demo")["uplift"] == "passed"
    assert {case["outcome"] for case in run.report["cases"] if case["target"] == "base"} >= {"failed", "missed"}


def test_greedy_decoding_does_not_flip(project: SupportProject) -> None:
    """The demo asked three times, in orders that make other batches, says the same each time."""
    project.keep_cases(12)

    run = project.run("--model", "demo", "--modelgate-repeat", "3")

    assert run.code == 0, run.text
    assert "3 repeats: 0 of 36 cases changed their outcome" in run.text
    found = json.loads((project.out / "repeat.json").read_text(encoding="utf-8"))
    assert found["unanswered"] == {"demo": 0}
    assert found["flipping_cases"] == found["flipping_gates"] == []
    rows = [json.loads(line) for line in (project.out / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    generated = [row for row in rows if "generation" in row]
    assert len({row["key"] for row in generated}) == len(generated) == 3 * 36
    assert {row.get("repeat", 0) for row in generated} == {0, 1, 2}

    again = project.run("--model", "demo", "--modelgate-repeat", "3")
    assert again.report["targets"][0]["replayed"] == 36  # repeats are taken up from the journal as well
    assert again.code == 0


def test_a_lost_gate_stops_a_real_engine(project: SupportProject, models: Path) -> None:
    """With --modelgate-fail-fast the untuned base is blocked after a few of its cases."""
    run = project.run("--model", str(models / "base-f16.gguf"), "--modelgate-fail-fast")

    assert run.code == 1
    assert run.report["verdict"] == "blocked"
    assert "stopped early: gate no_critical_failures[base-f16] cannot pass any more: 1 > 0" in run.text
    assert len(run.report["cases"]) < 30

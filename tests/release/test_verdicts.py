"""Real models, real engines: what passes and what is blocked, and by which gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import gguf_faults
from tests.release.conftest import SupportProject

pytestmark = pytest.mark.model

CONTENT_GATES = {"intent_golden", "intent_heldout", "no_critical_failures"}


def failed(gates: dict[str, str]) -> set[str]:
    """Return the names of the gates that did not pass."""
    return {name for name, outcome in gates.items() if outcome != "passed"}


def test_adapter_and_demo_pass_in_one_run(project: SupportProject, models: Path) -> None:
    """The tuned adapter and the quantised file that ships clear every gate."""
    run = project.run("--model", str(models / "adapter"), "--model", "demo")

    assert run.code == 0, run.text
    assert run.report["verdict"] == "passed"
    assert run.report["selection"] == "full"
    for target in ("adapter", "demo"):
        assert failed(run.gates(target)) == set()
        validity = [
            gate for gate in run.report["gates"] if gate["target"] == target and gate["name"] == "schema_validity"
        ]
        assert validity[0]["observed"] >= 0.99
    assert "latency" not in run.gates("adapter")
    assert run.report["performance"][0]["peak_rss_bytes"] > 1_000_000


def test_the_untuned_base_is_blocked_for_its_answers(project: SupportProject, models: Path) -> None:
    """The base writes the right form with poor labels: content gates fail, form and speed do not, nothing errs."""
    run = project.run("--model", str(models / "base-f16.gguf"))

    assert run.code == 1
    assert run.report["verdict"] == "blocked"
    assert {case["outcome"] for case in run.report["cases"]} <= {"passed", "missed", "failed"}
    gates = run.gates("base-f16")
    assert failed(gates) == CONTENT_GATES
    assert "✗ intent_heldout[base-f16]" in run.text
    # The model lies outside the project, whose ids stay as they are.
    assert "GATE FAILED gates.toml::intent_heldout[base-f16]" in run.text
    assert "FAILED golden/support.jsonl::cannot-log-in[base-f16]" in run.text


def test_a_candidate_that_never_stops_is_blocked_for_truncation(
    project: SupportProject, models: Path, tmp_path: Path
) -> None:
    """An end-of-turn token that was renamed and an EOS id that was changed show as endless generation."""
    broken = gguf_faults.never_stops(models / "support-Q8_0.gguf", tmp_path / "endless.gguf")

    run = project.run("--model", str(broken))

    assert run.code == 1
    assert not [case for case in run.report["cases"] if case["outcome"] == "error"]
    assert run.gates("endless")["never_endless"] == "failed"
    assert "✗ never_endless[endless]" in run.text


def test_a_candidate_with_another_template_is_blocked(project: SupportProject, models: Path, tmp_path: Path) -> None:
    """Weights and tokens are right, the prompt is not the one of training: the answers fall apart."""
    broken = gguf_faults.other_template(models / "support-Q8_0.gguf", tmp_path / "template.gguf")

    run = project.run("--model", str(broken))

    assert run.code == 1
    assert not [case for case in run.report["cases"] if case["outcome"] == "error"]
    assert failed(run.gates("template")) & (CONTENT_GATES | {"schema_validity"})


def test_every_quantisation_passes_and_agrees_on_form(project: SupportProject, models: Path) -> None:
    """f16 and Q8_0 beside the shipped Q4_K_M: all clear the gates."""
    project.keep_cases(40)
    specs = [f"{models / f'support-{name}.gguf'},id={name}" for name in ("f16", "Q8_0", "Q4_K_M")]

    run = project.run(*[part for spec in specs for part in ("--model", spec)])

    assert {target["id"]: target["quantization"]["label"] for target in run.report["targets"]} == {
        "f16": "F16",
        "Q8_0": "Q8_0",
        "Q4_K_M": "Q4_K_M",
    }
    for name in ("f16", "Q8_0", "Q4_K_M"):
        assert run.gates(name)["schema_validity"] == "passed"
        assert run.gates(name)["no_critical_failures"] == "passed"

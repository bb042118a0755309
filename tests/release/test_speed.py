"""Speed of real models: measured apart, in turns with the last release, and handed to pytest-benchmark."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from pytest_modelgate.machine_lock import alone_on_this_machine
from tests.release.conftest import SupportProject

pytestmark = pytest.mark.model

GATE = """
[gates.no_slower]
metric = "latency_ms.p50"
max_increase = { ratio = RATIO, ms = 0 }
targets = ["gguf"]
"""


@pytest.fixture
def compared(project: SupportProject) -> SupportProject:
    """Return a small project whose gate allows a target three times the last release's time."""
    project.keep_cases(12)
    with (project.path / "gates.toml").open("a", encoding="utf-8") as gates:
        gates.write(GATE.replace("RATIO", "3"))
    return project


def no_slower(run_gates: list[dict[str, object]]) -> dict[str, object]:
    """Return the gate that compares speed."""
    (found,) = [gate for gate in run_gates if gate["name"] == "no_slower"]
    return found


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_quantisation_in_turns_with_the_last_release(
    compared: SupportProject, models: Path, workers: tuple[str, ...]
) -> None:
    """Both answer the same requests; the last release is judged by nothing else and none of its cases is run."""
    run = compared.run(
        *workers, f"--model={models / 'support-Q4_K_M.gguf'}", f"--baseline-model={models / 'support-f16.gguf'}"
    )

    gate = no_slower(run.report["gates"])
    assert gate["outcome"] == "passed", gate["reason"]
    assert "support-f16 took" in str(gate["reason"])
    assert "on the same 12 requests in turns" in str(gate["reason"])
    assert {case["target"] for case in run.report["cases"]} == {"support-Q4_K_M"}
    assert "support-f16 (baseline model)" in run.text


def test_without_the_last_release_nothing_is_decided(compared: SupportProject, models: Path) -> None:
    """The gate says loudly what is missing, and does not block."""
    run = compared.run(f"--model={models / 'support-Q4_K_M.gguf'}")

    gate = no_slower(run.report["gates"])
    assert (gate["outcome"], gate["blocks"]) == ("not evaluated", False)
    assert "--baseline-model SPEC" in run.text


def test_pytest_benchmark_stores_what_was_measured(compared: SupportProject, models: Path) -> None:
    """Its rows are the report's figures, with a row for each quantisation and for the last release."""
    names = ("support-Q4_K_M", "support-Q8_0", "support-f16")
    run = compared.run(
        *(f"--model={models / name}.gguf" for name in names[:2]),
        f"--baseline-model={models / names[2]}.gguf",
        "--benchmark-json=speed.json",
    )

    rows = json.loads((compared.path / "speed.json").read_bytes())["benchmarks"]
    medians = {row["params"]["target"]: row["stats"]["median"] for row in rows if row["group"] == "latency"}
    assert set(medians) == set(names)
    for measured in run.report["performance"]:
        assert 1000 * medians[measured["target"]] == pytest.approx(measured["latency_ms"]["p50"], abs=1e-3)
    assert {row["params"]["quantization"] for row in rows} == {"Q4_K_M", "Q8_0", "F16"}


def test_a_run_waits_for_one_that_measures(compared: SupportProject, models: Path) -> None:
    """While another run measures speed a run says for whom it waits, and goes on when that one is done."""
    with alone_on_this_machine("measuring"):
        process = compared.start(f"--model={models / 'support-Q8_0.gguf'}")
        assert process.stdout is not None
        watchdog = threading.Timer(60, process.kill)  # one that waits without a word would wait for this test
        watchdog.start()
        told = f"waiting: another run (process {os.getpid()}) is measuring speed on this machine"
        seen = next((line for line in process.stdout if line.strip() == told), None)
        watchdog.cancel()

    text, _ = process.communicate(timeout=300)
    assert seen is not None
    assert "latency[support-Q8_0]" in text


def test_n_auto_starts_one_worker_for_one_target(compared: SupportProject, models: Path) -> None:
    """Whatever the machine has: the others would have nothing to do."""
    run = compared.run("-n", "auto", f"--model={models / 'support-Q8_0.gguf'}")

    assert "created: 1/1 worker" in run.text
    assert run.gates("support-Q8_0")["latency"] == "passed"

"""A whole run, of micro size: every file is there, fits together, and is not made twice; a killed one goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelgate_training.errors import StageError
from modelgate_training.export.converter import find_converter

from tests.training.conftest import Project

pytestmark = [pytest.mark.model]

Start = Callable[..., subprocess.CompletedProcess[str]]


def command(project: Project, *arguments: str) -> list[str]:
    """Write the configuration, and return the command line."""
    (project.path / "config.yaml").write_text(yaml.safe_dump(project.config), encoding="utf-8")
    return [sys.executable, "-m", "modelgate_training", *arguments]


@pytest.fixture
def run(project: Project) -> Start:
    """Return what runs the program in a process of its own, as a user does."""
    try:
        find_converter()
    except StageError as missing:
        pytest.skip(str(missing))

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(project, *arguments), capture_output=True, text=True, check=False, cwd=project.path, env=os.environ
        )

    return start


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return a run's manifest."""
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return found


def mark(project: Project, stage: str) -> dict[str, Any]:
    """Return what a stage wrote about itself."""
    path = project.path / "run" / "stages" / f"{stage}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_a_run_from_rows_to_a_gated_candidate(project: Project, run: Start) -> None:
    """One command makes base, adapter, GGUF files, card and manifest; the second skips everything."""
    project.config["publish"] = "published"
    first = run("run", "--config", "config.yaml")
    assert first.returncode == 0, first.stdout[-2000:] + first.stderr[-2000:]
    folder = project.path / "run"
    names = {path.name for path in folder.iterdir()}
    assert {"base-f16.gguf", "tiny-f16.gguf", "tiny-Q8_0.gguf", "tiny-Q4_K_M.gguf", "Modelfile", "README.md"} <= names
    assert {"loss.svg", "metrics.jsonl", "rejected", "baseline", "evaluation"} <= names
    assert mark(project, "train")["facts"]["audit"]["rows"] == 48
    assert (project.path / "registry" / "runs.jsonl").read_text(encoding="utf-8").count("\n") == 1
    adapter = json.loads((project.path / "published" / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert adapter["base_model_name_or_path"] == "../base"

    second = run("run", "--config", "config.yaml")
    assert second.stdout.count("complete already, skipped") == 8

    third = run("run", "--config", "config.yaml", "--set", "lora.r=2")
    assert third.returncode == 1
    assert "train was finished with other inputs: lora.r was 4, is 2" in third.stderr
    fourth = run("run", "--config", "config.yaml", "--set", "lora.r=2", "--force")
    assert fourth.returncode == 0, fourth.stderr[-2000:]
    assert fourth.stdout.count("complete already, skipped") == 3
    assert not any("Traceback" in one.stderr for one in (first, second, third, fourth))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["base", "train", "quantize"])
def test_a_killed_run_ends_as_one_that_was_not(project: Project, run: Start, tmp_path: Path, stage: str) -> None:
    """Killed in three different stages, the run goes on to the same dataset version, steps and final loss."""
    project.config["training"] |= {"steps": 60, "save": 10, "evaluate": 10, "augment": {"case": 0.3, "typos": 0.3}}
    project.config["lora"]["dropout"] = 0.1
    project.config["base"]["scratch"]["steps"] = 60
    whole = run("run", "--config", "config.yaml", "--set", "output=whole")
    assert whole.returncode == 0, whole.stdout[-2000:] + whole.stderr[-2000:]

    with (tmp_path / "killed.txt").open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command(project, "run", "--config", "config.yaml"), stdout=output, stderr=output, cwd=project.path
        )
        try:
            _wait_until_inside(project.path / "run", stage, process)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert not (project.path / "run" / "manifest.json").exists()

    resumed = run("run", "--config", "config.yaml")
    assert resumed.returncode == 0, resumed.stdout[-2000:] + resumed.stderr[-2000:]
    assert f"{stage}: was interrupted, goes on" in resumed.stdout
    if stage == "train":
        assert "goes on from step" in resumed.stdout + resumed.stderr
    expected = _outcome(project.path / "whole")
    got = _outcome(project.path / "run")
    assert (got["version"], got["steps"]) == (expected["version"], expected["steps"])
    assert got["loss"] == pytest.approx(expected["loss"], abs=1e-3)
    assert got["eval_loss"] == pytest.approx(expected["eval_loss"], abs=1e-3)


def _outcome(folder: Path) -> dict[str, Any]:
    """Return what two runs must have in common."""
    stages = {name: json.loads((folder / "stages" / f"{name}.json").read_text()) for name in ("prepare", "train")}
    train = stages["train"]["facts"]
    return {"version": stages["prepare"]["facts"]["version"]} | {
        key: train[key] for key in ("steps", "loss", "eval_loss")
    }


def _wait_until_inside(folder: Path, stage: str, process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """Return in the middle of a stage: begun, and for training past the second checkpoint."""
    begun = folder / "stages" / f"{stage}.begun.json"
    inside = folder / "checkpoints" / "checkpoint-20" / "trainer_state.json" if stage == "train" else begun
    deadline = time.monotonic() + 300
    while not (inside.exists() and begun.exists()):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)

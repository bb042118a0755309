"""Engines die, runs are killed: nothing is lost and nothing turns green."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_modelgate.journal import read_rows
from tests.release.conftest import SupportProject

pytestmark = pytest.mark.model


def children(pid: int) -> Iterator[int]:
    """Yield the processes below ``pid``."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text(encoding="ascii").split():
            yield int(child)
            yield from children(int(child))


def journalled(project: SupportProject) -> int:
    """Return how many generations the journal holds."""
    return sum(1 for _ in read_rows(project.out / "journal.jsonl"))


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a condition of a running process; fail when it ends first or nothing happens."""
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_engine_that_is_killed_once_loses_nothing(project: SupportProject, models: Path) -> None:
    """After kill -9 of the engine the run goes on and ends with the verdict of an undisturbed one."""
    process = project.start("--model", f"{models / 'support-Q8_0.gguf'},n_threads=1")
    wait_until(lambda: journalled(project) > 20, process)
    os.kill(next(children(process.pid)), signal.SIGKILL)
    text, _ = process.communicate(timeout=200)

    assert process.returncode == 0, text
    assert "verdict: passed" in text
    assert project.n_cases > 400
    assert f"{project.n_cases} of {project.n_cases} cases run" in text


def test_a_killed_run_is_taken_up_where_it_ended(project: SupportProject, models: Path) -> None:
    """After kill -9 of pytest, only what is missing is generated, and the verdict is the same."""
    spec = f"{models / 'support-Q8_0.gguf'},n_threads=1"
    process = project.start("--model", spec)
    wait_until(lambda: journalled(project) > 20, process)
    process.kill()
    process.communicate()
    kept = journalled(project)
    assert 20 < kept < project.n_cases
    assert not (project.out / "report.json").exists()

    run = project.run("--model", spec)

    assert run.code == 0, run.text
    assert run.report["targets"][0]["replayed"] == kept
    assert journalled(project) == project.n_cases


def test_other_weights_at_the_same_path_are_generated_anew(
    project: SupportProject, models: Path, tmp_path: Path
) -> None:
    """A model that was exported again to the same path never gets the old one's answers."""
    project.keep_cases(5)
    path = tmp_path / "candidate.gguf"
    path.write_bytes((models / "support-Q8_0.gguf").read_bytes())
    first = project.run("--model", str(path))
    again = project.run("--model", str(path))
    path.write_bytes((models / "support-Q4_K_M.gguf").read_bytes())

    changed = project.run("--model", str(path))

    assert [run.report["targets"][0]["replayed"] for run in (first, again, changed)] == [0, 15, 0]
    assert first.report["targets"][0]["identity"] != changed.report["targets"][0]["identity"]


KILLER = '''
"""End the real engine whenever it takes one certain case up, as a case that crashes llama.cpp does."""

import os
import signal

from pytest_modelgate.engines.process import ProcessEngine

start = ProcessEngine.__init__


def start_with_killer(self, *arguments):
    start(self, *arguments)
    self.on_started = lambda key: os.kill(self.pid, signal.SIGKILL) if key == "golden/late-refund" else None


ProcessEngine.__init__ = start_with_killer
'''


def test_a_case_that_kills_its_engine_every_time_is_an_error(project: SupportProject) -> None:
    """That case is an error, its gates are incomplete, every other record is in journal and report, exit 1."""
    (project.path / "conftest.py").write_text(KILLER, encoding="utf-8")

    run = project.run("--model", "demo")

    assert run.code == 1
    assert run.report["verdict"] == "blocked"
    assert len(run.report["cases"]) == project.n_cases
    (case,) = [case for case in run.report["cases"] if case["outcome"] == "error"]
    assert case["id"] == "late-refund"
    assert "SIGKILL" in case["error"]
    assert journalled(project) == project.n_cases - 1
    assert run.gates("demo")["schema_validity"] == "incomplete"
    assert run.gates("demo")["hostile_input_keeps_form"] == "passed"
    assert "Traceback" not in run.text

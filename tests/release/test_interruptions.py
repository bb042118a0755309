"""However a run ends, the next one takes up every complete generation and gives the verdict of an undisturbed one."""

from __future__ import annotations

import functools
import json
import random
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.journal import read_rows
from tests.release.conftest import Run, SupportProject

pytestmark = pytest.mark.model

CASES = 36


def verdict(run: Run) -> dict[str, Any]:
    """Return what a run decided: the verdict, every gate but speed, every case."""
    gates = {g["name"]: (g["outcome"], g["observed"], g["n"]) for g in run.report["gates"] if g["name"] != "latency"}
    cases = {f"{case['suite']}/{case['id']}": (case["outcome"], case["output"]) for case in run.report["cases"]}
    return {"verdict": run.report["verdict"], "code": run.code, "gates": gates, "cases": cases}


def complete(journal: Path) -> int:
    """Return how many whole generations the journal holds."""
    return sum(1 for _ in read_rows(journal))


def test_journal_cut_anywhere(project: SupportProject) -> None:
    """A power cut leaves the journal with half a line at its end: that line is generated again, no other."""
    project.keep_cases(CASES // 3)
    undisturbed = verdict(project.run("--model", "demo"))
    journal = project.out / "journal.jsonl"
    whole = journal.read_bytes()
    rng = random.Random(11)  # noqa: S311 - no secret
    line_ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    cuts = [0, 1, line_ends[0] - 1, line_ends[0], line_ends[4] + 1, *rng.sample(range(len(whole)), 3)]

    for cut in cuts:
        journal.write_bytes(whole[:cut])
        kept = complete(journal)
        run = project.run("--model", "demo")

        assert verdict(run) == undisturbed, f"cut at byte {cut}"
        assert run.report["targets"][0]["replayed"] == kept
        assert complete(journal) == CASES


def test_disk_full_anywhere(project: SupportProject) -> None:
    """A run whose journal meets a full disk is blocked and says so; with room again nothing is generated twice."""
    project.keep_cases(CASES // 3)
    undisturbed = verdict(project.run("--model", "demo"))
    journal = project.out / "journal.jsonl"
    size = journal.stat().st_size

    for share in (0.1, 0.4, 0.85):
        journal.unlink()
        room = (int(size * share), resource.RLIM_INFINITY)
        full = subprocess.run(
            project.command("--model", "demo"),
            cwd=project.path,
            env=project.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
            preexec_fn=functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, room),
        )
        assert full.returncode == 1, full.stdout
        assert "verdict: passed" not in full.stdout
        assert "cannot be written" in full.stdout
        kept = complete(journal)
        assert 0 < kept < CASES

        run = project.run("--model", "demo")

        assert verdict(run) == undisturbed, f"full after {share:.0%}"
        assert run.report["targets"][0]["replayed"] == kept


def test_half_a_line_in_the_middle(project: SupportProject) -> None:
    """A line that was damaged later costs itself only."""
    project.keep_cases(CASES // 3)
    undisturbed = verdict(project.run("--model", "demo"))
    journal = project.out / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[7] = lines[7][: len(lines[7]) // 2] + b"\n"
    journal.write_bytes(b"".join(lines))

    run = project.run("--model", "demo")

    assert verdict(run) == undisturbed
    generations = sum(
        "generation" in json.loads(line) for line in journal.read_bytes().splitlines() if line.endswith(b"}")
    )
    assert run.report["targets"][0]["replayed"] == CASES - 1
    assert generations >= CASES

"""A journal is judged again without a model."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.release.conftest import SupportProject

pytestmark = pytest.mark.model


def regate(project: SupportProject, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `modelgate regate` on the project's journal."""
    command = [sys.executable, "-m", "pytest_modelgate.cli", "regate", ".modelgate/journal.jsonl", *arguments]
    return subprocess.run(
        command, cwd=project.path, env=project.environment(), capture_output=True, text=True, check=False
    )


def test_an_edited_gate_is_judged_from_the_journal(project: SupportProject) -> None:
    """The verdict follows the gates file of now; without gates on speed nothing is left to measure."""
    gates = project.path / "gates.toml"
    before, _, _ = gates.read_text(encoding="utf-8").partition("[gates.latency]")
    gates.write_text(before, encoding="utf-8")
    run = project.run("--model", "demo")
    assert run.code == 0, run.text

    same = regate(project)
    gates.write_text(before.replace("min = 0.75", "min = 0.99"), encoding="utf-8")
    stricter = regate(project, "--out", "again")

    assert same.returncode == 0, same.stdout + same.stderr
    assert "verdict: passed" in same.stdout
    assert stricter.returncode == 1
    assert "✗ intent_golden[demo]" in stricter.stdout
    assert (project.path / "again" / "report.json").exists()


def test_speed_is_judged_only_where_it_was_measured(project: SupportProject) -> None:
    """Times in the journal count on the machine that measured them; on another the gate is not evaluated and blocks."""
    project.keep_cases(6)
    run = project.run("--model", "demo")
    here = regate(project)
    journal = project.path / ".modelgate" / "journal.jsonl"
    rows = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    measured = [row for row in rows if "performance" in row]
    for row in measured:
        row["machine"]["cpu"] = "another"
    journal.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    elsewhere = regate(project)

    assert len(measured) == 1
    assert here.returncode == run.code == 0, run.text + here.stdout
    assert "✓ latency[demo]" in here.stdout
    assert elsewhere.returncode == 1
    told = (
        "not evaluated: nothing was measured: the run stopped before, or answers were replayed, which have no latency"
    )
    assert f"latency[demo]: {told}" in elsewhere.stdout


def test_a_journal_of_controls_alone(project: SupportProject) -> None:
    """Controls are not judged, so that nothing would be; --target names the one to be judged as a model."""
    project.keep_cases(6)
    assert project.run("--model", "demo").code == 0
    journal = project.path / ".modelgate" / "journal.jsonl"
    rows = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    heads = [row for row in rows if row.get("role") == "model"]
    for row in heads:
        row["role"] = "control"
    journal.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    alone = regate(project)
    named = regate(project, "--target", "demo")

    assert heads
    assert alone.returncode == 4
    assert "holds controls only; name the target to be judged: --target ID" in alone.stderr
    assert named.returncode == 0, named.stdout + named.stderr
    assert "✓ latency[demo]" in named.stdout
    assert "verdict: passed" in named.stdout


def test_other_limits_ask_for_other_generations(project: SupportProject) -> None:
    """What was generated under another max_tokens does not count: with nothing left to judge that is said, code 4."""
    project.keep_cases(6)
    project.run("--model", "demo")
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text(encoding="utf-8").replace("max_tokens = 64", "max_tokens = 65"), encoding="utf-8")

    again = regate(project)

    assert again.returncode == 4
    told = "every answer of demo was given to other prompts or limits than gates.toml asks for now; run pytest --model again"
    assert told in again.stderr
    assert "verdict" not in again.stdout


def test_a_missing_journal_or_target_is_one_line(project: SupportProject) -> None:
    """What cannot be judged is said in one line, exit code 4."""
    missing = regate(project)
    project.keep_cases(2)
    project.run("--model", "demo")
    unknown = regate(project, "--target", "dem")

    assert (missing.returncode, unknown.returncode) == (4, 4)
    assert "no such journal" in missing.stderr
    assert "no target 'dem'; recorded are demo" in unknown.stderr

"""Several processes give the verdict of one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.release.conftest import SupportProject

pytestmark = pytest.mark.model


def test_workers_change_neither_verdict_nor_gate_lines(project: SupportProject, models: Path) -> None:
    """Plain, -n 2 and --dist loadfile print the same gate lines for a passing and a blocked target."""
    project.keep_cases(30)
    targets = ("--model", "demo", "--model", str(models / "base-f16.gguf"))
    runs = []
    for arguments in ((), ("-n", "2"), ("-n", "2", "--dist", "loadfile")):
        shutil.rmtree(project.out, ignore_errors=True)
        runs.append(project.run(*targets, *arguments))

    assert [run.code for run in runs] == [1, 1, 1]
    assert [run.report["verdict"] for run in runs] == ["blocked"] * 3
    assert len(runs[0].gate_lines) == 12
    assert runs[0].gate_lines == runs[1].gate_lines == runs[2].gate_lines
    assert not any(target["replayed"] for run in runs for target in run.report["targets"])

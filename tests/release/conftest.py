"""Run pytest as a user does, in a project of its own, on the models in examples/."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
MODELS = ROOT / "examples" / "support"
SUITES = ("golden", "adversarial", "heldout")


@dataclass(frozen=True)
class Run:
    """Hold what a finished run said, with its report.json (empty where it wrote none)."""

    code: int
    text: str
    report: dict[str, Any]

    def gates(self, target: str) -> dict[str, str]:
        """Return the outcome of each gate of a target."""
        return {gate["name"]: gate["outcome"] for gate in self.report["gates"] if gate["target"] == target}

    @property
    def gate_lines(self) -> list[str]:
        """Return the summary's gate lines that do not depend on speed, with white space evened out."""
        lines = (re.sub(r"\s+", " ", line) for line in self.text.splitlines() if line[:1] in "✓✗?-")
        return sorted(line for line in lines if re.match(r"[✓✗?-] \w+\[", line) and "latency" not in line)


class SupportProject:
    """Hold a copy of the support task's gates and suites; models are named by absolute paths."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.out = path / ".modelgate"
        shutil.copy(ROOT / "gates.toml", path)
        for suite in SUITES:
            shutil.copytree(ROOT / suite, path / suite)

    @property
    def n_cases(self) -> int:
        """Return how many cases the suites hold."""
        files = (path for suite in SUITES for path in (self.path / suite).glob("*.jsonl"))
        return sum(1 for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip())

    def keep_cases(self, per_suite: int) -> None:
        """Shorten every suite to its first cases, criticals among them, and drop limits on n."""
        for suite in SUITES:
            file = self.path / suite / "support.jsonl"
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
            critical = [line for line in lines if '"critical"' in line]
            file.write_text("".join((critical + [x for x in lines if x not in critical])[:per_suite]), encoding="utf-8")
        gates = self.path / "gates.toml"
        gates.write_text(gates.read_text(encoding="utf-8").replace("min_n = 100\n", ""), encoding="utf-8")

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a run."""
        return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]

    def environment(self) -> dict[str, str]:
        """Return an environment without network and without what this test run set."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "GITHUB"))}
        return kept | {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a run and return without waiting for it."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment(),
            text=True,
            encoding="utf-8",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str) -> Run:
        """Run pytest with these arguments and wait."""
        process = self.start(*arguments)
        text, _ = process.communicate(timeout=300)
        report = self.out / "report.json"
        return Run(process.returncode, text, json.loads(report.read_text(encoding="utf-8")) if report.exists() else {})


@pytest.fixture
def project(tmp_path: Path) -> SupportProject:
    """Return a fresh project."""
    return SupportProject(tmp_path)


@pytest.fixture(scope="session")
def models() -> Path:
    """Return the folder of the trained artefacts."""
    return MODELS

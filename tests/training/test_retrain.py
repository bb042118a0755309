"""The committed model can be made again: from the rows to a gated file, with nothing but the configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.slow, pytest.mark.model]


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment and keep what it says."""
    return subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, check=False)


def test_retrained_model_clears_every_gate(tmp_path: Path) -> None:
    """Base, adapter, merge, GGUF and quantisation from scratch: the candidate passes the gates, the base does not."""
    out = tmp_path / "run"
    fetched = run("training", "fetch-converter")
    assert fetched.returncode == 0, fetched.stderr
    chosen = ["--config", "support", "--profile", "demo", "--set", f"output={out}", "--set", f"registry={tmp_path}"]
    trained = run("training", "run", *chosen)
    assert trained.returncode == 0, trained.stdout[-2000:] + trained.stderr[-2000:]

    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    reports = tmp_path / "reports"
    gate = ["pytest", "-p", "no:cacheprovider", "--modelgate-out", str(reports)]
    candidate = run(*gate, f"--model={out / 'support-Q4_K_M.gguf'}", f"--model={out / 'adapter'}")
    base = run(*gate, f"--model={out / 'base-f16.gguf'}")

    assert candidate.returncode == 0, candidate.stdout[-4000:]
    assert base.returncode == 1
    assert "✗ intent_heldout[base-f16]" in base.stdout
    assert manifest["config"]["output"] == str(out)

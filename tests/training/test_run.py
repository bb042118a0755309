"""A whole run, of micro size: every file is there, fits together, and is not made twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import yaml
from modelgate_training.export.converter import find_converter
from modelgate_training.errors import StageError

from tests.training.conftest import Project

pytestmark = [pytest.mark.slow, pytest.mark.model]


@pytest.fixture
def run(project: Project) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs the program in a process of its own, as a user does."""
    try:
        find_converter()
    except StageError as missing:
        pytest.skip(str(missing))

    def start(*arguments: str) -> subprocess.CompletedProcess[str]:
        (project.path / "config.yaml").write_text(yaml.safe_dump(project.config), encoding="utf-8")
        command = [sys.executable, "-m", "modelgate_training", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=project.path, env=os.environ)

    return start


def test_a_run_from_rows_to_gguf(project: Project, run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """One command makes base, adapter and GGUF files; the second skips everything; a changed rank repeats the half."""
    project.config["publish"] = "published"
    first = run("run", "--config", "config.yaml")
    assert first.returncode == 0, first.stderr
    folder = project.path / "published"
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert {file["file"] for file in manifest["gguf"]} == {
        "base-f16.gguf",
        "tiny-f16.gguf",
        "tiny-Q8_0.gguf",
        "tiny-Q4_K_M.gguf",
    }
    assert manifest["training"]["audit"]["rows"] == 48
    assert len(manifest["data"]["version"]) == 64
    adapter = json.loads((folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert adapter["base_model_name_or_path"] == "../base"
    templates = list(folder.rglob("*.jinja"))
    assert [path.parent.name for path in templates] == ["base"]

    second = run("run", "--config", "config.yaml")
    assert second.stdout.count("complete already, skipped") == 6

    third = run("run", "--config", "config.yaml", "--set", "lora.r=2")
    assert third.returncode == 0, third.stderr
    assert third.stdout.count("complete already, skipped") == 2
    assert not any(line.startswith("Traceback") for line in (first.stderr + third.stderr).splitlines())

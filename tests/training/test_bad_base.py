"""A base that is missing, damaged or of the wrong sort ends a run with one line, before anything is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.conftest import Project

SUPPORT_BASE = Path(__file__).parents[2] / "examples" / "support" / "base"

pytestmark = pytest.mark.model


@pytest.fixture
def base(project: Project) -> Path:
    """Return a copy of a real base that the project is configured for."""
    folder = project.path / "my-base"
    shutil.copytree(SUPPORT_BASE, folder)
    project.config["base"] = {"path": "my-base", "own_tokenizer": True}
    return folder


def test_an_unknown_folder_names_both_ways(project: Project, error: Callable[[], str]) -> None:
    """A name that is no folder and no downloaded model says how to fetch one."""
    project.config["base"] = {"path": "Qwen/No-Such-Model"}
    assert project.run("prepare") == 4
    assert "'Qwen/No-Such-Model' is neither a folder nor a downloaded model; fetch it once: hf download" in error()


def test_weights_that_were_cut_off_are_named(project: Project, base: Path, error: Callable[[], str]) -> None:
    """Half a download is found by its header."""
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100_000])
    assert project.run("prepare") == 1
    assert "model.safetensors: damaged weights" in error()


def test_pickled_weights_are_refused(project: Project, base: Path, error: Callable[[], str]) -> None:
    """Weights that can run code when they are loaded are not loaded."""
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    assert project.run("prepare") == 1
    assert "only pickled weights (pytorch_model.bin)" in error()


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_tokenizer_is_named(project: Project, base: Path, error: Callable[[], str], name: str) -> None:
    """A tokenizer file that is no JSON is one line with the folder."""
    (base / name).write_text("{", encoding="utf-8")
    assert project.run("prepare") == 1
    assert "my-base: its tokenizer cannot be read" in error()


def test_a_base_without_a_template_says_what_to_do(project: Project, base: Path, error: Callable[[], str]) -> None:
    """A model that was never taught to chat cannot be asked the suites' questions."""
    (base / "chat_template.jinja").unlink()
    config = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    config.pop("chat_template", None)
    (base / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert project.run("prepare") == 1
    assert "chat template" in error()


def test_a_template_that_fails_is_one_line(project: Project, base: Path, error: Callable[[], str]) -> None:
    """A template that refuses the system role says so, with the roles that it was given."""
    (base / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}", encoding="utf-8")
    assert project.run("prepare") == 1
    assert "chat template cannot write a conversation of" in error()

"""A mistake in the configuration ends the program with one line and exit code 4, before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from modelgate_training.cli import main
from modelgate_training.config_file import SHIPPED, load_config

from tests.training.conftest import Project


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (("trainning",), {}, "unknown key 'trainning' in the top level; did you mean 'training'?"),
        (("lora", "rank"), 4, "unknown key 'rank' in lora; valid are r, alpha, dropout, target_modules, rslora"),
        (("training", "epoch"), 1, "unknown key 'epoch' in training; did you mean 'epochs'?"),
        (("base", "scratch", "hiden_size"), 8, "in base.scratch; did you mean 'hidden_size'?"),
        (("base", "scratch", "augment"), {"tyops": 1}, "in base.scratch.augment; did you mean 'typos'?"),
        (("training", "lr"), -1, "training.lr: input should be greater than 0, got -1"),
        (("base", "path"), "Qwen/X", "base: give either 'path' (an existing model) or 'scratch' (make a small one)"),
        (("base", "scratch", "heads"), 5, "hidden_size 64 must be a multiple of heads 5"),
        (("data", "leaks"), "ignore", "data.leaks: input should be 'refuse' or 'drop', got 'ignore'"),
        (("data", "train"), ["nothing.jsonl"], "data.train: no file matches 'nothing.jsonl'"),
        (("task", "system"), "no.txt", "task.system: no file matches 'no.txt'"),
        (("task", "suites"), ["heldout/*.jsonl"], "task.suites: no file matches 'heldout/*.jsonl'"),
        (("export", "quantizations"), ["Q4_KM"], "export.quantizations: 'Q4_KM' is unknown; valid are F16, Q8_0"),
    ],
)
def test_a_mistake_is_named_with_what_is_valid(
    project: Project, error: Callable[[], str], key: tuple[str, ...], value: object, expected: str
) -> None:
    """Unknown keys name their section and the nearest valid key; bad values say what was got."""
    table = project.config
    for name in key[:-1]:
        table = table[name]
    table[key[-1]] = value
    assert project.run("prepare") == 4
    assert expected in error()


def test_a_missing_file_names_the_shipped_ones(error: Callable[[], str]) -> None:
    """A name that is no file gets the shipped configurations to choose from."""
    assert main(["run", "--config", "support-tini"]) == 4
    assert "support-tini: no such configuration file; did you mean 'support-tiny'?" in error()


def test_set_overrides_one_value(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """--set is laid over the file and read as YAML; --dry-run shows the result and does nothing."""
    assert project.run("run", "--set", "lora.r=8", "--set", "data.train=[other.jsonl]", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "  r: 8\n" in shown
    assert "  - other.jsonl\n" in shown
    assert not (project.path / "run").exists()


@pytest.mark.parametrize("override", ["lora.r", "=3", "output.x=1", "lora.r=[1"])
def test_a_bad_override_is_a_mistake(project: Project, error: Callable[[], str], override: str) -> None:
    """An override that cannot be understood says how one is written."""
    assert project.run("run", "--set", override, "--dry-run") == 4
    assert f"--set {override}: " in error()


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path: Path) -> None:
    """Every configuration that ships can be loaded by its name, and holds no path of some machine."""
    config = load_config(path.stem)
    assert config.output == f"runs/{path.stem}"
    assert not any(Path(name).is_absolute() for name in (*config.data.train, *config.task.suites))

"""The `modelgate` command teaches, and never overwrites."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_modelgate.cli import main
from pytest_modelgate.release import load_rules


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`modelgate --help` lists the commands and says how a model is judged."""
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])

    text = capsys.readouterr().out
    assert stopped.value.code == 0
    assert "init" in text
    assert "regate" in text
    assert "pytest --model candidate.gguf" in text


@pytest.mark.parametrize("arguments", [[], ["--demo"]])
def test_init_writes_a_project_that_loads(tmp_path: Path, arguments: list[str]) -> None:
    """Both scaffolds are valid: their gates, suites and schemas load without an error."""
    assert main(["init", str(tmp_path), *arguments]) == 0

    rules = load_rules(tmp_path / "gates.toml")

    assert rules.tasks
    assert rules.gates
    assert [file.error for file in rules.files] == [None] * 3


def test_init_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is there stops it before anything is written."""
    (tmp_path / "gates.toml").write_text("mine", encoding="utf-8")

    assert main(["init", str(tmp_path)]) == 4

    assert "gates.toml is there already; nothing was written" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["gates.toml"]
    assert (tmp_path / "gates.toml").read_text(encoding="utf-8") == "mine"


def test_the_demo_model_is_the_published_one() -> None:
    """`--model demo` and examples/support/support-Q4_K_M.gguf are the same file."""
    root = Path(__file__).parent.parent
    demo = root / "pytest_modelgate" / "models" / "demo.gguf"

    assert demo.read_bytes() == (root / "examples" / "support" / "support-Q4_K_M.gguf").read_bytes()

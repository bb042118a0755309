"""Files that are no usable model: one clear line, exit code 4, nothing loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import gguf_faults
from tests.release.conftest import SupportProject

pytestmark = pytest.mark.model


def a_text_file(_source: Path, target: Path) -> Path:
    """Write a text file under a model's name."""
    target.write_text("This is not a model.\n", encoding="utf-8")
    return target


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (gguf_faults.truncated, "the file is cut off"),
        (gguf_faults.no_template, "chat template"),
        (gguf_faults.vocabulary_only, "no tensors"),
        (a_text_file, "not a GGUF"),
    ],
)
def test_a_file_that_cannot_be_a_model_is_named(
    project: SupportProject, models: Path, tmp_path: Path, fault: Callable[[Path, Path], Path], said: str
) -> None:
    """The run ends before anything is loaded, in one line that says what is wrong with which file."""
    broken = fault(models / "support-Q4_K_M.gguf", tmp_path / "broken.gguf")

    run = project.run("--model", str(broken))

    assert run.code == 4
    (line,) = [line for line in run.text.splitlines() if line.startswith("ERROR")]
    assert "broken.gguf" in line
    assert said in line
    assert "Traceback" not in run.text


def test_a_prompt_longer_than_the_context_is_an_error_of_its_case(project: SupportProject) -> None:
    """The case is an error that names the lengths, its gates are incomplete, every other case is judged."""
    project.keep_cases(4)
    file = project.path / "golden" / "support.jsonl"
    long_case = '{"id": "long", "task": "support", "input": "%s"}\n' % ("word " * 3000)
    file.write_text(file.read_text(encoding="utf-8") + long_case, encoding="utf-8")

    run = project.run("--model", "demo")

    assert run.code == 1
    (case,) = [case for case in run.report["cases"] if case["outcome"] == "error"]
    assert case["id"] == "long"
    assert "n_ctx 1024" in case["error"]
    assert run.gates("demo")["schema_validity"] == "incomplete"
    assert run.gates("demo")["hostile_input_keeps_form"] == "passed"
    assert "Traceback" not in run.text

"""Build one task from the text of its table, and judge one output by it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.cases import Case
from pytest_modelgate.gates_file import load_gates_file
from pytest_modelgate.judgement import judge
from pytest_modelgate.records import Generation, Record
from pytest_modelgate.tasks import Task, load_tasks

NOTHING: Any = object()
MakeTask = Callable[..., Task]


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    """Return a function from a task's table, and the files that it names, to the task."""

    def make(table: str, **files: Any) -> Task:
        for name, content in files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (tmp_path / name.replace("_dot_", ".")).write_text(text, encoding="utf-8")
        gates = '[gates.any]\nmetric = "contract_validity"\nmin = 0.5\n'
        (tmp_path / "gates.toml").write_text(f"version = 1\n[tasks.it]\n{table}\n{gates}", encoding="utf-8")
        return load_tasks(load_gates_file(tmp_path / "gates.toml"))["it"]

    return make


def answer(task: Task, text: str, expected: Any = NOTHING, *, given: str = "the input", **about: Any) -> Record:
    """Judge an output of the task; ``given``: its input."""
    generation = {name: about.pop(name) for name in tuple(about) if name in Generation.__slots__}
    has_expected = expected is not NOTHING
    case = Case(
        "case",
        "golden",
        "it",
        given,
        "golden.jsonl:1",
        1,
        expected=expected if has_expected else None,
        has_expected=has_expected,
        **about,
    )
    assert task.reject(case) is None
    return judge(task, case, "target", Generation(text, **generation))


def refusal(task: Task, expected: Any, *, given: str = "the input") -> str | None:
    """Return why the task rejects a case that expects this."""
    return task.reject(Case("case", "golden", "it", given, "golden.jsonl:1", 1, expected=expected, has_expected=True))


def causes(record: Record) -> list[str]:
    """Return the causes of a record's mistakes."""
    return [mistake.cause for mistake in record.mistakes]

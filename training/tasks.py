"""
Know the tasks that the gate judges: their prompts, contracts and suites, read from gates.toml and never written twice.

What a row is trained with is made by the same code that makes what a case is asked with; so the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_modelgate.cases import Case, CaseRules, load_suites
from pytest_modelgate.errors import ModelgateError
from pytest_modelgate.gates_file import GatesFile, load_gates_file
from pytest_modelgate.judgement import judge
from pytest_modelgate.records import Generation, Message, Record
from pytest_modelgate.tasks import Task, load_tasks

from .errors import ConfigError

Prompt = str | tuple[Message, ...]


class Tasks:
    """
    Hold the tasks of gates files; raises ConfigError where the gate itself would refuse a file.

    A base may be made for the tasks of several files; a candidate is judged by one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.files: dict[str, GatesFile] = {}
        self.by_name: dict[str, Task] = {}
        for path in self.paths:
            try:
                file = load_gates_file(path)
                found = load_tasks(file)
            except ModelgateError as error:
                raise ConfigError(f"gates: {error}") from None
            if twice := sorted(found.keys() & self.by_name.keys()):
                raise ConfigError(f"gates: task {twice[0]!r} stands in {self.files[twice[0]].path} and in {path}")
            self.by_name |= found
            self.files |= dict.fromkeys(found, file)

    @property
    def file(self) -> GatesFile:
        """Return the file that judges the candidate."""
        if len(self.paths) > 1:
            raise ConfigError("gates: one file judges a candidate; several are only for making a base for all of them")
        return next(iter(self.files.values()))

    @property
    def path(self) -> Path:
        """Return where the file that judges the candidate lies."""
        return self.file.path

    @property
    def only(self) -> str | None:
        """Return the task of rows that name none: the only one there is."""
        return next(iter(self.by_name)) if len(self.by_name) == 1 else None

    def columns(self, task: str) -> dict[str, str]:
        """Return which keys of the task's files stand for ``id``, ``input`` and ``expected``."""
        return self.files[task].tasks[task].columns.given()

    def messages(self, task: str, prompt: Prompt) -> list[dict[str, str]]:
        """Return the conversation that the model is given, as a chat template takes it."""
        turns = self.by_name[task].messages(self._case(task, prompt))
        return [{"role": turn.role, "content": turn.content} for turn in turns]

    def answer(self, task: str, expected: Any) -> str:
        """Return what the model is to write for ``expected``, letter by letter."""
        text = self.by_name[task].judge.answer(self._case(task, "", expected))
        if text is None:
            raise ValueError(f"task {task!r} has no answer for {expected!r}")
        return text

    def judge(self, task: str, prompt: Prompt, expected: Any, text: str) -> Record:
        """Judge ``text`` as the gate would."""
        return judge(self.by_name[task], self._case(task, prompt, expected), "row", Generation(text))

    def reject(self, task: str, prompt: Prompt, expected: Any) -> str | None:
        """Say why ``expected`` breaks the task's own rules, or return None."""
        return self.by_name[task].reject(self._case(task, prompt, expected))

    @property
    def _distinct(self) -> tuple[GatesFile, ...]:
        """Return each gates file once."""
        return tuple({file.path: file for file in self.files.values()}.values())

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """Return all cases of all suites, read as the gate reads them."""
        return tuple(case for file in self._distinct for case in self._cases_of(file))

    @cached_property
    def suite_files(self) -> tuple[Path, ...]:
        """Return the evaluation files."""
        found = {
            path
            for file in self._distinct
            for globs in file.suites.values()
            for glob in globs
            for path in file.root.glob(glob)
        }
        return tuple(sorted(path for path in found if path.is_file()))

    @property
    def prompt_files(self) -> tuple[Path, ...]:
        """Return the files that the tasks' prompts and contracts stand in."""
        named = (
            file.root / name
            for file in self._distinct
            for table in file.tasks.values()
            for key in ("system", "prompt", "schema_", "tools", "rubric")
            if (name := getattr(table, key, None))
        )
        return tuple(dict.fromkeys(named))

    @property
    def tables(self) -> dict[str, Any]:
        """Return what the gates files say of each task."""
        return {name: file.tasks[name].model_dump(mode="json") for name, file in self.files.items()}

    @property
    def missing_suites(self) -> tuple[str, ...]:
        """Return which of golden, adversarial and held-out the gates file lacks."""
        return tuple(name for name in ("golden", "adversarial", "heldout") if name not in self.file.suites)

    def _cases_of(self, file: GatesFile) -> Iterator[Case]:
        """Yield the cases of one gates file."""
        rules = CaseRules(
            tasks=tuple(file.tasks),
            columns={name: self.columns(name) for name in file.tasks},
            reject=lambda case: self.by_name[case.task].reject(case),
        )
        try:
            read = load_suites({name: list(globs) for name, globs in file.suites.items()}, file.root, rules)
        except ModelgateError as error:
            raise ConfigError(f"gates: {error}") from None
        if wrong := next((one.error for one in read if one.error), None):
            raise ConfigError(f"gates: {wrong}")
        for one in read:
            yield from one.cases

    def _case(self, task: str, prompt: Prompt, expected: Any = None) -> Case:
        """Return a case that is in no suite."""
        return Case(
            id="row", suite="train", task=task, prompt=prompt, location="", line=0,
            expected=expected, has_expected=expected is not None,
        )  # fmt: skip


MessagesOf = Callable[[str, Prompt], list[dict[str, str]]]
"""From a task's name and a prompt to the conversation that the model is given."""

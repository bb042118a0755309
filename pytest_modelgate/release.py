"""Gather everything that decides a release, checked before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_modelgate.cases import Case, CaseRules, SuiteFile, load_suites
from pytest_modelgate.gates import Gate, load_gates
from pytest_modelgate.gates_file import GatesFile, load_gates_file
from pytest_modelgate.identity import FileHashes
from pytest_modelgate.records import Request
from pytest_modelgate.specs import TargetKind, TargetSpec
from pytest_modelgate.targets import Target, prepare_target
from pytest_modelgate.tasks import Task, load_tasks


@dataclass(frozen=True, slots=True)
class Release:
    """
    Hold the gates file, its tasks, the suites and the targets.

    ``gates`` is empty while a suite file has an error: nothing can be said of a gate's slice then.
    """

    gates_file: GatesFile
    tasks: Mapping[str, Task]
    files: tuple[SuiteFile, ...]
    gates: tuple[Gate, ...]
    targets: tuple[Target, ...]

    @property
    def cases(self) -> tuple[Case, ...]:
        """Return every case of every suite."""
        return tuple(case for file in self.files for case in file.cases)

    @property
    def kinds(self) -> dict[str, TargetKind]:
        """Return each target's kind by its id."""
        return {target.id: target.spec.kind for target in self.targets}

    def request(self, case: Case) -> Request:
        """Return what an engine is asked for ``case``; its key is ``suite/id``."""
        messages = self.tasks[case.task].messages(case)
        return Request(f"{case.suite}/{case.id}", self.gates_file.generation.max_tokens, messages=messages)


def load_release(
    gates_path: Path, specs: tuple[TargetSpec, ...], out: Path | None, *, n_threads: int | None = None
) -> Release:
    """
    Load and check ``gates_path``, the suites that it names and the files of every target.

    ``out``: where file hashes are remembered. ``n_threads``: for engines whose spec names none. Raises :class:`~pytest_modelgate.errors.ConfigurationError`; a bad line
    of a suite is kept in its file instead (see :func:`~pytest_modelgate.cases.load_suites`).
    """
    gates_file, tasks, files, gates = load_rules(gates_path)
    hashes = FileHashes(None if out is None else out / "hashes.json")
    targets = tuple(prepare_target(spec, gates_file.generation, hashes, n_threads) for spec in specs)
    return Release(gates_file, tasks, files, gates, targets)


def load_rules(gates_path: Path) -> tuple[GatesFile, dict[str, Task], tuple[SuiteFile, ...], tuple[Gate, ...]]:
    """Load and check what does not depend on a target."""
    gates_file = load_gates_file(gates_path)
    tasks = load_tasks(gates_file)
    rules = CaseRules(
        tasks=tuple(tasks),
        columns={name: table.columns.given() for name, table in gates_file.tasks.items()},
        reject=lambda case: tasks[case.task].reject(case),
    )
    files = load_suites({name: list(globs) for name, globs in gates_file.suites.items()}, gates_file.root, rules)
    if any(file.error for file in files):
        return gates_file, tasks, files, ()
    cases = [case for file in files for case in file.cases]
    return gates_file, tasks, files, load_gates(gates_file, tasks, cases)

"""Make a task of its table in gates.toml: what the model is told, and what its output must obey."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pytest_modelgate.cases import Case
from pytest_modelgate.contracts.bounded import run_check
from pytest_modelgate.contracts.pydantic_model import load_pydantic_check
from pytest_modelgate.contracts.schema import ValueCheck, load_schema_check
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.gates_file import GatesFile
from pytest_modelgate.records import Message


@dataclass(frozen=True, slots=True)
class Task:
    """
    Hold one job of the model.

    ``checks``: named checks of the parsed output, empty where any JSON value will do. ``primary``: the field that a
    critical case must get right; None where the whole value counts.
    """

    name: str
    kind: str
    system: str | None
    checks: dict[str, ValueCheck]
    fields: tuple[str, ...]
    primary: str | None

    def messages(self, case: Case) -> tuple[Message, ...]:
        """Return the conversation that the model is given for ``case``."""
        turns = (Message("user", case.prompt),) if isinstance(case.prompt, str) else case.prompt
        if self.system is None or turns[0].role == "system":
            return turns
        return (Message("system", self.system), *turns)

    def reject(self, case: Case) -> str | None:
        """Say why ``case`` breaks the task's own rules, or return None."""
        named = case.critical if isinstance(case.critical, tuple) else ()
        if unknown := [name for name in named if name not in self.fields]:
            return (
                f"critical names {unknown[0]!r}, which is not a field of task {self.name!r} ({', '.join(self.fields)})"
            )
        if named and not case.has_expected:
            return "critical names fields, but the case has no 'expected'"
        if case.has_expected:
            if self.fields and (
                not isinstance(case.expected, dict) or any(name not in case.expected for name in self.fields)
            ):
                return f"expected must be an object with the fields {', '.join(self.fields)}"
            for name, check in self.checks.items():
                if reason := run_check(check, case.expected):
                    return f"expected breaks the task's own {name}: {reason}"
        return None


def load_tasks(gates_file: GatesFile) -> dict[str, Task]:
    """Build every task of ``gates_file``; raise GatesFileError for a file or class that cannot be used."""
    tasks = {}
    for name, table in gates_file.tasks.items():
        where = gates_file.where("tasks", name)
        checks: dict[str, ValueCheck] = {}
        if table.schema_ is not None:
            checks["schema"] = load_schema_check(gates_file.root / table.schema_, f"{where} schema")
        if table.pydantic is not None:
            checks["pydantic"] = load_pydantic_check(table.pydantic, gates_file.root, f"{where} pydantic")
        system = None
        if table.system is not None:
            try:
                system = (gates_file.root / table.system).read_text(encoding="utf-8-sig").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise GatesFileError(f"{where} system: cannot read {table.system}: {error}") from None
        primary = table.primary or (table.fields[0] if table.fields else None)
        tasks[name] = Task(name, table.kind, system, checks, table.fields, primary)
    return tasks


def label_text(value: Any) -> str:
    """Return a label as JSON text, so that labels of any type can be counted; ``true`` and ``"true"`` differ."""
    whole = isinstance(value, float) and value.is_integer()  # 1.0 is 1 in JSON
    return json.dumps(int(value) if whole else value, sort_keys=True)

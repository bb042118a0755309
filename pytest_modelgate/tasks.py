"""Make a task of its table in gates.toml: what the model is told, and what its output must obey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_modelgate.cases import Case
from pytest_modelgate.contracts.bounded import run_check
from pytest_modelgate.contracts.grammar import load_grammar
from pytest_modelgate.contracts.leak import LeakFinder
from pytest_modelgate.contracts.pydantic_model import load_pydantic_check
from pytest_modelgate.contracts.schema import ValueCheck, load_schema_check
from pytest_modelgate.contracts.user import CONTRACTS, hash_module, load_object
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.gates_file import GatesFile
from pytest_modelgate.identity import digest, hash_file
from pytest_modelgate.kinds import Kind, make_kind
from pytest_modelgate.records import InputSpan, Json, LongInput, Message
from pytest_modelgate.tables import JsonTaskTable, RubricTable, TaskTable, ToolCallTable

INPUT, TOOLS = "{input}", "{tools}"
"""Placeholders: of the case's input in a prompt, of the tool definitions in a system text."""

TextCheck = Callable[[str, Json], str | None]
"""A user's contract: from an output and its case (id, input, expected, tags) to a reason, or None."""


@dataclass(frozen=True, slots=True)
class Task:
    """
    Hold one job of the model.

    ``judge`` is its kind's. ``long_input``: the rule for inputs that are too long. ``checks``: named checks of the parsed output, empty where any JSON value will do.
    ``contracts``: users' own checks of the output's text. ``grammar``: in GBNF, which outputs are made to obey, None for none.
    ``rules``: digests of what decides whether an answer is
    right, by name; two runs are comparable where they are equal.
    """

    name: str
    kind: str
    judge: Kind
    system: str | None
    prompt: str | None
    leaks: LeakFinder
    long_input: LongInput | None = None
    checks: dict[str, ValueCheck] = field(default_factory=dict)
    contracts: dict[str, TextCheck] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    grammar: str | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names that gates may put after a metric's dot."""
        return self.judge.fields

    @property
    def primary(self) -> str | None:
        """Return the field that a critical case must get right; None where the whole answer counts."""
        return self.judge.primary

    def messages(self, case: Case, system: str | None = None) -> tuple[Message, ...]:
        """Return the conversation that the model is given for ``case``; ``system``: instead of the task's own."""
        if isinstance(case.prompt, str):
            asked = case.prompt if self.prompt is None else self.prompt.replace(INPUT, case.prompt)
            turns: tuple[Message, ...] = (Message("user", asked),)
        else:
            turns = case.prompt
        system = self.system if system is None else system
        if system is None or turns[0].role == "system":
            return turns
        return (Message("system", system), *turns)

    def input_span(self, case: Case, messages: Sequence[Message]) -> InputSpan | None:
        """
        Return where the input of ``case`` stands in ``messages``, if the task has a rule for long ones.

        Of a whole chat the input is the last user turn; a chat without one has none.
        """
        turn = max((place for place, message in enumerate(messages) if message.role == "user"), default=None)
        if self.long_input is None or turn is None:
            return None
        has_prompt = self.prompt is not None and isinstance(case.prompt, str)
        before, _, after = (self.prompt or "").partition(INPUT) if has_prompt else ("", "", "")
        return InputSpan(self.long_input, turn, len(before), len(messages[turn].content) - len(after))

    def reject(self, case: Case) -> str | None:
        """Say why ``case`` breaks the task's own rules, or return None."""
        named = case.critical if isinstance(case.critical, tuple) else ()
        if unknown := [name for name in named if name not in self.fields]:
            return (
                f"critical names {unknown[0]!r}, which is not a field of task {self.name!r} ({', '.join(self.fields)})"
            )
        if named and not case.has_expected:
            return "critical names fields, but the case has no 'expected'"
        if reason := self.judge.reject(case):
            return reason
        if case.has_expected:
            for name, check in self.checks.items():
                if reason := run_check(check, case.expected):
                    return f"expected breaks the task's own {name}: {reason}"
        return None


def load_tasks(gates_file: GatesFile) -> dict[str, Task]:
    """Build every task of ``gates_file``; raise GatesFileError for a file or class that cannot be used."""
    return {name: _load_task(gates_file, name, table) for name, table in gates_file.tasks.items()}


def _load_task(gates_file: GatesFile, name: str, table: TaskTable) -> Task:
    where, root = gates_file.where("tasks", name), gates_file.root
    checks: dict[str, ValueCheck] = {}
    files: dict[str, str] = {}
    if isinstance(table, JsonTaskTable):
        if table.schema_ is not None:
            checks["schema"] = load_schema_check(root / table.schema_, f"{where} schema")
            files["schema"] = table.schema_
        if table.pydantic is not None:
            checks["pydantic"] = load_pydantic_check(table.pydantic, root, f"{where} pydantic")
    grammar = _load_grammar(gates_file, table, where) if gates_file.generation.grammar == "schema" else None
    judge = make_kind(table, root, where)
    system = _read_text(root, table.system, f"{where} system")
    prompt = _read_text(root, table.prompt, f"{where} prompt")
    if prompt is not None and prompt.count(INPUT) != 1:
        raise GatesFileError(f"{where} prompt: {table.prompt} must hold {INPUT} exactly once")
    if isinstance(table, ToolCallTable):
        files["tools"] = table.tools
        if system is not None:
            system = system.replace(TOOLS, (root / table.tools).read_text(encoding="utf-8-sig").strip())
    if isinstance(table, RubricTable):
        files["rubric"] = table.rubric
    contracts = {written: load_object(written, CONTRACTS, root, f"{where} contracts") for written in table.contracts}
    rules = {key: digest(value) for key, value in table.model_dump(**_RULES).items()}
    rules |= {key: hash_file(root / path) for key, path in files.items()}
    if contracts:
        rules["contracts"] = digest({name: hash_module(check.__module__) for name, check in contracts.items()})
    if isinstance(table, JsonTaskTable) and table.pydantic is not None:
        rules["pydantic"] = hash_module(table.pydantic.partition(":")[0])
    return Task(
        name=name,
        kind=str(getattr(table, "kind", "")),
        judge=judge,
        system=system,
        prompt=prompt,
        leaks=LeakFinder("\n".join(text for text in (system, prompt) if text)),
        long_input=None if table.long_input is None else LongInput(**table.long_input.model_dump()),
        checks=checks,
        contracts=contracts,
        rules=rules,
        grammar=grammar,
    )


def _load_grammar(gates_file: GatesFile, table: TaskTable, where: str) -> str | None:
    """Return the grammar of a task's schema, None for a kind that has none."""
    if not isinstance(table, JsonTaskTable):
        if not any(isinstance(other, JsonTaskTable) for other in gates_file.tasks.values()):
            raise GatesFileError(f'{gates_file.where("generation")} grammar = "schema": no task has a schema')
        return None
    if table.schema_ is None:
        raise GatesFileError(f"{where} [generation] grammar = \"schema\" needs a schema file under 'schema'")
    return load_grammar(gates_file.root / table.schema_, f"{where} schema: as a grammar")


_RULES: dict[str, Any] = {
    "mode": "json",
    "by_alias": True,
    "exclude_defaults": True,
    "exclude": {"system", "prompt", "columns", "release_gates", "target"},
}
"""What of a task's table decides whether an answer is right. Defaults left out: a key that is new changes nothing."""


def _read_text(root: Path, name: str | None, where: str) -> str | None:
    if name is None:
        return None
    try:
        return (root / name).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise GatesFileError(f"{where}: cannot read {name}: {error}") from None


def check_text(check: TextCheck, text: str, case: Case) -> str | None:
    """Return what a user's contract says of ``text``; one that raises or takes too long is a reason too."""
    about: Json = {"id": case.id, "input": case.input, "expected": case.expected, "tags": list(case.tags)}

    def ask(value: Any) -> str | None:
        said = check(value, about)
        if said is None or (isinstance(said, str) and said):
            return said
        return f"the check must return None or a reason, got {said!r}"

    return run_check(ask, text)

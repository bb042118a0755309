"""
Read rows in the forms in which people keep them.

::

    case         {"input" or "messages", "expected", …}       as in a suite; under other names by ``columns``
    instruction  {"instruction", "input", "output"}
    chat         {"messages": [… {"role": "assistant", …}]}   the last turn is the answer; it may be tool calls
    preference   {"prompt", "chosen", "rejected"}             the chosen answer is learned
    .csv         a table whose columns are the keys above

What comes out is a draft: nothing in it has been masked or judged. A line that is no row comes out as unreadable, with a
reason that quotes no value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.records import Message

from ..config import Source
from ..errors import ConfigError
from ..tasks import Prompt, Tasks
from . import turns
from .lines import Line, NoRowError, json_text, json_type, read_header, read_lines, shown_names, without_quotes
from .normal import normalise

JSON_KINDS = ("classification", "extraction", "tool_call")
"""Kinds of task whose answers are JSON values; those of the others are texts."""

_SHOWN = 8  # keys of a row, in a message


@dataclass(frozen=True, slots=True)
class Names:
    """Hold what a record is called by: its id, group and person; None where it does not say."""

    id: str | None
    group: str | None
    person: str | None


@dataclass(frozen=True, slots=True)
class Draft:
    """
    Hold a row as its file says it.

    ``expected``: a value, for the gate's own task to write as an answer. ``same``: the chosen and the rejected answer
    are one. ``own_instruction``: it was written for another instruction than the task's. ``scores``: of the rubric.
    """

    source: str
    task: str
    prompt: Prompt
    expected: Any
    names: Names
    kind: str | None = None
    origin: str | None = None
    licence: str | None = None
    consent: str | None = None
    scores: Any = None
    same: bool = False
    own_instruction: bool = False


@dataclass(frozen=True, slots=True)
class Unreadable:
    """
    Hold why a line is no row; ``record`` is what stands there, None where it is no JSON object.

    ``person_keys``: those of its keys under which a person may stand.
    """

    source: str
    reason: str
    length: int
    names: Names
    record: dict[str, Any] | None = None
    person_keys: frozenset[str] = frozenset({"person"})

    @property
    def all_names(self) -> list[str]:
        """Return what the line is called by, also where a name is no text but a number or a list of texts."""
        found = [name for name in (self.names.id, self.names.group, self.names.person) if name is not None]
        for key in {"id", "group", *self.person_keys}:
            value = (self.record or {}).get(key)
            found += [str(one).strip() for one in (value if isinstance(value, list) else [value]) if one is not None]
        return found


class SourceReader:
    """Read the files of one source; raises ConfigError where the configuration of the source cannot be right."""

    def __init__(self, source: Source, tasks: Tasks) -> None:
        if source.task is not None and source.task not in tasks.by_name:
            near, known = did_you_mean(source.task, tasks.by_name), ", ".join(tasks.by_name)
            raise ConfigError(f"data.train: {source.path}: task {source.task!r} is unknown{near}; known are {known}")
        self._source = source
        self._tasks = tasks
        self._task = source.task or tasks.only

    def read(self, path: Path, name: str) -> Iterator[tuple[Line, Draft | Unreadable]]:
        """
        Yield each line that holds anything with what it is; ``name`` is what ``source`` calls the file.

        Raises StageError or ConfigError, with the line, where the file as a whole cannot be read.
        """
        is_table = path.suffix == ".csv"
        if is_table:
            self._check_columns(path, name)
        elif self._source.format == "csv" and path.suffix == ".jsonl":
            raise ConfigError(f"{name}: format csv is for .csv files")
        for line in read_lines(path, name):
            yield line, self.row(line, f"{name}:{line.number}", is_table=is_table)

    def row(self, line: Line, source: str, *, is_table: bool) -> Draft | Unreadable:
        """Make a row of a line, or say why it is none."""
        record = line.record
        if record is None:
            return Unreadable(source, line.reason or "", line.length, Names(None, None, None))
        names, unfit = self._names(record)
        try:
            if unfit is not None:
                raise unfit
            return self._draft(record, source, names, is_table=is_table)
        except NoRowError as error:
            person_keys = frozenset({"person", self._name_columns(record).get("person", "person")})
            return Unreadable(source, str(error), line.length, names, record, person_keys)

    def _draft(self, record: dict[str, Any], source: str, names: Names, *, is_table: bool) -> Draft:
        task = record.get("task") or self._task
        if not isinstance(task, str) or task not in self._tasks.by_name:
            got = "names no task" if task is None else "names an unknown task"
            raise NoRowError(f"the row {got}; known are {', '.join(self._tasks.by_name)}")
        if "harvested" in (record.get("tags") or ()):
            raise NoRowError("a harvested candidate is for the suites: what failed in production is first measured")
        prompt, expected, flags = self._shown(record, task)
        if is_table and isinstance(prompt, str):
            prompt = prompt.strip()
        kind = _word(record, self._source.columns.kind or "kind")
        return Draft(
            source=source,
            task=task,
            prompt=prompt,
            expected=self._value(task, expected),
            names=names,
            kind=None if kind is None else kind_name(kind),
            origin=_word(record, "origin") or _word(record, "source") or self._source.origin,
            licence=_word(record, "licence") or _word(record, "license") or self._source.licence,
            consent=_word(record, "consent"),
            scores=record.get("scores") or None,
            **flags,
        )

    # --- The forms -----------------------------------------------------------------------------------------------

    def _shown(self, record: dict[str, Any], task: str) -> tuple[Prompt, Any, dict[str, bool]]:
        """Return what is shown, what is expected, and what else the form tells."""
        match self._form(record):
            case "instruction":
                return self._instruction(record, task)
            case "chat":
                return self._chat(record, task)
            case "preference":
                return self._preference(record, task)
        return self._case(record, task)

    def _form(self, record: dict[str, Any]) -> str:
        """Return the form of a row, told by its keys where the source does not say it."""
        if self._source.format not in {"auto", "csv"}:
            return self._source.format
        if {"chosen", "rejected"} <= record.keys():
            return "preference"
        if {"instruction", "output"} <= record.keys():
            return "instruction"
        return "chat" if "messages" in record and turns.is_answered(record["messages"]) else "case"

    def _case(self, record: dict[str, Any], task: str) -> tuple[Prompt, Any, dict[str, bool]]:
        columns = self._columns(task)
        expected = _get(record, columns.get("expected", "expected"), "expected")
        shown = columns.get("input", "input")
        if "messages" in record and shown not in record:
            prompt, own = self._prompt(turns.read(record["messages"]), task)
            return prompt, expected, {"own_instruction": own}
        return _text(record, shown, "input"), expected, {}

    def _instruction(self, record: dict[str, Any], task: str) -> tuple[Prompt, Any, dict[str, bool]]:
        """Read what was written for an instruction; the task's own stands in its place."""
        instruction, given = _text(record, "instruction"), _text(record, "input") if record.get("input") else ""
        known = self._tasks.by_name[task]
        told = [text for text in (known.system, known.prompt) if text]
        if not told:
            return f"{instruction}\n\n{given}" if given else instruction, _get(record, "output"), {}
        own = normalise(instruction) not in normalise("\n".join(told))
        return given or instruction, _get(record, "output"), {"own_instruction": own}

    def _chat(self, record: dict[str, Any], task: str) -> tuple[Prompt, Any, dict[str, bool]]:
        if not turns.is_answered(record.get("messages")):
            raise NoRowError("key 'messages' must be a list of turns, the last of them the assistant's answer")
        *before, _ = record["messages"]
        prompt, own = self._prompt(turns.read(before), task)
        return prompt, turns.answer(record["messages"][-1]), {"own_instruction": own}

    def _preference(self, record: dict[str, Any], task: str) -> tuple[Prompt, Any, dict[str, bool]]:
        chosen, rejected = (turns.last(record.get(key), key) for key in ("chosen", "rejected"))
        asked = record.get("prompt")
        if asked is None and isinstance(record["chosen"], list):
            asked = record["chosen"][:-1]
        if not isinstance(asked, str | list):
            raise NoRowError(f"key 'prompt' must be a text or a list of turns, got {json_type(asked)}")
        messages = (Message("user", asked),) if isinstance(asked, str) else turns.read(asked)
        prompt, own = self._prompt(messages, task)
        return prompt, chosen, {"own_instruction": own, "same": json_text(chosen) == json_text(rejected)}

    def _prompt(self, messages: tuple[Message, ...], task: str) -> tuple[Prompt, bool]:
        """Return a conversation without what the task itself puts around an input, and whether it is told another thing."""
        known = self._tasks.by_name[task]
        own = False
        if messages[0].role == "system":
            own = messages[0].content.strip() != (known.system or "").strip()
            messages = messages if own else messages[1:]
        if not any(turn.role == "user" for turn in messages):
            raise NoRowError("no turn is the user's")
        if len(messages) > 1 or own:
            return messages, own
        text = turns.unwrapped(messages[0].content, known.prompt)
        return (messages, True) if text is None else (text, False)

    # --- What all forms share ------------------------------------------------------------------------------------

    def _columns(self, task: str) -> dict[str, str]:
        """Return our names and the file's."""
        return self._tasks.columns(task) | self._source.columns.given()

    def _name_columns(self, record: dict[str, Any]) -> dict[str, str]:
        """Return our names and the file's, also where the task of a record is unknown."""
        task = record.get("task") or self._task
        if isinstance(task, str) and task in self._tasks.by_name:
            return self._columns(task)
        return self._source.columns.given()

    def _names(self, record: dict[str, Any]) -> tuple[Names, NoRowError | None]:
        """Return what a record is called by, also where it is no row; and what is wrong with a name, if anything."""
        columns, unfit = self._name_columns(record), None
        found: dict[str, str | None] = dict.fromkeys(("id", "group", "person"))
        for name in found:
            try:
                found[name] = _word(record, columns.get(name, name)) or _word(record, name)
            except NoRowError as error:
                unfit = unfit or error
        return Names(**found), unfit

    def _value(self, task: str, expected: Any) -> Any:
        """Return what is expected as the task's own kind of value."""
        if self._source.label_key is not None and not isinstance(expected, dict | list):
            return {self._source.label_key: expected}
        kind = self._tasks.by_name[task].kind
        if kind in JSON_KINDS and isinstance(expected, str):
            try:
                expected = parse(expected)
            except NotStrictJsonError as error:
                hint = "; for plain labels set label_key" if kind == "classification" else ""
                raise NoRowError(f"the answer is not JSON: {without_quotes(str(error))}{hint}") from None
        if expected is None and kind == "tool_call":
            return []  # nothing is to be called
        if expected is None:
            raise NoRowError("the answer is null")
        return expected

    def _check_columns(self, path: Path, name: str) -> None:
        """Raise where a table lacks a column that every row needs."""
        if self._source.format == "chat":
            raise ConfigError(f"{name}: a chat does not fit into a table; keep it as .jsonl")
        found = read_header(path, name)
        form = self._form(dict.fromkeys(found, ""))
        needed = {"instruction": ["instruction", "output"], "preference": ["prompt", "chosen", "rejected"]}.get(form)
        if needed is None:
            if self._task is None or "task" in found:
                return
            columns = self._columns(self._task)
            needed = [columns.get(ours, ours) for ours in ("input", "expected")]
        for column in needed:
            if column not in found:
                has = ", ".join(shown_names(found)) or "none"
                near = did_you_mean(column, shown_names(found))
                raise ConfigError(f"{name}:1: no column {column!r}{near}; it has {has}: name them under 'columns'")


def _get(record: dict[str, Any], key: str, ours: str | None = None) -> Any:
    """Return the value of a key, or of our own name for it; a row without both is none."""
    for name in (key, ours):
        if name is not None and name in record:
            return record[name]
    keys = shown_names(record)
    more = ", …" if len(keys) > _SHOWN else ""
    raise NoRowError(f"key {key!r} is missing{did_you_mean(key, keys)}; the row has {', '.join(keys[:_SHOWN])}{more}")


def _text(record: dict[str, Any], key: str, ours: str | None = None) -> str:
    """Return the text of a key."""
    value = _get(record, key, ours)
    if not isinstance(value, str):
        raise NoRowError(f"key {key!r} must be a text, got {json_type(value)}")
    return value


def _word(record: dict[str, Any], key: str) -> str | None:
    """Return what a record says of itself under a key, None where that is nothing."""
    value = record.get(key)
    if value is None:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int):
        return str(value).strip() or None
    raise NoRowError(f"key {key!r} must be a text, got {json_type(value)}")


def kind_name(word: str) -> str:
    """Return a kind of example in one spelling: near_miss and "Near miss" are near-miss."""
    return "-".join(word.lower().replace("_", " ").replace("-", " ").split())

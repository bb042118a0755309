"""
Read a production log: what was asked, what came back, and what people said of it.

A line is a JSON object with ``input`` (or the task's own name for it) or ``messages``, and ``output``, or else a last
turn of the assistant; where known ``expected`` or ``corrected`` (the right answer), ``feedback`` (good or bad), ``task``
and ``finish_reason``. Other keys, such as who asked and when, are not taken up. No reason given here quotes the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse
from pytest_modelgate.records import FinishReason

from ..errors import ConfigError
from ..tasks import Prompt, Tasks
from . import turns
from .formats import JSON_KINDS
from .lines import NoRowError, read_lines

_FEEDBACK = ("good", "bad")


@dataclass(frozen=True, slots=True)
class Entry:
    """
    Hold one answer of the model in use.

    ``right`` is the answer that somebody gave in its place, as the task's kind of value; None where nobody did.
    ``unfit``: that answer, where it is none that the task allows. ``source`` is ``file:line``.
    """

    source: str
    task: str
    prompt: Prompt
    output: str
    right: Any = None
    unfit: str | None = None
    is_bad: bool = False
    finish_reason: FinishReason = "stop"

    @property
    def shown(self) -> str:
        """Return what the model was shown but for a system text: what tells this entry from another."""
        return shown_text(self.prompt)


def shown_text(prompt: Prompt) -> str:
    """Return a prompt without its system text."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(turn.content for turn in prompt if turn.role != "system")


def answer_text(value: Any) -> str:
    """Return an answer as a model writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_log(path: Path, tasks: Tasks) -> Iterator[Entry | str]:
    """Yield each line of a log as an entry, or why it is none; raise ConfigError where there is no such log."""
    if path.suffix != ".jsonl" or not path.is_file():
        got = "no such file" if path.suffix == ".jsonl" else f"got {path.suffix or 'no ending'!r}"
        raise ConfigError(f"{path}: a production log is a .jsonl file, {got}")
    for line in read_lines(path, path.name):
        if line.record is None:
            yield line.reason or "the line is not JSON"
            continue
        try:
            yield _entry(line.record, f"{path.name}:{line.number}", tasks)
        except NoRowError as error:
            yield str(error)


def _entry(record: dict[str, Any], source: str, tasks: Tasks) -> Entry:
    task = record.get("task", tasks.only)
    if not isinstance(task, str) or task not in tasks.by_name:
        got = "no task is named" if task is None else "the task is unknown"
        raise NoRowError(f"{got}; known are {', '.join(tasks.by_name)}")
    feedback = record.get("feedback")
    if feedback is not None and not (isinstance(feedback, str) and feedback in _FEEDBACK):
        raise NoRowError("key 'feedback' must be good or bad")
    prompt, said = _asked(record, task, tasks)
    output = record.get("output", said)
    if output is None:
        raise NoRowError("key 'output' is missing")
    right, unfit = _right(record, task, prompt, tasks)
    return Entry(
        source=source,
        task=task,
        prompt=prompt,
        output=answer_text(output),
        right=right,
        unfit=unfit,
        is_bad=feedback == "bad",
        finish_reason="length" if record.get("finish_reason") == "length" else "stop",
    )


def _asked(record: dict[str, Any], task: str, tasks: Tasks) -> tuple[Prompt, Any]:
    """Return what was asked, without what the task itself puts around an input, and an answer that stands in the chat."""
    columns, known = tasks.columns(task), tasks.by_name[task]
    for key in (columns.get("input", "input"), "input"):
        if isinstance(record.get(key), str):
            return record[key], None
    if "messages" not in record:
        raise NoRowError("key 'input' or 'messages' is missing")
    messages, said = record["messages"], None
    if "output" not in record and turns.is_answered(messages):
        *messages, last = messages
        said = turns.answer(last)
    chat = turns.read(messages)
    if chat[0].role == "system" and chat[0].content.strip() == (known.system or "").strip():
        chat = chat[1:]
    if not any(turn.role == "user" for turn in chat):
        raise NoRowError("no turn is the user's")
    alone = turns.unwrapped(chat[0].content, known.prompt) if len(chat) == 1 else None
    if alone is None and "input" in columns:
        raise NoRowError("the cases of this task hold one text, and the entry is a chat")
    return chat if alone is None else alone, said


def _right(record: dict[str, Any], task: str, prompt: Prompt, tasks: Tasks) -> tuple[Any, str | None]:
    """Return the right answer as a value, or as a text where it is none that the task allows."""
    columns = tasks.columns(task)
    for key in ("corrected", columns.get("expected", "expected"), "expected"):
        if record.get(key) is not None:
            right = record[key]
            break
    else:
        return None, None
    text = answer_text(right)
    if isinstance(right, str) and tasks.by_name[task].kind in JSON_KINDS:
        try:
            right = parse(right)
        except NotStrictJsonError:
            return None, text
    if right is None or tasks.reject(task, prompt, right) is not None:
        return None, text
    return right, None

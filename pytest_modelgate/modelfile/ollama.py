"""
Fill a template with a conversation as Ollama does.

A template that uses ``.Messages`` is filled once. An older one has ``.System``, ``.Prompt`` and ``.Response`` of one exchange: it
is filled once for each, and the last time up to where the answer begins (``template/template.go`` of Ollama).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_modelgate.modelfile.go_template import GoTemplate
from pytest_modelgate.records import Message

__all__ = ["as_ollama_gives", "ollama_prompt"]

_EXCHANGE = {"system": "System", "user": "Prompt", "assistant": "Response"}


def ollama_prompt(template: str, talk: Sequence[Message]) -> str:
    """
    Return the prompt that Ollama makes of a conversation whose last turn is the user's.

    Raises :class:`~pytest_modelgate.modelfile.go_template.GoTemplateError` for a template that uses what is not known here.
    """
    read = GoTemplate.read(template)
    fields = read.fields()
    if "Messages" in fields:
        return read.write(as_ollama_gives(talk))
    if "Response" not in fields:
        read = read.followed_by("Response")
    parts: list[str] = []
    given = dict.fromkeys(_EXCHANGE.values(), "")

    def write() -> None:
        parts.append(read.write(given))
        given.update(dict.fromkeys(given, ""))

    for turn in _joined(talk):
        if turn.role not in _EXCHANGE:
            continue
        begun = {"system": ("Prompt", "Response"), "user": ("Response",)}.get(turn.role, ())
        if any(given[name] for name in begun):
            write()
        given[_EXCHANGE[turn.role]] = turn.content
    return "".join((*parts, read.up_to("Response").write(given)))


def as_ollama_gives(talk: Sequence[Message]) -> dict[str, Any]:
    """Return a conversation as Ollama gives it to a template: all messages, and the system texts once more."""
    none: dict[str, Any] = {"Thinking": "", "ToolCalls": [], "Images": []}
    return {
        "Messages": [{"Role": turn.role, "Content": turn.content, **none} for turn in _joined(talk)],
        "System": "\n\n".join(turn.content for turn in talk if turn.role == "system"),
        "Response": "",
        "Tools": [],
    }


def _joined(talk: Sequence[Message]) -> list[Message]:
    """Return a conversation in which turns of one role that follow each other are one."""
    found: list[Message] = []
    for turn in talk:
        if found and found[-1].role == turn.role:
            found[-1] = Message(turn.role, f"{found[-1].content}\n\n{turn.content}")
        else:
            found.append(turn)
    return found

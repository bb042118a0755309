"""Read the turns of a chat, tool calls among them; no reason given here quotes what stands in them."""

from __future__ import annotations

import json
from typing import Any

from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse
from pytest_modelgate.records import Message
from pytest_modelgate.tasks import INPUT

from .lines import NoRowError, json_type, without_quotes

_ROLES = ("system", "user", "assistant", "tool")


def is_answered(messages: Any) -> bool:
    """Say whether a chat ends with an assistant's turn."""
    return isinstance(messages, list) and bool(messages) and _role(messages[-1]) == "assistant"


def read(messages: Any) -> tuple[Message, ...]:
    """Return the turns before an answer; calls of an earlier turn stand there as the model writes them."""
    if not isinstance(messages, list) or not messages:
        raise NoRowError("a chat is a list of at least one turn before the answer")
    read_turns = []
    for turn in messages:
        role = _role(turn)
        if role not in _ROLES:
            raise NoRowError(f'each turn is {{"role": one of {", ".join(_ROLES)}, "content": text}}')
        said = answer(turn)
        text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        read_turns.append(Message(role, text))
    return tuple(read_turns)


def answer(turn: dict[str, Any]) -> Any:
    """Return what a turn says: a text, or the tool calls as ``{"name", "arguments"}``."""
    if calls := turn.get("tool_calls"):
        if not isinstance(calls, list):
            raise NoRowError(f"'tool_calls' must be a list, got {json_type(calls)}")
        return [_call(call) for call in calls]
    if not isinstance(content := turn.get("content"), str):
        raise NoRowError(f"the content of a turn must be a text, got {json_type(content)}")
    return content


def last(value: Any, key: str) -> Any:
    """Return an answer that is given as a text, or as a chat that ends with it."""
    if isinstance(value, str):
        return value
    if not is_answered(value):
        raise NoRowError(f"key {key!r} must be a text, or a list of turns that ends with the assistant's")
    return answer(value[-1])


def unwrapped(text: str, prompt: str | None) -> str | None:
    """Return the input inside a user's turn that a task's prompt was put around; None where it was not."""
    if prompt is None:
        return text
    before, _, after = prompt.partition(INPUT)
    if len(text) < len(before) + len(after) or not (text.startswith(before) and text.endswith(after)):
        return None
    return text[len(before) : len(text) - len(after)]


def _call(call: Any) -> dict[str, Any]:
    """Return one call; arguments that are JSON text, as in OpenAI's logs, become what they say."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise NoRowError('a tool call is {"function": {"name": text, "arguments": JSON text or an object}}')
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = parse(arguments)
        except NotStrictJsonError as error:
            raise NoRowError(f"the arguments of a tool call are not JSON: {without_quotes(str(error))}") from None
    if not isinstance(arguments, dict):
        raise NoRowError(f"the arguments of a tool call are an object, got {json_type(arguments)}")
    return {"name": function["name"], "arguments": arguments}


def _role(turn: Any) -> Any:
    return turn.get("role") if isinstance(turn, dict) else None

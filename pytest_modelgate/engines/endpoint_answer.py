"""Read a chat completion, whole or in pieces, and take nothing for an answer that is none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pytest_modelgate.engines.endpoint_client import Event, RefusedError
from pytest_modelgate.records import FinishReason

__all__ = ["Answer", "read_stream", "read_whole", "short", "whole_text"]

_FINISHES: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_LARGEST = 1 << 53
_SHORT = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what the server answered; times in seconds."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    total_s: float


def read_whole(event: Event) -> Answer:
    """Read a chat completion."""
    choice = _choice(event.data)
    if choice is None:
        raise RefusedError(f"the answer is no chat completion: {short(json.dumps(event.data))}")
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str):
        raise RefusedError(f"the answer holds no text{_instead(message)}")
    prompt_tokens, output_tokens = _usage(event.data) or (0, 0)
    return Answer(content, _finish(choice), prompt_tokens, output_tokens, event.seconds, event.seconds)


def read_stream(events: Sequence[Event]) -> Answer:
    """Read a chat completion that came in pieces."""
    pieces: list[str] = []
    finish: FinishReason | None = None
    usage = None
    ttft_s = None
    instead = ""
    for event in events:
        usage = _usage(event.data) or usage
        choice = _choice(event.data)
        if choice is None:
            if isinstance(event.data, dict) and event.data.get("error"):
                raise RefusedError(f"the server failed while it answered: {short(json.dumps(event.data['error']))}")
            continue
        delta = choice.get("delta")
        content = delta.get("content") if isinstance(delta, dict) else None
        if isinstance(content, str) and content:
            ttft_s = event.seconds if ttft_s is None else ttft_s
            pieces.append(content)
        instead = instead or _instead(delta)
        if choice.get("finish_reason") is not None:
            finish = _finish(choice)
    if finish is None:
        raise RefusedError("the stream ended without a reason to finish")
    if instead and not pieces:
        raise RefusedError(f"the answer holds no text{instead}")
    total_s = events[-1].seconds
    prompt_tokens, output_tokens = usage or (0, len(pieces))
    return Answer("".join(pieces), finish, prompt_tokens, output_tokens, total_s if ttft_s is None else ttft_s, total_s)


def _choice(data: Any) -> dict[str, Any] | None:
    """Return the first choice of a completion or of a piece of one; None where there is none."""
    choices = data.get("choices") if isinstance(data, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else None


def _finish(choice: dict[str, Any]) -> FinishReason:
    """Return why an answer ended; raise where it neither came to its end nor to the limit."""
    told = choice.get("finish_reason")
    if not isinstance(told, str) or told not in _FINISHES:
        raise RefusedError(f"the answer ended for a reason that is none of a model's own: {short(json.dumps(told))}")
    return _FINISHES[told]


def _usage(data: Any) -> tuple[int, int] | None:
    """Return how many tokens the prompt and the answer had; None where the server does not tell."""
    usage = data.get("usage") if isinstance(data, dict) else None
    if not isinstance(usage, dict):
        return None
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if not all(type(count) is int and 0 <= count < _LARGEST for count in counts):
        return None
    return counts  # type: ignore[return-value]  # both are int


def _instead(message: Any) -> str:
    """Say what an answer without text holds."""
    for name, about in (
        ("tool_calls", "the server reads calls of tools out of it; start it without a parser of tools"),
        ("reasoning_content", "the server takes reasoning out of it; start it without a parser of reasoning"),
        ("refusal", "a refusal of the server's"),
    ):
        if isinstance(message, dict) and message.get(name):
            return f" but {name}: {about}"
    return ""


def whole_text(text: str) -> str:
    """Return ``text`` with halves of surrogate pairs put together, and those left alone as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def short(text: str) -> str:
    """Return what a server said on one short line."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _SHORT else f"{line[:_SHORT]}…"

"""Compare the parameters of a Modelfile with how the gate let the model answer."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_modelgate.modelfile.parse import Modelfile
from pytest_modelgate.preflight.check import Finding, Subject

__all__ = ["settings"]

_CHARS_PER_TOKEN = 2
"""Fewer characters to a token are rare: so many tokens a text has at most, about."""

_OFF = {"mirostat": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Parameters that the gate does not know, with the value that changes nothing."""

_LEAST_DEFAULT_CTX = 2048
"""The smallest context that any version of Ollama takes where a Modelfile names none."""


def settings(found: Modelfile, subject: Subject) -> Iterator[Finding]:
    """Yield where room, length or sampling are others than the gate's."""
    yield from _room(found, subject)
    yield from _length(found, subject)
    yield from _sampling(found, subject)


def _room(found: Modelfile, subject: Subject) -> Iterator[Finding]:
    """Yield where a prompt with its answer may not fit."""
    given, number = found.parameter("num_ctx"), _number(found, "num_ctx")
    if given is not None and (number is None or number < 1):
        yield Finding("failed", f"{found.where(given)}: PARAMETER num_ctx {given.value} is no size of a context")
        return
    room = _LEAST_DEFAULT_CTX if number is None else int(number)
    left_out = f"{found.source}: no PARAMETER num_ctx: Ollama's default, as little as"
    where = left_out if given is None else f"{found.where(given)}: PARAMETER num_ctx"
    if room >= subject.n_ctx:
        return
    lengths = {key: sum(len(turn.content) for turn in turns) for key, turns in subject.prompts.items()}
    if not lengths:
        yield Finding("warned", f"{where} {room} is less than the {subject.n_ctx} that were gated")
        return
    longest = max(lengths, key=lambda key: lengths[key])
    tokens = math.ceil(lengths[longest] / _CHARS_PER_TOKEN) + subject.max_tokens
    if tokens > room:
        about = f"about {tokens}, at {_CHARS_PER_TOKEN} characters a token"
        told = f"{where} {room} has no room for {longest} and {subject.max_tokens} tokens of an answer ({about})"
        yield Finding("failed" if given is not None else "warned", told)


def _length(found: Modelfile, subject: Subject) -> Iterator[Finding]:
    """Yield where answers are cut earlier."""
    given, number = found.parameter("num_predict"), _number(found, "num_predict")
    if given is None:
        return
    if number is None or 0 <= number < subject.max_tokens:
        told = f"{found.where(given)}: PARAMETER num_predict {given.value} cuts answers"
        yield Finding("failed", f"{told} that were gated with {subject.max_tokens} tokens")


def _sampling(found: Modelfile, subject: Subject) -> Iterator[Finding]:
    """Yield where answers are chosen otherwise; a parameter that is left out has Ollama's own default."""
    gated = {"temperature": subject.temperature, "repeat_penalty": subject.repeat_penalty}
    is_greedy = _number(found, "top_k") == 1
    for name, wanted in gated.items():
        if name == "temperature" and is_greedy and not wanted:
            continue
        given, number = found.parameter(name), _number(found, name)
        if given is None:
            yield Finding(
                "warned", f"{found.source}: no PARAMETER {name}: Ollama's default, gated was {wanted:g}", mode="F17"
            )
        elif number is None or not math.isclose(number, wanted, abs_tol=1e-6):
            told = f"{found.where(given)}: PARAMETER {name} {given.value}, gated was {wanted:g}"
            yield Finding("failed", told, mode="F17")
    for name, wanted in _OFF.items():
        given = found.parameter(name)
        if given is not None and _number(found, name) != wanted:
            told = f"{found.where(given)}: PARAMETER {name} {given.value}, which the gate did not apply"
            yield Finding("failed", told, mode="F17")


def _number(found: Modelfile, name: str) -> float | None:
    """Return the value of a parameter, None where it is not set or no number."""
    given = found.parameter(name)
    try:
        return None if given is None else float(given.value)
    except ValueError:
        return None

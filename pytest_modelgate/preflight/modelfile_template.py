"""Compare a Modelfile's TEMPLATE with the chat template in the GGUF, by what both write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_modelgate.gguf_file import GgufHeader
from pytest_modelgate.modelfile.chat_families import CONVERSATIONS, DoubtError, own_prompt, trimmed
from pytest_modelgate.modelfile.go_template import GoTemplateError
from pytest_modelgate.modelfile.ollama import ollama_prompt
from pytest_modelgate.modelfile.parse import Modelfile
from pytest_modelgate.modelfile.vocabulary import Vocabulary
from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.records import Message

__all__ = ["template"]

_ODD = frozenset(
    {
        *("an empty system text", "an empty question", "blanks at the ends", "blanks at the ends of the system text"),
        *("control tokens as text", "thoughts in an answer"),
    }
)
"""Conversations that a service hardly has; where they alone differ, that is told and fails nothing."""

_AROUND = 24
"""Characters that are shown before and after a first difference."""


def template(found: Modelfile, subject: Subject, header: GgufHeader, vocabulary: Vocabulary) -> Iterator[Finding]:
    """Yield where the TEMPLATE writes a conversation, or a case's prompt, otherwise than the file's own template."""
    given = found.last("TEMPLATE")
    if renderer := found.last("RENDERER"):
        told = (
            f"{found.where(renderer)}: RENDERER {renderer.value} writes the prompts, which is a program of Ollama's own"
        )
        yield Finding("not checked", told)
        return
    if given is None:
        told = f"{found.source}: no TEMPLATE: Ollama takes one of its own list that looks like the file's, or the bare input"
        yield Finding("failed", told)
        return
    own = header.values.get("tokenizer.chat_template")
    if not isinstance(own, str) or not own:
        yield Finding("not checked", "the file holds no chat template to compare the TEMPLATE with")
        return
    where = found.where(given)
    talks = _talks(found, subject)
    try:
        differing, compared = _differing(given.value, own, talks, header, vocabulary)
    except GoTemplateError as error:
        yield Finding("not checked", f"{where}: TEMPLATE: {error}")
        return
    except DoubtError as error:
        yield Finding("not checked", f"{where}: TEMPLATE: {error}")
        return
    if not compared:
        told = (
            f"{where}: TEMPLATE: the file's own chat template refuses every conversation that it could be compared in"
        )
        yield Finding("not checked", told)
    plain = [name for name in differing if name not in _ODD and all(turn.content.strip() for turn in talks[name])]
    for name in (plain or list(differing))[:1]:
        ours, theirs, trims = differing[name]
        more = f" (and {len(differing) - 1} more)" if len(differing) > 1 else ""
        told = f"{where}: TEMPLATE writes {name} otherwise than the file's chat template{more}"
        if trims:
            yield Finding("warned", f"{told}: it keeps blanks at the ends of messages")
        else:
            yield Finding("failed" if plain else "warned", told, details=_first_difference(ours, theirs))


def _talks(found: Modelfile, subject: Subject) -> dict[str, tuple[Message, ...]]:
    """Return the conversations to compare; one without a system text gets the Modelfile's, as Ollama gives it."""
    system = found.last("SYSTEM")
    head = () if system is None or not system.value else (Message("system", system.value),)
    talks = {**CONVERSATIONS, **{f"the prompt of {key}": turns for key, turns in subject.prompts.items()}}
    return {name: turns if turns[0].role == "system" else (*head, *turns) for name, turns in talks.items() if turns}


def _differing(
    given: str, own: str, talks: Mapping[str, tuple[Message, ...]], header: GgufHeader, vocabulary: Vocabulary
) -> tuple[dict[str, tuple[str, str, bool]], int]:
    """
    Return both texts of each conversation that is written otherwise, and how many were compared.

    With the texts stands whether blanks at ends are the only difference.
    """
    bos, eos = (_token(header, name) for name in ("bos", "eos"))
    found, compared = {}, 0
    for name, talk in talks.items():
        theirs = own_prompt(own, talk, bos, eos, vocabulary)
        if theirs is None:
            continue
        compared += 1
        ours = ollama_prompt(given, talk)
        if ours != theirs:
            found[name] = (ours, theirs, ollama_prompt(given, trimmed(talk)) == theirs)
    return {name: one for name, one in found.items() if not one[2]} or found, compared


def _token(header: GgufHeader, name: str) -> str | None:
    """Return the text of a token that the header names, None where it names none."""
    number, tokens = (
        header.values.get(f"tokenizer.ggml.{name}_token_id"),
        header.values.get("tokenizer.ggml.tokens") or [],
    )
    return tokens[number] if isinstance(number, int) and 0 <= number < len(tokens) else None


def _first_difference(ours: str, theirs: str) -> tuple[str, str]:
    """Return both texts around the first letter in which they differ."""
    pairs = enumerate(zip(ours, theirs, strict=False))
    place = next((number for number, (one, other) in pairs if one != other), min(len(ours), len(theirs)))
    start, end = max(0, place - _AROUND), place + _AROUND
    return f"TEMPLATE: …{ours[start:end]!r}", f"the file:  …{theirs[start:end]!r}"

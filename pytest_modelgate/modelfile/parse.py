"""
Read an Ollama Modelfile.

The rules are those of Ollama's own reader (``parser/parser.go``): instructions in any case; a value ends at the line's end,
one in quotes or three quotes where they close; nothing is escaped in them; ``#`` begins a comment only where an instruction
could begin.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.nearest import did_you_mean

__all__ = ["Instruction", "Modelfile", "parse_modelfile", "read_modelfile"]

_KNOWN = ("FROM", "TEMPLATE", "SYSTEM", "PARAMETER", "ADAPTER", "MESSAGE", "LICENSE", "RENDERER", "PARSER", "REQUIRES")
_ROLES = ("system", "user", "assistant")
_PARAMETER = re.compile(r"\w+")
_DIGEST = re.compile(r"sha256[-:]([0-9a-f]{64})$")
_QUOTES = '"""'


@dataclass(frozen=True, slots=True)
class Instruction:
    """
    Hold one instruction: its ``name`` in capitals, its ``value`` without quotes, and the ``line`` where it begins.

    ``key``: which PARAMETER it sets, or whose MESSAGE it is; empty for the others.
    """

    name: str
    key: str
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Modelfile:
    """Hold the instructions of a Modelfile in their order; ``source`` names it."""

    source: str
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> tuple[Instruction, ...]:
        """Return every instruction of a name."""
        return tuple(one for one in self.instructions if one.name == name)

    def last(self, name: str) -> Instruction | None:
        """Return the instruction of a name that counts where only one can; None where there is none."""
        return next((one for one in reversed(self.instructions) if one.name == name), None)

    def parameter(self, key: str) -> Instruction | None:
        """Return the instruction that sets a parameter."""
        return next((one for one in reversed(self.all("PARAMETER")) if one.key == key), None)

    @property
    def stops(self) -> tuple[str, ...]:
        """Return the texts at which an answer is ended."""
        return tuple(one.value for one in self.all("PARAMETER") if one.key == "stop")

    def where(self, instruction: Instruction) -> str:
        """Return the file and the line of an instruction."""
        return f"{self.source}:{instruction.line}"


def weights_digest(value: str) -> str | None:
    """Return the sha256 of the weights that a FROM or ADAPTER names by content (``sha256-…``, ``@sha256:…``), or None."""
    match = _DIGEST.search(value)
    return match[1] if match else None


def read_modelfile(path: Path) -> Modelfile:
    """Read the Modelfile at ``path``; raise ConfigurationError, ``file:line: reason``, for one that Ollama refuses."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: not UTF-8 text") from None
    return parse_modelfile(text, str(path))


def parse_modelfile(text: str, source: str = "Modelfile") -> Modelfile:
    """Return the instructions of a Modelfile's ``text``; raise ConfigurationError for a text that Ollama refuses."""
    found = tuple(_instructions(text, source))
    if not any(one.name == "FROM" for one in found):
        raise ConfigurationError(f"{source}: no FROM line, which names the model")
    return Modelfile(source, found)


def _instructions(text: str, source: str) -> Iterator[Instruction]:
    """Yield the instructions of a text."""
    lines = enumerate(text.split("\n"), 1)
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"{source}:{number}"
        name, rest = _name(line.lstrip(), where)
        key, rest = _key(name, rest, where)
        value = rest.lstrip()
        while (said := _unquoted(value.strip())) is None:
            following = next(lines, None)
            if following is None:
                quotes = _QUOTES if value.startswith(_QUOTES) else '"'
                raise ConfigurationError(f"{where}: {name}: the value begins with {quotes} and is never closed")
            value = f"{value}\n{following[1]}"
        if not said and name in {"FROM", "PARAMETER", "ADAPTER"}:
            raise ConfigurationError(f"{where}: {name} has no value")
        yield Instruction(name, key, said, number)


def _name(line: str, where: str) -> tuple[str, str]:
    """Return an instruction's name, in capitals, and what follows it."""
    given, rest = _word(line)
    name = given.upper()
    if name not in _KNOWN:
        near = did_you_mean(name, _KNOWN)
        raise ConfigurationError(f"{where}: {given[:40]!r} is no instruction{near}; known are {', '.join(_KNOWN)}")
    if not rest.strip():
        raise ConfigurationError(f"{where}: {name} has no value")
    return name, rest.lstrip()


def _key(name: str, rest: str, where: str) -> tuple[str, str]:
    """Return the parameter or role that comes before a value, and the value; no key for other instructions."""
    if name not in {"PARAMETER", "MESSAGE"}:
        return "", rest
    key, value = _word(rest)
    if name == "MESSAGE" and key not in _ROLES:
        raise ConfigurationError(f"{where}: MESSAGE is from {key[:40]!r}; valid are {', '.join(_ROLES)}")
    if name == "PARAMETER" and not _PARAMETER.fullmatch(key):
        raise ConfigurationError(f"{where}: PARAMETER {key[:40]!r}: a name has letters, digits and _")
    if not value.strip():
        raise ConfigurationError(f"{where}: {name} {key} has no value")
    return key, value


def _word(text: str) -> tuple[str, str]:
    """Return what stands before the first blank, and what stands behind it."""
    word = re.split(r"[ \t]", text, maxsplit=1)
    return word[0].rstrip(), word[1] if len(word) > 1 else ""


def _unquoted(value: str) -> str | None:
    """Return a value without its quotes; None where they are not closed yet."""
    for quotes in (_QUOTES, '"'):
        if value.startswith(quotes):
            is_closed = len(value) >= 2 * len(quotes) and value.endswith(quotes)
            return value[len(quotes) : -len(quotes)] if is_closed else None
    return value

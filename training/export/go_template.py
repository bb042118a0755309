"""
Evaluate the part of Go's text/template that a chat template of ours needs, to compare it with the model's own template.

Known are: text; ``{{ .Role }}``, ``$``, variables and string literals as output; ``range``, with or without index and element;
``if`` with ``else``; ``eq``, ``ne``, ``and``, ``not``, ``index``. Anything else is refused, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ACTION = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_RANGE = re.compile(r"range (?:(\$\w+), (\$\w+) := )?(\S+)")
_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\["\\n])*")|(\d+)|(\()|(\)(?:\.\w+)?)|((?:\$\w*|\.)[\w.]*|[a-z]+))')
_ESCAPES = {r"\n": "\n", r"\"": '"', r"\\": "\\"}


class GoTemplateError(ValueError):
    """Report a template that uses what is not known here."""


@dataclass(frozen=True, slots=True)
class _Text:
    """Hold text that is written as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class _Output:
    """Hold an expression whose value is written."""

    expression: str


@dataclass(frozen=True, slots=True)
class _If:
    """Hold a condition, and what is written where it holds and where it does not."""

    condition: str
    then: tuple[Any, ...]
    otherwise: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Range:
    """Hold what is written for each element of a list."""

    index: str | None
    element: str | None
    over: str
    body: tuple[Any, ...]


def render_go(template: str, data: Mapping[str, Any]) -> str:
    """
    Return what Go's text/template writes for ``data``: mappings with text, numbers and lists of such mappings.

    Raises :class:`GoTemplateError` for a template that is not closed or uses what is not known here.
    """
    parts = _split(template)
    nodes, end = _parse(parts)
    if end is not None:
        raise GoTemplateError(f"{{{{ {end} }}}} closes nothing")
    return "".join(_write(nodes, data, {"$": data}))


def _split(template: str) -> Iterator[tuple[str, bool]]:
    """Yield the template's pieces, each with whether it is an action."""
    place = 0
    for match in _ACTION.finditer(template):
        yield template[place : match.start()], False
        yield match.group(1).strip(), True
        place = match.end()
    if "{{" in template[place:]:
        raise GoTemplateError("{{ is not closed")
    yield template[place:], False


def _parse(parts: Iterator[tuple[str, bool]]) -> tuple[tuple[Any, ...], str | None]:
    """Return the nodes up to an ``else`` or ``end``, and which of them it was; None at the template's end."""
    nodes: list[Any] = []
    for part, is_action in parts:
        word = part.partition(" ")[0] if is_action else None
        if not is_action:
            nodes.append(_Text(part))
        elif part in {"else", "end"}:
            return tuple(nodes), part
        elif word == "if":
            then, closed = _parse(parts)
            otherwise: tuple[Any, ...] = ()
            if closed == "else":
                otherwise, closed = _parse(parts)
            _require_end(part, closed)
            nodes.append(_If(part.removeprefix("if "), then, otherwise))
        elif word == "range":
            match = _RANGE.fullmatch(part)
            if match is None:
                raise GoTemplateError(f"{{{{ {part} }}}} is not known here")
            body, closed = _parse(parts)
            _require_end(part, closed)
            nodes.append(_Range(match[1], match[2], match[3], body))
        else:
            nodes.append(_Output(part))
    return tuple(nodes), None


def _require_end(part: str, closed: str | None) -> None:
    """Raise unless a block was closed by ``end``."""
    if closed != "end":
        raise GoTemplateError(f"{{{{ {part} }}}} is not closed")


def _write(nodes: Sequence[Any], dot: Any, variables: dict[str, Any]) -> Iterator[str]:
    """Yield what the nodes write."""
    for node in nodes:
        if isinstance(node, _Text):
            yield node.text
        elif isinstance(node, _Output):
            yield str(_value(node.expression, dot, variables))
        elif isinstance(node, _If):
            holds = _value(node.condition, dot, variables)
            yield from _write(node.then if holds else node.otherwise, dot, variables)
        else:
            for index, element in enumerate(_value(node.over, dot, variables)):
                named = {node.index: index, node.element: element} if node.index and node.element else {}
                yield from _write(node.body, element, variables | named)


def _value(expression: str, dot: Any, variables: dict[str, Any]) -> Any:
    """Return the value of an expression."""
    tokens: list[str] = []
    place = 0
    text = expression.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise GoTemplateError(f"{{{{ {expression} }}}} is not known here")
        tokens.append(match.group().strip())
        place = match.end()
    value = _call(tokens, dot, variables)
    if tokens:
        raise GoTemplateError(f"{{{{ {expression} }}}}: {tokens[0]!r} is too much")
    return value


def _call(tokens: list[str], dot: Any, variables: dict[str, Any]) -> Any:
    """Take a function with its arguments, or a single operand, from the tokens; return its value."""
    if not tokens:
        raise GoTemplateError("an expression is missing")
    name = tokens[0]
    if not re.fullmatch(r"[a-z]+", name):
        return _operand(tokens, dot, variables)
    tokens.pop(0)
    arguments = []
    while tokens and not tokens[0].startswith(")"):
        arguments.append(_operand(tokens, dot, variables))
    match name, arguments:
        case "eq", [one, other]:
            return one == other
        case "ne", [one, other]:
            return one != other
        case "and", [one, other]:
            return one and other
        case "not", [one]:
            return not one
        case "index", [items, int(number)]:
            return items[number]
    raise GoTemplateError(f"{name} with {len(arguments)} arguments is not known here")


def _operand(tokens: list[str], dot: Any, variables: dict[str, Any]) -> Any:
    """Take one operand from the tokens; return its value."""
    token = tokens.pop(0)
    if token == "(":  # noqa: S105  (a bracket)
        value = _call(tokens, dot, variables)
        if not tokens or not tokens[0].startswith(")"):
            raise GoTemplateError("( is not closed")
        return _field(value, tokens.pop(0).removeprefix(")"))
    if token.startswith('"'):
        return re.sub(r"\\.", lambda match: _ESCAPES[match.group()], token[1:-1])
    if token.isdigit():
        return int(token)
    name, _, path = token.partition(".")
    if token.startswith("$"):
        if name not in variables:
            raise GoTemplateError(f"{name} is not defined")
        return _field(variables[name], path)
    if token.startswith("."):
        return _field(dot, path)
    raise GoTemplateError(f"{token!r} is not known here")


def _field(value: Any, path: str) -> Any:
    """Return a field, or a field of a field; the value itself for no path."""
    for name in filter(None, path.split(".")):
        if not isinstance(value, Mapping) or name not in value:
            raise GoTemplateError(f"there is no field {name}")
        value = value[name]
    return value

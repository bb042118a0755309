"""
Evaluate the part of Go's text/template that chat templates of Ollama use, to compare them with a model's own template.

Known are: text, with ``{{-`` and ``-}}``; comments; fields, ``$``, variables and literals as output; ``:=``; ``range``, with or
without index and element; ``if`` with ``else if`` and ``else``; ``eq ne lt le gt ge and or not index len slice``. Anything
else is refused, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import ge, gt, le, lt
from typing import Any

__all__ = ["GoTemplate", "GoTemplateError", "render_go"]

_ACTION = re.compile(r"\{\{(-(?=\s))?(\s*/\*.*?\*/\s*|.*?)((?<=\s)-)?\}\}", re.DOTALL)
_RANGE = re.compile(r"(?:(\$\w+), (\$\w+) := )?(\S+)")
_ASSIGNMENT = re.compile(r"(\$\w+) := (.+)", re.DOTALL)
_COMMENT = re.compile(r"/\*.*\*/", re.DOTALL)
_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\["\\nt])*")|(`[^`]*`)|(\d+)|(\()|(\)(?:\.\w+)?)|((?:\$\w*|\.)[\w.]*|[a-z]+))')
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\"": '"', r"\\": "\\"}
_OTHER_BLOCKS = frozenset({"with", "define", "block", "template", "break", "continue"})
_CONSTANTS = {"true": True, "false": False}
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {"lt": lt, "le": le, "gt": gt, "ge": ge}


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
class _Assign:
    """Hold a variable, and the expression whose value it has up to the end of its block."""

    name: str
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


@dataclass(frozen=True, slots=True)
class GoTemplate:
    """Hold a template that was read."""

    nodes: tuple[Any, ...]

    @classmethod
    def read(cls, text: str) -> GoTemplate:
        """Return the template of a text; raise :class:`GoTemplateError` where a block is not closed, or not known."""
        nodes, end = _parse(_split(text))
        if end is not None:
            raise GoTemplateError(f"{{{{ {end} }}}} closes nothing")
        return cls(nodes)

    def fields(self) -> set[str]:
        """Return the names of all fields that it uses."""
        return {name for text in _expressions(self.nodes) for name in re.findall(r"\.(\w+)", text)}

    def followed_by(self, field: str) -> GoTemplate:
        """Return the template with a field written at its end."""
        return GoTemplate((*self.nodes, _Output(f".{field}")))

    def up_to(self, field: str) -> GoTemplate:
        """Return the template without all that comes after the first output of ``field``, which itself stays."""
        return GoTemplate(_cut(self.nodes, re.compile(rf"\.{field}\b"))[0])

    def write(self, data: Mapping[str, Any]) -> str:
        """
        Return what Go writes for ``data``: mappings with text, numbers and lists of such mappings.

        Raises :class:`GoTemplateError` where it uses what is not known here.
        """
        return "".join(_write(self.nodes, data, {"$": data}))


def render_go(template: str, data: Mapping[str, Any]) -> str:
    """Return what Go's text/template writes for ``data``; raise :class:`GoTemplateError` for what is not known here."""
    return GoTemplate.read(template).write(data)


def _split(template: str) -> Iterator[tuple[str, bool]]:
    """Yield the template's pieces, each with whether it is an action."""
    place, trims = 0, False
    for match in _ACTION.finditer(template):
        before = template[place : match.start()]
        before = before.lstrip() if trims else before
        yield before.rstrip() if match[1] else before, False
        action = match[2].strip()
        if not _COMMENT.fullmatch(action):
            yield action, True
        place, trims = match.end(), bool(match[3])
    if "{{" in template[place:]:
        raise GoTemplateError("{{ is not closed")
    yield template[place:].lstrip() if trims else template[place:], False


def _parse(parts: Iterator[tuple[str, bool]]) -> tuple[tuple[Any, ...], str | None]:
    """Return the nodes up to an ``else`` or ``end``, and what stands there; None at the template's end."""
    nodes: list[Any] = []
    for part, is_action in parts:
        word, _, rest = part.partition(" ") if is_action else ("", "", "")
        if not is_action:
            nodes.append(_Text(part))
        elif word in {"else", "end"}:
            return tuple(nodes), part
        elif word in _OTHER_BLOCKS:
            raise GoTemplateError(f"{{{{ {part} }}}} is not known here")
        elif word == "if":
            nodes.append(_parse_if(part, rest, parts))
        elif word == "range":
            match = _RANGE.fullmatch(rest.strip())
            if match is None:
                raise GoTemplateError(f"{{{{ {part} }}}} is not known here")
            body, closed = _parse(parts)
            if closed != "end":
                raise GoTemplateError(f"{{{{ {part} }}}} is not closed")
            nodes.append(_Range(match[1], match[2], match[3], body))
        elif match := _ASSIGNMENT.fullmatch(part):
            nodes.append(_Assign(match[1], match[2]))
        else:
            nodes.append(_Output(part))
    return tuple(nodes), None


def _parse_if(part: str, condition: str, parts: Iterator[tuple[str, bool]]) -> _If:
    """Return an ``if`` with all that belongs to it."""
    then, closed = _parse(parts)
    if closed is not None and closed.startswith("else if "):
        return _If(condition, then, (_parse_if(closed, closed.removeprefix("else if "), parts),))
    otherwise: tuple[Any, ...] = ()
    if closed == "else":
        otherwise, closed = _parse(parts)
    if closed != "end":
        raise GoTemplateError(f"{{{{ {part} }}}} is not closed")
    return _If(condition, then, otherwise)


def _expressions(nodes: Sequence[Any]) -> Iterator[str]:
    """Yield every expression that stands in the nodes."""
    for node in nodes:
        if isinstance(node, _Output | _Assign):
            yield node.expression
        elif isinstance(node, _If):
            yield node.condition
            yield from _expressions((*node.then, *node.otherwise))
        elif isinstance(node, _Range):
            yield node.over
            yield from _expressions(node.body)


def _cut(nodes: Sequence[Any], field: re.Pattern[str]) -> tuple[tuple[Any, ...], bool]:
    """Return the nodes up to the first output of a field, and whether there is one."""
    kept: list[Any] = []
    for node in nodes:
        found = False
        if isinstance(node, _Output):
            found = field.search(node.expression) is not None
            kept.append(node)
        elif isinstance(node, _If):
            then, found = _cut(node.then, field)
            if found and node.otherwise:
                raise GoTemplateError(f"{{{{ {field.pattern[1:-2]} }}}} before an else is not known here")
            otherwise, after = _cut(node.otherwise, field)
            found = found or after
            kept.append(_If(node.condition, then, otherwise))
        elif isinstance(node, _Range):
            body, found = _cut(node.body, field)
            kept.append(replace(node, body=body))
        else:
            kept.append(node)
        if found:
            return tuple(kept), True
    return tuple(kept), False


def _write(nodes: Sequence[Any], dot: Any, outer: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the nodes write."""
    variables = dict(outer)
    for node in nodes:
        if isinstance(node, _Text):
            yield node.text
        elif isinstance(node, _Output):
            yield _printed(_value(node.expression, dot, variables))
        elif isinstance(node, _Assign):
            variables[node.name] = _value(node.expression, dot, variables)
        elif isinstance(node, _If):
            holds = _value(node.condition, dot, variables)
            yield from _write(node.then if holds else node.otherwise, dot, variables)
        else:
            over = _value(node.over, dot, variables)
            if isinstance(over, str | Mapping):
                raise GoTemplateError(f"{{{{ range {node.over} }}}} over what is no list is not known here")
            for index, element in enumerate(over):
                named = {node.index: index, node.element: element} if node.index and node.element else {}
                yield from _write(node.body, element, variables | named)


def _printed(value: Any) -> str:
    """Return a value as Go writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int):
        return str(value)
    raise GoTemplateError("a list or a message as output is not known here")


def _value(expression: str, dot: Any, variables: Mapping[str, Any]) -> Any:
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


def _call(tokens: list[str], dot: Any, variables: Mapping[str, Any]) -> Any:
    """Take a function with its arguments, or a single operand, from the tokens; return its value."""
    if not tokens:
        raise GoTemplateError("an expression is missing")
    name = tokens[0]
    if not re.fullmatch(r"[a-z]+", name) or name in _CONSTANTS:
        return _operand(tokens, dot, variables)
    tokens.pop(0)
    arguments = []
    while tokens and not tokens[0].startswith(")"):
        arguments.append(_operand(tokens, dot, variables))
    return _called(name, arguments)


def _called(name: str, arguments: list[Any]) -> Any:
    """Return the value of a function."""
    match name, arguments:
        case "eq", [one, *others] if others:
            return one in others
        case "ne", [one, other]:
            return one != other
        case (("lt" | "le" | "gt" | "ge"), [int(one), int(other)]):
            return _COMPARED[name](one, other)
        case "and", [*_, last] if arguments:
            return next((one for one in arguments if not one), last)
        case "or", [*_, last] if arguments:
            return next((one for one in arguments if one), last)
        case "not", [one]:
            return not one
        case "len", [str(text)]:
            return len(text.encode())
        case "len", [list(items)]:
            return len(items)
        case "index", [list(items), int(number)] if 0 <= number < len(items):
            return items[number]
        case "slice", [list(items), int(start)] if start <= len(items):
            return items[start:]
        case "slice", [list(items), int(start), int(end)] if start <= end <= len(items):
            return items[start:end]
    raise GoTemplateError(f"{name} with {len(arguments)} arguments is not known here")


def _operand(tokens: list[str], dot: Any, variables: Mapping[str, Any]) -> Any:
    """Take one operand from the tokens; return its value."""
    token = tokens.pop(0)
    if token == "(":  # noqa: S105  (a bracket)
        value = _call(tokens, dot, variables)
        if not tokens or not tokens[0].startswith(")"):
            raise GoTemplateError("( is not closed")
        return _field(value, tokens.pop(0).removeprefix(")"))
    if token.startswith('"'):
        return re.sub(r"\\.", lambda match: _ESCAPES[match.group()], token[1:-1])
    if token.startswith("`"):
        return token[1:-1]
    if token.isdigit():
        return int(token)
    name, _, path = token.partition(".")
    if token.startswith("$"):
        if name not in variables:
            raise GoTemplateError(f"{name} is not defined")
        return _field(variables[name], path)
    if token.startswith("."):
        return _field(dot, path)
    if token in _CONSTANTS:
        return _CONSTANTS[token]
    raise GoTemplateError(f"{token!r} is not known here")


def _field(value: Any, path: str) -> Any:
    """Return a field, or a field of a field; the value itself for no path."""
    for name in filter(None, path.split(".")):
        if not isinstance(value, Mapping) or name not in value:
            raise GoTemplateError(f"there is no field {name}")
        value = value[name]
    return value

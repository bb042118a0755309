"""
Read what people write of tools: their definitions, and the calls that a case expects.

Here too stands what their schemas make of a value: whether its type fits, and whether it counts as the same as another.
Both follow the Berkeley Function Calling Leaderboard (BFCL), as ``tool_calls`` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelgate.contracts import strict_json
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.records import Json

MAX_EXPECTED = 64

_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
# BFCL's own files write some types as Python does; "any" takes every value.
_SPELLINGS = {"float": "number", "dict": "object", "tuple": "array", "any": "any"} | {name: name for name in _TYPES}
_FUNCTION_KEYS = ("name", "description", "parameters", "strict", "response", "unsafe")
_DROPPED = " ,./-_*^"
_EXPECTED_KEYS = ("name", "arguments", "alternatives", "optional")


@dataclass(frozen=True, slots=True)
class Tool:
    """
    Hold one function that a model may call.

    ``parameters`` maps each argument to its JSON Schema. ``unsafe``: calling it when it should not be called does harm.
    """

    name: str
    parameters: Json
    required: frozenset[str]
    unsafe: bool = False


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """
    Hold one call that is the right answer.

    ``arguments`` is the canonical answer, ``alternatives`` further accepted values of an argument, ``optional`` those
    of the arguments that may be left out.
    """

    name: str
    arguments: Json
    alternatives: Mapping[str, tuple[Any, ...]]
    optional: frozenset[str]


def load_tools(path: Path, named_by: str) -> dict[str, Tool]:
    """
    Return the tools of a JSON list by name.

    An entry is ``{"type": "function", "function": {...}}`` or the inner object alone, with ``name``, ``parameters``
    (a JSON Schema of type object) and perhaps ``description``, ``strict``, ``response`` and ``unsafe``; ``unsafe`` may
    also stand beside ``function``. Of a schema, ``type``, ``enum``, ``items``, ``properties``, ``required``,
    ``additionalProperties`` and ``default`` are understood; other keywords (``anyOf``, ``$ref``) limit nothing here.

    Raises :class:`~pytest_modelgate.errors.GatesFileError`, starting with ``named_by``, for a file that is missing or
    not such a list, and for a definition that is wrong anywhere.
    """
    try:
        entries = strict_json.parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise GatesFileError(f"{named_by}: cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise GatesFileError(f"{named_by}: {path} is not JSON: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise GatesFileError(f"{named_by}: {path} must be a JSON list of at least one tool, got {shown(entries)}")
    tools: dict[str, Tool] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            tool = _read_tool(entry)
            if tool.name in tools:
                raise ValueError(f"the name {tool.name!r} is taken by an earlier tool")
        except ValueError as error:
            raise GatesFileError(f"{named_by}: {path}: tool {number}: {error}") from None
        tools[tool.name] = tool
    return tools


def read_expected(value: Any, tools: Mapping[str, Tool]) -> tuple[ExpectedCall, ...]:
    """
    Return the calls of a case's ``expected``: null or an empty list (nothing may be called), one object or a list.

    An object is ``{"name": "f", "arguments": {"city": "Paris"}}``, with ``"alternatives": {"city": ["Paris, France"]}``
    and ``"optional": ["unit"]`` where the case has them. Raises ValueError for anything that ``tools`` do not take, and
    for more than :data:`MAX_EXPECTED` calls.
    """
    if value is None:
        return ()
    entries = value if isinstance(value, list) else [value]
    if len(entries) > MAX_EXPECTED:
        raise ValueError(f"expects {len(entries)} calls, more than {MAX_EXPECTED}")
    calls = []
    for number, entry in enumerate(entries, start=1):
        try:
            calls.append(_read_expected_call(entry, tools))
        except ValueError as error:
            raise ValueError(f"expected call {number}: {error}") from None
    return tuple(calls)


def wrong_type(value: Any, schema: Json, where: str) -> str | None:
    """
    Return why ``value``, or something inside it, is of a type that ``schema`` does not take, or None.

    As in BFCL an integer is a number, ``5.0`` is no integer (JSON Schema takes it), and a boolean is no number.
    """
    for inner, rules, place in _walk(value, schema, where):
        types = _types_of(rules)
        if types and types.isdisjoint(_kinds(inner)):
            return f"{place} must be of type {' or '.join(sorted(types))}, got {shown(inner)}"
    return None


def same(given: Any, accepted: Any, schema: Json) -> bool:
    """
    Say whether a given value counts as the accepted one.

    As in BFCL, texts are compared without case, spaces and ``, . / - _ * ^``, with either quote; numbers by value;
    lists item by item in order; objects key by key. Where BFCL would call different things the same, or stops at the
    first level, this differs:

    - A text that holds nothing but dropped characters equals only itself: ``"*"`` is not ``"/"``.
    - A text that is a member of the schema's ``enum`` means that member: ``"a-b"`` is not ``"ab"`` if both are there.
    - The rules hold at any depth, and a boolean never equals a number.
    """
    if isinstance(given, bool) or isinstance(accepted, bool):
        return given is accepted
    if isinstance(accepted, str):
        return isinstance(given, str) and _same_text(given, accepted, schema.get("enum", ()))
    if isinstance(accepted, list):
        if not isinstance(given, list) or len(given) != len(accepted):
            return False
        items = schema.get("items", {})
        return all(same(one, other, items) for one, other in zip(given, accepted, strict=True))
    if isinstance(accepted, dict):
        if not isinstance(given, dict) or given.keys() != accepted.keys():
            return False
        properties = schema.get("properties", {})
        return all(same(given[name], value, properties.get(name, {})) for name, value in accepted.items())
    return bool(given == accepted)


def shown(value: Any, limit: int = 80) -> str:
    """Return a value as one short line of JSON."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else f"{text[:limit]}… (+{len(text) - limit} characters)"


def _same_text(given: str, accepted: str, choices: Sequence[Any]) -> bool:
    if given == accepted:
        return True
    if given in choices:
        return False
    for character in _DROPPED:
        given, accepted = given.replace(character, ""), accepted.replace(character, "")
    # Lower case takes one or two characters for one. It is slow, and what a model wrote may be long.
    if not 0 < len(given) <= 2 * len(accepted):
        return False
    return given.lower().replace("'", '"') == accepted.lower().replace("'", '"')


def _walk(value: Any, schema: Json, where: str) -> Iterator[tuple[Any, Json, str]]:
    """Yield ``value`` and everything inside it for which ``schema`` has a schema."""
    yield value, schema, where
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _walk(item, schema["items"], f"{where}[{index}]")
    elif isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                yield from _walk(value[name], inner, f"{where}.{name}")


def _kinds(value: Any) -> frozenset[str]:
    """Return the type names that a JSON value answers to."""
    if isinstance(value, int) and not isinstance(value, bool):
        return frozenset({"integer", "number"})
    names = {type(None): "null", bool: "boolean", float: "number", str: "string", list: "array", dict: "object"}
    return frozenset({names[type(value)]})


def _types_of(schema: Json) -> frozenset[str]:
    """Return the types that a checked schema names; none: it takes every type."""
    named = schema.get("type", [])
    types = frozenset(_SPELLINGS[name] for name in ([named] if isinstance(named, str) else named))
    return frozenset() if "any" in types else types


def _misfit(value: Any, schema: Json, where: str) -> str | None:
    """Return why a value that a person wrote is not one that ``schema`` takes, or None."""
    if reason := wrong_type(value, schema, where):
        return reason
    for inner, rules, place in _walk(value, schema, where):
        # Booleans apart from numbers: True == 1 in Python.
        choices = [
            choice for choice in rules.get("enum", [inner]) if isinstance(choice, bool) == isinstance(inner, bool)
        ]
        if inner not in choices:
            near = did_you_mean(inner, filter(_is_text, choices)) if _is_text(inner) else ""
            return f"{place} must be one of {shown(rules['enum'])}, got {shown(inner)}{near}"
        if isinstance(inner, dict):
            for name in rules.get("required", ()):
                if name not in inner:
                    return f"{place} lacks {name!r}"
            known = rules.get("properties", {}) if rules.get("additionalProperties") is False else inner
            for name in inner:
                if name not in known:
                    return f"{place} has no {name!r}{did_you_mean(name, known)}"
    return None


def _read_tool(entry: Any) -> Tool:
    """Return the tool that a list entry defines; raise ValueError with what is wrong with it."""
    function = entry = _object(entry, "a tool")
    # A mistyped key must not pass in silence: "unsfae" would make a dangerous tool a harmless one.
    if "function" in entry:
        _only_keys(entry, ("type", "function", "unsafe"))
        function = _object(entry["function"], "'function'")
        _only_keys(function, _FUNCTION_KEYS)
    else:
        _only_keys(entry, ("type", *_FUNCTION_KEYS))
    if entry.get("type", "function") != "function":
        raise ValueError(f"'type' must be \"function\", got {shown(entry['type'])}")
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"'name' must be a text, got {shown(name)}")
    parameters = _object(function.get("parameters"), f"{name!r}: 'parameters'")
    _check_schema(parameters, f"{name!r}: parameters")
    if not _types_of(parameters) <= {"object"}:
        raise ValueError(f"{name!r}: parameters must be of type object, got {shown(parameters['type'])}")
    marks = [holder["unsafe"] for holder in (function, entry) if "unsafe" in holder]
    if not all(isinstance(mark, bool) for mark in marks):
        raise ValueError(f"{name!r}: 'unsafe' must be true or false, got {shown(marks[0])}")
    return Tool(name, parameters.get("properties", {}), frozenset(parameters.get("required", ())), any(marks))


def _check_schema(schema: Any, where: str) -> None:
    """Raise ValueError with the place if a keyword that is understood here cannot be."""
    schema = _object(schema, where)
    types = schema.get("type", [])
    for name in types if isinstance(types, list) else [types]:
        if not _is_text(name) or name not in _SPELLINGS:
            near = did_you_mean(name, _TYPES) if _is_text(name) else ""
            raise ValueError(f"{where}: unknown type {shown(name)}{near}; valid: {', '.join(_TYPES)}")
    _list(schema.get("enum", []), f"{where}: 'enum'")
    for key in ("type", "enum"):
        if schema.get(key) == []:
            raise ValueError(f"{where}: {key!r} must not be empty")
    properties = _object(schema.get("properties", {}), f"{where}: 'properties'")
    for name in _names(schema.get("required", []), f"{where}: 'required'"):
        if name not in properties:
            raise ValueError(
                f"{where}: 'required' names {name!r}, which is no property{did_you_mean(name, properties)}"
            )
    for name, inner in properties.items():
        _check_schema(inner, f"{where}.{name}")
    if "items" in schema:
        _check_schema(schema["items"], f"{where}[]")


def _read_expected_call(entry: Any, tools: Mapping[str, Tool]) -> ExpectedCall:
    """Return one expected call; raise ValueError with what its tool does not take."""
    entry = _object(entry, "a call")
    _only_keys(entry, _EXPECTED_KEYS)
    name = entry.get("name")
    if not isinstance(name, str) or name not in tools:
        near = did_you_mean(name, tools) if isinstance(name, str) else ""
        raise ValueError(f"unknown tool {shown(name)}{near}; valid: {', '.join(tools)}")
    tool, arguments = tools[name], _object(entry.get("arguments"), f"{name}: 'arguments'")
    alternatives = _object(entry.get("alternatives", {}), f"{name}: 'alternatives'")
    optional = _names(entry.get("optional", []), f"{name}: 'optional'")
    for missing in sorted(tool.required - arguments.keys()):
        raise ValueError(f"{name}: required argument {missing!r} is missing")
    for argument in arguments:
        if argument not in tool.parameters:
            near = did_you_mean(argument, tool.parameters)
            raise ValueError(f"{name}: unknown argument {argument!r}{near}; valid: {', '.join(tool.parameters)}")
    for argument in (*alternatives, *optional):
        if argument not in arguments:
            near = did_you_mean(argument, arguments)
            raise ValueError(f"{name}: alternatives or optional name {argument!r}, 'arguments' does not{near}")
    for argument in tool.required.intersection(optional):
        raise ValueError(f"{name}: {argument!r} is required by the tool and cannot be optional")
    for argument, values in [(one, [value]) for one, value in arguments.items()] + list(alternatives.items()):
        for value in _list(values, f"{name}: the alternatives of {argument!r}"):
            if reason := _misfit(value, tool.parameters[argument], repr(argument)):
                raise ValueError(f"{name}: {reason}")
    return ExpectedCall(name, arguments, {one: tuple(few) for one, few in alternatives.items()}, frozenset(optional))


def _object(value: Any, what: str) -> Json:
    """Return a value that must be a JSON object; what a person wrote wrongly is a ValueError, whatever its type."""
    if isinstance(value, dict):
        return value
    raise ValueError(f"{what} must be a JSON object, got {shown(value)}")


def _list(value: Any, what: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ValueError(f"{what} must be a list, got {shown(value)}")


def _names(value: Any, what: str) -> list[str]:
    if all(map(_is_text, _list(value, what))):
        return list(value)
    raise ValueError(f"{what} must be a list of names, got {shown(value)}")


def _only_keys(entry: Json, known: Iterable[str]) -> None:
    for key in entry:
        if key not in known:
            raise ValueError(f"unknown key {key!r}{did_you_mean(key, known)}; valid: {', '.join(known)}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)

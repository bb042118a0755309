r"""
Turn a JSON Schema into a GBNF grammar that llama.cpp holds a generation to.

Every text that the grammar accepts is strict JSON (:mod:`~pytest_modelgate.contracts.strict_json`) that the schema
accepts. What cannot be promised is refused with its place, never left out: llama.cpp's own converter leaves out limits of
numbers, lets control characters into strings, and spells quotes, backslashes and emoji of an ``enum`` wrong or dies of them.

Not every text that the schema accepts is accepted. Keys come in the order of ``properties``, and only those. White space
between tokens is a blank, or a line end with an indentation. A value of an ``enum`` is spelt with or without ``\u``
escapes for what is not ASCII. Numbers have up to 15 digits before and after the point, and two in the exponent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse
from pytest_modelgate.errors import GatesFileError

__all__ = ["UnsupportedSchemaError", "grammar_of", "load_grammar"]

MAX_REPETITIONS = 1000
"""The largest limit of a length; llama.cpp refuses what is repeated more than 2,000 times."""
MAX_VALUES = 1000
"""The most integers between a minimum and a maximum: they are spelt out."""

_STATIC = r"""
ws ::= ( " " | "\n" [ \t]{0,20} )?
char ::= [^"\\\x00-\x1F] | "\\" ( ["\\/bfnrt] | "u" ( [0-9A-CE-Fa-ce-f] [0-9A-Fa-f]{3} | [Dd] [0-7] [0-9A-Fa-f]{2} ) )
integer ::= "-"? natural
natural ::= "0" | [1-9] [0-9]{0,14}
positive ::= [1-9] [0-9]{0,14}
number ::= "-"? unsigned
unsigned ::= natural ( "." [0-9]{1,15} )? ( [eE] [-+]? [0-9]{1,2} )?
boolean ::= "true" | "false"
null ::= "null"
""".strip()

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_READ = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    "number": {"minimum"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "boolean": set[str](),
    "null": set[str](),
}
"""The keywords of each type that the grammar obeys."""
_MEANT_FOR = {
    "object": {
        *("properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties"),
        *("maxProperties", "dependentRequired", "dependentSchemas", "unevaluatedProperties"),
    },
    "array": {
        *("items", "prefixItems", "contains", "minContains", "maxContains", "minItems", "maxItems", "uniqueItems"),
        "unevaluatedItems",
    },
    "string": {"minLength", "maxLength", "pattern"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "boolean": set[str](),
    "null": set[str](),
}
"""The keywords that say something of each type (JSON Schema 2020-12, without format, which only describes)."""
_OF_ANY_TYPE = {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "type", "enum", "const"}
_SAY_SOMETHING = _OF_ANY_TYPE.union(*_MEANT_FOR.values())


class UnsupportedSchemaError(ValueError):
    """Say where a schema asks for something that a grammar here cannot promise, and what."""


def load_grammar(path: Path, named_by: str) -> str:
    """
    Return the grammar of the schema in ``path``, which is a valid one.

    Raises :class:`~pytest_modelgate.errors.GatesFileError`, starting with ``named_by``, for one that is not supported.
    """
    try:
        return grammar_of(json.loads(path.read_text(encoding="utf-8-sig")))
    except UnsupportedSchemaError as error:
        raise GatesFileError(
            f'{named_by}: {path} at {error}; change the schema, or decode with grammar = "none"'
        ) from None


def grammar_of(schema: Any) -> str:
    """Return ``schema``, a valid JSON Schema, as GBNF with the rule ``root``; raise UnsupportedSchemaError."""
    converter = _Converter(schema)
    root = converter.expression(schema, "$", ())
    return "\n".join([f"root ::= ws {root} ws", *converter.rules, _STATIC, ""])


class _Converter:
    """Gather the rules of one schema; ``document`` is what its references point into."""

    def __init__(self, document: Any) -> None:
        self.rules: list[str] = []
        self._document = document

    def expression(self, schema: Any, place: str, references: tuple[str, ...]) -> str:
        """Return what stands for ``schema`` inside a rule: a name, a literal, or alternatives in brackets."""
        if not isinstance(schema, Mapping) or not _SAY_SOMETHING & schema.keys():
            raise UnsupportedSchemaError(f"{place}: any value, or none; say which with type, enum or anyOf")
        if "$id" in schema and schema is not self._document:
            raise UnsupportedSchemaError(f"{place}: '$id' inside a schema is not supported")
        for keyword in ("enum", "const", "anyOf", "$ref"):
            if keyword in schema:
                return self._only(keyword, schema, place, references)
        types = schema.get("type", _type_meant(schema))
        types = [types] if isinstance(types, str) else list(types or ())
        for keyword in schema:
            if any(keyword in _MEANT_FOR[kind] - _READ[kind] for kind in types):
                raise UnsupportedSchemaError(f"{place}: {keyword!r} is not supported")
            if keyword in _OF_ANY_TYPE - {"type"} or (keyword in _SAY_SOMETHING and not types):
                raise UnsupportedSchemaError(f"{place}: {keyword!r} is not supported")
        if "number" in types and "integer" in types:
            types.remove("integer")
        return _any_of([self._of_type(kind, schema, place, references) for kind in types])

    def _only(self, keyword: str, schema: Mapping[str, Any], place: str, references: tuple[str, ...]) -> str:
        """Return what stands for a schema that one keyword describes; another beside it could forbid what that allows."""
        beside = {"type"} if keyword in {"enum", "const"} else set[str]()
        if others := sorted((_SAY_SOMETHING & schema.keys()) - {keyword} - beside):
            raise UnsupportedSchemaError(f"{place}: {others[0]!r} beside {keyword!r} is not supported")
        value = schema[keyword]
        if keyword == "$ref":
            if value in references:
                raise UnsupportedSchemaError(f"{place}: {value!r} holds itself; a depth without limit is not supported")
            return self.expression(_resolve(self._document, value, place), place, (*references, value))
        if keyword == "anyOf":
            return _any_of(
                [self.expression(one, f"{place}.anyOf[{number}]", references) for number, one in enumerate(value)]
            )
        values = value if keyword == "enum" else [value]
        types = schema.get("type", _TYPES)
        types = [types] if isinstance(types, str) else types
        fitting = [one for one in values if any(_is_of(one, kind) for kind in types)]
        if not fitting:
            raise UnsupportedSchemaError(f"{place}: no value of {keyword!r} has the type {schema.get('type')}")
        return self._rule(_any_of([spelling for one in fitting for spelling in _spellings(one, place)]))

    def _of_type(self, kind: str, schema: Mapping[str, Any], place: str, references: tuple[str, ...]) -> str:
        """Return what stands for the values of one type."""
        match kind:
            case "object":
                return self._object(schema, place, references)
            case "array":
                return self._array(schema, place, references)
            case "string":
                return self._rule(f'"\\"" char{_times(schema, "minLength", "maxLength", place)} "\\""')
            case "integer":
                return _integer(schema, place)
            case "number":
                least = schema.get("minimum")
                if least not in {None, 0}:
                    raise UnsupportedSchemaError(f"{place}: 'minimum' {least} of a number is not supported, only 0")
                return "number" if least is None else "unsigned"
        return kind

    def _object(self, schema: Mapping[str, Any], place: str, references: tuple[str, ...]) -> str:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if schema.get("additionalProperties", False) is not False:
            raise UnsupportedSchemaError(f"{place}: 'additionalProperties' other than false is not supported")
        if not properties and "additionalProperties" not in schema:
            raise UnsupportedSchemaError(f"{place}: an object of any keys; name them in 'properties'")
        if unknown := [name for name in required if name not in properties]:
            raise UnsupportedSchemaError(f"{place}: {unknown[0]!r} is required, but not in 'properties'")
        pairs = [
            (
                f"{_any_of(_spellings(name, place))} ws {_literal(':')} ws "
                + self.expression(inner, f"{place}.{name}", references),
                name in required,
            )
            for name, inner in properties.items()
        ]
        # From the last property to the first: what may follow where something stands before it, and where nothing does.
        following, beginning = '""', '""'
        for number, (pair, is_required) in enumerate(reversed(pairs)):
            is_last = number == 0
            first = pair if is_last else f"{pair} {following}"
            beginning = first if is_required else self._rule(_any_of([first, beginning]))
            after = f'ws "," ws {first}'
            following = (
                self._rule(after)
                if is_required
                else f"{self._rule(after)}?"
                if is_last
                else self._rule(_any_of([after, following]))
            )
        return self._rule(f'"{{" ws {beginning} ws "}}"' if pairs else '"{" ws "}"')

    def _array(self, schema: Mapping[str, Any], place: str, references: tuple[str, ...]) -> str:
        if "items" not in schema:
            raise UnsupportedSchemaError(f"{place}: an array of any values; say of which in 'items'")
        least, most = _limits(schema, "minItems", "maxItems", place)
        if most == 0:
            return self._rule('"[" ws "]"')
        item = self.expression(schema["items"], f"{place}[]", references)
        more = self._rule(f'ws "," ws {item}')
        times = f"{{{max(0, least - 1)},{'' if most is None else most - 1}}}"
        some = f"{item} {more}{times}" if most != 1 else item
        return self._rule(f'"[" ws {some} ws "]"' if least else f'"[" ws ( {some} ws )? "]"')

    def _rule(self, body: str) -> str:
        """Add a rule, unless there is one like it, and return its name."""
        for number, rule in enumerate(self.rules):
            if rule == f"r{number} ::= {body}":
                return f"r{number}"
        self.rules.append(f"r{len(self.rules)} ::= {body}")
        return f"r{len(self.rules) - 1}"


def _integer(schema: Mapping[str, Any], place: str) -> str:
    """Return the integers between the limits of ``schema``."""
    lows = [schema["minimum"]] if "minimum" in schema else []
    highs = [schema["maximum"]] if "maximum" in schema else []
    lows += [schema["exclusiveMinimum"] + 1] if "exclusiveMinimum" in schema else []
    highs += [schema["exclusiveMaximum"] - 1] if "exclusiveMaximum" in schema else []
    if any(not isinstance(limit, int) and not limit.is_integer() for limit in (*lows, *highs)):
        raise UnsupportedSchemaError(f"{place}: a limit of an integer that is none itself is not supported")
    if not highs and (not lows or max(lows) in {0, 1}):
        return {None: "integer", 0: "natural", 1: "positive"}[int(max(lows)) if lows else None]
    if not lows or not highs or not 0 <= min(highs) - max(lows) < MAX_VALUES:
        raise UnsupportedSchemaError(
            f"{place}: limits of an integer are supported where they leave 1 to {MAX_VALUES} values, or are a minimum of 0 or 1"
        )
    return _any_of([_literal(str(value)) for value in range(int(max(lows)), int(min(highs)) + 1)])


def _times(schema: Mapping[str, Any], lower: str, upper: str, place: str) -> str:
    """Return how often something is repeated."""
    least, most = _limits(schema, lower, upper, place)
    if most is None:
        return "*" if least == 0 else f"{{{least},}}"
    return f"{{{least},{most}}}"


def _limits(schema: Mapping[str, Any], lower: str, upper: str, place: str) -> tuple[int, int | None]:
    """Return the least and the largest number of something, None for any."""
    least, most = int(schema.get(lower, 0)), schema.get(upper)
    if max(least, most or 0) > MAX_REPETITIONS:
        name = lower if least > MAX_REPETITIONS else upper
        raise UnsupportedSchemaError(f"{place}: {name!r} above {MAX_REPETITIONS} is not supported")
    if most is not None and most < least:
        raise UnsupportedSchemaError(f"{place}: {upper!r} is below {lower!r}")
    return least, None if most is None else int(most)


def _resolve(document: Any, reference: str, place: str) -> Any:
    """Return what a ``$ref`` into the same document points to."""
    if not reference.startswith("#/") or "%" in reference:
        raise UnsupportedSchemaError(f"{place}: $ref {reference!r} is not supported, only such as '#/$defs/name'")
    found = document
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or key not in found:
            raise UnsupportedSchemaError(f"{place}: $ref {reference!r} points to nothing")
        found = found[key]
    return found


def _type_meant(schema: Mapping[str, Any]) -> str | None:
    """Return the type that a schema without one is about: one with properties is read as that of an object."""
    return "object" if "properties" in schema else "array" if "items" in schema else None


def _is_of(value: Any, kind: str) -> bool:
    """Say whether a JSON value is of a type of JSON Schema."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "number": is_number,
        "integer": is_number and (isinstance(value, int) or value.is_integer()),
        "boolean": isinstance(value, bool),
        "null": value is None,
    }[kind]


def _spellings(value: Any, place: str) -> list[str]:
    """Return a value as JSON, as literals: as it is, and in ASCII."""
    texts = dict.fromkeys(json.dumps(value, ensure_ascii=ascii_) for ascii_ in (False, True))
    for text in texts:
        try:
            parse(text)
        except NotStrictJsonError as error:
            raise UnsupportedSchemaError(f"{place}: {_shown(value)} cannot be written as JSON: {error}") from None
    return [_literal(text) for text in texts]


def _shown(value: Any) -> str:
    return json.dumps(value)[:40]


def _literal(text: str) -> str:
    """Return a text as a literal of GBNF."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if " " <= character <= "~" else f"\\U{ord(character):08X}"


def _any_of(alternatives: Iterable[str]) -> str:
    """Return alternatives as one expression."""
    different = list(dict.fromkeys(alternatives))
    return different[0] if len(different) == 1 else f"( {' | '.join(different)} )"

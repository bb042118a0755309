"""
Parse a text as exactly one JSON value, as strictly as the standard reads.

Python's own reader accepts more than RFC 8259 allows (``NaN``, duplicate keys) and gives up in its own ways on hostile
input (recursion, numbers of thousands of digits). Here each of these is a plain reason.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 100
MAX_DIGITS = 400

_SURROGATE = re.compile("[\ud800-\udfff]")
# A string without an end takes the rest of the text: looking for its end again from each later quote is quadratic.
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


class NotStrictJsonError(ValueError):
    """Say why a text is not one strict JSON value."""


def parse(text: str) -> Any:
    """
    Return the value that ``text`` holds; white space around it is allowed, anything else is not.

    Raises :class:`NotStrictJsonError` for text that is no JSON value or has text around it, for ``NaN`` and infinite
    numbers, duplicate keys, lone surrogates, more than :data:`MAX_CHARACTERS` characters, values nested deeper than
    :data:`MAX_DEPTH`, and numbers of more than :data:`MAX_DIGITS` digits.
    """
    if len(text) > MAX_CHARACTERS:
        raise NotStrictJsonError(f"the text has {len(text)} characters, more than {MAX_CHARACTERS}")
    if not text.strip():
        raise NotStrictJsonError("the text is empty")
    if _depth(text) > MAX_DEPTH:
        raise NotStrictJsonError(f"values are nested deeper than {MAX_DEPTH}")
    try:
        value = json.loads(
            text,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded_integer,
            object_pairs_hook=_no_duplicates,
        )
    except json.JSONDecodeError as error:
        raise NotStrictJsonError(_explain(text, error)) from None
    if _SURROGATE.search(text) or ("\\u" in text and _SURROGATE.search(json.dumps(value, ensure_ascii=False))):
        raise NotStrictJsonError("a string holds a lone surrogate (half of a UTF-16 pair)")
    return value


def _explain(text: str, error: json.JSONDecodeError) -> str:
    """Say what is wrong where, in terms of the text."""
    where = f"at character {error.pos}"
    if error.msg == "Extra data":
        return f"text after the JSON value {where}: {text[error.pos : error.pos + 40]!r}"
    if text.startswith("\ufeff") or (error.msg == "Expecting value" and error.pos == len(text) - len(text.lstrip())):
        return f"does not begin with a JSON value: {text.lstrip()[:40]!r}"
    return f"not JSON: {error.msg} {where}"


def _depth(text: str) -> int:
    """Return how deeply brackets nest outside strings; a bound on what the parser would have to recurse."""
    depth = deepest = 0
    for character in re.sub(r"[^\[\]{}]+", "", _STRINGS.sub("", text)):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _no_constant(name: str) -> Any:
    raise NotStrictJsonError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    if len(digits) > MAX_DIGITS:
        raise NotStrictJsonError(f"a number has more than {MAX_DIGITS} digits")
    if not math.isfinite(value := float(digits)):
        raise NotStrictJsonError(f"the number {digits} is too large to represent")
    return value


def _bounded_integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise NotStrictJsonError(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise NotStrictJsonError(f"the key {key[:40]!r} appears twice in one object")
        result[key] = value
    return result

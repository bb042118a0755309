"""Strict JSON accepts what the standard allows, within bounds, and says of everything else what is wrong."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.contracts.strict_json import MAX_CHARACTERS, MAX_DEPTH, MAX_DIGITS, NotStrictJsonError, parse

WHOLE_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WHOLE_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WHOLE_TEXT, inner, max_size=4),
    max_leaves=20,
)
JSON_LIKE = st.text(st.sampled_from('{}[]",:0123456789.eE+-\\u dtrufalsn NI\n\t'), max_size=30)


@given(VALUES, st.booleans())
def test_everything_that_python_writes_is_read_back(value: Any, ascii_only: bool) -> None:
    """What ``json.dumps`` wrote of a value is read as that value."""
    assert parse(json.dumps(value, ensure_ascii=ascii_only, allow_nan=False)) == value


@given(VALUES, st.sampled_from([None, 1, "\t"]))
def test_layout_does_not_matter(value: Any, indent: int | str | None) -> None:
    """White space between tokens and around the value changes nothing."""
    assert parse(f" \r\n{json.dumps(value, indent=indent)}\t\n") == value


@given(JSON_LIKE | st.text(max_size=30))
def test_never_more_lenient_than_python(text: str) -> None:
    """What is accepted, ``json.loads`` reads as the same value; nothing but NotStrictJsonError is raised."""
    try:
        value = parse(text)
    except NotStrictJsonError:
        return
    assert json.loads(text) == value


@given(JSON_LIKE)
def test_refuses_only_for_a_reason(text: str) -> None:
    """What ``json.loads`` reads is refused only where it holds NaN, infinity, equal keys or a lone surrogate."""
    odd = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        odd.extend(["equal keys"] * (len({key for key, _ in found}) < len(found)))
        return dict(found)

    def number(digits: str) -> float:
        odd.extend(["infinite"] * math.isinf(float(digits)))
        return float(digits)

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_constant=odd.append)
    except ValueError:
        return
    if any("\ud800" <= character <= "\udfff" for character in json.dumps(value, ensure_ascii=False)):
        odd.append("surrogate")
    if odd:
        with pytest.raises(NotStrictJsonError):
            parse(text)
    else:
        assert parse(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the text is empty"),
        (" \n", "the text is empty"),
        ("Sure: {}", "does not begin with a JSON value: 'Sure: {}'"),
        ("{} or so", "text after the JSON value at character 3: 'or so'"),
        ("{}{}", "text after the JSON value at character 2: '{}'"),
        ("```json\n{}\n```", "does not begin with a JSON value: '```json\\n{}\\n```'"),
        ("{'a': 1}", "not JSON: Expecting property name enclosed in double quotes at character 1"),
        ('{"a": 1,}', "not JSON: "),
        ('{"a": 1', "not JSON: Expecting ',' delimiter at character 7"),
        ('"a\nb"', "not JSON: Invalid control character at at character 2"),
        ("NaN", "NaN is not a JSON number"),
        ("[-Infinity]", "-Infinity is not a JSON number"),
        ("1e400", "the number 1e400 is too large to represent"),
        ("-1e400", "the number -1e400 is too large to represent"),
        ("01", "text after the JSON value at character 1: '1'"),
        ('{"a": 1, "a": 1}', "the key 'a' appears twice in one object"),
        ('[{"a": {"b": 1, "b": 2}}]', "the key 'b' appears twice in one object"),
        ('{"a": 1, "\\u0061": 1}', "the key 'a' appears twice in one object"),
        ('"\\ud83d"', "a string holds a lone surrogate (half of a UTF-16 pair)"),
        ('{"\\udc00": 1}', "a string holds a lone surrogate (half of a UTF-16 pair)"),
        ('"\ud83d"', "a string holds a lone surrogate (half of a UTF-16 pair)"),
        ("\ufeff{}", "does not begin with a JSON value: "),
    ],
)
def test_reason(text: str, reason: str) -> None:
    """Each refusal says what is wrong and where."""
    with pytest.raises(NotStrictJsonError) as caught:
        parse(text)

    assert str(caught.value).startswith(reason)


def test_bounds_are_inclusive() -> None:
    """A value at each bound is read, one beyond it is not."""
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert parse("9" * MAX_DIGITS) == int("9" * MAX_DIGITS)
    assert len(parse('"' + "x" * (MAX_CHARACTERS - 2) + '"')) == MAX_CHARACTERS - 2
    for text, reason in (
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"values are nested deeper than {MAX_DEPTH}"),
        ("9" * (MAX_DIGITS + 1), f"a number has more than {MAX_DIGITS} digits"),
        ("0." + "9" * MAX_DIGITS, f"a number has more than {MAX_DIGITS} digits"),
        ('"' + "x" * (MAX_CHARACTERS - 1) + '"', f"the text has {MAX_CHARACTERS + 1} characters"),
    ):
        with pytest.raises(NotStrictJsonError, match=reason):
            parse(text)


def test_brackets_inside_strings_do_not_nest() -> None:
    """Depth counts brackets of the value, not of its texts."""
    text = json.dumps({"a": "[" * 1000, "b\\": '"' + "{" * 1000})

    assert parse(text) == json.loads(text)


def test_escaped_pair_is_a_character() -> None:
    """Both halves of a pair together are one character, not two lone surrogates."""
    assert parse('"\\ud83d\\ude42"') == "🙂"


@pytest.mark.parametrize("text", ['"' * 200_001, '"\\' * 100_000, "[" * 500_000, '{"a":' * 100_000, "\\" * 300_000])
def test_hostile_text_takes_no_time(text: str) -> None:
    """Unbalanced quotes, escapes and brackets by the hundred thousand are refused at once."""
    started = time.process_time()

    with pytest.raises(NotStrictJsonError):
        parse(text)

    assert time.process_time() - started < 2

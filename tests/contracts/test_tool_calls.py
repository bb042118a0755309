"""Tool calls are read strictly and compared by the published rules of the Berkeley Function Calling Leaderboard."""

from __future__ import annotations

import json
import time
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.contracts.tool_calls import (
    MAX_MISTAKES,
    Call,
    Comparison,
    NotCallsError,
    Tool,
    canonical,
    compare_calls,
    load_tools,
    looks_like_a_call,
    parse_calls,
    read_expected,
)
from pytest_modelgate.contracts.tools import MAX_EXPECTED
from pytest_modelgate.errors import GatesFileError

DEFINITIONS: list[dict[str, Any]] = [
    {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "default": 1},
                "model": {"type": "string", "default": None},
            },
            "required": ["city"],
        },
    },
    {
        "type": "function",
        "function": {
            "name": "calculate",
            "description": "Calculate.",
            "parameters": {
                "type": "object",
                "properties": {
                    "operation": {"type": "string", "enum": ["+", "-", "*", "/"]},
                    "a": {"type": "number"},
                    "b": {"type": "number"},
                },
                "required": ["operation", "a", "b"],
            },
        },
    },
    {
        "name": "book",
        "parameters": {
            "type": "dict",  # as BFCL writes it
            "properties": {
                "hotel": {"type": "string"},
                "guests": {"type": "integer"},
                "price": {"type": "float"},
                "breakfast": {"type": "boolean"},
                "dates": {"type": "array", "items": {"type": "string"}},
                "note": {"type": ["string", "null"]},
                "ages": {"type": "array", "items": {"type": "number"}},
            },
            "required": ["hotel"],
        },
    },
    {
        "name": "draw",
        "parameters": {
            "type": "object",
            "properties": {
                "at": {
                    "type": "object",
                    "properties": {"x": {"type": "number"}, "y": {"type": "integer"}, "label": {"type": "string"}},
                    "required": ["x"],
                    "additionalProperties": False,
                },
                "points": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"name": {"type": "string"}, "on": {"type": "boolean"}}},
                },
                "rows": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
                "style": {"enum": ["a-b", "ab", "plain"]},
                "styles": {"type": "array", "items": {"enum": ["a-b", "ab"]}},
                "extra": {},
            },
        },
    },
    {"name": "ping", "parameters": {}},
    {"type": "function", "function": {"name": "wipe", "parameters": {"type": "object"}}, "unsafe": True},
]
WEATHER = {"name": "get_weather", "arguments": {"city": "Rome"}}
ROWS = [json.loads(line) for line in Path(__file__).with_name("tool_call_cases.jsonl").read_text("utf-8").splitlines()]


def load(folder: Path, content: Any) -> dict[str, Tool]:
    """Write a tools file and load it; a text is written as it is."""
    path = folder / "tools.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return load_tools(path, "here")


@pytest.fixture(scope="module", name="tools")
def fixture_tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tool]:
    """Load the tools that the cases call."""
    return load(tmp_path_factory.mktemp("tools"), DEFINITIONS)


def causes(comparison: Comparison) -> list[str]:
    """Return the causes of the mistakes."""
    return [mistake.cause for mistake in comparison.mistakes]


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_case(row: dict[str, Any], tools: dict[str, Tool]) -> None:
    """Each authored case is right, or wrong by its causes, for the reason that its row gives."""
    expected = read_expected(row["expected"], tools)
    calls = parse_calls(json.dumps(row["given"]))

    compared = compare_calls(calls, expected, tools, ordered=row.get("ordered", False))

    assert causes(compared) == row["causes"], row["why"]
    for count in ("names", "required", "arguments"):
        if count in row:
            assert list(getattr(compared, count)) == row[count], row["why"]


def test_cases_are_many_and_apart() -> None:
    """The table holds at least sixty cases, each with a reason of its own, and every cause occurs."""
    assert len({row["id"] for row in ROWS}) == len({row["why"] for row in ROWS}) == len(ROWS) >= 60
    assert {cause for row in ROWS for cause in row["causes"]} == {
        *("wrong_function", "unknown_function", "missing_required", "unexpected_parameter", "wrong_type"),
        *("wrong_value", "wrong_count", "wrong_order", "must_not_call", "missing_call"),
    }


@pytest.mark.parametrize(
    ("given_calls", "expected", "message"),
    [
        ([["ping", {}]], None, "nothing may be called, got ping"),
        ([], [["ping", {}], ["wipe", {}]], "nothing was called, expected ping, wipe"),
        ([["ping", {}], ["a\nb", {}]], [["ping", {}]], "2 calls (ping, a b), expected 1"),
        ([["pong", {}]], [["ping", {}]], "no tool is called 'pong' (did you mean 'ping'?)"),
        ([["wipe", {}]], [["ping", {}]], "wipe was called instead of ping"),
        (
            [["get_weather", {}]],
            [["get_weather", {"city": "Rome"}]],
            "get_weather: 'city' is missing, expected \"Rome\"",
        ),
        (
            [["get_weather", {"city": "Rome", "unti": "celsius"}]],
            [["get_weather", {"city": "Rome"}]],
            "get_weather: 'unti' is no argument of this tool (did you mean 'unit'?)",
        ),
        (
            [["get_weather", {"city": "Rome", "days": 3}]],
            [["get_weather", {"city": "Rome"}]],
            "get_weather: 'days' is not expected, got 3",
        ),
        (
            [["get_weather", {"city": ["Rome"]}]],
            [["get_weather", {"city": "Rome"}]],
            'get_weather: city must be of type string, got ["Rome"]',
        ),
        (
            [["draw", {"rows": [[1, 2], [3, "4"]]}]],
            [["draw", {"rows": [[1, 2], [3, 4]]}]],
            'draw: rows[1][1] must be of type integer, got "4"',
        ),
        (
            [["get_weather", {"city": "x" * 200}]],
            [["get_weather", {"city": "Rome"}]],
            f'get_weather: \'city\' is "{"x" * 79}… (+122 characters), expected "Rome"',
        ),
    ],
)
def test_message(given_calls: list[Any], expected: list[Any] | None, message: str, tools: dict[str, Tool]) -> None:
    """A mistake says what is wrong, what was got and what was expected, on one short line."""
    wanted = None if expected is None else [{"name": name, "arguments": arguments} for name, arguments in expected]

    compared = compare_calls([Call(*call) for call in given_calls], read_expected(wanted, tools), tools, ordered=False)

    assert compared.mistakes[0].message == message


def test_message_names_alternatives(tools: dict[str, Tool]) -> None:
    """A wrong value is told with every value that would have been right."""
    expected = read_expected(WEATHER | {"alternatives": {"city": ["Roma", "Rom"]}}, tools)
    compared = compare_calls([Call("get_weather", {"city": "Oslo"})], expected, tools, ordered=False)

    assert compared.mistakes[0].message == 'get_weather: \'city\' is "Oslo", expected "Rome" or "Roma" or "Rom"'


def test_tools_are_read(tools: dict[str, Tool]) -> None:
    """Both forms of a definition are read, in the order of the file."""
    assert list(tools) == ["get_weather", "calculate", "book", "draw", "ping", "wipe"]
    assert tools["calculate"].required == {"operation", "a", "b"}
    assert tools["ping"] == Tool("ping", {}, frozenset())
    assert [tool.name for tool in tools.values() if tool.unsafe] == ["wipe"]


def with_schema(schema: Any, **others: Any) -> list[Any]:
    """Return a tools file's content with one tool ``f`` whose argument ``x`` has a schema."""
    return [{"name": "f", "parameters": {"properties": {"x": schema}, **others}}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON: the text is empty"),
        ("[", "is not JSON: "),
        ('[{"name": "f", "name": "g"}]', "is not JSON: the key 'name' appears twice"),
        ("[" * 100_000, "is not JSON: values are nested deeper"),
        ({}, "must be a JSON list of at least one tool, got {}"),
        ([], "must be a JSON list of at least one tool, got []"),
        ([3], "tool 1: a tool must be a JSON object, got 3"),
        ([{"type": "function", "function": []}], "tool 1: 'function' must be a JSON object, got []"),
        ([{"type": "tool", "name": "f", "parameters": {}}], 'tool 1: \'type\' must be "function", got "tool"'),
        ([{"name": "f", "parameters": {}, "unsfae": True}], "tool 1: unknown key 'unsfae' (did you mean 'unsafe'?)"),
        ([{"function": {"name": "f", "parameters": {}}, "id": 3}], "tool 1: unknown key 'id'; valid: type, function"),
        ([{"parameters": {}}], "tool 1: 'name' must be a text, got null"),
        ([{"name": " ", "parameters": {}}], "tool 1: 'name' must be a text, got \" \""),
        ([{"name": "f"}], "tool 1: 'f': 'parameters' must be a JSON object, got null"),
        ([{"name": "f", "parameters": []}], "tool 1: 'f': 'parameters' must be a JSON object, got []"),
        ([{"name": "f", "parameters": {}}] * 2, "tool 2: the name 'f' is taken by an earlier tool"),
        ([{"name": "f", "parameters": {}, "unsafe": 1}], "tool 1: 'f': 'unsafe' must be true or false, got 1"),
        ([{"name": "f", "parameters": {}, "unsafe": []}], "tool 1: 'f': 'unsafe' must be true or false, got []"),
        (
            [{"name": "f", "parameters": {"type": "array"}}],
            "tool 1: 'f': parameters must be of type object, got \"array\"",
        ),
        ([{"name": "f", "parameters": {"properties": []}}], "'f': parameters: 'properties' must be a JSON object"),
        (with_schema("string"), "'f': parameters.x must be a JSON object, got \"string\""),
        (
            with_schema({"type": "strng"}),
            "parameters.x: unknown type \"strng\" (did you mean 'string'?); valid: string",
        ),
        (with_schema({"type": 3}), "parameters.x: unknown type 3; valid: "),
        (with_schema({"type": []}), "parameters.x: 'type' must not be empty"),
        (with_schema({"type": ["string", "nil"]}), 'parameters.x: unknown type "nil"'),
        (with_schema({"enum": []}), "parameters.x: 'enum' must not be empty"),
        (with_schema({"enum": "a"}), "parameters.x: 'enum' must be a list, got \"a\""),
        (with_schema({"items": {"type": "int"}}), "parameters.x[]: unknown type \"int\" (did you mean 'integer'?)"),
        (with_schema({"properties": {"y": {"type": "no"}}}), 'parameters.x.y: unknown type "no"'),
        (with_schema({}, required="x"), "parameters: 'required' must be a list, got \"x\""),
        (with_schema({}, required=[1]), "parameters: 'required' must be a list of names, got [1]"),
        (with_schema({}, required=["xx"]), "'required' names 'xx', which is no property (did you mean 'x'?)"),
    ],
)
def test_bad_tools_file(tmp_path: Path, content: Any, message: str) -> None:
    """What is wrong with a tools file is told with the file, the tool and the place."""
    with pytest.raises(GatesFileError) as caught:
        load(tmp_path, content)

    assert str(caught.value).startswith(f"here: {tmp_path / 'tools.json'}")
    assert message in str(caught.value)


def test_missing_tools_file(tmp_path: Path) -> None:
    """A file that is not there, or not text, is a reason too."""
    with pytest.raises(GatesFileError, match=r"^here: cannot read .*no\.json: No such file"):
        load_tools(tmp_path / "no.json", "here")
    (tmp_path / "no.json").write_bytes(b"\xff")
    with pytest.raises(GatesFileError, match=r"^here: .*no\.json is not JSON: "):
        load_tools(tmp_path / "no.json", "here")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ping", 'expected call 1: a call must be a JSON object, got "ping"'),
        ([{"name": "ping", "arguments": {}}, 3], "expected call 2: a call must be a JSON object, got 3"),
        ({"name": "pong", "arguments": {}}, "unknown tool \"pong\" (did you mean 'ping'?); valid: get_weather, "),
        ({"arguments": {}}, "unknown tool null; valid: "),
        ({"name": "ping", "args": {}}, "unknown key 'args' (did you mean 'arguments'?); valid: name, arguments, "),
        ({"name": "ping", "arguments": {}, "optinal": []}, "unknown key 'optinal' (did you mean 'optional'?)"),
        ({"name": "ping"}, "ping: 'arguments' must be a JSON object, got null"),
        ({"name": "ping", "arguments": {"x": 1}}, "ping: unknown argument 'x'; valid: "),
        ({"name": "get_weather", "arguments": {}}, "get_weather: required argument 'city' is missing"),
        (
            {"name": "get_weather", "arguments": {"city": "Rome", "unitt": "celsius"}},
            "get_weather: unknown argument 'unitt' (did you mean 'unit'?); valid: city, unit, days",
        ),
        ({"name": "get_weather", "arguments": {"city": 3}}, "get_weather: 'city' must be of type string, got 3"),
        ({"name": "book", "arguments": {"hotel": "x", "guests": 2.0}}, "'guests' must be of type integer, got 2.0"),
        ({"name": "book", "arguments": {"hotel": "x", "price": True}}, "'price' must be of type number, got true"),
        ({"name": "book", "arguments": {"hotel": "x", "note": 3}}, "'note' must be of type null or string, got 3"),
        (
            {"name": "get_weather", "arguments": {"city": "Rome", "unit": "Celsius"}},
            '\'unit\' must be one of ["celsius", "fahrenheit"], got "Celsius" (did you mean \'celsius\'?)',
        ),
        ({"name": "draw", "arguments": {"at": {"y": 1}}}, "draw: 'at' lacks 'x'"),
        ({"name": "draw", "arguments": {"at": {"x": 1, "lable": ""}}}, "'at' has no 'lable' (did you mean 'label'?)"),
        ({"name": "draw", "arguments": {"at": {"x": 1, "y": 0.5}}}, "'at'.y must be of type integer, got 0.5"),
        (
            {"name": "get_weather", "arguments": {"city": "Rome"}, "alternatives": {"unit": ["celsius"]}},
            "alternatives or optional name 'unit', 'arguments' does not",
        ),
        (
            {"name": "get_weather", "arguments": {"city": "Rome"}, "alternatives": {"city": "Roma"}},
            "the alternatives of 'city' must be a list, got \"Roma\"",
        ),
        (
            {"name": "get_weather", "arguments": {"city": "Rome"}, "alternatives": {"city": ["Roma", 3]}},
            "'city' must be of type string, got 3",
        ),
        (
            {"name": "get_weather", "arguments": {"city": "Rome"}, "alternatives": []},
            "'alternatives' must be a JSON object, got []",
        ),
        (
            {"name": "get_weather", "arguments": {"city": "Rome"}, "optional": ["days"]},
            "alternatives or optional name 'days', 'arguments' does not",
        ),
        (
            {"name": "get_weather", "arguments": {"city": "Rome"}, "optional": ["city"]},
            "'city' is required by the tool and cannot be optional",
        ),
        (
            {"name": "get_weather", "arguments": {"city": "Rome"}, "optional": "city"},
            "'optional' must be a list, got \"city\"",
        ),
        ([{"name": "ping", "arguments": {}}] * 65, "expects 65 calls, more than 64"),
    ],
)
def test_bad_expected(value: Any, message: str, tools: dict[str, Tool]) -> None:
    """An expected call that its tool does not take is refused with a reason."""
    with pytest.raises(ValueError, match=r"^expect") as caught:
        read_expected(value, tools)

    assert message in str(caught.value)


F1 = '{"name": "f", "arguments": {"x": 1}}'


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("null", []),
        (" []\n", []),
        ('{"tool_calls": []}', []),
        (F1, [1]),
        (f"[{F1}, {F1}]", [1, 1]),
        (f"<tool_call>\n{F1}\n</tool_call>", [1]),
        (f"\n<tool_call>{F1}</tool_call> \n <tool_call>{F1}</tool_call>\n", [1, 1]),
        (f'{{"tool_calls": [{{"id": "c1", "type": "function", "function": {F1}}}]}}', [1]),
        ('{"tool_calls": [{"function": {"name": "f", "arguments": "{\\"x\\": 1}"}}]}', [1]),
    ],
)
def test_accepted_form(text: str, calls: list[int]) -> None:
    """Each accepted form is read as the same calls."""
    assert parse_calls(text) == tuple(Call("f", {"x": x}) for x in calls)


@pytest.mark.parametrize(
    ("text", "reason", "meant"),
    [
        ("", "the text is empty", False),
        ("I cannot help with that.", "does not begin with a JSON value", False),
        ("The set {a, b} is not a [list].", "does not begin with a JSON value", False),
        ('"no"', 'a call must be a JSON object, got "no"', False),
        ("{", "not JSON: ", True),
        ("[f(x=1)]", "not JSON: ", True),
        (f"```json\n{F1}\n```", "does not begin with a JSON value", True),
        (f"Sure! {F1}", "does not begin with a JSON value", True),
        (f"On it: <tool_call>{F1}</tool_call>", "does not begin with a JSON value", True),
        (f"{F1}{F1}", "text after the JSON value", True),
        (f"{F1} Done.", "text after the JSON value", True),
        ('{"name": "f"}', "a call's 'arguments' must be a JSON object, got null", True),
        ('{"name": "f", "arguments": []}', "a call's 'arguments' must be a JSON object, got []", True),
        ('{"name": "f", "arguments": "{}"}', "a call's 'arguments' must be a JSON object, got \"{}\"", True),
        ('{"name": "f", "parameters": {}}', "unknown key 'parameters' in a call; valid: name, arguments", True),
        ('{"name": "f", "arguments": {}, "id": 3}', "unknown key 'id' in a call", True),
        ('{"name": 3, "arguments": {}}', "a call's 'name' must be a text, got 3", True),
        ('{"name": "", "arguments": {}}', "a call's 'name' must be a text, got \"\"", True),
        ("{}", "a call's 'name' must be a text, got null", True),
        ("[null]", "a call must be a JSON object, got null", True),
        (f"[[{F1}]]", "a call must be a JSON object, got [", True),
        ('{"name": "f", "arguments": {"x": 1, "x": 2}}', "the key 'x' appears twice", True),
        ('{"name": "f", "arguments": {"x": NaN}}', "NaN is not a JSON number", True),
        ('{"tool_calls": {}}', "'tool_calls' must be a list, got {}", True),
        ('{"tool_calls": [], "content": ""}', "unknown key 'content' in a call; valid: tool_calls", True),
        ('{"tool_calls": [3]}', "a call must be a JSON object, got 3", True),
        (f'{{"tool_calls": [{F1}]}}', "unknown key 'name' in a call; valid: id, type, function", True),
        (f'{{"tool_calls": [{{"type": "x", "function": {F1}}}]}}', "a call's 'type' must be", True),
        ('{"tool_calls": [{"function": {"name": "f", "arguments": "no"}}]}', "does not begin with a JSON", True),
        ('{"tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}', "'arguments' must be a JSON object", True),
        ('{"tool_calls": [{"function": null}]}', "a call must be a JSON object, got null", True),
        (f"<tool_call>{F1}", "<tool_call> without </tool_call>", True),
        ("<tool_call></tool_call>", "the text is empty", True),
        (f"<tool_call>[{F1}]</tool_call>", "a call must be a JSON object, got [", True),
        (f"<tool_call>{F1}</tool_call> and <tool_call>{F1}</tool_call>", "text between or after the calls: 'and", True),
        (f"<tool_call>{F1}</tool_call> Done.", "text between or after the calls: 'Done.'", True),
        (f"<tool_call>{F1}<tool_call>{F1}</tool_call>", "text after the JSON value", True),
    ],
)
def test_not_calls(text: str, reason: str, meant: bool) -> None:
    """Anything else is refused with a reason, and told apart from prose that declines."""
    with pytest.raises(NotCallsError) as caught:
        parse_calls(text)

    assert reason in str(caught.value)
    assert looks_like_a_call(text) == meant


def test_counterpart_is_found_where_first_come_would_fail(tools: dict[str, Tool]) -> None:
    """A call that two expected ones accept is given to the one that needs it, in whatever order calls come."""
    expected = read_expected(
        [
            {"name": "get_weather", "arguments": {"city": "Rome"}, "alternatives": {"city": ["Oslo", "Bern"]}},
            {"name": "get_weather", "arguments": {"city": "Oslo"}, "alternatives": {"city": ["Rome"]}},
            {"name": "get_weather", "arguments": {"city": "Rome"}},
        ],
        tools,
    )
    for cities in permutations(["Rome", "Oslo", "Bern"]):
        calls = [Call("get_weather", {"city": city}) for city in cities]

        assert compare_calls(calls, expected, tools, ordered=False).mistakes == ()
        wrong = causes(compare_calls(calls, expected, tools, ordered=True))
        assert wrong == ([] if cities == ("Bern", "Oslo", "Rome") else ["wrong_order"])


def test_most_are_right(tools: dict[str, Tool]) -> None:
    """One wrong call among interchangeable ones costs one mistake, not several."""
    expected = read_expected([{"name": "book", "arguments": {"hotel": h}} for h in ("a1", "b2", "c3", "d4")], tools)
    for hotels in permutations(["a1", "b2", "x9", "d4"]):
        calls = [Call("book", {"hotel": hotel}) for hotel in hotels]

        compared = compare_calls(calls, expected, tools, ordered=False)

        assert causes(compared) == ["wrong_value"]
        assert compared.arguments == compared.required == (3, 4)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
VALUES: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "get_weather": {"city": TEXTS, "unit": st.sampled_from(["celsius", "fahrenheit"]), "days": st.integers()},
    "calculate": {"operation": st.sampled_from("+-*/"), "a": NUMBERS, "b": NUMBERS},
    "book": {
        "hotel": TEXTS,
        "guests": st.integers(),
        "price": NUMBERS,
        "breakfast": st.booleans(),
        "dates": st.lists(TEXTS, max_size=3),
        "note": st.none() | TEXTS,
    },
    "draw": {
        "at": st.fixed_dictionaries({"x": NUMBERS}, optional={"y": st.integers(), "label": TEXTS}),
        "rows": st.lists(st.lists(st.integers(), max_size=3), max_size=3),
        "style": st.sampled_from(["a-b", "ab", "plain"]),
        "extra": ANYTHING,
    },
    "ping": {},
}
NEEDED = {"get_weather": ["city"], "calculate": ["operation", "a", "b"], "book": ["hotel"], "draw": [], "ping": []}


@st.composite
def expected_calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw what a case may expect, with alternatives and optional arguments."""
    calls = []
    for name in draw(st.lists(st.sampled_from(list(VALUES)), max_size=4)):
        values, needed = VALUES[name], NEEDED[name]
        others = {argument: value for argument, value in values.items() if argument not in needed}
        arguments = draw(st.fixed_dictionaries({one: values[one] for one in needed}, optional=others))
        named = [argument for argument in arguments if draw(st.booleans())]
        call = {
            "name": name,
            "arguments": arguments,
            "alternatives": {argument: draw(st.lists(values[argument], max_size=2)) for argument in named},
            "optional": [argument for argument in named if argument not in needed],
        }
        calls.append(call)
    return calls


@given(expected_calls(), st.booleans())
def test_canonical_answer_is_right(tools: dict[str, Tool], value: list[dict[str, Any]], ordered: bool) -> None:
    """The canonical answer of any expected calls is right, in either mode, with every count full."""
    expected = read_expected(value, tools)
    compared = compare_calls(parse_calls(canonical(expected)), expected, tools, ordered=ordered)

    assert compared.mistakes == ()
    assert compared.names == (len(expected), 0, 0)
    assert compared.required[0] == compared.required[1]
    assert compared.arguments[0] == compared.arguments[1]


@given(expected_calls(), st.data())
def test_alternatives_and_order_do_not_matter(
    tools: dict[str, Tool], value: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Any accepted value for each argument, optional ones left out or not, in any order of calls, is right."""
    calls = []
    for call in data.draw(st.permutations(value)):
        kept = [one for one in call["arguments"] if one not in call["optional"] or data.draw(st.booleans())]
        accepted = {one: [call["arguments"][one], *call["alternatives"].get(one, ())] for one in kept}
        calls.append(Call(call["name"], {one: data.draw(st.sampled_from(few)) for one, few in accepted.items()}))

    assert compare_calls(calls, read_expected(value, tools), tools, ordered=False).mistakes == ()


@given(expected_calls(), TEXTS, ANYTHING, st.data())
def test_added_argument_is_wrong(
    tools: dict[str, Tool], value: list[dict[str, Any]], name: str, extra: Any, data: st.DataObject
) -> None:
    """An argument that the tool does not have is always an error, whatever it holds."""
    expected = read_expected(value, tools)
    calls = [Call(call.name, dict(call.arguments)) for call in expected]
    if calls:
        data.draw(st.sampled_from(calls)).arguments[f"no_{name}"] = extra

        compared = compare_calls(calls, expected, tools, ordered=False)

        assert causes(compared) == ["unexpected_parameter"]
        assert compared.arguments[1] == compared.arguments[0] + 1


CALL_LIKE = st.lists(
    st.sampled_from(
        [
            *("<tool_call>", "</tool_call>", '{"name":', '"f"', '"arguments":', '"tool_calls":', '"function":', "null"),
            *'{}[],:" \n1',
        ]
    ),
    max_size=14,
).map("".join)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from([*VALUES, "pong"]),
            "arguments": st.dictionaries(
                st.sampled_from(["city", "unit", "hotel", "ages", "at", "rows", "extra", "a"]), ANYTHING, max_size=3
            ),
        }
    ),
    max_size=5,
).map(json.dumps)


@given(st.text(max_size=40) | CALL_LIKE | CALLS, expected_calls(), st.booleans())
def test_never_raises(tools: dict[str, Tool], text: str, value: list[dict[str, Any]], ordered: bool) -> None:
    """Any text is read as calls or refused with a reason, and any calls can be compared with counts that add up."""
    assert looks_like_a_call(text) in {True, False}
    try:
        calls = parse_calls(text)
    except NotCallsError:
        return
    expected = read_expected(value, tools)
    compared = compare_calls(calls, expected, tools, ordered=ordered)

    assert compared.names[0] + compared.names[1] == len(calls)
    assert compared.names[0] + compared.names[2] == len(expected)
    for right, counted in (compared.required, compared.arguments):
        assert 0 <= right <= counted
    if not compared.mistakes:
        assert compared.arguments[0] == compared.arguments[1]
        assert compared.names[1:] == (0, 0)


CITIES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=4)


@given(st.lists(st.tuples(CITIES, st.sampled_from("abcde")), min_size=1, max_size=5))
def test_order_is_wrong_only_if_another_fits_better(tools: dict[str, Tool], drawn: list[tuple[list[str], str]]) -> None:
    """Calls are out of order only where more of them would be right in other places, whatever else is wrong."""
    accepted = [cities for cities, _ in drawn]
    expected = read_expected(
        [{"name": "get_weather", "arguments": {"city": c[0]}, "alternatives": {"city": c[1:]}} for c in accepted], tools
    )
    calls = [Call("get_weather", {"city": city}) for _, city in drawn]
    hits = [
        sum(city in cities for city, cities in zip(order, accepted, strict=True))
        for order in permutations([city for _, city in drawn])
    ]

    found = causes(compare_calls(calls, expected, tools, ordered=True))

    assert ("wrong_order" in found) == (max(hits) > hits[0])
    assert found.count("wrong_value") == len(drawn) - max(hits)


@given(CALLS, expected_calls(), st.randoms(use_true_random=False))
def test_order_changes_no_count(tools: dict[str, Tool], text: str, value: list[Any], random: Random) -> None:
    """Calls in another order, right or wrong, have the same counts and as many mistakes."""
    calls = list(parse_calls(text)) + [Call(call["name"], call["arguments"]) for call in value]
    expected = read_expected(value, tools)
    before = compare_calls(calls, expected, tools, ordered=False)
    random.shuffle(calls)
    after = compare_calls(calls, expected, tools, ordered=False)

    assert (after.names, after.required, after.arguments) == (before.names, before.required, before.arguments)
    assert len(after.mistakes) == len(before.mistakes)


MANY = 10_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps([WEATHER] * MANY), id="the same"),
        pytest.param(
            json.dumps([{"name": "get_weather", "arguments": {"city": str(n)}} for n in range(MANY)]), id="values"
        ),
        pytest.param(json.dumps([{"name": f"get_weathe{n}", "arguments": {}} for n in range(MANY)]), id="names"),
        pytest.param(f"<tool_call>{json.dumps(WEATHER)}</tool_call>\n" * MANY, id="blocks"),
        pytest.param(
            json.dumps({"name": "get_weather", "arguments": {f"cit{n}": n for n in range(MANY)}}), id="arguments"
        ),
        pytest.param(json.dumps({"name": "get_weather" * 80_000, "arguments": {}}), id="a long name"),
        pytest.param(json.dumps({"name": "get_weather", "arguments": {"city": "R.o-m e" * 120_000}}), id="a long text"),
        pytest.param(
            json.dumps({"name": "get_weather", "arguments": {"city": "İ " * 450_000}}, ensure_ascii=False),
            id="a long text beyond ASCII",
        ),
        pytest.param(json.dumps({"name": "draw", "arguments": {"rows": [[1, 2, 3]] * 80_000}}), id="a long list"),
        pytest.param("<tool_call>" * MANY, id="openings"),
        pytest.param("{ " * 400_000, id="braces"),
        pytest.param("{" + " " * 900_000, id="white space"),
        pytest.param("<tool_call>{}</tool_call>" + " " * 900_000 + "x", id="white space between"),
    ],
)
def test_hostile_size(text: str, tools: dict[str, Tool]) -> None:
    """Thousands of calls, arguments or characters are answered in no time, with a bounded number of mistakes."""
    expected = read_expected(
        [WEATHER | {"alternatives": {"city": ["Roma", "Rom"]}}] * 8
        + [{"name": "draw", "arguments": {"rows": [[1, 2, 3]] * 8}}],
        tools,
    )
    started = time.process_time()

    looks_like_a_call(text)
    calls: tuple[Call, ...] = ()
    reason = ""
    try:
        calls = parse_calls(text)
    except NotCallsError as error:
        reason = str(error)
    mistakes = compare_calls(calls, expected, tools, ordered=True).mistakes

    assert time.process_time() - started < 2
    assert len(reason) < 300
    assert 1 <= len(mistakes) <= MAX_MISTAKES
    assert all(len(mistake.message) < 700 and "\n" not in mistake.message for mistake in mistakes)


def test_hostile_against_the_most_expected(tools: dict[str, Tool]) -> None:
    """As many expected calls as there may be, each with alternatives, are still compared in no time."""
    entry = WEATHER | {"alternatives": {"city": [f"Roma {n}" for n in range(8)]}}
    expected = read_expected([entry] * MAX_EXPECTED, tools)
    calls = [Call("get_weather", {"city": f"Oslo {n}", "day": n}) for n in range(MANY)]
    started = time.process_time()

    compared = compare_calls(calls, expected, tools, ordered=True)

    assert time.process_time() - started < 2
    assert compared.arguments == (0, MANY * 2)

"""
Read the tool calls that a model wrote, and compare them with those that were expected.

The rules are the published ones of the Berkeley Function Calling Leaderboard (BFCL), as its ``ast_checker.py`` has them
(ShishirPatil/gorilla, berkeley-function-call-leaderboard): the function's name is exact, each argument must be one of
the accepted values (:func:`~pytest_modelgate.contracts.tools.same`), what may be left out is marked, anything that was
not expected is wrong, and parallel calls match in any order. Where this differs:

- An argument that equals its schema's ``default`` may always be given; BFCL's answers list the default by hand.
- BFCL takes parallel calls first come, first served; here they are paired so that as many as possible are right.
- BFCL lets a value of the expected answer's type pass a different schema (it stands for a variable), and ``""`` pass
  for an argument that may be left out; here neither passes.
- BFCL counts text that it cannot read as no call; here :func:`parse_calls` raises, and the caller decides.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from pytest_modelgate.contracts import strict_json
from pytest_modelgate.contracts.tools import (
    ExpectedCall,
    Tool,
    load_tools,
    read_expected,
    same,
    shown,
    wrong_type,
)
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.records import Json, Mistake
from pytest_modelgate.statistics import best_assignment

__all__ = [
    "Call",
    "Comparison",
    "ExpectedCall",
    "NotCallsError",
    "Tool",
    "canonical",
    "compare_calls",
    "load_tools",
    "looks_like_a_call",
    "parse_calls",
    "read_expected",
]

MAX_MISTAKES = 20
# Hostile output may hold thousands of calls of one function: the first ones are paired, the rest is too many anyway.
_MAX_PAIRED = 128
_MAX_NAMES = 8
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_ATTEMPT = re.compile(r'<tool_call|\{\s*"(?:name|arguments|function|tool_calls)"\s*:')


class NotCallsError(ValueError):
    """Say why a text is not a list of tool calls."""


@dataclass(frozen=True, slots=True)
class Call:
    """Hold one call as a model wrote it; nothing says yet that there is such a tool."""

    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    Hold how calls compare with the expected ones; no ``mistakes``: they are right.

    ``names``: true positives, false positives and false negatives of function names, counted as often as they stand.
    ``required``: right, all; of the arguments that an expected call does not mark as optional.
    ``arguments``: right, all; of the arguments that were expected or given. An optional one that was left out is not
    counted, one that was given without being expected is wrong, and so are all of a call that has no counterpart.
    """

    mistakes: tuple[Mistake, ...]
    names: tuple[int, int, int]
    required: tuple[int, int]
    arguments: tuple[int, int]


def parse_calls(text: str) -> tuple[Call, ...]:
    """
    Return the calls that a text holds; ``[]`` and ``null`` hold none.

    Accepted: one ``{"name": ..., "arguments": {...}}``, a JSON list of those, ``{"tool_calls": [{"function": ...}]}``
    as OpenAI writes it (``arguments`` may be JSON text, ``id`` and ``type`` may stand beside ``function``), and
    ``<tool_call>{...}</tool_call>`` blocks as Hermes and Qwen write them, with only white space between.
    Raises :class:`NotCallsError` for everything else, also for a call with any other key.
    """
    try:
        if text.lstrip().startswith(_OPEN):
            return tuple(_read_call(strict_json.parse(block)) for block in _blocks(text))
        value = strict_json.parse(text)
        if isinstance(value, dict) and "tool_calls" in value:
            _only_keys(value, ("tool_calls",))
            if isinstance(value["tool_calls"], list):
                return tuple(_read_openai_call(entry) for entry in value["tool_calls"])
            raise NotCallsError(f"'tool_calls' must be a list, got {shown(value['tool_calls'])}")
    except strict_json.NotStrictJsonError as error:
        raise NotCallsError(str(error)) from None
    if value is None:
        return ()
    return tuple(_read_call(entry) for entry in (value if isinstance(value, list) else [value]))


def looks_like_a_call(text: str) -> bool:
    """
    Say whether a text that :func:`parse_calls` refuses was meant as a call, so that prose can decline.

    It was if it begins with ``{`` or ``[`` (perhaps in a code fence), or holds a ``<tool_call`` or the beginning of a
    call's object anywhere: prose around a call does not make it harmless.
    """
    return text.lstrip().startswith(("{", "[", "```")) or _ATTEMPT.search(text) is not None


def canonical(expected: Sequence[ExpectedCall]) -> str:
    """Return the JSON text of the right answer: always a list of objects with ``name`` and ``arguments``."""
    return json.dumps([{"name": call.name, "arguments": call.arguments} for call in expected], ensure_ascii=False)


def compare_calls(
    calls: Sequence[Call], expected: Sequence[ExpectedCall], tools: Mapping[str, Tool], *, ordered: bool
) -> Comparison:
    """
    Compare calls with the expected ones, whose tools must be among ``tools``.

    ``ordered``: the right calls in another order are wrong too; no count depends on the order. At most
    :data:`MAX_MISTAKES` mistakes are told. Their causes:

    - ``must_not_call``: nothing was expected; ``missing_call``: something was, and nothing was called.
    - ``wrong_count``: more or fewer calls than expected; ``wrong_order``: those that match stand in another order.
    - ``unknown_function``: no tool has the name; ``wrong_function``: a tool, but not one that was expected.
    - ``missing_required``: an argument that is not marked as optional was left out; ``unexpected_parameter``: one was
      given that is not expected; ``wrong_type``: the schema does not take it; ``wrong_value``: it is not accepted.
    """
    pairs = _pair(calls, expected, tools)
    right = needed_right = counted = 0
    for row, column in pairs.items():
        wanted = expected[row]
        for argument, is_right in _verdicts(calls[column], wanted, tools[wanted.name]):
            counted += 1
            right += is_right
            needed_right += is_right and argument in wanted.arguments and argument not in wanted.optional
    needed = [len(wanted.arguments) - len(wanted.optional) for wanted in expected]
    counted += sum(count for row, count in enumerate(needed) if row not in pairs)
    counted += sum(len(calls[column].arguments) for column in set(range(len(calls))) - set(pairs.values()))
    hits = (Counter(call.name for call in calls) & Counter(wanted.name for wanted in expected)).total()
    return Comparison(
        mistakes=tuple(islice(_mistakes(calls, expected, tools, pairs, ordered=ordered), MAX_MISTAKES)),
        names=(hits, len(calls) - hits, len(expected) - hits),
        required=(needed_right, sum(needed)),
        arguments=(right, counted),
    )


def _pair(calls: Sequence[Call], expected: Sequence[ExpectedCall], tools: Mapping[str, Tool]) -> dict[int, int]:
    """Return which call stands for which expected call of its function, both by index, in the order expected."""
    pairs: dict[int, int] = {}
    for name in {wanted.name for wanted in expected}:
        rows = [row for row, wanted in enumerate(expected) if wanted.name == name]
        columns = list(islice((column for column, call in enumerate(calls) if call.name == name), _MAX_PAIRED))
        if len(rows) == len(columns) == 1:
            pairs[rows[0]] = columns[0]  # nearly always
        elif columns:
            worth = [[_worth(calls, expected, tools[name], row, column) for column in columns] for row in rows]
            pairs |= {rows[row]: columns[column] for row, column in best_assignment(np.array(worth))}
    return dict(sorted(pairs.items()))


def _worth(calls: Sequence[Call], expected: Sequence[ExpectedCall], tool: Tool, row: int, column: int) -> float:
    """
    Return what a pair is worth: that all is right, then how much is right, how little is wrong, how much is needed.

    Nothing of that depends on the order of the calls, so no count does. Only of equally good pairs the one that stands
    in its place comes first: else a right order could be taken for a wrong one.
    """
    wanted, verdicts = expected[row], list(_verdicts(calls[column], expected[row], tool))
    right = [argument for argument, is_right in verdicts if is_right]
    needed = sum(argument in wanted.arguments and argument not in wanted.optional for argument in right)
    worth = 0.0
    for part in (len(right) == len(verdicts), len(right), len(right) - len(verdicts), needed):
        worth = worth * 1000 + part  # more than the next part's sum over all pairs
    return worth + 0.001 * (row == column)


def _verdicts(call: Call, wanted: ExpectedCall, tool: Tool) -> Iterator[tuple[str, bool]]:
    """Yield each argument that was expected or given, and whether it is right."""
    for argument in wanted.arguments:
        if argument in call.arguments:
            value, schema = call.arguments[argument], tool.parameters[argument]
            accepted = any(same(value, one, schema) for one in _accepted(wanted, argument))
            yield argument, accepted and wrong_type(value, schema, argument) is None
        elif argument not in wanted.optional:
            yield argument, False
    for argument, value in call.arguments.items():
        if argument not in wanted.arguments:
            schema = tool.parameters.get(argument, {})
            is_default = "default" in schema and same(value, schema["default"], schema)
            # A default of null is often written where the type does not name it.
            yield argument, is_default and (value is None or wrong_type(value, schema, argument) is None)


def _accepted(wanted: ExpectedCall, argument: str) -> tuple[Any, ...]:
    return (wanted.arguments[argument], *wanted.alternatives.get(argument, ()))


def _mistakes(
    calls: Sequence[Call],
    expected: Sequence[ExpectedCall],
    tools: Mapping[str, Tool],
    pairs: Mapping[int, int],
    *,
    ordered: bool,
) -> Iterator[Mistake]:
    """Yield what is wrong, the calls as a whole first."""
    if expected and not calls:
        yield Mistake("missing_call", f"nothing was called, expected {_names(expected)}")
        return
    if calls and not expected:
        yield Mistake("must_not_call", f"nothing may be called, got {_names(calls)}")
    elif len(calls) != len(expected):
        yield Mistake("wrong_count", f"{len(calls)} calls ({_names(calls)}), expected {len(expected)}")
    if ordered and list(pairs.values()) != sorted(pairs.values()):
        yield Mistake("wrong_order", f"the order must be {_names(expected)}, got {_names(calls)}")
    matched = set(pairs.values())
    wanted_names = {wanted.name for wanted in expected}
    unfilled = [wanted for row, wanted in enumerate(expected) if row not in pairs]
    for name in dict.fromkeys(call.name for column, call in enumerate(calls) if column not in matched):
        if name not in tools:
            yield Mistake("unknown_function", f"no tool is called {name[:80]!r}{did_you_mean(name[:80], tools)}")
        # A further call of an expected function is wrong where it stands for another one, else it is one too many.
        elif unfilled or (expected and name not in wanted_names):
            instead = f" instead of {_names(unfilled)}" if unfilled else ""
            yield Mistake("wrong_function", f"{name} was called{instead}")
    for row, column in pairs.items():
        for argument, is_right in _verdicts(calls[column], expected[row], tools[expected[row].name]):
            if not is_right:
                yield _explain(argument, calls[column], expected[row], tools[expected[row].name])


def _explain(argument: str, call: Call, wanted: ExpectedCall, tool: Tool) -> Mistake:
    """Say why an argument is wrong."""
    place = f"{call.name}: {argument[:80]!r}"
    if argument not in call.arguments:
        return Mistake("missing_required", f"{place} is missing, expected {shown(wanted.arguments[argument])}")
    value = call.arguments[argument]
    if argument not in tool.parameters:
        near = did_you_mean(argument[:80], tool.parameters)
        return Mistake("unexpected_parameter", f"{place} is no argument of this tool{near}")
    if argument not in wanted.arguments:
        return Mistake("unexpected_parameter", f"{place} is not expected, got {shown(value)}")
    if reason := wrong_type(value, tool.parameters[argument], argument):
        return Mistake("wrong_type", f"{call.name}: {reason}")
    accepted = " or ".join(shown(one) for one in _accepted(wanted, argument)[:_MAX_NAMES])
    return Mistake("wrong_value", f"{place} is {shown(value)}, expected {accepted}")


def _names(calls: Sequence[Call | ExpectedCall]) -> str:
    named = ", ".join(" ".join(call.name[:40].split()) for call in calls[:_MAX_NAMES])
    return named if len(calls) <= _MAX_NAMES else f"{named}, …"


def _blocks(text: str) -> Iterator[str]:
    """Yield what stands inside each tag; the first closing tag ends it, as in the readers for Hermes and Qwen."""
    position = len(text) - len(text.lstrip())
    while position < len(text):
        end = text.find(_CLOSE, position)
        if not text.startswith(_OPEN, position):
            raise NotCallsError(f"text between or after the calls: {text[position : position + 40]!r}")
        if end < 0:
            raise NotCallsError(f"{_OPEN} without {_CLOSE}")
        yield text[position + len(_OPEN) : end]
        position = end + len(_CLOSE)
        while position < len(text) and text[position].isspace():
            position += 1


def _read_openai_call(entry: Any) -> Call:
    if not isinstance(entry, dict):
        raise NotCallsError(f"a call must be a JSON object, got {shown(entry)}")
    _only_keys(entry, ("id", "type", "function"))
    if entry.get("type", "function") != "function":
        raise NotCallsError(f"a call's 'type' must be \"function\", got {shown(entry['type'])}")
    function = entry.get("function")
    if isinstance(function, dict) and isinstance(function.get("arguments"), str):
        function = function | {"arguments": strict_json.parse(function["arguments"])}
    return _read_call(function)


def _read_call(entry: Any) -> Call:
    if not isinstance(entry, dict):
        raise NotCallsError(f"a call must be a JSON object, got {shown(entry)}")
    _only_keys(entry, ("name", "arguments"))
    name, arguments = entry.get("name"), entry.get("arguments")
    if not isinstance(name, str) or not name:
        raise NotCallsError(f"a call's 'name' must be a text, got {shown(name)}")
    if not isinstance(arguments, dict):
        raise NotCallsError(f"a call's 'arguments' must be a JSON object, got {shown(arguments)}")
    return Call(name, arguments)


def _only_keys(entry: Json, known: Sequence[str]) -> None:
    for key in entry:
        if key not in known:
            raise NotCallsError(f"unknown key {key[:40]!r} in a call; valid: {', '.join(known)}")

"""Hold a model of noise to the grammar of a schema: every text that comes out whole is right by independent judges."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pytest_modelgate.contracts.grammar import UnsupportedSchemaError, grammar_of
from pytest_modelgate.contracts.strict_json import parse
from pytest_modelgate.engines.llama import Vocabulary
from pytest_modelgate.engines.llama_sampling import Grammars
from pytest_modelgate.engines.sampling import Chooser
from pytest_modelgate.errors import EngineError
from pytest_modelgate.records import GenerationSettings
from tests.engines import conftest
from tests.engines.conftest import LETTERS, TOKEN_IDS, VOCABULARY, TinyModel

END = TOKEN_IDS["<|im_end|>"]
AWKWARD = [
    '"',
    "\\",
    "😀",
    "\t",
    "\n",
    "\x1f",
    "\x7f",
    "é",
    "'",
    "/",
    "]",
    "-",
    "^",
    "{",
    "\u2028",
    "a b",
    "",
    "\\u0041",
    "👩‍👧",
]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vocabulary]:
    """Give a vocabulary of single bytes, some words and special tokens."""
    made = Vocabulary(TinyModel().write(tmp_path_factory.mktemp("vocabulary") / "tiny.gguf"))
    yield made
    made.close()


def write(vocabulary: Vocabulary, grammars: Grammars, grammar: str, seed: int, n: int = 600) -> str | None:
    """
    Return what logits of noise say under ``grammar``; None where they do not come to an end.

    The end, quotes and closing brackets are made likely after a while, or noise would never end.
    """
    random = np.random.default_rng(seed)
    chooser = Chooser(GenerationSettings(grammar=grammar), constraint=grammars.constraint(grammar))
    closing = [END, *(ord(letter) for letter in '"}],:0')]
    text = b""
    for number in range(n):
        logits = random.normal(size=vocabulary.n_vocab).astype(np.float32)
        logits[closing] += 6.0 * (number > 12)
        token = chooser.choose(logits).token
        chooser.accept(token)
        if vocabulary.is_eog(token):
            chooser.close()
            return text.decode()  # strictly: it must be UTF-8
        text += vocabulary.token_bytes(token)
    return None


# What a schema may say

STRINGS = st.one_of(st.sampled_from(AWKWARD), st.text(st.characters(exclude_categories=["Cs"]), max_size=5))
SCALARS = st.one_of(STRINGS, st.integers(-5, 5), st.booleans(), st.none(), st.floats(-9, 9, allow_nan=False))
LEAVES = st.one_of(
    st.builds(lambda values: {"enum": values}, st.lists(SCALARS, min_size=1, max_size=4)),
    st.builds(lambda values: {"type": "string", "enum": values}, st.lists(STRINGS, min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, st.one_of(SCALARS, st.dictionaries(STRINGS, SCALARS, max_size=2))),
    st.builds(
        lambda low, size: {"type": "string", "minLength": low, "maxLength": low + size},
        st.integers(0, 4),
        st.integers(0, 6),
    ),
    st.builds(
        lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
        st.integers(-30, 30),
        st.integers(0, 40),
    ),
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "number"},
            {"type": "integer"},
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["string", "null"], "minLength": 1},
            {"type": ["number", "null"], "minimum": 0},
            {"type": "integer", "minimum": 0},
            {"type": "integer", "exclusiveMinimum": 0},
        ]
    ),
)


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Make objects of any keys, some of them required."""

    def build(properties: dict[str, Any], flags: list[bool], closed: bool) -> dict[str, Any]:
        required = [name for name, wanted in zip(properties, flags, strict=False) if wanted]
        found = {"type": "object", "properties": properties, "required": required}
        return found | ({"additionalProperties": False} if closed or not properties else {})

    return st.builds(
        build,
        st.dictionaries(STRINGS, values, max_size=4),
        st.lists(st.booleans(), min_size=4, max_size=4),
        st.booleans(),
    )


def nested(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Make arrays, objects and alternatives of what ``values`` gives."""
    return st.one_of(
        objects(values),
        st.builds(
            lambda items, low, size: {"type": "array", "items": items, "minItems": low, "maxItems": low + size},
            values,
            st.integers(0, 3),
            st.integers(0, 3),
        ),
        st.builds(lambda items: {"type": "array", "items": items}, values),
        st.builds(lambda several: {"anyOf": several}, st.lists(values, min_size=1, max_size=3)),
    )


SCHEMAS = st.recursive(LEAVES, nested, max_leaves=6)


@given(SCHEMAS, st.integers(0, 1000))
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_written_passes(vocabulary: Vocabulary, schema: Any, seed: int) -> None:
    """Noise under the grammar of any supported schema is strict JSON, and jsonschema accepts it."""
    text = write(vocabulary, Grammars(vocabulary), grammar_of(schema), seed)
    assume(text is not None)
    assert text is not None
    jsonschema.Draft202012Validator(schema).validate(parse(text))


@pytest.mark.parametrize("value", [*AWKWARD, "".join(AWKWARD), 'say "no"', "C:\\new"])
def test_awkward_values_come_out_as_they_are(vocabulary: Vocabulary, value: str) -> None:
    """A value with quotes, backslashes, emoji or control characters is what is read back, also as a key."""
    schema = {"properties": {value: {"enum": [value]}}, "required": [value]}
    for seed in range(4):
        text = write(vocabulary, Grammars(vocabulary), grammar_of(schema), seed)
        assert text is not None
        assert json.loads(text) == {value: value}


def test_bytes_that_are_no_character(vocabulary: Vocabulary) -> None:
    """Inside a character only its continuation may come, and no control character ever."""
    grammar = grammar_of({"type": "string"})
    constraint = Grammars(vocabulary).constraint(grammar)
    constraint.accept(ord('"'))
    lead, quote, follow, euro = (np.array([byte]) for byte in (0xC3, ord('"'), 0xA9, 0x82))
    assert constraint.allowed(lead)[0]
    constraint.accept(0xC3)
    assert not constraint.allowed(quote)[0]
    assert not constraint.allowed(np.array([END]))[0]
    assert constraint.allowed(follow)[0]
    assert constraint.allowed(np.arange(256)).nonzero()[0].tolist() == list(range(0x80, 0xC0))
    constraint.accept(0xA9)
    assert not constraint.allowed(euro)[0]
    assert not constraint.allowed(np.array([0x00]))[0]
    assert not constraint.allowed(np.array([0x1F]))[0]


def test_torn_character_inside_one_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token of a torn character and a quote is forbidden, where llama.cpp reads one whole character."""
    torn = TOKEN_IDS["hello"]
    names = [LETTERS[0xC3] + LETTERS[ord('"')] if token == torn else name for token, name in enumerate(VOCABULARY)]
    monkeypatch.setattr(conftest, "VOCABULARY", names)
    vocabulary = Vocabulary(TinyModel().write(tmp_path / "tiny.gguf"))
    assert vocabulary.token_bytes(torn) == b'\xc3"'
    constraint = Grammars(vocabulary).constraint(grammar_of({"type": "string"}))
    constraint.accept(ord('"'))
    assert not constraint.allowed(np.array([torn]))[0]
    assert not constraint.allowed(np.arange(len(names)))[torn]
    vocabulary.close()


def test_clone_goes_its_own_way(vocabulary: Vocabulary) -> None:
    """A clone stands where it was made, in the middle of a character too, and hears nothing of the other."""
    constraint = Grammars(vocabulary).constraint(grammar_of({"type": "string"}))
    for byte in (ord('"'), 0xE2, 0x82):
        constraint.accept(byte)
    twin = constraint.clone()
    constraint.accept(0xAC)
    assert not twin.allowed(np.array([ord('"')]))[0]
    assert constraint.allowed(np.array([ord('"')]))[0]
    constraint.close()
    constraint.close()
    assert twin.allowed(np.array([0xAC]))[0]


@pytest.mark.parametrize(
    "grammar",
    [
        "root ::= [",
        "root ::= (",
        'other ::= "a"',
        " ",
        'root ::= root "a"',
        "\0",
        "root ::= missing",
        'root ::= "a" \0',
    ],
)
def test_bad_grammars_are_errors(vocabulary: Vocabulary, grammar: str) -> None:
    """A grammar that llama.cpp cannot read is one error in words, and no crash."""
    with pytest.raises(EngineError, match=r"llama\.cpp refuses the grammar"):
        Grammars(vocabulary).constraint(grammar)


def test_forbidden_token_is_an_error(vocabulary: Vocabulary) -> None:
    """A token that is not allowed is refused before llama.cpp sees it, which would end the process."""
    constraint = Grammars(vocabulary).constraint(grammar_of({"const": 1}))
    for token in (ord("x"), END):
        with pytest.raises(EngineError, match="does not allow token"):
            constraint.accept(token)


@pytest.mark.parametrize("limit", [1000])
def test_largest_limits_are_read(vocabulary: Vocabulary, limit: int) -> None:
    """llama.cpp takes the largest limits that are not refused here."""
    for schema in (
        {"type": "string", "maxLength": limit},
        {"type": "string", "minLength": limit},
        {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": limit},
        {"type": "array", "items": {"type": "integer"}, "minItems": limit, "maxItems": limit},
        {"type": "integer", "minimum": 1, "maximum": limit},
    ):
        Grammars(vocabulary).constraint(grammar_of(schema)).close()


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({}, "$: any value, or none"),
        (True, "$: any value"),
        ({"title": "x"}, "$: any value"),
        ({"type": "object"}, "$: an object of any keys"),
        ({"type": "array"}, "$: an array of any values"),
        ({"type": "string", "pattern": "^a"}, "$: 'pattern' is not supported"),
        ({"properties": {"a": {"type": ["string", "null"], "pattern": "a"}}}, "$.a: 'pattern' is not supported"),
        ({"properties": {"a": {"type": "array", "items": {}}}}, "$.a[]: any value"),
        ({"properties": {"a": {"type": "null"}}, "required": ["b"]}, "$: 'b' is required, but not in 'properties'"),
        (
            {"properties": {"a": {"type": "null"}}, "additionalProperties": True},
            "'additionalProperties' other than false",
        ),
        ({"properties": {"a": {"type": "null"}}, "minProperties": 1}, "'minProperties' is not supported"),
        ({"type": "integer", "minimum": 5}, "limits of an integer are supported where"),
        ({"type": "integer", "minimum": 0, "maximum": 5000}, "limits of an integer are supported where"),
        ({"type": "integer", "minimum": 0.5, "maximum": 5}, "a limit of an integer that is none itself"),
        ({"type": "integer", "multipleOf": 2}, "'multipleOf' is not supported"),
        ({"type": "number", "maximum": 1}, "'maximum' is not supported"),
        ({"type": "number", "minimum": 1}, "'minimum' 1 of a number is not supported, only 0"),
        ({"type": "string", "maxLength": 1001}, "'maxLength' above 1000"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "'maxLength' is below 'minLength'"),
        ({"type": "array", "items": {"type": "null"}, "uniqueItems": True}, "'uniqueItems' is not supported"),
        ({"oneOf": [{"type": "null"}]}, "'oneOf' is not supported"),
        ({"allOf": [{"type": "null"}], "type": "null"}, "'allOf' is not supported"),
        ({"not": {"type": "null"}}, "'not' is not supported"),
        ({"enum": ["a"], "minLength": 3}, "'minLength' beside 'enum' is not supported"),
        ({"enum": ["a"], "const": "b"}, "beside"),
        ({"anyOf": [{"type": "null"}], "type": "string"}, "'type' beside 'anyOf'"),
        ({"enum": ["a"], "type": "integer"}, "no value of 'enum' has the type integer"),
        ({"enum": ["\ud800"]}, "cannot be written as JSON"),
        ({"$ref": "other.json"}, "$ref 'other.json' is not supported"),
        ({"$ref": "#/$defs/a"}, "points to nothing"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]}}}, "holds itself"),
        ({"anyOf": [{"$id": "urn:x", "type": "null"}]}, "'$id' inside a schema"),
    ],
)
def test_what_cannot_be_promised_is_refused(schema: Any, message: str) -> None:
    """A schema that a grammar cannot keep is refused in one line with its place."""
    with pytest.raises(UnsupportedSchemaError) as error:
        grammar_of(schema)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_references_and_descriptions(vocabulary: Vocabulary) -> None:
    """References into the schema are followed, and what only describes is left aside."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"a/b": {"title": "x", "enum": ["yes"], "description": "y"}},
        "type": "object",
        "properties": {
            "p": {"$ref": "#/$defs/a~1b", "default": "yes"},
            "q": {"type": "null", "maxLength": 3, "x-own": 1},
        },
        "required": ["p", "q"],
    }
    text = write(vocabulary, Grammars(vocabulary), grammar_of(schema), 1)
    assert text is not None
    assert json.loads(text) == {"p": "yes", "q": None}


@pytest.mark.parametrize(
    ("text", "is_accepted"),
    [
        ('{"a":1,"b":"x"}', True),
        ('{"a": 1, "b": "x", "c": [1.5, -2e3]}', True),
        ('\n{\n  "a": 1,\n  "b": "\\u00e9\\n"\n}\n', True),
        ('{"b": "x"}', True),
        ('{"b": "x", "c": []}', True),
        ('{"b": "x", "a": 1}', False),
        ('{"a": 1}', False),
        ('{"a": 1, "b": "x",}', False),
        ('{"a": 1.0, "b": "x"}', False),
        ('{"a": 01, "b": "x"}', False),
        ('{"b": "\\ud83d\\ude00"}', False),
        ('{"b": "😀"}', True),
        ('{"b": "x", "d": 1}', False),
    ],
)
def test_how_models_write(vocabulary: Vocabulary, text: str, is_accepted: bool) -> None:
    """Compact, spaced and indented JSON is accepted, optional keys may lack, and their order is the schema's."""
    schema = {
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "string"},
            "c": {"type": "array", "items": {"type": "number"}},
        },
        "required": ["b"],
    }
    constraint = Grammars(vocabulary).constraint(grammar_of(schema))
    try:
        for byte in text.encode():
            constraint.accept(byte)
        constraint.accept(END)
    except EngineError:
        assert not is_accepted
    else:
        assert is_accepted


@pytest.mark.parametrize("name", ["golden/support", "pytest_modelgate/templates/extraction/golden/meeting"])
def test_own_schemas(vocabulary: Vocabulary, name: str) -> None:
    """The schemas of the examples become grammars."""
    schema = json.loads((Path(__file__).parents[2] / f"{name}.schema.json").read_text(encoding="utf-8"))
    text = write(vocabulary, Grammars(vocabulary), grammar_of(schema), 3)
    assert text is not None
    jsonschema.Draft202012Validator(schema).validate(parse(text))

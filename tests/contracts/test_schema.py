"""A JSON Schema is checked when it is loaded, and never fetches anything."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pytest_modelgate.contracts.pydantic_model import load_pydantic_check
from pytest_modelgate.contracts.schema import ValueCheck, load_schema_check
from pytest_modelgate.errors import GatesFileError


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def check_of(folder: Path, schema: Any) -> ValueCheck:
    """Write a schema and load it."""
    path = folder / "schema.json"
    path.write_text(json.dumps(schema), encoding="utf-8")
    return load_schema_check(path, "here")


@pytest.mark.parametrize(
    ("schema", "good", "bad", "reason"),
    [
        ({"type": "object"}, {}, [], "$: [] is not of type 'object'"),
        ({"properties": {"a": {"enum": ["x"]}}}, {"a": "x"}, {"a": "y"}, "$.a: 'y' is not one of ['x']"),
        ({"required": ["a"]}, {"a": 1}, {}, "$: 'a' is a required property"),
        ({"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}, 3, "3", "$: '3' is not of type 'integer'"),
        ({"$anchor": "top", "items": {"$ref": "#top"}, "type": "array"}, [[]], [1], "$[0]: 1 is not of type 'array'"),
        ({"prefixItems": [{"const": 1}], "items": False}, [1], [1, 2], "$: Expected at most 1 item but found 1"),
        (True, None, None, None),
    ],
)
def test_value(tmp_path: Path, schema: Any, good: Any, bad: Any, reason: str | None) -> None:
    """A good value has no reason against it, a bad one is told with its place."""
    check = check_of(tmp_path, schema)

    assert check(good) is None
    found = check(bad)
    assert found == reason or (found is not None and reason is not None and found.startswith(reason))


def test_booleans_are_no_integers(tmp_path: Path) -> None:
    """``true`` is not 1."""
    assert check_of(tmp_path, {"type": "integer"})(True) == "$: True is not of type 'integer'"


def test_long_message_is_cut(tmp_path: Path) -> None:
    """A message stays one readable line whatever the output put into it."""
    reason = check_of(tmp_path, {"type": "integer"})("a\n" * 10_000)

    assert reason is not None
    assert len(reason) < 250
    assert "\n" not in reason


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.org/a.json",
        "http://127.0.0.1:9/a",
        "file:///etc/passwd",
        "other.json",
        "#/$defs/no",
        "#no",
        "//x/y",
    ],
)
def test_reference_out_of_the_file_is_refused(tmp_path: Path, reference: str) -> None:
    """A ``$ref`` that cannot be resolved in the file is an error when the schema is loaded, wherever it stands."""
    for schema in ({"$ref": reference}, {"properties": {"a": {"anyOf": [{"items": {"$ref": reference}}]}}}):
        with pytest.raises(GatesFileError, match="a remote \\$ref is never fetched"):
            check_of(tmp_path, schema)


def test_reference_by_the_schemas_own_id(tmp_path: Path) -> None:
    """A schema may name itself by its ``$id``."""
    schema = {"$id": "https://example.org/tree", "type": "array", "items": {"$ref": "https://example.org/tree"}}

    check = check_of(tmp_path, schema)

    assert check([[], [[]]]) is None
    assert check([[1]]) == "$[0][0]: 1 is not of type 'array'"


def test_recursion_without_end_is_a_reason(tmp_path: Path) -> None:
    """A schema that only refers to itself refuses every value instead of crashing."""
    assert check_of(tmp_path, {"$ref": "#"})(1) == "the value is nested too deeply to be checked against this schema"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a valid JSON Schema at \\$: "),
        (b'{"type": 3}', "is not a valid JSON Schema at \\$.type: "),
        (b'{"minimum": "3"}', "is not a valid JSON Schema at \\$.minimum: "),
        (b'{"pattern": "("}', "is not a valid JSON Schema at \\$.pattern: "),
    ],
)
def test_file_that_is_no_schema(tmp_path: Path, content: bytes, message: str) -> None:
    """What is not JSON, or not a schema, is told when it is loaded."""
    path = tmp_path / "schema.json"
    path.write_bytes(content)

    with pytest.raises(GatesFileError, match=f"^here: .*{message}"):
        load_schema_check(path, "here")


def test_pydantic_class(tmp_path: Path) -> None:
    """A user's pydantic class checks values by its own rules and leaves sys.path as it was."""
    (tmp_path / "labels_of_a_test.py").write_text(
        "import pydantic\nclass Label(pydantic.BaseModel):\n    intent: str\n    score: int = 0\n"
    )

    check = load_pydantic_check("labels_of_a_test:Label", tmp_path, "here")

    assert check({"intent": "bug"}) is None
    assert check({"intent": "bug", "score": "high"}) == (
        "score: Input should be a valid integer, unable to parse string as an integer"
    )
    assert check([]) == "value: Input should be a valid dictionary or instance of Label"

"""Check a JSON value against a JSON Schema (2020-12); nothing is ever fetched."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import referencing
import referencing.exceptions
import referencing.jsonschema

from pytest_modelgate.errors import GatesFileError

_SHORT = 1000

ValueCheck = Callable[[Any], str | None]
"""Return why a parsed value is not acceptable, or None."""


def load_schema_check(path: Path, named_by: str) -> ValueCheck:
    """
    Return the check of the schema in ``path``.

    Raises :class:`~pytest_modelgate.errors.GatesFileError`, starting with ``named_by``, for a file that is missing,
    not JSON or not a schema, and for a ``$ref`` that leads outside the file.
    """
    try:
        schema = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise GatesFileError(f"{named_by}: cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise GatesFileError(f"{named_by}: {path} is not JSON: {error}") from None
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise GatesFileError(
            f"{named_by}: {path} is not a valid JSON Schema at {error.json_path}: {error.message}"
        ) from None
    for reference in _references(schema):
        if not _resolves(schema, reference):
            raise GatesFileError(
                f"{named_by}: {path} refers to {reference!r}, which is not in the file; "
                f"a remote $ref is never fetched: copy it under $defs"
            )
    # The empty registry is what keeps jsonschema from fetching a reference over the network.
    validator = jsonschema.Draft202012Validator(schema, registry=referencing.Registry())

    def find_error(value: Any) -> str | None:
        error = jsonschema.exceptions.best_match(validator.iter_errors(value))
        return None if error is None else f"{error.json_path}: {_shorten(error.message)}"

    # Models for one narrow job give the same few answers again and again.
    remembered = lru_cache(maxsize=4096)(lambda text: find_error(json.loads(text)))

    def check(value: Any) -> str | None:
        try:
            text = json.dumps(value)
            return remembered(text) if len(text) <= _SHORT else find_error(value)
        except RecursionError:
            return "the value is nested too deeply to be checked against this schema"

    return check


def _references(schema: Any) -> Iterator[str]:
    """Yield every ``$ref`` and ``$dynamicRef`` inside ``schema``."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in {"$ref", "$dynamicRef"} and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from _references(item)


def _resolves(schema: Any, reference: str) -> bool:
    """Say whether ``reference`` can be resolved inside ``schema`` alone."""
    resource = referencing.jsonschema.DRAFT202012.create_resource(schema)
    base = resource.id() or "urn:modelgate:schema"
    registry: Any = referencing.Registry().with_resource(base, resource)
    try:
        registry.resolver(base_uri=base).lookup(reference)
    except (referencing.exceptions.Unresolvable, ValueError):  # ValueError: not even an address
        return False
    return True


def _shorten(message: str, limit: int = 200) -> str:
    """Keep a message to one readable line, whatever the output put into it."""
    line = " ".join(message.split())
    return line if len(line) <= limit else f"{line[:limit]}… (+{len(line) - limit} characters)"

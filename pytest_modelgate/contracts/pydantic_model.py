"""Check a JSON value against a user's pydantic class, named by its import path."""

from __future__ import annotations

from pathlib import Path

import pydantic

from pytest_modelgate.contracts.schema import ValueCheck
from pytest_modelgate.contracts.user import import_from
from pytest_modelgate.errors import GatesFileError


def load_pydantic_check(path: str, root: Path, named_by: str) -> ValueCheck:
    """
    Return the check of the class at ``package.module:Class``, importable from ``root`` or from the environment.

    Raises :class:`~pytest_modelgate.errors.GatesFileError` when it cannot be imported or is no pydantic model.
    """
    module_name, mark, class_name = path.partition(":")
    if not (module_name and mark and class_name):
        raise GatesFileError(f"{named_by}: a pydantic class is written package.module:Class, got {path!r}")
    try:
        model = import_from(module_name, class_name, root)
    except ImportError as error:
        raise GatesFileError(f"{named_by}: cannot import {module_name!r}: {error}") from None
    except AttributeError:
        raise GatesFileError(f"{named_by}: module {module_name!r} has no class {class_name!r}") from None
    except Exception as error:  # noqa: BLE001 - importing a user's module runs it, and it may raise anything
        raise GatesFileError(f"{named_by}: importing {module_name!r} raised {type(error).__name__}: {error}") from None
    if not (isinstance(model, type) and issubclass(model, pydantic.BaseModel)):
        raise GatesFileError(f"{named_by}: {path} is not a pydantic model")

    def check(value: object) -> str | None:
        try:
            model.model_validate(value)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "value"
            return f"{where}: {first['msg']}"
        return None

    return check

"""Read a configuration file, lay ``--set`` overrides over it, and say in one line what is wrong with it."""

from __future__ import annotations

import difflib
import hashlib
import json
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from .config import Config
from .errors import ConfigError

SHIPPED = Path(__file__).parent / "configs"


def load_config(name: str, overrides: Sequence[str] = ()) -> Config:
    """Return the checked configuration in file ``name`` (or the shipped one of that name)."""
    path = _find(name)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a configuration is a mapping of sections, got {type(document).__name__}")
    for override in overrides:
        _lay_over(document, override)
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from None


def config_sha256(config: Config) -> str:
    """Return the digest of every resolved value, defaults included."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def resolved_yaml(config: Config) -> str:
    """Return the configuration with every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _find(name: str) -> Path:
    """Return the file that ``name`` means."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.yaml"))}
    if name in shipped:
        return shipped[name]
    near = _near(path.stem, shipped)
    raise ConfigError(f"{name}: no such configuration file{near}; shipped ones: {', '.join(shipped) or 'none'}")


def _lay_over(document: dict[str, Any], override: str) -> None:
    """Write ``a.b=c`` into ``document``; the value is read as YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: write SECTION.KEY=VALUE, for example --set training.epochs=2")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not YAML") from None
    *sections, last = key.split(".")
    table = document
    for section in sections:
        inner = table.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {section!r} is not a section")
        table = inner
    table[last] = value


# --- One line for a mistake --------------------------------------------------------------------------------------


def _explain(error: ValidationError) -> str:
    """Turn pydantic's first complaint into one line with the section, what was got and what is valid."""
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"]]
    where = f"{'.'.join(location)}: " if location else ""
    if first["type"] == "extra_forbidden":
        section = ".".join(location[:-1]) or "the top level"
        valid = _valid_keys(location[:-1])
        return f"unknown key {location[-1]!r} in {section}{_near(location[-1], valid)}; valid are {', '.join(valid)}"
    if first["type"] == "missing":
        return f"{where}is missing"
    if first["type"] == "value_error":
        return f"{where}{first['ctx']['error']}"
    return f"{where}{first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def _valid_keys(location: Sequence[str]) -> list[str]:
    """Return the keys that are valid in the section at ``location``."""
    section: type[BaseModel] = Config
    for name in location:
        annotation = section.model_fields[name].annotation
        parts = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
        section = next(part for part in parts if isinstance(part, type) and issubclass(part, BaseModel))
    return list(section.model_fields)


def _near(got: str, valid: typing.Iterable[str]) -> str:
    """Suggest the name that was probably meant."""
    near = difflib.get_close_matches(got, list(valid), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""

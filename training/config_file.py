"""Read a configuration file, lay a profile and ``--set`` overrides over it, and say in one line what is wrong with it."""

from __future__ import annotations

import copy
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from pytest_modelgate.nearest import did_you_mean

from .config import Config
from .errors import ConfigError
from .stage_inputs import flatten

SHIPPED = Path(__file__).parent / "configs"
_PROFILES = "profiles"


@dataclass(frozen=True, slots=True)
class Loaded:
    """Hold a configuration, where it came from, and for each dotted name that was given, by whom."""

    config: Config
    path: Path
    profile: str | None
    origins: dict[str, str]


def load_config(name: str, overrides: Sequence[str] = (), profile: str | None = None) -> Config:
    """Return the checked configuration in file ``name`` (or the shipped one of that name)."""
    return read_config(name, overrides, profile).config


def read_config(name: str, overrides: Sequence[str] = (), profile: str | None = None) -> Loaded:
    """Return the checked configuration in file ``name``, and where each value came from."""
    path = _find(name)
    document = _read(path)
    profiles = document.pop(_PROFILES, None) or {}
    named = isinstance(profiles, dict) and all(isinstance(name, str) for name in profiles)
    if not named or not all(isinstance(table, dict) for table in profiles.values()):
        raise ConfigError(f"{path}: profiles: each profile is a name with a mapping of sections, as the file itself is")
    _check_profiles(path, document, profiles)
    origins = dict.fromkeys(_given(document), path.name)
    if profile is not None:
        if profile not in profiles:
            valid = ", ".join(profiles) or "none"
            raise ConfigError(f"{path}: no profile {profile!r}{did_you_mean(profile, profiles)}; it has {valid}")
        _merge(document, profiles[profile])
        origins |= dict.fromkeys(_given(profiles[profile]), f"profile {profile}")
    for override in overrides:
        name = _lay_over(document, override)
        origins = {key: origin for key, origin in origins.items() if not key.startswith(f"{name}.")} | {name: "--set"}
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from None
    return Loaded(config, path, profile, origins)


def config_sha256(config: Config) -> str:
    """Return the digest of every resolved value, defaults included."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def resolved_lines(loaded: Loaded) -> list[str]:
    """Return every resolved value on a line of its own, with where it came from."""
    leaves = list(flatten("", loaded.config.model_dump(mode="json")))
    shown = [(name, json.dumps(value, ensure_ascii=False), _origin(name, loaded.origins)) for name, value in leaves]
    width = min(72, max(len(f"{name}: {value}") for name, value, _ in shown))
    return [f"{f'{name}: {value}':<{width}}  # {origin}" for name, value, origin in shown]


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file, its shorthands and profiles included."""
    schema = Config.model_json_schema()
    source = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Source"}]}
    train = schema["$defs"]["Data"]["properties"]["train"]
    kept = {"description": train["description"], "default": []}
    schema["$defs"]["Data"]["properties"]["train"] = kept | {
        "anyOf": [*source["anyOf"], {"type": "array", "items": source}]
    }
    # A profile holds any part of what the file holds; each is checked whole, laid over the file, when it is read.
    schema["properties"]["profiles"] = {
        "type": "object",
        "additionalProperties": {"type": "object"},
        "description": "sections to lay over the file with --profile NAME",
    }
    return schema


def _origin(name: str, origins: Mapping[str, str]) -> str:
    """Return who gave a value: itself, the section that it stands in (given as a whole), or something inside of it."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if origin := origins.get(".".join(parts[:length])):
            return origin
    inside = [origin for key, origin in origins.items() if key.startswith(f"{name}.")]
    return inside[-1] if inside else "default"


def _check_profiles(path: Path, document: dict[str, Any], profiles: Mapping[str, Any]) -> None:
    """Raise for a profile that could not be laid over the file, also where it is not the one that is asked for."""
    for name, table in profiles.items():
        whole = copy.deepcopy(document)
        _merge(whole, table)
        try:
            Config.model_validate(whole)
        except ValidationError as error:
            raise ConfigError(f"{path}: profile {name}: {_explain(error)}") from None


def _given(document: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of the values that a document gives."""
    return [name for name, _ in flatten("", dict(document))]


def _merge(document: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay ``over`` over ``document``, section by section; null takes a section away."""
    for key, value in over.items():
        inner = document.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            _merge(inner, value)
        elif value is None:
            document.pop(key, None)
        else:
            document[key] = value


def _read(path: Path) -> dict[str, Any]:
    """Return the file's mapping."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not a configuration: it is nested without end") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a configuration is a mapping of sections, got {type(document).__name__}")
    rows = document.get("data")
    if isinstance(rows, dict) and isinstance(rows.get("train"), str | dict):
        rows["train"] = [rows["train"]]
    if isinstance(rows, dict) and isinstance(rows.get("train"), list):
        # So that --set data.train.0.path=FILE works however the file names its rows.
        rows["train"] = [{"path": one} if isinstance(one, str) else one for one in rows["train"]]
    return document


class _Loader(yaml.SafeLoader):
    """Read YAML as the safe loader does, but for a key that stands twice: the second would silently win."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping, or raise where a key stands twice."""
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.YAMLError(f"key {name!r} stands twice, again in line {key.start_mark.line + 1}")
            seen.add(name)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def _find(name: str) -> Path:
    """Return the file that ``name`` means."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.yaml"))}
    if name in shipped:
        return shipped[name]
    near = did_you_mean(path.stem, shipped)
    raise ConfigError(f"{name}: no such configuration file{near}; shipped ones: {', '.join(shipped) or 'none'}")


def _lay_over(document: dict[str, Any], override: str) -> str:
    """Write ``a.b=c`` into ``document``, the value read as YAML; return ``a.b``."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: write SECTION.KEY=VALUE, for example --set training.epochs=2")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override}: the value is not YAML") from None
    *sections, last = key.split(".")
    table: Any = document
    for section in sections:
        inner = table.setdefault(section, {}) if isinstance(table, dict) else _item(table, section, override)
        if not isinstance(inner, dict | list):
            raise ConfigError(f"--set {override}: {section!r} is not a section")
        table = inner
    if isinstance(table, list):
        _item(table, last, override)
        table[int(last)] = value
    else:
        table[last] = value
    return key


def _item(items: list[Any], number: str, override: str) -> Any:
    """Return an item of a list by its number, counted from 0."""
    if not number.isdecimal() or int(number) >= len(items):
        raise ConfigError(f"--set {override}: the list has the numbers 0 to {len(items) - 1}, got {number!r}")
    return items[int(number)]


# --- One line for a mistake --------------------------------------------------------------------------------------


def _explain(error: ValidationError) -> str:
    """Turn pydantic's most telling complaint into one line with the section, what was got and what is valid."""
    found = error.errors(include_url=False)
    # A misspelt key is unknown and the right one missing: the first says more.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    location = [str(part) for part in first["loc"]]
    where = f"{'.'.join(location)}: " if location else ""
    if first["type"] == "extra_forbidden":
        section = ".".join(location[:-1]) or "the top level"
        valid = _valid_keys(location[:-1])
        return f"unknown key {location[-1]!r} in {section}{did_you_mean(location[-1], valid)}; valid are {', '.join(valid)}"
    if first["type"] == "missing":
        return f"{where}is missing"
    if first["type"] == "value_error":
        return f"{where}{first['ctx']['error']}"
    return f"{where}{first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


def _valid_keys(location: Sequence[str]) -> list[str]:
    """Return the keys that are valid in the section at ``location``."""
    section: type[BaseModel] = Config
    for name in location:
        if name not in section.model_fields:
            continue  # the number of an item in a list, or the name of a variant
        section = next(_sections(section.model_fields[name].annotation), section)
    return list(section.model_fields)


def _sections(annotation: Any) -> typing.Iterator[type[BaseModel]]:
    """Yield the sections that an annotation holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_args(annotation) or isinstance(annotation, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _sections(part)

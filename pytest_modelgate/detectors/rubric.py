"""Read the file that says by which criteria free text is scored."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse
from pytest_modelgate.detectors import generic
from pytest_modelgate.detectors.causes import contributing_factors
from pytest_modelgate.detectors.components import specific_component
from pytest_modelgate.detectors.detector import Detector
from pytest_modelgate.detectors.judge import judge
from pytest_modelgate.detectors.prevention import prevention_action
from pytest_modelgate.detectors.timeline import timeline_reference
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.nearest import did_you_mean

BUILT_IN: dict[str, Detector] = {
    "timeline_reference": timeline_reference,
    "contributing_factors": contributing_factors,
    "specific_component": specific_component,
    "prevention_action": prevention_action,
}
"""The criteria that need no description: those of a summary of an incident."""

DEFAULT_THRESHOLD = 0.6
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Criterion:
    """Hold one criterion; the weights of a rubric sum to 1."""

    name: str
    weight: float
    detect: Detector


@dataclass(frozen=True, slots=True)
class Rubric:
    """Hold the criteria, the least score that passes, and the SHA-256 of the file they come from."""

    criteria: tuple[Criterion, ...]
    threshold: float
    digest: str


class _WrongError(Exception):
    """Say what is wrong with one criterion, in its terms."""


def load_rubric(path: Path, named_by: str) -> Rubric:
    """
    Return the rubric in the file ``path``.

    Raises :class:`~pytest_modelgate.errors.GatesFileError`, starting with ``named_by``, for everything that is wrong
    with the file, and :class:`~pytest_modelgate.errors.MissingExtraError` for a ``judge`` without httpx.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GatesFileError(f"{named_by}: cannot read {path}: {error.strerror}") from None
    try:
        value = parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise GatesFileError(f"{named_by}: {path} is not UTF-8: byte {error.start}") from None
    except NotStrictJsonError as error:
        raise GatesFileError(f"{named_by}: {path} is not JSON: {error}") from None
    try:
        _check_object(value, "the file", required=("criteria",), optional=("pass_threshold",))
        threshold = _number(value.get("pass_threshold", DEFAULT_THRESHOLD), "pass_threshold")
        if not 0 < threshold <= 1:
            raise _WrongError(f"pass_threshold must be above 0 and at most 1, got {value['pass_threshold']!r}")
        criteria = _criteria(value["criteria"])
    except _WrongError as error:
        raise GatesFileError(f"{named_by}: {path}: {error}") from None
    total = sum(criterion.weight for criterion in criteria)
    return Rubric(
        criteria=tuple(Criterion(one.name, one.weight / total, one.detect) for one in criteria),
        threshold=threshold,
        digest=hashlib.sha256(content).hexdigest(),
    )


def _criteria(entries: Any) -> list[Criterion]:
    if not isinstance(entries, list) or not entries:
        raise _WrongError(f"criteria must be a list of at least one criterion, got {_short(entries)}")
    found: dict[str, Criterion] = {}
    for number, entry in enumerate(entries, 1):
        where = f"criterion {number}"
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            where += f" ({_short(entry['name'])})"
        try:
            criterion = _criterion(entry)
            if criterion.name in found:
                raise _WrongError("this name is given twice; each criterion needs its own")
        except _WrongError as error:
            raise _WrongError(f"{where}: {error}") from None
        found[criterion.name] = criterion
    return list(found.values())


def _criterion(entry: Any) -> Criterion:
    _check_object(entry, "a criterion", required=("name",), optional=("weight", *_MAKERS))
    name = _string(entry["name"], "name")
    if not _NAME.fullmatch(name):
        raise _WrongError("name may hold letters, digits, - and _ only")
    weight = _number(entry.get("weight", 1), "weight")
    if weight <= 0:
        raise _WrongError(f"weight must be above 0, got {entry['weight']!r}")
    given = [key for key in _MAKERS if key in entry]
    if len(given) > 1:
        raise _WrongError(f"takes one detector, got {' and '.join(given)}")
    if given:
        return Criterion(name, weight, _MAKERS[given[0]](entry[given[0]]))
    if name not in BUILT_IN:
        raise _WrongError(
            f"has no detector, and is none of the built-in criteria {_listed(BUILT_IN)}{did_you_mean(name, BUILT_IN)}; "
            f"say how to detect it by one of {_listed(_MAKERS)}"
        )
    return Criterion(name, weight, BUILT_IN[name])


def _built_in(value: Any) -> Detector:
    name = _string(value, "detector")
    if name not in BUILT_IN:
        raise _WrongError(
            f"detector {_short(name)} is unknown; valid: {_listed(BUILT_IN)}{did_you_mean(name, BUILT_IN)}"
        )
    return BUILT_IN[name]


def _regex(value: Any) -> Detector:
    pattern = _string(value, "regex")
    try:
        return generic.regex(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise _WrongError(f"regex {_short(pattern)} is no pattern of Python's re module: {error}") from None


def _words(value: Any) -> Detector:
    _check_object(value, "words", optional=("any", "all", "none"))
    lists = {key: _strings(value[key], f"words {key}") for key in value}
    if not lists:
        raise _WrongError("words must hold any, all or none, got {}")
    return generic.words(lists.get("any", ()), lists.get("all", ()), lists.get("none", ()))


def _mentions_input(value: Any) -> Detector:
    return generic.mentions_input(_whole(value, "mentions_input", at_least=1))


def _length(value: Any) -> Detector:
    _check_object(value, "length", optional=("min", "max"))
    if not value:
        raise _WrongError("length must hold min, max or both, got {}")
    least = _whole(value.get("min", 0), "length min", at_least=0)
    most = _whole(value["max"], "length max", at_least=1) if "max" in value else None
    if most is not None and least > most:
        raise _WrongError(f"length min {least} is more than max {most}: no text is of that length")
    return generic.length(least, most)


def _section(value: Any) -> Detector:
    return generic.section(_string(value, "section"))


def _action(value: Any) -> Detector:
    if value is not True:
        raise _WrongError(f"action must be true, got {_short(value)}")
    return generic.action()


def _judge(value: Any) -> Detector:
    _check_object(value, "judge", required=("url", "model", "question"), optional=("api_key_env",))
    given = {key: _string(value[key], f"judge {key}") for key in value}
    if not re.match(r"https?://[^\s/]", given["url"]):
        raise _WrongError(f"judge url must begin with http:// or https://, got {_short(given['url'])}")
    if "api_key_env" in given and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", given["api_key_env"]):
        # Not shown: people put the key itself here.
        raise _WrongError("judge api_key_env must be the name of an environment variable, not the key")
    return judge(given["url"], given["model"], given["question"], api_key_env=given.get("api_key_env"))


_MAKERS: dict[str, Callable[[Any], Detector]] = {
    "detector": _built_in,
    "regex": _regex,
    "words": _words,
    "mentions_input": _mentions_input,
    "length": _length,
    "section": _section,
    "action": _action,
    "judge": _judge,
}


def _check_object(value: Any, what: str, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()) -> None:
    """Check that ``value`` is an object with these keys and no others."""
    valid = (*required, *optional)
    if not isinstance(value, dict):
        raise _WrongError(f"{what} must be an object with {_listed(valid)}, got {_short(value)}")
    for key in value:
        if key not in valid:
            raise _WrongError(
                f"{what} has an unknown key {_short(key)}; valid: {_listed(valid)}{did_you_mean(key, valid)}"
            )
    for key in required:
        if key not in value:
            raise _WrongError(f"{what} lacks {key!r}")


def _string(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _WrongError(f"{what} must be a text that is not empty, got {_short(value)}")
    return value


def _strings(value: Any, what: str) -> list[str]:
    if not isinstance(value, list) or not value:
        raise _WrongError(f"{what} must be a list of at least one text, got {_short(value)}")
    return [_string(item, f"each of {what}") for item in value]


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _WrongError(f"{what} must be a number, got {_short(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _WrongError(f"{what} must be a finite number, got {_short(value)}")
    return number


def _whole(value: Any, what: str, at_least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise _WrongError(f"{what} must be a whole number of at least {at_least}, got {_short(value)}")
    return value


def _listed(names: Any) -> str:
    return ", ".join(names)


def _short(value: Any, limit: int = 60) -> str:
    shown = repr(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}…"

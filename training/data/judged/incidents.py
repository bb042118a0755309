"""
Hold what several files say of an incident, read the files, and look up what a task needs of it.

No error given here quotes a value: what stands in the files has not been masked yet.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse
from pytest_modelgate.nearest import did_you_mean

from ...errors import ConfigError, StageError
from ..lines import json_type, shown_names, without_quotes
from .sections import JudgedSource, JudgedTask

_ID = re.compile(r"[A-Za-z0-9_.-]+")
_MODEL = re.compile(r"(?=.{1,40}$)[A-Za-z][A-Za-z0-9]{0,11}(?:[_.:/-][A-Za-z0-9]{1,11}){0,6}")


@dataclass(frozen=True, slots=True)
class Incident:
    """Hold one incident: by source, the record that tells of it, and where that stands (``file:line``)."""

    incident_id: str
    records: Mapping[str, Mapping[str, Any]]
    places: Mapping[str, str]

    @property
    def place(self) -> str:
        """Return where it is told of first."""
        return next(iter(self.places.values()), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold one model's answer to a task, its score, and where the answer stands."""

    model: str
    text: str
    score: float
    place: str


# --- Files -------------------------------------------------------------------------------------------------------


def read_source(name: str, source: JudgedSource, root: Path) -> list[Incident]:
    """
    Return the incidents of a file, in its order.

    Raises :class:`ConfigError` for a file that is not there, and :class:`StageError`, with file and line, for a line
    that is no record or tells of an incident again.
    """
    path = root / source.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"data.judged.sources.{name}: {source.path} cannot be read in {root.resolve()}: {error.strerror or error}"
        ) from None
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise StageError(f"{source.path}:{line}: not UTF-8: byte 0x{content[error.start]:02x}") from None
    found: dict[str, Incident] = {}
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        place = f"{source.path}:{number}"
        record = _record(text, place)
        incident_id = _id(record, source.key, place)
        if incident_id in found:
            raise StageError(
                f"{place}: incident {incident_id!r} stands there twice (first at {found[incident_id].place})"
            )
        found[incident_id] = Incident(incident_id, {name: record}, {name: place})
    if not found:
        raise StageError(f"{source.path}: no record in it (data.judged.sources.{name})")
    return list(found.values())


def _record(line: str, place: str) -> dict[str, Any]:
    """Return the JSON object of a line."""
    try:
        record = parse(line)
    except NotStrictJsonError as error:
        raise StageError(f"{place}: not a JSON object: {without_quotes(str(error))}") from None
    if not isinstance(record, dict):
        raise StageError(f"{place}: a record is a JSON object, got {json_type(record)}")
    return record


def _id(record: Mapping[str, Any], key: str, place: str) -> str:
    """Return the incident's id; a whole number will do."""
    if key not in record:
        raise StageError(
            f"{place}: key {key!r} is missing{did_you_mean(key, shown_names(record))}; it has {_listed(record)}"
        )
    value = record[key]
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _ID.fullmatch(text):
        got = "another text" if isinstance(value, str) else json_type(value)
        raise StageError(f"{place}: {key} must be text that matches {_ID.pattern}, got {got}")
    return text


# --- What a task needs -------------------------------------------------------------------------------------------


def text_of(incident: Incident, reference: str) -> str | None:
    """Return the text at SOURCE.KEY, or None where the source has no record of the incident."""
    value = _look_up(incident, reference)
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        got = "blanks" if isinstance(value, str) else json_type(value)
        raise StageError(f"{_place(incident, reference)}: {_key(reference)} must be text, got {got}")
    return value


def answers_of(incident: Incident, name: str, task: JudgedTask) -> list[Answer]:
    """
    Return the answers to a task that have a score, in the order of the scores.

    None are returned where a source has no record of the incident. A score of a model without an answer, or that is no
    number or out of scale, raises :class:`StageError`.
    """
    scores, texts = _table(incident, task.scores), _table(incident, task.responses)
    if scores is None or texts is None:
        return []
    answers = []
    for model, given in scores.items():
        where = f"{_place(incident, task.scores)}: {_key(task.scores)}.{_shown(model)}"
        score = _score(given, where, task.scale)
        if model not in texts:
            raise StageError(
                f"{where}: unknown model {_shown(model)!r}{did_you_mean(model, shown_names(texts))}: it has no answer to "
                f"task {name!r} "
                f"at {_place(incident, task.responses)}, which has {_listed(texts)}"
            )
        place = _place(incident, task.responses)
        if not isinstance(texts[model], str):
            got = json_type(texts[model])
            raise StageError(f"{place}: {_key(task.responses)}.{_shown(model)} must be text, got {got}")
        answers.append(Answer(model, texts[model].strip(), score, place))
    return answers


def best_answer(incident: Incident, name: str, tasks: Mapping[str, JudgedTask]) -> Answer | None:
    """Return the answer with the highest score, of equal ones the first, or None where there is none."""
    return max(answers_of(incident, name, tasks[name]), key=lambda answer: answer.score, default=None)


def chosen_answer(incident: Incident, name: str, tasks: Mapping[str, JudgedTask]) -> Answer | str:
    """Return the answer that is taken: the best, or that of the model that won another task; or why there is none."""
    other = tasks[name].same_model_as
    if other is None:
        return best_answer(incident, name, tasks) or "no judged answer"
    winner = best_answer(incident, other, tasks)
    if winner is None:
        return f"no judged answer to {other!r}, whose model is wanted"
    for answer in answers_of(incident, name, tasks[name]):
        if answer.model == winner.model:
            return answer
    return f"no judged answer of the model that won {other!r}"


def _look_up(incident: Incident, reference: str) -> Any:
    """Return what stands at SOURCE.KEY.KEY, or None where the source has no record of the incident."""
    source, *keys = reference.split(".")
    value: Any = incident.records.get(source)
    if value is None:
        return None
    for depth, key in enumerate(keys):
        if not isinstance(value, Mapping) or key not in value:
            has = value if isinstance(value, Mapping) else {}
            raise StageError(
                f"{incident.places[source]}: key {'.'.join(keys[: depth + 1])!r} is missing{did_you_mean(key, shown_names(has))}; "
                f"it has {_listed(has)}"
            )
        value = value[key]
    if value is None:
        raise StageError(f"{incident.places[source]}: {'.'.join(keys)} is null")
    return value


def _table(incident: Incident, reference: str) -> Mapping[str, Any] | None:
    """Return the table by model at SOURCE.KEY."""
    value = _look_up(incident, reference)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise StageError(
            f"{_place(incident, reference)}: {_key(reference)} must be a table by model, got {json_type(value)}"
        )
    return value


def _score(given: Any, where: str, scale: float | None) -> float:
    """Return a score: a number, or the sum of a table of numbers."""
    parts = list(given.values()) if isinstance(given, Mapping) and given else [given]
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, int | float) or not math.isfinite(part):
            raise StageError(f"{where}: a score is a number, got {json_type(part)}")
    total = float(sum(parts))
    if scale is not None and not 0 <= total <= scale:
        raise StageError(f"{where}: a score is from 0 to {scale:g}, got {total:g}")
    return total


def _place(incident: Incident, reference: str) -> str:
    """Return where the record that ``reference`` means stands."""
    return incident.places[reference.partition(".")[0]]


def _key(reference: str) -> str:
    """Return ``reference`` without its source."""
    return reference.partition(".")[2]


def _shown(name: str) -> str:
    """Return the name of a model, or dots where it looks like none: what a key holds may be anything."""
    return name if _MODEL.fullmatch(name) else "\u2026"


def _listed(table: Mapping[str, Any]) -> str:
    """Return the keys of a table that may be shown."""
    return (
        ", ".join(
            name if name != "\u2026" else _shown(key) for name, key in zip(shown_names(table), table, strict=True)
        )
        or "none"
    )

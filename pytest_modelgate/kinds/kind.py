"""Say what every kind of task can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_modelgate.cases import Case
from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse
from pytest_modelgate.records import Mistake, Violation

NO_LABEL = ""
"""Stands for the label of an output that gave none; a real label is JSON text, which is never empty."""


@dataclass(slots=True)
class Judgement:
    """
    Gather what a kind finds in one output; the fields are those of :class:`~pytest_modelgate.records.Record`.

    ``value``: the parsed output, for a task's schema; ``is_json`` is False where it could not be parsed, None where the
    kind's outputs are no JSON. ``spans``: for each field, the characters of the output that hold its label, start and
    end, for its confidence.
    """

    violations: list[Violation] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)
    counts: dict[str, tuple[float, ...]] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    value: Any = None
    is_json: bool | None = None

    def violate(self, contract: str, message: str) -> None:
        """Add a violation."""
        self.violations.append(Violation(contract, message))

    def mistake(self, cause: str, message: str) -> None:
        """Add a mistake."""
        self.mistakes.append(Mistake(cause, message))


class Kind(Protocol):
    """
    Judge the outputs of one task.

    ``fields``: names that gates may put after a metric's dot. ``primary``: the field that a critical case must get
    right; None where the whole answer counts.
    """

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the fields."""

    @property
    def primary(self) -> str | None:
        """Return the primary field."""

    def reject(self, case: Case) -> str | None:
        """Say why a case breaks the kind's rules, or return None."""

    def answer(self, case: Case) -> str | None:
        """Return the text of a right answer, or None where the case expects nothing that can be written down."""

    def must_decline(self, case: Case) -> bool | None:
        """Say whether the input must be declined; None where the kind or the case does not tell."""

    def judge(self, case: Case, text: str) -> Judgement:
        """Judge one output."""


def parse_json(text: str, found: Judgement) -> bool:
    """Parse ``text`` into ``found.value``; a text that is no JSON value is a violation."""
    try:
        found.value = parse(text)
    except NotStrictJsonError as error:
        found.violate("json", str(error))
        found.is_json = False
    else:
        found.is_json = True
    found.scores["json_parse"] = float(found.is_json)
    return found.is_json


def same_json(got: Any, expected: Any) -> bool:
    """Compare as JSON does: ``1`` is not ``true``, ``1`` equals ``1.0``, the order of keys does not matter."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same_json(got[key], expected[key]) for key in got)
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(same_json, got, expected))
    return bool(got == expected)

"""
Let what is known of a case ride on its pytest report: as objects within one process, as primitives between two.

This module is a plugin of its own, in every process: pytest asks its hooks before a report leaves a worker, and where it
arrives.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Self

import pytest

from pytest_modelgate.records import Json, Record

__all__ = ["Carried", "carried_by"]

_ATTRIBUTE = "modelgate"


@dataclass(frozen=True, slots=True)
class Carried:
    """Hold a case's record, those of its repeats, and what ran it, None where nothing did."""

    record: Record
    repeats: tuple[Record, ...] = ()
    engine: Json | None = None

    def put_on(self, report: pytest.TestReport) -> None:
        """Let ``report`` carry this."""
        setattr(report, _ATTRIBUTE, self)

    def to_json(self) -> Json:
        """Return it as primitives."""
        return {
            "record": self.record.to_json(),
            "repeats": [repeat.to_json() for repeat in self.repeats],
            "engine": self.engine,
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Rebuild it from :meth:`to_json`'s value."""
        repeats = tuple(Record.from_json(repeat) for repeat in data["repeats"])
        return cls(Record.from_json(data["record"]), repeats, data["engine"])


def carried_by(report: pytest.TestReport) -> Carried | None:
    """Return what a report carries, None where it is no case's, or of another phase than its call."""
    return getattr(report, _ATTRIBUTE, None)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable(
    report: pytest.CollectReport | pytest.TestReport,
) -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
    """Write what a report carries as primitives."""
    data = yield
    if data is not None and isinstance(report, pytest.TestReport) and (carried := carried_by(report)) is not None:
        data[_ATTRIBUTE] = carried.to_json()
    return data


@pytest.hookimpl(wrapper=True)
def pytest_report_from_serializable(
    data: dict[str, Any],
) -> Generator[None, pytest.CollectReport | pytest.TestReport | None, pytest.CollectReport | pytest.TestReport | None]:
    """Make objects of it again."""
    if isinstance(data.get(_ATTRIBUTE), dict):
        data[_ATTRIBUTE] = Carried.from_json(data[_ATTRIBUTE])
    return (yield)

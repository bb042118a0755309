"""Keep the metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pytest_modelgate.nearest import did_you_mean

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)
Suffix = Literal["none", "field", "statistic"]
Source = Literal["records", "performance"]
Needs = Literal["any", "expected", "critical", "schema"]


@dataclass(frozen=True, slots=True)
class Metric:
    """
    Hold one metric.

    ``suffix``: what may follow the name after a dot: nothing, a ``field`` of the task (where it is left out the whole
    answer counts), or a ``statistic`` such as ``p95``. ``source``: what it is computed from. ``needs``: which cases
    it counts: any, those with an expected answer, the critical ones, those of a task with a schema. ``bounded``: it
    can give bounds, so a gate may ask for confidence. ``better``: the direction of improvement.
    """

    name: str
    function: Function
    suffix: Suffix
    source: Source
    field_required: bool
    statistics: tuple[str, ...]
    needs: Needs
    bounded: bool
    better: Literal["higher", "lower"]


_METRICS: dict[str, Metric] = {}


def metric(
    name: str,
    *,
    suffix: Suffix = "none",
    source: Source = "records",
    field_required: bool = False,
    statistics: Sequence[str] = (),
    needs: Needs = "any",
    bounded: bool = True,
    better: Literal["higher", "lower"] = "higher",
) -> Callable[[F], F]:
    """Register the decorated function as metric ``name``."""

    def register(function: F) -> F:
        _METRICS[name] = Metric(
            name, function, suffix, source, field_required, tuple(statistics), needs, bounded, better
        )
        return function

    return register


def known_metrics() -> list[str]:
    """Return every name as it may be written in gates.toml."""
    written = []
    for found in _METRICS.values():
        if found.suffix == "field":
            written.append(f"{found.name}.FIELD" if found.field_required else f"{found.name}[.FIELD]")
        elif found.suffix == "statistic":
            written.extend(f"{found.name}.{statistic}" for statistic in found.statistics)
        else:
            written.append(found.name)
    return sorted(written)


def find_metric(written: str, fields: Sequence[str]) -> tuple[Metric, str | None] | str:
    """
    Return the metric that ``written`` names and its suffix, or a text that says what is wrong.

    ``fields``: the fields that every task in the gate's slice has.
    """
    name, _, suffix = written.partition(".")
    found = _METRICS.get(name)
    if found is None:
        near = did_you_mean(name, _METRICS)
        return f"metric {written!r} is unknown{near}; known are {', '.join(known_metrics())}"
    if found.suffix == "none" and suffix:
        return f"metric {name!r} takes nothing after a dot, got {written!r}"
    if found.suffix == "statistic" and suffix not in found.statistics:
        return f"metric {name!r} needs one of {', '.join(f'{name}.{s}' for s in found.statistics)}, got {written!r}"
    if found.suffix == "field":
        if not suffix and found.field_required:
            return f"metric {name!r} needs a field: {', '.join(f'{name}.{field}' for field in fields)}"
        if suffix and suffix not in fields:
            near = did_you_mean(suffix, fields)
            return f"metric {written!r}: {suffix!r} is not a field{near}; fields are {', '.join(fields) or 'none'}"
    return found, suffix or None

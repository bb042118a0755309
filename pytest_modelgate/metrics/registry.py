"""Keep the metrics by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

from pytest_modelgate.metrics.measurement import NOTHING, Figure, Measurement, Pool, pooled, share
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.records import Record

F = TypeVar("F", bound=Callable[..., Any])
Suffix = Literal["none", "field", "label", "statistic"]
Source = Literal["records", "comparison", "reference", "preflight", "performance", "candidate"]
Needs = Literal["any", "expected", "critical", "schema", "declined", "answered"]
Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Metric:
    """
    Hold one metric.

    ``function``: from what ``source`` names (and the suffix) to a Measurement. ``flag``: for a share, from one record
    (and the suffix) to true, false, or None where the record does not count. ``suffix``: what may follow the name
    after a dot: nothing, a ``field`` of the task (where it is left out the whole answer counts), a ``label`` of a
    field (``fpr.intent.refund``), or a ``statistic`` such as ``p95``. ``kinds``: the task kinds that it counts, all if
    empty. ``needs``: which cases it counts: any, those with an expected answer, the critical ones, those of a task
    with a schema, those that must be ``declined`` or ``answered``. ``bounded``: it can give bounds, so a gate may ask
    for confidence. ``is_ratio``: its values lie between 0 and 1. ``is_own``: a user's, which may raise
    anything.
    """

    name: str
    function: Callable[..., Measurement]
    source: Source
    flag: Callable[..., bool | None] | None = None
    suffix: Suffix = "none"
    field_required: bool = False
    statistics: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    needs: Needs = "any"
    bounded: bool = True
    is_ratio: bool = True
    better: Better = "higher"
    is_own: bool = False

    def __call__(self, records: Sequence[Record], *arguments: str) -> Measurement:
        """Measure ``records``."""
        return self.function(records, *arguments)

    @property
    def is_count(self) -> bool:
        """Say whether the value counts records, so that each further one can only raise it."""
        return self.flag is not None and not self.is_ratio


_METRICS: dict[str, Metric] = {}


def share_of(
    name: str,
    *,
    suffix: Suffix = "none",
    field_required: bool = False,
    kinds: Sequence[str] = (),
    needs: Needs = "any",
    better: Better = "higher",
) -> Callable[[F], F]:
    """Register the decorated function, from a record to true, false or None (does not count), as a share."""

    def register(flag: F) -> F:
        new = Metric(
            name,
            _mean_of(flag),
            "records",
            flag,
            suffix=suffix,
            field_required=field_required,
            kinds=tuple(kinds),
            needs=needs,
            better=better,
        )
        add_metric(new)
        return flag

    return register


def own_share(flag: Callable[[Record], bool | None]) -> Metric:
    """
    Make a project's own metric of the decorated function: the share of records of which it is true.

    A record for which it returns None does not count. A gate names it by import path: ``my_metrics:short_answers``.
    """

    def tell(record: Record) -> bool | None:
        told = flag(record)
        if told is not None and not isinstance(told, bool | np.bool_):
            raise TypeError(f"True, False or None is wanted, got {told!r} for {record.suite}/{record.case}")
        return told

    return Metric(flag.__name__, _mean_of(tell), "records", flag, is_own=True)


def own_rate(flag: Callable[[Record], bool | None]) -> Metric:
    """Make a metric as :func:`own_share` does, of something that should be rare: lower is better."""
    return replace(own_share(flag), better="lower")


def _mean_of(flag: Callable[..., bool | None]) -> Callable[..., Measurement]:
    """Return the metric that is the share of records of which ``flag`` is true."""

    def function(records: Sequence[Record], *arguments: str) -> Measurement:
        told = [flag(record, *arguments) for record in records]
        places = tuple(place for place, found in enumerate(told) if found is not None)
        return share([bool(told[place]) for place in places], [records[place].group for place in places], places)

    return function


def count_of(
    name: str, *, kinds: Sequence[str] = (), needs: Needs = "any", better: Better = "lower"
) -> Callable[[F], F]:
    """Register the decorated function, as for :func:`share_of`, as a count; it is known exactly, without an interval."""

    def register(flag: F) -> F:
        def function(records: Sequence[Record]) -> Measurement:
            told = [found for record in records if (found := flag(record)) is not None]
            return Measurement(float(sum(told)), len(told)) if told else NOTHING

        add_metric(
            Metric(
                name,
                function,
                "records",
                flag,
                kinds=tuple(kinds),
                needs=needs,
                bounded=False,
                is_ratio=False,
                better=better,
            )
        )
        return flag

    return register


def figure_of(
    name: str,
    *,
    suffix: Suffix = "none",
    field_required: bool = False,
    kinds: Sequence[str] = (),
    needs: Needs = "any",
    is_ratio: bool = True,
    better: Better = "higher",
) -> Callable[[F], F]:
    """Register the decorated function as a figure of sums: from records (and the suffix) to a Pool, or None."""

    def register(pool: F) -> F:
        def function(records: Sequence[Record], *arguments: str) -> Measurement:
            return pooled(pool(records, *arguments))

        add_metric(
            Metric(
                name,
                function,
                "records",
                suffix=suffix,
                field_required=field_required,
                kinds=tuple(kinds),
                needs=needs,
                is_ratio=is_ratio,
                better=better,
            )
        )
        return pool

    return register


def metric(name: str, *, source: Source, **about: Any) -> Callable[[F], F]:
    """Register the decorated function, from what ``source`` names to a Measurement, as metric ``name``."""

    def register(function: F) -> F:
        add_metric(Metric(name, function, source, **about))
        return function

    return register


def add_metric(new: Metric) -> None:
    """Keep a metric; a name is given once."""
    if new.name in _METRICS:
        raise ValueError(f"metric {new.name!r} is there already")
    _METRICS[new.name] = new


def pool_of(records: Sequence[Record], rows: Sequence[Sequence[float] | None], figure: Figure) -> Pool | None:
    """Return a pool of one row of counts for each record; a record without a row does not count."""
    places = tuple(place for place, row in enumerate(rows) if row is not None)
    if not places:
        return None
    counts = np.array([rows[place] for place in places], dtype=float)
    return Pool(counts, tuple(records[place].group for place in places), figure, places=places)


def known_metrics() -> list[str]:
    """Return every name as it may be written in gates.toml."""
    written = []
    for found in _METRICS.values():
        if found.suffix == "field":
            written.append(f"{found.name}.FIELD" if found.field_required else f"{found.name}[.FIELD]")
        elif found.suffix == "label":
            written.append(f"{found.name}.FIELD.LABEL")
        elif found.suffix == "statistic":
            written.extend(f"{found.name}.{statistic}" for statistic in found.statistics)
        else:
            written.append(found.name)
    return sorted(written)


def find_metric(written: str, fields: Sequence[str]) -> tuple[Metric, tuple[str, ...]] | str:
    """
    Return the metric that ``written`` names and the arguments that its suffix stands for, or what is wrong.

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
    if found.suffix not in {"field", "label"}:
        return found, (suffix,) if suffix else ()
    field, label = _split(suffix, fields) if found.suffix == "label" else (suffix, "")
    if found.suffix == "label" and not label:
        return (
            f"metric {name!r} needs a field and a label, such as {name}.{(*fields, 'FIELD')[0]}.LABEL, got {written!r}"
        )
    if not field and found.field_required:
        return f"metric {name!r} needs a field: {', '.join(f'{name}.{field}' for field in fields)}"
    if field and field not in fields:
        near = did_you_mean(field, fields)
        return f"metric {written!r}: {field!r} is not a field{near}; fields are {', '.join(fields) or 'none'}"
    return found, tuple(part for part in (field, label) if part)


def _split(suffix: str, fields: Sequence[str]) -> tuple[str, str]:
    """Return field and label; a field's name may itself hold dots."""
    field = next((field for field in fields if suffix.startswith(f"{field}.")), suffix.partition(".")[0])
    return field, suffix[len(field) + 1 :]

"""
Work out each task's primary metric from a report of the gate, by the gate's own metrics.

A report keeps of every case what its metrics are made of. So golden and held-out cases can be told apart here, and a
candidate compared with its base case by case, without judging anything a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from pytest_modelgate.metrics import NOTHING, Measurement, find_metric
from pytest_modelgate.paired import difference
from pytest_modelgate.records import Performance, Record
from pytest_modelgate.report.arms import primary_metrics
from pytest_modelgate.report.outcome import DECISIVE
from pytest_modelgate.tasks import Task

from .tasks import Tasks

Figure = dict[str, Any]
"""metric; golden and heldout: the value, None for none; n, interval (95 %, two-sided) and over_base, each by suite."""


def primary(tasks: Tasks, task: str) -> str:
    """Return the metric that the published gates of the task's kind judge generalisation by."""
    return primary_metrics(tasks.by_name[task])[0]


def read_records(report: Mapping[str, Any]) -> list[Record]:
    """Return the records of a report.json, without the cases that are in quarantine."""
    kept = set(Record.__slots__)
    quarantined = {row["case"] for row in report["quarantine"]["active"]}
    return [
        Record.from_json({name: value for name, value in row.items() if name in kept} | {"case": row["id"]})
        for row in report["cases"]
        if f"{row['suite']}/{row['id']}" not in quarantined
    ]


def figures_of(tasks: Tasks, records: Sequence[Record], target: str, base: str | None) -> dict[str, Figure]:
    """Return a target's figure for each task; ``base``: the target that it is compared with, case by case."""
    return {
        name: _figure(task, primary(tasks, name), _of(records, name, target), _of(records, name, base))
        for name, task in tasks.by_name.items()
    }


def speed_json(measured: Performance) -> dict[str, Any]:
    """Return what the serial phase measured, as report.json has it."""
    percentiles: dict[str, Any] = {
        metric: {part: _rounded(_measure(f"{metric}.{part}", (), measured).value, 3) for part in ("p50", "p95", "p99")}
        for metric in ("latency_ms", "ttft_ms")
    }
    return {
        "n": len(measured.samples),
        **percentiles,
        "mean_s": round(fmean(sample.total_s for sample in measured.samples), 6) if measured.samples else None,
        "tokens_per_second": _rounded(_measure("tokens_per_second", (), measured).value, 2),
        "peak_rss_bytes": measured.peak_rss_bytes,
        "error": measured.error,
    }


def _figure(task: Task, metric: str, mine: Sequence[Record], theirs: Sequence[Record]) -> Figure:
    """Measure one task of one target, suite by suite."""
    found: Figure = {"metric": metric, **dict.fromkeys(DECISIVE), "n": {}, "interval": {}, "over_base": {}}
    for suite in DECISIVE:
        answered = [record for record in mine if record.suite == suite]
        measured = _measure(metric, task.fields, answered) if answered else NOTHING
        found[suite] = _rounded(measured.value)
        found["n"][suite] = measured.n
        found["interval"][suite] = _interval(measured)
        before = {record.case: record for record in theirs if record.suite == suite}
        both = [record for record in answered if record.case in before]
        if not both:
            continue
        ours, base = (
            _measure(metric, task.fields, records) for records in (both, [before[record.case] for record in both])
        )
        change = difference(ours, base)
        found["over_base"][suite] = {
            "value": _rounded(change.value),
            "n": change.n,
            "interval": _interval(change),
        }
    return found


def _measure(written: str, fields: Sequence[str], measured: Any) -> Measurement:
    """Ask the gate's metric of that name."""
    found = find_metric(written, fields)
    if isinstance(found, str):
        raise TypeError(found)  # the name is the gate's own
    metric, arguments = found
    value: Measurement = metric.function(measured, *arguments)
    return value


def _of(records: Sequence[Record], task: str, target: str | None) -> list[Record]:
    """Return a target's answers to a task; an engine's error is no answer."""
    return [one for one in records if one.target == target and one.task == task and one.outcome != "error"]


def _interval(measured: Measurement) -> list[float] | None:
    """Return the interval as primitives."""
    return None if measured.interval is None else [round(float(bound), 6) for bound in measured.interval]


def _rounded(value: float | None, digits: int = 6) -> float | None:
    """Return a figure with as many digits as a document needs."""
    return None if value is None else round(float(value), digits)

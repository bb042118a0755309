"""Compare the arms of a release side by side: what was there before, what had to be beaten, what is to be released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_modelgate.metrics import find_metric
from pytest_modelgate.metrics.performance import latency_ms, tokens_per_second
from pytest_modelgate.records import Json, Performance, Record
from pytest_modelgate.report.misses import worst_first
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.targets import Target
from pytest_modelgate.tasks import Task

WANTED = {"base": "base", "prompted": "prompted base", "larger": "larger model"}
"""Arms that a release is compared with, by the id that makes a control one of them; they are missed where they lack."""

_FAILING = 3
_ORDER = ("base", "prompted", "program", "larger", "control", "reference", "model")


@dataclass(frozen=True, slots=True)
class Figure:
    """Hold one task's metric for one arm; ``interval`` is the two-sided 95 % one."""

    task: str
    metric: str
    value: float | None
    n: int
    interval: tuple[float, float] | None

    def to_json(self) -> Json:
        """Return the figure as primitives."""
        interval = None if self.interval is None else list(self.interval)
        return {
            "task": self.task,
            "metric": self.metric,
            "value": self.value,
            "n": self.n,
            "interval": interval,
        }


@dataclass(frozen=True, slots=True)
class Arm:
    """
    Hold one row of the table, over the golden and the held-out cases.

    ``what``: which arm it is, in words. ``cases``: how many were answered, of ``of``. ``broken``: the share of answers
    that break a contract. ``latency_ms``: p50 and p95. ``failing``: a few cases that it gets wrong. ``note``: why there
    is no row, or no speed.
    """

    id: str
    what: str
    is_judged: bool = False
    ran: bool = False
    cases: int = 0
    of: int = 0
    figures: tuple[Figure, ...] = ()
    broken: float | None = None
    latency_ms: tuple[float, float] | None = None
    tokens_per_second: float | None = None
    cost_per_1k: float | None = None
    failing: tuple[str, ...] = ()
    note: str | None = None

    def to_json(self) -> Json:
        """Return the row as primitives."""
        latency = None if self.latency_ms is None else dict(zip(("p50", "p95"), self.latency_ms, strict=True))
        return {
            "id": self.id,
            "arm": self.what,
            "judged": self.is_judged,
            "ran": self.ran,
            "cases": self.cases,
            "of": self.of,
            "figures": [figure.to_json() for figure in self.figures],
            "contract_error_rate": self.broken,
            "latency_ms": latency,
            "tokens_per_second": self.tokens_per_second,
            "cost_per_1k_requests": self.cost_per_1k,
            "failing": list(self.failing),
            "note": self.note,
        }


def compare_arms(outcome: RunOutcome) -> tuple[Arm, ...]:
    """Return the table: base, prompted base, programs, larger model, other controls, then the judged targets."""
    found = [(_place(target), _arm(outcome, target)) for target in outcome.release.targets]
    found += [(name, _not_run(name)) for name in absent(outcome)]
    return tuple(arm for _, arm in sorted(found, key=lambda row: _ORDER.index(row[0])))


def absent(outcome: RunOutcome) -> list[str]:
    """Return the ids of the wanted arms that were not run."""
    given = {target.id for target in outcome.release.targets}
    return [name for name in WANTED if name not in given]


def primary_metrics(task: Task) -> tuple[str, ...]:
    """Return the metrics that a task's arms are compared by, the first before all."""
    match task.kind:
        case "classification" | "sections" if task.primary is not None:
            return f"macro_f1.{task.primary}", f"accuracy.{task.primary}"
        case "extraction":
            return ("field_f1",)
        case "tool_call":
            return ("exact_match",)
        case "rubric":
            return ("rubric_pass_rate",)
    return ("quality",)


def _place(target: Target) -> str:
    """Return which of the kinds of arms a target is."""
    if target.spec.role != "control":
        return target.spec.role
    if target.id in WANTED:
        return target.id
    return "program" if target.spec.kind == "python" else "control"


def _not_run(name: str) -> Arm:
    return Arm(name, WANTED[name], note=f"not run (--control SPEC,id={name})")


def _arm(outcome: RunOutcome, target: Target) -> Arm:
    """Return the row of a target that was run."""
    cases = outcome.decisive_cases
    records = [
        record for record in outcome.of(target.id) if (record.suite, record.case) in cases and record.outcome != "error"
    ]
    place = _place(target)
    measured = outcome.performances.get(target.id)
    timed = None if measured is None or measured.error is not None else measured
    return Arm(
        id=target.id,
        what={"model": "judged", "program": "program", "reference": "reference"}.get(
            place, WANTED.get(place, "control")
        ),
        is_judged=place == "model",
        ran=True,
        cases=len(records),
        of=len(cases),
        figures=tuple(
            _figure(name, metric, task, [record for record in records if record.task == name])
            for name, task in outcome.release.tasks.items()
            for metric in primary_metrics(task)
        ),
        broken=sum(bool(record.violations) for record in records) / len(records) if records else None,
        latency_ms=None if timed is None else _latency(timed),
        tokens_per_second=None if timed is None else tokens_per_second(timed).value or None,
        cost_per_1k=None if timed is None else timed.cost_per_1k_requests,
        failing=tuple(f"{record.suite}/{record.case}" for record in worst_first(records)[:_FAILING]),
        note=None if measured is None or measured.error is None else f"speed not measured: {measured.error}",
    )


def _figure(name: str, written: str, task: Task, records: Sequence[Record]) -> Figure:
    """Measure one task of one arm."""
    metric = find_metric(written, task.fields)
    if isinstance(metric, str) or not records:
        return Figure(name, written, None, 0, None)
    measured = metric[0].function(records, *metric[1])
    return Figure(name, written, measured.value, measured.n, measured.interval)


def _latency(measured: Performance) -> tuple[float, float] | None:
    """Return the median and the 95th percentile of the time to a complete answer."""
    p50, p95 = (latency_ms(measured, statistic).value for statistic in ("p50", "p95"))
    return None if p50 is None or p95 is None else (round(p50, 3), round(p95, 3))

"""Measure a gate's metric on one target, and say what is missing for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_modelgate.baselines import Baseline
from pytest_modelgate.contracts.bounded import OutOfTimeError, deadline
from pytest_modelgate.gates import CaseKey, Gate
from pytest_modelgate.metrics import NOTHING, Measurement
from pytest_modelgate.records import Performance, Record
from pytest_modelgate.specs import TargetKind

Records = Mapping[CaseKey, Record]

OWN_METRIC_SECONDS = 60.0
"""Time after which a user's own metric is given up."""


@dataclass(frozen=True)
class Findings:
    """
    Hold everything that gates are judged on.

    ``targets``: the kinds of the targets that are judged. ``records``: of these and of the controls. ``controls``: ids
    of the controls that ran. ``evidence``: for each target, which steps of a release were taken. ``accepting``: this
    run is to become the baseline, so that what a new baseline settles does not block. ``reference``: id of the target
    that exports must agree with. ``figures``: what preflight measured of each target, by name.
    """

    targets: Mapping[str, TargetKind]
    records: Sequence[Record]
    performances: Mapping[str, Performance] = field(default_factory=dict)
    controls: tuple[str, ...] = ()
    evidence: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    baseline: Baseline | None = None
    accepting: bool = False
    reference: str | None = None
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def ids(self) -> tuple[str, ...]:
        """Return every target that answers the cases."""
        return (*self.targets, *self.controls, *(() if self.reference is None else (self.reference,)))

    def by_target(self) -> dict[str, dict[CaseKey, Record]]:
        """Return the records of each of them by case."""
        found: dict[str, dict[CaseKey, Record]] = {name: {} for name in self.ids}
        for record in self.records:
            found[record.target][record.suite, record.case] = record
        return found


def measure(gate: Gate, target: str, findings: Findings, records: Records) -> tuple[Measurement, str | None]:
    """Return the metric for one target, and what is missing."""
    match gate.metric.source:
        case "records":
            return measure_records(gate, records, gate.cases)
        case "comparison":
            return measure_comparison(gate, findings.baseline, records)
        case "reference":
            return measure_agreement(gate, target, findings, records)
        case "preflight":
            return measure_preflight(gate, findings.figures.get(target, {}), findings.reference)
        case "performance":
            return measure_performance(gate, findings.performances.get(target))
        case "candidate":
            if target not in findings.evidence:
                return NOTHING, "not evaluated: a journal holds no manifest, card or review"
            return gate.metric.function(findings.evidence[target]), None


def measure_records(gate: Gate, records: Records, cases: Mapping[CaseKey, str]) -> tuple[Measurement, str | None]:
    """Return the metric over the records of ``cases`` that are there, and what is missing."""
    found = [records[key] for key in cases if key in records]
    judged = [record for record in found if record.outcome != "error"]
    if judged and gate.metric.is_own:
        measured, wrong = _ask_own(gate, judged)
        if wrong is not None:
            return NOTHING, f"incomplete: {gate.table.metric} {wrong}"
    else:
        measured = gate.metric.function(judged, *gate.arguments) if judged else NOTHING
    absent, broken = len(cases) - len(found), len(found) - len(judged)
    if not absent and not broken:
        return measured, None
    causes = [f"{absent} not run"] * bool(absent) + [f"{broken} with an engine error"] * bool(broken)
    return measured, f"incomplete: {absent + broken} of {len(cases)} cases have no result ({', '.join(causes)})"


def _ask_own(gate: Gate, records: Sequence[Record]) -> tuple[Measurement, str | None]:
    """Return what a user's own metric measures, and what it does instead of measuring."""
    try:
        with deadline(OWN_METRIC_SECONDS):
            measured = gate.metric.function(records, *gate.arguments)
            if not isinstance(measured, Measurement):
                return NOTHING, f"must return a Measurement, got {type(measured).__name__}"
            if gate.table.confidence is not None and measured.bounds is not None:
                measured.bounds(gate.table.confidence)  # it may raise as well
            return (
                measured,
                None if measured.is_sound() else f"returned {measured.value!r}, n = {measured.n!r}: no figure",
            )
    except OutOfTimeError:
        return NOTHING, f"was not done after {OWN_METRIC_SECONDS:g} s"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's function may raise anything
        return NOTHING, f"raised {type(error).__name__}: {error}"


def measure_comparison(gate: Gate, baseline: Baseline | None, records: Records) -> tuple[Measurement, str | None]:
    """Return a metric over pairs of a record and its baseline, and why there is none."""
    if baseline is None or why_no_baseline(baseline, gate.tasks):
        return NOTHING, why_no_baseline(baseline, gate.tasks)
    cases = {key: task for key, task in gate.cases.items() if key in baseline.records}
    if not cases:
        return NOTHING, NOTHING_IN_COMMON
    if reason := only_a_sliver(baseline, gate.cases):
        return NOTHING, reason
    _, gap = measure_records(_without_metric(gate), records, cases)
    pairs = [
        (records[key], baseline.records[key]) for key in cases if key in records and records[key].outcome != "error"
    ]
    return gate.metric.function(pairs, *gate.arguments), gap


def measure_agreement(gate: Gate, target: str, findings: Findings, records: Records) -> tuple[Measurement, str | None]:
    """Return a metric over pairs of a record and the reference's, and why there is none."""
    if findings.reference is None:
        return NOTHING, f"not evaluated: {gate.table.metric} compares with a reference: give --reference SPEC"
    if findings.reference == target:
        return NOTHING, "not evaluated: a target is no reference for itself"
    theirs = findings.by_target()[findings.reference]
    _, gap = measure_records(_without_metric(gate), records, gate.cases)
    _, their_gap = measure_records(_without_metric(gate), theirs, gate.cases)
    both = [key for key in gate.cases if key in records and key in theirs]
    pairs = [(records[key], theirs[key]) for key in both]
    answered = [pair for pair in pairs if all(record.outcome != "error" for record in pair)]
    return gate.metric.function(answered, *gate.arguments), gap or (their_gap and f"{their_gap} for the reference")


def measure_preflight(
    gate: Gate, figures: Mapping[str, float], reference: str | None
) -> tuple[Measurement, str | None]:
    """Return what preflight measured, and why there is nothing."""
    measured = gate.metric.function(figures, *gate.arguments)
    if measured.value is not None:
        return measured, None
    why = "preflight did not get so far" if reference else "it compares with a reference: give --reference SPEC"
    return NOTHING, f"not evaluated: {gate.table.metric}: {why}"


def only_a_sliver(baseline: Baseline, cases: Mapping[CaseKey, str]) -> str | None:
    """Say that too few of the accepted cases can still be compared: more than half of them were edited or removed."""
    suites = {suite for suite, _ in cases}
    tasks = set(cases.values())
    kept = sum(key in baseline.records for key in cases)
    edited = sum(key in cases for key in baseline.edited)
    removed = sum(key[0] in suites for key in baseline.removed) if tasks.intersection(baseline.tasks) else 0
    accepted = kept + edited + removed
    if edited + removed <= kept:
        return None
    return (
        f"not evaluated: only {kept} of {accepted} accepted cases are as they were; "
        f"accept this release with --modelgate-accept REASON"
    )


def _without_metric(gate: Gate) -> Gate:
    """Return the same gate with a metric that measures nothing: only what is missing is asked for."""
    return replace(gate, metric=replace(gate.metric, function=lambda *_: NOTHING))


def measure_performance(gate: Gate, performance: Performance | None) -> tuple[Measurement, str | None]:
    """Return the metric over the serial phase, and why there is none."""
    if performance is None:
        return (
            NOTHING,
            "not evaluated: nothing was measured: the run stopped before, or answers were replayed, which have no latency",
        )
    if performance.error is not None:
        return NOTHING, f"incomplete: {performance.error}"
    measured: Measurement = gate.metric.function(performance, *gate.arguments)
    return measured, None if measured.value is not None else "not evaluated: nothing was measured"


def why_no_baseline(baseline: Baseline | None, tasks: Sequence[str]) -> str | None:
    """Say why ``tasks`` cannot be compared with a baseline, or return None."""
    if baseline is None:
        return "not evaluated: no baseline yet; accept this release with --modelgate-accept REASON"
    for task in tasks:
        if reason := baseline.differences.get(task):
            return (
                f"not evaluated: the baseline of task {task!r} was judged by other rules: {reason}; "
                "accept this release with --modelgate-accept REASON"
            )
    if not any(task in baseline.tasks for task in tasks):
        return (
            f"not evaluated: no baseline yet for task {tasks[0]!r}; accept this release with --modelgate-accept REASON"
        )
    return None


NOTHING_IN_COMMON = (
    "not evaluated: no case is as it was when the baseline was accepted; accept this release with "
    "--modelgate-accept REASON"
)

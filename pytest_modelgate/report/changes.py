"""Tell what changed against the accepted baseline, case by case: what fails now that did not comes first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pytest_modelgate.baselines import Baseline, instructions_of
from pytest_modelgate.metrics import Measurement
from pytest_modelgate.metrics.comparison import win_rate
from pytest_modelgate.records import Json, Record
from pytest_modelgate.report.outcome import RunOutcome

CaseKey = tuple[str, str]
Pair = tuple[Record, Record]
"""A case as it is now, and as it was accepted."""


@dataclass(frozen=True, slots=True)
class TargetChanges:
    """
    Hold what changed between the baseline and one target, over the cases that both have.

    ``new_failures``: passed before and not now, or critical and only now failed. ``fixed``: the other way round.
    ``changed_wording``: how many passed before and pass now with another text. ``win_rates``: for each task, the share
    of cases answered better than before, equal ones by half.
    """

    target: str
    compared: int
    new_failures: tuple[Pair, ...]
    fixed: tuple[Pair, ...]
    changed_wording: int
    win_rates: Mapping[str, Measurement]

    def to_json(self) -> Json:
        """Return what report.json holds."""
        return {
            "target": self.target,
            "compared": self.compared,
            "new_failures": [
                _changed(now, before) | {"old_output": before.output} for now, before in self.new_failures
            ],
            "fixed": [_changed(now, before) for now, before in self.fixed],
            "changed_wording": self.changed_wording,
            "win_rate": {
                task: {
                    "value": measured.value,
                    "n": measured.n,
                    "interval": None if measured.interval is None else list(measured.interval),
                }
                for task, measured in self.win_rates.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Changes:
    """
    Hold what changed against the baseline.

    ``accepted``: for each task, what was accepted when and why. ``not_compared``: for each task whose answers cannot be
    compared, why. ``notes``: what else changed since that may explain what changed in the answers.
    """

    accepted: Mapping[str, Json]
    targets: tuple[TargetChanges, ...]
    new_cases: tuple[CaseKey, ...]
    removed: tuple[CaseKey, ...]
    edited: tuple[CaseKey, ...]
    not_compared: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """Return what report.json holds."""
        return {
            "accepted": [{"task": task} | dict(head) for task, head in self.accepted.items()],
            "targets": [target.to_json() for target in self.targets],
            "new_cases": _names(self.new_cases),
            "removed": _names(self.removed),
            "edited": _names(self.edited),
            "not_compared": dict(self.not_compared),
            "notes": list(self.notes),
        }


def find_changes(outcome: RunOutcome) -> Changes | None:
    """Return what changed against the baseline, or None where there is none."""
    baseline = outcome.release.rules.baseline
    if baseline is None:
        return None
    quarantined = outcome.release.rules.quarantine.active
    return Changes(
        accepted={task: _provenance(head) for task, head in baseline.provenance.items()},
        targets=tuple(_of_target(outcome, baseline, target.id) for target in outcome.release.judged),
        new_cases=baseline.new,
        # A quarantined case is compared with nothing, but it is still there.
        removed=tuple(key for key in baseline.removed if key not in quarantined),
        edited=baseline.edited,
        not_compared=baseline.differences,
        notes=tuple(_notes(outcome, baseline)),
    )


def _notes(outcome: RunOutcome, baseline: Baseline) -> Iterator[str]:
    """Yield what changed since the baseline was accepted that does not keep answers from being compared."""
    heads = baseline.provenance
    for name, task in outcome.release.tasks.items():
        if heads.get(name, {}).get("instructions") not in {None, instructions_of(task)}:
            yield f"the system text or prompt of task {name!r} changed since"
    gates = outcome.release.gates_file
    if any(head.get("gates_sha256") not in {None, gates.sha256} for head in heads.values()):
        yield f"{gates.path.name} changed since"


def wants_baseline(outcome: RunOutcome) -> bool:
    """Say whether some gate compares with a baseline."""
    return any(
        gate.metric.source == "comparison"
        or gate.table.max_regression is not None
        or gate.table.max_increase is not None
        for gate in outcome.release.gates
    )


def _of_target(outcome: RunOutcome, baseline: Baseline, target: str) -> TargetChanges:
    accepted = {
        key: record for key, record in baseline.records.items() if record.task not in baseline.differences
    }  # what was judged by other rules says nothing
    pairs = [
        (record, accepted[record.suite, record.case])
        for record in outcome.of(target)
        if (record.suite, record.case) in accepted and record.outcome != "error"
    ]
    both = [(now, before) for now, before in pairs if now.outcome == before.outcome == "passed"]
    by_task = {task: [pair for pair in pairs if pair[0].task == task] for task in baseline.tasks}
    rates = {task: win_rate(own) for task, own in by_task.items() if own}
    return TargetChanges(
        target=target,
        compared=len(pairs),
        new_failures=tuple(sorted(((now, before) for now, before in pairs if _is_worse(now, before)), key=_worst)),
        fixed=tuple((now, before) for now, before in pairs if _is_worse(before, now)),
        changed_wording=sum(now.output != before.output for now, before in both),
        win_rates={task: rate for task, rate in rates.items() if rate.value is not None},
    )


def _is_worse(one: Record, other: Record) -> bool:
    """Say whether ``one`` is wrong where ``other`` was right, or wrong in what makes the case critical."""
    return _severity(one) < _severity(other)


def _worst(pair: Pair) -> tuple[int, bool, float]:
    """Return what puts a failed case first, then critical ones, then what is wrong in most."""
    now, _ = pair
    return _severity(now), not now.critical, now.scores.get("quality", 0.0)


def _severity(record: Record) -> int:
    return ("failed", "missed", "passed").index(record.outcome) if record.outcome != "error" else 0


def _changed(now: Record, before: Record) -> Json:
    return {
        "suite": now.suite,
        "case": now.case,
        "location": now.location,
        "critical": now.critical,
        "was": before.outcome,
        "now": now.outcome,
    }


def _provenance(head: Json) -> Json:
    """Return what a reader wants to know of an accepted baseline; the file is the user's, and may hold anything."""
    target = head.get("target")
    found = {
        "created": head.get("created"),
        "reason": head.get("reason"),
        "target": target.get("id") if isinstance(target, dict) else None,
        "commit": head.get("commit"),
    }
    return {name: None if value is None else str(value) for name, value in found.items()}


def _names(keys: Iterable[CaseKey]) -> list[str]:
    return [f"{suite}/{case}" for suite, case in keys]

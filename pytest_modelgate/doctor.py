"""Examine a project's gates before a model is trained: what each can see with its cases, and what to do about it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pytest_modelgate.gates import Gate
from pytest_modelgate.power import Check, examine
from pytest_modelgate.records import Json
from pytest_modelgate.release import Rules, load_rules

SMALL = 60
"""Cases under which a suite says little of anything."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """
    Hold what there is to say.

    ``project``: what is no single gate's, by topic. ``advice``: one line for each problem.
    """

    gates_file: str
    checks: tuple[Check, ...]
    project: Json
    advice: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Say whether every blocking gate can pass and can fail."""
        return not any(check.is_stuck for check in self.checks)

    def to_json(self) -> Json:
        """Return everything as primitives."""
        about = {"gates_file": self.gates_file, "is_sound": self.is_sound, "project": self.project}
        checks = [asdict(check) | {"is_stuck": check.is_stuck} for check in self.checks]
        return about | {"checks": checks, "advice": list(self.advice)}

    def lines(self) -> Iterator[str]:
        """Yield the report for a reader: a block for each limit, the project, one line of advice for each problem."""
        yield f"{self.gates_file}: what each limit can see"
        for check in self.checks:
            how = "by the observed value" if check.confidence is None else f"at {check.confidence:.0%} confidence"
            least = f", min_n = {check.min_n}" if check.min_n > 1 else ""
            severity = "" if check.severity == "block" else ", warns only"
            yield ""
            yield f"{'!!' if check.is_stuck else '  '} {check.gate}: {check.limit} {how}; {check.size}{least}{severity}"
            yield from (f"      {text}" for text in check.says)
        yield ""
        for topic, found in self.project.items():
            names = [f"{name} ({what})" for name, what in found.items()] if isinstance(found, dict) else found
            yield f"{topic.replace('_', ' ')}: {', '.join(names) or 'none'}"
        yield ""
        yield from (f"advice: {line}" for line in self.advice or ("none",))


def diagnose(gates_path: Path, today: dt.date | None = None) -> Diagnosis:
    """
    Examine the gates of a project.

    Raises what :func:`~pytest_modelgate.release.load_rules` does, and the first error of a suite.
    """
    rules = load_rules(gates_path)
    if broken := next((file.error for file in rules.files if file.error), None):
        raise broken
    checks: list[Check] = []
    for gate in rules.gates:
        found = list(examine(gate, rules))
        for check in found:
            check.advice.extend(_advise(check))
        found[0].advice.extend(_advise_gate(found[0], gate))
        checks.extend(found)
    project = _examine_project(rules, today or dt.datetime.now(dt.UTC).date())
    advice = [line for check in checks for line in check.advice]
    return Diagnosis(gates_path.name, tuple(checks), project, (*advice, *_advise_project(project, rules)))


def _has_no_min_n(gate: Gate) -> bool:
    return gate.table.confidence is not None and "min_n" not in gate.table.model_fields_set


def _advise(check: Check) -> Iterator[str]:
    """Yield one line for each problem of a limit."""
    name, needed, proves = f"{check.gate} ({check.limit})", check.figures.get("needs"), check.figures.get("proves")
    unit = "groups" if check.groups < check.n else check.unit
    if check.can_pass is False:
        ways = []
        if check.n < check.min_n:
            ways.append(f"min_n is {check.min_n}, and only {check.n} {check.unit} count")
        elif needed is not None and needed > check.groups:
            ways.append(f"have {needed} {unit} instead of {check.groups}")
        if check.confidence is not None and proves is not None and 0 < proves < 1:
            clean = "unchanged" if "unchanged" in check.figures else "clean"
            ways.append(f"ask for {proves:g}, which {check.groups} {clean} {unit} prove")
        yield f"{name} cannot pass: {', or '.join(ways) or 'ask for less'}"
    if check.can_fail is False:
        yield f"{name} cannot fail, so it guards nothing: choose a stricter limit, or have more {unit} than {check.groups}"


def _advise_gate(check: Check, gate: Gate) -> Iterator[str]:
    """Yield one line for each problem of a gate as a whole."""
    if _has_no_min_n(gate):
        yield f"{gate.name} has confidence, but no min_n: write min_n = {check.n}, so that a thinned suite is noticed"
    if gate.metric.source == "performance" and not gate.table.targets:
        yield f'{gate.name} blocks a replay, which has no times: add targets = ["gguf"]'


def _examine_project(rules: Rules, today: dt.date) -> Json:
    """Return what no single gate shows, by topic."""
    sizes = Counter(case.suite for case in rules.cases)
    guarded = {case.task for case in rules.cases if case.critical}
    baseline = rules.baseline
    return {
        "cases": dict(sizes),
        "tasks_without_critical_cases": [task for task in rules.tasks if task not in guarded],
        "small_suites": {suite: n for suite, n in sizes.items() if n < SMALL},
        "gates_with_confidence_but_no_min_n": [gate.name for gate in rules.gates if _has_no_min_n(gate)],
        "gates_for_every_kind_of_target": [gate.name for gate in rules.gates if not gate.table.targets],
        # Below 0: the quarantine is over, and the case counts again.
        "quarantined_cases_and_days_left": {
            name: (table.until - today).days for name, table in rules.gates_file.quarantine.items()
        },
        "baseline": {} if baseline is None else {task: _describe_baseline(rules, task) for task in baseline.tasks},
    }


def _describe_baseline(rules: Rules, task: str) -> str:
    """Say how much of a task's baseline can be compared."""
    if rules.baseline is None:
        return "none"
    if reason := rules.baseline.differences.get(task):
        return f"other rules: {reason}"
    counting = {(case.suite, case.id) for case in rules.cases if case.task == task} - set(rules.quarantine.active)
    return f"{len(counting & set(rules.baseline.records))} of {len(counting)} cases"


def _advise_project(project: Json, rules: Rules) -> Iterator[str]:
    """Yield one line for each problem that is no single gate's."""
    for task in project["tasks_without_critical_cases"]:
        yield f"task {task!r} has no critical case: mark the plain ones whose failure costs you most"
    for suite, n in project["small_suites"].items():
        yield f"suite {suite!r} has {n} cases: one case moves a share by {1 / n:.1%}; have {SMALL} or more"
    for name, left in project["quarantined_cases_and_days_left"].items():
        if left < 0:
            yield f"the quarantine of {name} is over: take it out of gates.toml, or prove anew that the case flips"
    compared = [
        gate.name
        for gate in rules.gates
        if gate.table.max_regression is not None or gate.table.max_increase or gate.metric.source == "comparison"
    ]
    if compared and rules.baseline is None:
        yield f"no baseline yet, so {', '.join(compared)} cannot judge: accept a release with --modelgate-accept REASON"
    for task, reason in (rules.baseline.differences if rules.baseline else {}).items():
        yield f"the baseline of task {task!r} was judged by other rules ({reason}): accept a release anew"

"""
Imagine models that are right everywhere, wrong everywhere or wrong so many times, and ask what a gate decides.

The decision is :func:`~pytest_modelgate.evaluation.evaluate`'s own, so that what is said of a gate cannot drift from
what it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_modelgate.baselines import Baseline
from pytest_modelgate.cases import Case
from pytest_modelgate.evaluation import Findings, evaluate
from pytest_modelgate.gates import Gate, GateOutcome
from pytest_modelgate.metrics import NOTHING, Measurement, Pool
from pytest_modelgate.metrics.measurement import pooled, share
from pytest_modelgate.records import Json, Performance, Record, Sample
from pytest_modelgate.release import Rules

_KEY, _TASK = ("imagined", "case"), "imagined"
_NO_LIMIT: Json = {"min": None, "max": None, "max_regression": None, "max_increase": None, "uplift_over": {}}


def decide(gate: Gate, limit: Json, now: Measurement, before: Measurement | None = None) -> GateOutcome:
    """
    Return the outcome of one limit of ``gate`` for a model that measures ``now``.

    ``limit``: the limit as in gates.toml. ``before``: what the accepted release, or the control, measures.
    """
    names = ("now", *limit.get("uplift_over", ("before",)))
    records = [Record(name, _KEY[0], _TASK, _KEY[1], "passed") for name in names]

    def measure(found: Sequence[Record], *_: str) -> Measurement:
        other = NOTHING if before is None else before
        return now if found[0].target == "now" else other

    asked = replace(
        gate,
        table=gate.table.model_copy(update=_NO_LIMIT | {"targets": ()} | limit),
        metric=replace(gate.metric, source="records", function=measure),
        cases={_KEY: _TASK},
    )
    baseline = Baseline(records={_KEY: records[1]}, tasks=(_TASK,))
    findings = Findings({"now": "gguf"}, records, controls=names[1:], baseline=baseline)
    return evaluate([asked], findings)[0].outcome


def is_count(gate: Gate) -> bool:
    """Say whether the gate's metric counts cases, so that its value needs no answer to be imagined."""
    return gate.metric.is_count or (gate.metric.source == "comparison" and not gate.metric.is_ratio)


def extremes(gate: Gate, cases: Sequence[Case], rules: Rules) -> tuple[Measurement, Measurement]:
    """Return what the best and the worst model would measure on ``cases``; nothing where that cannot be imagined."""
    metric, groups = gate.metric, tuple(case.group for case in cases)
    if metric.source == "candidate":
        return Measurement(1.0, 1), Measurement(0.0, 1)
    if metric.source == "performance":
        fast, slow = _performance(rules, 1e-6, 1), _performance(rules, 1e6, 10**15)
        return metric.function(fast, *gate.arguments), metric.function(slow, *gate.arguments)
    if not cases:
        return NOTHING, NOTHING
    if is_count(gate) or (metric.flag is not None and metric.suffix != "label"):
        return with_wrong(gate, groups, 0), with_wrong(gate, groups, len(cases))
    if metric.source == "comparison" or not metric.is_ratio:
        return NOTHING, NOTHING  # a figure of two models, or a user's own
    # One right answer: where all draws of a bootstrap are alike there is no bound, and almost wrong is what is meant.
    spared = cases[:1] if gate.table.confidence is not None and metric.flag is None else ()
    if any(_answer(case, rules) is None for case in cases):
        return _mean_score(groups, 0), _mean_score(groups, len(cases) - len(spared))
    right = [_record(case, rules, right=True) for case in cases]
    wrong = [_record(case, rules, right=case in spared) for case in cases]
    return metric.function(right, *gate.arguments), metric.function(wrong, *gate.arguments)


def with_wrong(gate: Gate, groups: Sequence[str | None], wrong: int) -> Measurement:
    """Return what ``wrong`` wrong answers measure, of a share or a count; in which groups they lie changes nothing."""
    if is_count(gate):
        return Measurement(float(wrong if gate.metric.better == "lower" else len(groups) - wrong), len(groups))
    higher = gate.metric.better == "higher"
    return share([(number >= wrong) == higher for number in range(len(groups))], groups)


def _mean_score(groups: tuple[str | None, ...], wrong: int) -> Measurement:
    """Return the mean of scores of which ``wrong`` are 0 and the others 1, as of a figure whose best value is 1."""
    scores = np.ones((len(groups), 2))
    scores[len(groups) - wrong :, 0] = 0
    return pooled(Pool(scores, groups, lambda sums: sums[..., 0] / sums[..., 1]))


def _answer(case: Case, rules: Rules) -> str | None:
    """Return the text of a right answer; None for a task whose judge may be a model that is asked over the network."""
    task = rules.tasks[case.task]
    return None if task.kind == "rubric" else task.judge.answer(case)


def _record(case: Case, rules: Rules, *, right: bool) -> Record:
    """Return the record of the right answer, or of none, as far as the task's kind judges it."""
    answer = _answer(case, rules) if right else None
    found = rules.tasks[case.task].judge.judge(case, answer or "")
    return Record(
        target="imagined",
        suite=case.suite,
        task=case.task,
        case=case.id,
        outcome="passed",
        group=case.group,
        scores=found.scores,
        labels=found.labels,
        counts=found.counts,
    )


def _performance(rules: Rules, seconds: float, peak: int) -> Performance:
    """Return a serial phase in which every answer took so long."""
    table = rules.gates_file.performance
    n = min(table.sample, sum(case.suite == table.suite for case in rules.cases))
    samples = tuple(Sample("imagined", seconds, seconds, 1) for _ in range(n))
    return Performance("imagined", samples, peak, rules.gates_file.prices.machine_per_hour)

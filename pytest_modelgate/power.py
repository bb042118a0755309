"""
Say what each limit of a gate can see with its cases: whether it can pass, whether it can fail, and from when.

A gate *can pass* if a model that is right everywhere passes it; one that compares with the last release, if the same
answers do. It *can fail* if some model fails it.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pytest_modelgate import statistics
from pytest_modelgate.gates import Gate
from pytest_modelgate.imagined import decide, extremes, is_count, with_wrong
from pytest_modelgate.metrics import Measurement
from pytest_modelgate.records import Json
from pytest_modelgate.release import Rules
from pytest_modelgate.tables import IncreaseTable

CHANGED = 0.05
"""Share of answers that are taken to differ between two releases."""

POWER = 0.8
"""Chance with which a gate sees what it is said to see: four releases of five."""

CONFIDENCE = 0.95
"""What is told of gates that ask for no confidence is told at this one."""


@dataclass(slots=True)
class Check:
    """
    Hold what one limit of one gate can see.

    ``can_pass`` and ``can_fail`` are None where nothing is known. ``figures``: numbers by name; ``says``: the same in
    words. ``advice``: one line for each problem.
    """

    gate: str
    limit: str
    n: int
    groups: int
    unit: str
    confidence: float | None
    min_n: int
    severity: str
    can_pass: bool | None = None
    can_fail: bool | None = None
    figures: Json = field(default_factory=dict)
    says: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    @property
    def is_stuck(self) -> bool:
        """Say whether the gate can never pass or never fail, and blocks."""
        return self.severity == "block" and (self.can_pass is False or self.can_fail is False)

    @property
    def size(self) -> str:
        """Return what it rests on, as a text."""
        unit = self.unit.removesuffix("s") if self.n == 1 else self.unit
        return f"{self.n} {unit}" + (f" in {self.groups} groups" if self.groups < self.n else "")

    def say(self, text: str, **figures: Any) -> None:
        """Add a sentence and the numbers in it."""
        self.figures |= figures
        self.says.append(text)


def examine(gate: Gate, rules: Rules) -> Iterator[Check]:
    """Yield one check for each limit of ``gate``, and for each task where tasks are compared one by one."""
    table, metric = gate.table, gate.table.metric
    if table.min is not None:
        yield _check(gate, rules, f"{metric} >= {table.min:g}", {"min": table.min})
    if table.max is not None:
        yield _check(gate, rules, f"{metric} <= {table.max:g}", {"max": table.max})
    for task in gate.tasks if table.max_regression is not None else ():
        text = f"{metric} at most {table.max_regression:g} worse than the baseline of task {task!r}"
        yield _check(gate, rules, text, {"max_regression": table.max_regression}, task)
    if (increase := table.max_increase) is not None:
        text = f"{metric} at most {increase.ratio:g} times the baseline's, or {increase.ms:g} ms more"
        yield _check(gate, rules, text, {"max_increase": increase})
    for control, least in table.uplift_over.items():
        text = f"{metric} at least {least:g} better than {control!r}"
        yield _check(gate, rules, text, {"uplift_over": {control: least}})


def _check(gate: Gate, rules: Rules, text: str, limit: Json, task: str | None = None) -> Check:
    table, metric = gate.table, gate.metric
    [(key, value)] = limit.items()
    compared = rules.baseline if key == "max_regression" or metric.source == "comparison" else None
    keys = {at for at, its in gate.cases.items() if task in {None, its} and (not compared or at in compared.records)}
    good, bad = extremes(gate, [case for case in rules.cases if (case.suite, case.id) in keys], rules)
    n = good.n or len(keys)
    groups = n if good.pool is None else len({i if g is None else g for i, g in enumerate(good.pool.groups)})
    unit = {"performance": "times", "candidate": "candidates"}.get(metric.source, "cases")
    check = Check(gate.name, text, n, groups, unit, table.confidence, table.min_n, table.severity)
    if good.value is None or isinstance(value, IncreaseTable):
        check.say("what it can see depends on the model, or on a baseline that is not there yet")
        return check
    models = {"max_regression": ((good, good), (bad, good)), "uplift_over": ((good, bad), (bad, good))}
    outcomes = {decide(gate, limit, *imagined) for imagined in models.get(key, ((good, None), (bad, None)))}
    check.can_pass, check.can_fail = "passed" in outcomes, "failed" in outcomes
    if not check.can_pass:
        best = (
            "with the same answers" if key == "max_regression" else "at its fastest" if unit == "times" else "all right"
        )
        check.say(f"cannot pass with these {unit}, not even {best}")
    if not check.can_fail:
        check.say("cannot fail, whatever the model answers")
    is_share = good.pool is not None and good.pool.is_share
    if key == "max_regression":
        _say_changes(check, value, is_share=is_share)
    elif key == "uplift_over" and is_share:
        _say_wins(check, gate, limit, good)
    elif metric.suffix == "statistic" and gate.arguments != ("mean",):
        _say_times(check, gate)
    elif (is_share or is_count(gate)) and (key == "min") == (metric.better == "higher"):
        _say_wrong(check, gate, limit, good)
    elif table.confidence is None and metric.source == "records":
        check.say("passes or fails by the value alone; how many wrong answers that allows depends on which they are")
    if key in {"min", "max"} and (is_share or (table.confidence is not None and metric.is_ratio)):
        _say_needed(check, value if key == "min" else 1 - value, key, is_share=is_share)
    return check


def _say_wrong(check: Check, gate: Gate, limit: Json, good: Measurement) -> None:
    """Say how many wrong answers pass, and from how many on it fails."""
    groups = (None,) * good.n if good.pool is None else good.pool.groups

    def last(*outcomes: str) -> int:
        """Return the largest number of wrong answers with one of these outcomes."""
        return _last(lambda wrong: decide(gate, limit, with_wrong(gate, groups, wrong)) in outcomes, check.n)

    passes, fails = last("passed"), last("passed", "inconclusive") + 1
    most = f"{passes} wrong of {check.n} still pass" if passes >= 0 else "no number of wrong answers passes"
    observed = with_wrong(gate, groups, fails).value if fails <= check.n else None
    worst = "none make it fail" if observed is None else f"{fails} fail (observed {observed:.4g})"
    unsure = "; in between is inconclusive, which " + ("blocks" if gate.table.on_inconclusive == "block" else "warns")
    text = f"{most}, {worst}{unsure if fails > passes + 1 else ''}"
    check.say(text, passes_up_to=passes, fails_from=fails if fails <= check.n else None, fails_at=observed)
    if 0 <= passes < check.n:
        seen = statistics.exact_bounds(passes * check.groups / check.n, check.groups, POWER)[1]
        check.say(f"a model that is wrong in {seen:.1%} of cases is stopped four times of five", sees=round(seen, 5))


def _say_needed(check: Check, proved: float, key: str, *, is_share: bool) -> None:
    """Say with how many cases the limit could be proved."""
    confidence = check.confidence or CONFIDENCE
    clean, one = (statistics.cases_needed(proved, confidence, wrong) for wrong in (0, 1))
    unit = "groups" if check.groups < check.n else "cases"
    about = "" if is_share else "counted as a share: "
    what = "proving it at" if check.confidence else "the observed value proves nothing; proof at"
    text = f"{about}{what} {confidence:.0%} takes {clean} clean {unit}, or {one} with one wrong"
    check.say(text if clean else "no number of cases can prove it", needs=clean, needs_with_one_wrong=one)
    proves = math.floor(1e4 * statistics.exact_bounds(check.groups, check.groups, confidence)[0]) / 1e4
    check.figures["proves"] = proves if key == "min" else round(1 - proves, 4)


def _say_times(check: Check, gate: Gate) -> None:
    """Say whether the sample bounds a percentile."""
    confidence, statistic = check.confidence or CONFIDENCE, gate.arguments[0]
    needed = statistics.values_needed(float(statistic.removeprefix("p")), confidence)
    by = "" if check.confidence else "passes or fails by the value alone; "
    check.say(f"{by}a bound on {statistic} at {confidence:.0%} needs {needed} times, there are {check.n}", needs=needed)


def _say_changes(check: Check, margin: float, *, is_share: bool) -> None:
    """Say how many lost answers block, how large a drop is seen, and how often an unchanged model passes."""
    pairs, confidence = check.groups, check.confidence
    differ = max(1, round(CHANGED * pairs))
    passes, fails = statistics.paired_limits(differ, pairs, margin, confidence)
    lost = f"up to {passes} lost pass" if passes >= 0 else "it does not pass even with none lost"
    fail = f"{fails} lost fail" if fails <= differ else "not even all lost fail"
    about = "" if is_share else "counted as a share: "
    unit = "groups" if check.groups < check.n else "answers"
    text = f"{about}where {differ} of {pairs} {unit} differ ({CHANGED:.0%}), {lost}, {fail}"
    check.say(text, differ=differ, passes_up_to=passes, fails_from=fails if fails <= differ else None)
    failed, unsure, passed = statistics.paired_chances(pairs, margin, confidence, 0.0, CHANGED)
    text = f"an unchanged model then passes {passed:.0%} of releases, {unsure:.0%} are inconclusive, {failed:.1%} fail"
    check.say(text, unchanged={"passed": passed, "inconclusive": unsure, "failed": failed})
    seen = _smallest_drop(pairs, margin, confidence)
    text = "no true drop fails" if seen is None else f"a true drop of {seen:.3f} fails"
    check.say(f"{text} four times of five", sees=seen)
    needed = statistics.pairs_needed(margin, confidence or CONFIDENCE, CHANGED, POWER)
    at = "" if confidence else f" at {CONFIDENCE:.0%} confidence"
    text = f"about {needed} pairs let an unchanged model pass four times of five{at}"
    check.say(text if needed else "no number of pairs proves a margin of 0", needs=needed)
    if confidence is not None:
        same, _ = statistics.paired_bounds(0, 0, pairs, confidence)
        check.figures["proves"] = math.ceil(-1e4 * same) / 1e4
    # A sign test of m changes that are all losses: p = 0.5 ** m, as for m clean cases and a share of one half.
    fewest = statistics.cases_needed(0.5, CONFIDENCE) or 0
    if differ < fewest:
        check.say(f"exact McNemar needs {fewest} differing answers for one-sided p <= 0.05", mcnemar_needs=fewest)


def _smallest_drop(pairs: int, margin: float, confidence: float | None) -> float | None:
    """Return the smallest true drop that fails with :data:`POWER`; None where none does."""

    def fails(drop: float) -> bool:
        return statistics.paired_chances(pairs, margin, confidence, drop, max(CHANGED, drop))[0] >= POWER

    if not fails(1.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (low, middle) if fails(middle) else (middle, high)
    return round(high, 4)


def _say_wins(check: Check, gate: Gate, limit: Json, good: Measurement) -> None:
    """Say how many answers must be won over the control."""
    groups = () if good.pool is None else good.pool.groups
    won = 1 + _last(lambda wrong: decide(gate, limit, good, with_wrong(gate, groups, wrong)) != "passed", check.n)
    text = f"with none lost, {won} of {check.n} answers must be won"
    check.say(text if won <= check.n else "it takes more than all answers", passes_from=won)


def _last(holds: Callable[[int], bool], n: int) -> int:
    """Return the last number up to ``n`` that ``holds``, of a condition that stops being true; -1 where none does."""
    return bisect.bisect_left(range(n + 1), 1, key=lambda number: not holds(number)) - 1

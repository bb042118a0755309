"""Say in a model card how the gate judged the candidate, beside what it had to beat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_modelgate.report.escape import code, markdown

from .baseline import BASE, LARGER, PROGRAM, PROMPTED
from .tables import NOT_MEASURED, between, megabytes, number, table

SUITES = {"golden": "golden", "heldout": "held-out"}

_ARMS = {
    BASE: "untuned base",
    PROMPTED: "base with a better prompt",
    PROGRAM: "deterministic program",
    LARGER: "larger model",
}
_SHOWN = 10  # reasons at the top of a card; the report has them all


def verdict_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the verdict, and why."""
    evaluation = manifest["evaluation"]
    if evaluation is None:
        yield "**Not evaluated yet.**"
        return
    when = f"judged on {evaluation['created']} by {code(evaluation['gates_file']['path'])}"
    if evaluation["verdict"] == "passed":
        yield f"**PASSED**, {when}."
        return
    yield f"**BLOCKED**, {when}: this candidate is not to be released."
    yield ""
    yield from (f"- {markdown(reason, 300)}" for reason in evaluation["reasons"][:_SHOWN])
    if (more := len(evaluation["reasons"]) - _SHOWN) > 0:
        yield f"- and {more} more reasons, in evaluation/summary.md"


def evaluation_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield for each task a table of the primary metric: what had to be beaten, then what is judged."""
    evaluation = manifest["evaluation"]
    if evaluation is None:
        yield NOT_MEASURED
        return
    yield "Intervals are 95 %, two-sided; differences are taken case by case."
    if reason := manifest["baseline"].get("skipped"):
        yield f"The baseline was not measured: {markdown(reason)}."
    targets = evaluation["targets"]
    known = [*_ARMS, *(name for name in targets if name not in _ARMS)]
    for task in manifest["tasks"]:
        metric = next((one["figures"][task]["metric"] for one in targets.values()), "")
        yield ""
        yield f"{code(task)}, {code(metric)}:"
        yield ""
        heads = ("model", *SUITES.values(), "better than the base by, held-out", "breaks a contract", "verdict")
        yield from table(heads, [_arm_row(name, targets.get(name), task) for name in known])
    yield ""
    suites = [
        (markdown(one["suite"]), code(one["path"]), str(one["n"]), str(one["critical"])) for one in evaluation["suites"]
    ]
    yield from table(("suite", "file", "cases", "critical"), suites)


def gate_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield every gate with its outcome."""
    evaluation = manifest["evaluation"]
    if evaluation is None:
        return
    rows = [
        (
            code(gate["name"]),
            code(gate["target"] or ""),
            code(gate["metric"]),
            ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in gate["limit"].items()),
            number(gate["observed"]) + between(gate["interval"]),
            str(gate["n"]),
            gate["outcome"] if gate["blocks"] or gate["outcome"] == "passed" else f"{gate['outcome']}, warns only",
        )
        for gate in evaluation["gates"]
    ]
    yield ""
    yield from table(("gate", "target", "metric", "limit", "observed", "n", "outcome"), rows)


def speed_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield time and memory, one request at a time."""
    evaluation = manifest["evaluation"]
    if evaluation is None:
        yield NOT_MEASURED
        return
    machine = evaluation["machine"]
    yield f"One request at a time, on {markdown(str(machine['cpu']))}, {machine['cores']} cores."
    yield ""
    heads = ("model", "requests", "p50, ms", "p95, ms", "p99, ms", "first token p50, ms", "tokens/s", "peak memory, MB")
    yield from table(heads, [_speed_row(name, one["performance"]) for name, one in evaluation["targets"].items()])


def limit_lines(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the measurements say against the candidate, or leave open."""
    evaluation = manifest["evaluation"]
    if evaluation is None:
        return
    judged = {name: one for name, one in evaluation["targets"].items() if one["role"] == "model"}
    others = {name: one for name, one in evaluation["targets"].items() if one["role"] != "model"}
    for task in manifest["tasks"]:
        for suite in SUITES:
            yield from _least_sure(task, suite, judged)
            yield from _not_beaten(task, suite, judged, others)
    wrong = {case: None for one in judged.values() for case in one["failing"]}
    if wrong:
        yield f"- Answered wrongly, for example: {', '.join(code(case) for case in wrong)}."
    for name, one in judged.items():
        if one["errors"]:
            why = markdown(one["first_error"], 200)
            yield f"- {code(name)} gave no answer to {one['errors']} of {one['cases']} cases: {why}"
        if one["inputs_cut"]:
            yield f"- {code(name)} was shown {one['inputs_cut']} of {one['cases']} inputs shortened."


def _least_sure(task: str, suite: str, judged: Mapping[str, Any]) -> Iterator[str]:
    """Yield how little is known of a task's figure: the widest interval of all that is judged."""
    figures = {name: one["figures"][task] for name, one in judged.items()}
    where = f"{code(task)}, {SUITES[suite]} cases"
    for name, figure in figures.items():
        if figure[suite] is None:
            yield f"- {where}: {code(figure['metric'])} of {code(name)} was not measured."
    spans = {name: one["interval"][suite] for name, one in figures.items() if one["interval"].get(suite) is not None}
    if spans:
        name = max(spans, key=lambda one: spans[one][1] - spans[one][0])
        figure = figures[name]
        yield (
            f"- {where}: {figure['n'][suite]} cases leave open where in{between(spans[name])} the "
            f"{code(figure['metric'])} of {code(name)} lies."
        )


def _not_beaten(task: str, suite: str, judged: Mapping[str, Any], others: Mapping[str, Any]) -> Iterator[str]:
    """Yield the arms that something judged does not beat."""
    for arm, one in others.items():
        theirs = one["figures"][task][suite]
        worse = [
            name
            for name, mine in judged.items()
            if theirs is not None and (own := mine["figures"][task][suite]) is not None and own <= theirs
        ]
        if worse:
            names = ", ".join(code(name) for name in worse)
            yield f"- {code(task)}, {SUITES[suite]} cases: not better than {code(arm)} ({number(theirs)}): {names}."


def _arm_row(name: str, target: Mapping[str, Any] | None, task: str) -> tuple[str, ...]:
    """Return one row of a task's table."""
    shown = f"{code(name)}, {_ARMS[name]}" if name in _ARMS else code(name)
    if target is None:
        return (shown, *[NOT_MEASURED] * 4, "")
    figure = target["figures"][task]
    values = [
        number(figure[suite]) + between(figure["interval"].get(suite)) + f", n = {figure['n'].get(suite, 0)}"
        for suite in SUITES
    ]
    change = figure["over_base"].get("heldout")
    better = "" if change is None else number(change["value"], sign=True) + between(change["interval"], sign=True)
    return (shown, *values, better, number(target["contract_error_rate"]), target["verdict"] or "")


def _speed_row(name: str, measured: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return one row of the table of times."""
    if measured is None or measured["error"] is not None or measured["latency_ms"] is None:
        return (code(name), *[NOT_MEASURED] * 7)
    latency = [number(measured["latency_ms"][part]) for part in ("p50", "p95", "p99")]
    first = number((measured["ttft_ms"] or {}).get("p50"))
    speed = number(measured["tokens_per_second"] or None)
    return (code(name), str(measured["n"]), *latency, first, speed, megabytes(measured["peak_rss_bytes"]))

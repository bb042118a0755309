"""Write the summary that a tired engineer reads when a release is blocked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_modelgate.gates import GateResult, gate_id
from pytest_modelgate.report.arms import absent, compare_arms
from pytest_modelgate.report.changes import find_changes, wants_baseline
from pytest_modelgate.report.error_analysis import Cluster, analyse_errors
from pytest_modelgate.report.escape import plain
from pytest_modelgate.report.ladder import chosen_text, ladder_rows
from pytest_modelgate.report.misses import describe_miss, worst_first
from pytest_modelgate.report.noise import expired, flips, quarantined, repeat_heads
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.report.preflight import check_lines
from pytest_modelgate.report.raw_validity import raw_validity_text
from pytest_modelgate.report.speed import speed_notes, speed_rows
from pytest_modelgate.report.words import (
    accepted_text,
    case_changes_text,
    cause_text,
    compared_text,
    cuts_text,
    figure_text,
    interval_text,
    latency_text,
    limit_text,
    number,
    percent,
    symbol,
    target_changes_text,
)
from pytest_modelgate.targets import Target

SHOWN_MISSES = 3
SHOWN_CLUSTERS = 3
SHOWN_CHANGES = 3
SHOWN_FLIPS = 5

Line = tuple[str, str]
"""A line, and the colour that it may be shown in (empty for none)."""


def summary_lines(outcome: RunOutcome) -> Iterator[Line]:
    """Yield the summary: gates, then what went wrong, then what it is compared with, the verdict last."""
    yield from _check_lines(outcome)
    yield from gate_lines(outcome.gates)
    yield "", ""
    yield from _target_lines(outcome)
    yield from _arm_lines(outcome)
    yield from _speed_lines(outcome)
    yield from _ladder_lines(outcome)
    yield from _baseline_lines(outcome)
    yield from _noise_lines(outcome)
    yield from _miss_lines(outcome)
    yield "", ""
    if chosen := chosen_text(outcome):
        yield chosen, ""
    if outcome.verdict == "passed":
        yield "verdict: passed", "green"
    else:
        yield "verdict: blocked", "red"
        yield from ((f"  {plain(reason, 300)}", "red") for reason in outcome.reasons)
    if outcome.accepted is not None:
        yield plain(outcome.accepted, 500), ""


def _check_lines(outcome: RunOutcome) -> Iterator[Line]:
    """Yield what preflight found, for each target that it looked at."""
    for target in outcome.release.judged:
        if found := [one for one in outcome.preflight if one.target == target.id]:
            yield from check_lines(target.id, found)
    if outcome.preflight:
        yield "", ""


def _ladder_lines(outcome: RunOutcome) -> Iterator[Line]:
    """Yield the judged targets side by side, where there are several."""
    rows = ladder_rows(outcome)
    if rows:
        yield "", ""
        yield from _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[Line]:
    """Yield rows in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip(), ""


def gate_lines(gates: tuple[GateResult, ...]) -> Iterator[tuple[str, str]]:
    """Yield one line for each gate result: mark, id, observed, limit, n, interval, reason."""
    if not gates:
        return
    names = [gate_id(gate) for gate in gates]
    observed = ["" if gate.observed is None else number(gate.observed) for gate in gates]
    limits = [limit_text(gate) for gate in gates]
    notes = [_note(gate) for gate in gates]
    widths = [max(map(len, column)) for column in (names, observed, limits)]
    for gate, name, value, limit, note in zip(gates, names, observed, limits, notes, strict=True):
        columns = f"{name:<{widths[0]}}  {value:>{widths[1]}}  {limit:<{widths[2]}}"
        yield f"{symbol(gate)} {columns}  {note}".rstrip(), _colour(gate)


def _note(gate: GateResult) -> str:
    """Return n, interval and, where the outcome needs explaining, the reason."""
    parts = [f"n={gate.n}"] if gate.n else []
    parts += [part for part in (interval_text(gate), compared_text(gate)) if part]
    if gate.outcome != "passed":
        parts.append(plain(gate.reason, 300))
    if gate.severity == "warn" and gate.outcome != "passed":
        parts.append("(warns only)")
    return "  ".join(parts)


def _colour(gate: GateResult) -> str:
    if gate.outcome == "passed":
        return "green"
    return "red" if gate.blocks else "yellow"


def _target_lines(outcome: RunOutcome) -> Iterator[Line]:
    """Yield how each target's cases fared, and what most of a judged target's misses have in common."""
    errors = {found.target: found for found in analyse_errors(outcome)}
    for target in outcome.release.targets:
        yield _cases_line(outcome, target), ""
        if cuts := cuts_text(outcome, target.id):
            yield f"  inputs cut: {cuts}", ""
        if validity := raw_validity_text(outcome, target.id):
            yield f"  passes its schema: {validity}", ""
        found = errors.get(target.id)
        if found is None or not found.missed:
            continue
        for cluster in found.clusters[:SHOWN_CLUSTERS]:
            yield f"  {cluster.count:>3} {cause_text(cluster, outcome)}: {_in_short(cluster)}", ""
    replayed = sum(record.replayed for record in outcome.records)
    if replayed:
        yield f"{replayed} of {len(outcome.records)} generations were taken from a journal", ""


def _in_short(cluster: Cluster) -> str:
    """Return what was wrong most often, and where to look."""
    most = ", ".join(f"{plain(what, 60)} ({n})" for what, n in cluster.most[:2])
    return f"{most}; see {cluster.examples[0].location} {cluster.examples[0].case}"


def _cases_line(outcome: RunOutcome, target: Target) -> str:
    """Return how a target's cases fared."""
    records = outcome.of(target.id)
    counts = [
        f"{count} {word}"
        for word in ("passed", "missed", "failed", "error")
        if (count := sum(record.outcome == word for record in records))
    ]
    broken = next((record.error for record in records if record.error), None)
    is_judged = target.spec.role == "model"
    counts += [f"the first: {plain(broken, 200)}"] if broken and not is_judged else []
    role = "" if is_judged else f" ({target.spec.role})"
    return f"{target.id}{role}: {len(records)} of {len(outcome.release.cases)} cases run: {', '.join(counts) or 'none'}"


def _arm_lines(outcome: RunOutcome) -> Iterator[Line]:
    """Yield the table of arms where a control was run, and which arms were not."""
    lacking = absent(outcome)
    if not outcome.release.controls:
        if lacking:
            yield f"controls not run: {', '.join(lacking)} (--control)", ""
        return
    arms = [arm for arm in compare_arms(outcome) if arm.ran]
    columns = [["arm", *(arm.id if arm.is_judged or arm.what == arm.id else f"{arm.id} ({arm.what})" for arm in arms)]]
    for task in outcome.release.tasks:
        figures = [next(figure for figure in arm.figures if figure.task == task) for arm in arms]
        name = figures[0].metric if len(outcome.release.tasks) == 1 else f"{task} {figures[0].metric}"
        columns.append([name, *map(figure_text, figures)])
    columns.append(["breaks contract", *(percent(arm.broken) for arm in arms)])
    columns.append(["p50 / p95 ms", *map(latency_text, arms)])
    columns.append(
        ["tokens/s", *("" if arm.tokens_per_second is None else f"{arm.tokens_per_second:.4g}" for arm in arms)]
    )
    columns.append(["cost per 1k", *("" if arm.cost_per_1k is None else f"{arm.cost_per_1k:.4g}" for arm in arms)])
    shown = [column for column in columns if any(column[1:])]
    yield "", ""
    yield from _table(list(zip(*shown, strict=True)))
    if lacking:
        yield f"not run: {', '.join(lacking)} (--control SPEC,id=NAME)", ""


def _speed_lines(outcome: RunOutcome) -> Iterator[Line]:
    """Yield the table of times, and what to know of it."""
    rows, notes = speed_rows(outcome), list(speed_notes(outcome))
    if rows:
        yield "", ""
        yield from _table(rows)
    yield from ((f"note: {plain(note, 300)}", "yellow") for note in notes)


def _baseline_lines(outcome: RunOutcome) -> Iterator[Line]:
    """Yield what changed against the baseline: what fails now and did not first."""
    changes = find_changes(outcome)
    if changes is None:
        if wants_baseline(outcome) and outcome.accepted is None:
            yield "no baseline yet (--modelgate-accept REASON)", ""
        return
    yield "", ""
    yield f"against the baseline ({plain(accepted_text(changes), 200)}):", ""
    for target in changes.targets:
        name = f"{target.target}: " if len(changes.targets) > 1 else ""
        yield f"  {name}{target_changes_text(target)}", "red" if target.new_failures else ""
        for now, before in target.new_failures[:SHOWN_CHANGES]:
            yield f"    {now.location} {now.case}: {before.outcome}, now {now.outcome}", "red"
            yield f"      was {plain(before.output, 120)}", ""
            yield f"      now {plain(now.output, 120)}", ""
        if len(target.new_failures) > SHOWN_CHANGES:
            yield f"    and {len(target.new_failures) - SHOWN_CHANGES} more in report.json", ""
    if cases := case_changes_text(changes):
        yield f"  {cases}", ""
    for note in changes.notes:
        yield f"  note: {plain(note, 200)}", "yellow"
    for task, reason in changes.not_compared.items():
        yield f"  {task}: not compared: {plain(reason, 200)}", "yellow"


def _noise_lines(outcome: RunOutcome) -> Iterator[Line]:
    """Yield what repeats changed, which cases do not count, and loudly which count again."""
    lines = [(head, "") for head in repeat_heads(outcome)]
    flipping = list(flips(outcome))
    lines += [(f"  {name}: {outcomes}", "yellow") for name, outcomes in flipping[:SHOWN_FLIPS]]
    if len(flipping) > SHOWN_FLIPS:
        lines.append((f"  and {len(flipping) - SHOWN_FLIPS} more in repeat.json", ""))
    lines += [(f"quarantined: {case}: {plain(reason, 200)}", "yellow") for case, reason in quarantined(outcome)]
    lines += [(f"QUARANTINE IS OVER: {case} counts again: {reason}", "red") for case, reason in expired(outcome)]
    if lines:
        yield "", ""
        yield from lines


def _miss_lines(outcome: RunOutcome) -> Iterator[Line]:
    """Yield the first misses in full; failed cases have a report of their own."""
    judged = outcome.release.kinds
    misses = [
        record
        for record in worst_first([record for record in outcome.records if record.target in judged])
        if record.outcome == "missed"
    ]
    if not misses:
        return
    yield "", ""
    yield f"misses worth looking at ({min(SHOWN_MISSES, len(misses))} of {len(misses)}; all are in errors.jsonl)", ""
    for record in misses[:SHOWN_MISSES]:
        yield from ((line, "") for line in describe_miss(record))

"""Write summary.md: the verdict, then what explains it, small enough for a CI summary page."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Sequence

from pytest_modelgate.gates import GateResult, gate_id
from pytest_modelgate.records import Record
from pytest_modelgate.report.arms import Arm, compare_arms
from pytest_modelgate.report.changes import find_changes, wants_baseline
from pytest_modelgate.report.detail import FieldDetail, describe_labels
from pytest_modelgate.report.error_analysis import Cluster, analyse_errors
from pytest_modelgate.report.escape import code, markdown
from pytest_modelgate.report.ladder import chosen_text, ladder_rows
from pytest_modelgate.report.misses import worst_first
from pytest_modelgate.report.noise import expired, flips, quarantined, repeat_heads
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.report.preflight import check_lines
from pytest_modelgate.report.raw_validity import raw_validity_text
from pytest_modelgate.report.speed import speed_notes, speed_rows
from pytest_modelgate.report.words import (
    accepted_text,
    cause_text,
    compared_text,
    counted,
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

MAX_BYTES = 850_000
"""GitHub drops a step summary of more than 1 MiB whole."""

_SHOWN_CASES = 200
_UNFOLDED_CASES = 20
_SHOWN_CHANGES = 20
_SHOWN_TEXT = 300
_MOST_CLASSES = 12
_SLICES = {"adversarial": "adversarial", "long_input": "long", "quarantined": "quarantined"}


def build_markdown(outcome: RunOutcome) -> str:
    """Return the summary, cut at a line end if it would be larger than :data:`MAX_BYTES`."""
    lines: list[str] = []
    size = 0
    for line in _lines(outcome):
        size += len(line.encode()) + 1
        if size > MAX_BYTES:
            lines += ["", *["</details>", ""] * (lines.count("</details>") < sum(map(_opens_fold, lines)))]
            lines.append("… cut here; report.json holds everything")
            break
        lines.append(line)
    return "\n".join(lines) + "\n"


def _lines(outcome: RunOutcome) -> Iterator[str]:
    mark = "✅" if outcome.verdict == "passed" else "❌"
    targets = ", ".join(code(target.id) for target in outcome.release.judged)
    yield f"## {mark} Release {outcome.verdict}: {targets}"
    yield ""
    yield from _listed(markdown(reason, 500) for reason in outcome.reasons)
    if outcome.accepted is not None:
        yield from (markdown(outcome.accepted, 500), "")
    yield from _preflight(outcome)
    yield from _gates(outcome.gates)
    yield from _ladder(outcome)
    yield from _cuts(outcome)
    yield from _arms(compare_arms(outcome))
    yield from _speed(outcome)
    yield from _changes(outcome)
    yield from _noise(outcome)
    yield from _errors(outcome)
    yield from _confusions(outcome)
    yield from _cases(outcome)


def _preflight(outcome: RunOutcome) -> Iterator[str]:
    """Yield what was found before anything was generated, failures with their details."""
    if not outcome.preflight:
        return
    yield "### Preflight"
    yield ""
    for target in outcome.release.judged:
        found = [one for one in outcome.preflight if one.target == target.id]
        if found:
            yield from _listed(markdown(line.strip(), 500) for line, _ in check_lines(target.id, found))


def _ladder(outcome: RunOutcome) -> Iterator[str]:
    """Yield the judged targets side by side, where there are several."""
    rows = ladder_rows(outcome)
    if rows:
        yield "### Targets side by side"
        yield ""
        yield f"| {' | '.join(map(markdown, rows[0]))} |"
        yield "|" + "---|" * len(rows[0])
        yield from (f"| {code(row[0], cell=True)} | {' | '.join(map(markdown, row[1:]))} |" for row in rows[1:])
        yield ""
    if chosen := chosen_text(outcome):
        yield from (markdown(chosen), "")


def _gates(gates: Sequence[GateResult]) -> Iterator[str]:
    """Yield the table of gates, those that block first."""
    if not gates:
        return
    yield "### Gates"
    yield ""
    yield "| | gate | observed | limit | n | 95 % interval | reason |"
    yield "|---|---|---|---|---|---|---|"
    for gate in sorted(gates, key=lambda gate: (not gate.blocks, gate.outcome == "passed")):
        limit = limit_text(gate).replace(">=", "≥").replace("<=", "≤")
        observed = "" if gate.observed is None else number(gate.observed)
        compared = f" ({markdown(compared_text(gate))})" if gate.baseline is not None else ""
        warns = " (warns only)" if gate.severity == "warn" and gate.outcome != "passed" else ""
        yield (
            f"| {symbol(gate)} | {code(gate_id(gate), cell=True)}{' ᵖ' if gate.origin else ''} "
            f"| {observed}{compared} | {markdown(limit)} | {gate.n or ''} "
            f"| {interval_text(gate)} | {markdown(gate.reason, _SHOWN_TEXT)}{warns} |"
        )
    yield ""
    if origins := dict.fromkeys(gate.origin for gate in gates if gate.origin):
        yield f"ᵖ {markdown(', '.join(origins))}, not written in gates.toml; a gate of your own there changes it."
        yield ""


def _cuts(outcome: RunOutcome) -> Iterator[str]:
    """Yield how many inputs no model was shown whole, and what a grammar hides."""
    cuts = {target.id: cuts_text(outcome, target.id) for target in outcome.release.targets}
    yield from _listed(f"inputs cut for {code(target)}: {text}" for target, text in cuts.items() if text)
    raw = {target.id: raw_validity_text(outcome, target.id) for target in outcome.release.targets}
    yield from _listed(f"{code(target)} passes its schema: {text}" for target, text in raw.items() if text)


def _arms(arms: Sequence[Arm]) -> Iterator[str]:
    """Yield the table of arms; a column that nobody fills is left out."""
    ran = [arm for arm in arms if arm.ran]
    tasks = {figure.task for arm in ran for figure in arm.figures}
    columns = [["arm", *(f"{code(arm.id)}{'' if arm.what == arm.id else f' ({arm.what})'}" for arm in arms)]]
    for place, figure in enumerate(ran[0].figures):
        name = figure.metric if len(tasks) == 1 else f"{figure.task} {figure.metric}"
        # An arm that was not run says so where its first figure would stand.
        absent = ("" if place else markdown(arm.note or "") for arm in arms)
        cells = (figure_text(arm.figures[place]) if arm.ran else note for arm, note in zip(arms, absent, strict=True))
        columns.append([markdown(name), *cells])
    columns.append(["breaks contract", *(percent(arm.broken) for arm in arms)])
    columns.append(["p50 / p95 ms", *map(latency_text, arms)])
    speeds = ("" if arm.tokens_per_second is None else f"{arm.tokens_per_second:.4g}" for arm in arms)
    columns.append(["tokens/s", *speeds])
    columns.append(["cost per 1k", *("" if arm.cost_per_1k is None else f"{arm.cost_per_1k:.4g}" for arm in arms)])
    columns.append(["gets wrong, for example", *(", ".join(map(code, arm.failing)) for arm in arms)])
    columns.append(["", *(markdown(_arm_note(arm), _SHOWN_TEXT) for arm in arms)])
    shown = [column for column in columns if any(column[1:])]
    rows = list(zip(*shown, strict=True))
    yield "### Arms"
    yield ""
    yield f"Golden and held-out cases (n = {ran[0].of}); 95 % intervals."
    yield ""
    yield f"| {' | '.join(rows[0])} |"
    yield "|" + "---|" * len(shown)
    yield from (f"| {' | '.join(row)} |" for row in rows[1:])
    yield ""


def _arm_note(arm: Arm) -> str:
    """Return what a reader must know of a row."""
    if not arm.ran:
        return ""
    return arm.note or ("" if arm.cases == arm.of else f"{arm.cases} of {arm.of} cases answered")


def _speed(outcome: RunOutcome) -> Iterator[str]:
    """Yield the table of times, and what to know of it."""
    rows, notes = speed_rows(outcome), list(speed_notes(outcome))
    if not rows and not notes:
        return
    yield "### Speed"
    yield ""
    yield "One request at a time, after the cases, never from the journal."
    yield ""
    if rows:
        yield f"| {' | '.join(rows[0])} |"
        yield "|" + "---|" * len(rows[0])
        yield from (f"| {code(row[0], cell=True)} | {' | '.join(row[1:])} |" for row in rows[1:])
        yield ""
    yield from _listed(markdown(note, 500) for note in notes)


def _changes(outcome: RunOutcome) -> Iterator[str]:
    """Yield what changed against the baseline: what fails now and did not first."""
    changes = find_changes(outcome)
    if changes is None and not wants_baseline(outcome):
        return
    yield "### Changes against the baseline"
    yield ""
    if changes is None:
        yield "No baseline yet (`--modelgate-accept REASON`)."
        yield ""
        return
    yield f"Accepted {markdown(accepted_text(changes), 500)}"
    yield ""
    for target in changes.targets:
        yield f"{code(target.target)}: {target_changes_text(target)}."
        yield ""
        for now, before in target.new_failures[:_SHOWN_CHANGES]:
            yield f"- {_where(now)}: {before.outcome} before, now {_outcome(now)}"
            yield f"  - was {code(before.output, _SHOWN_TEXT) or '(nothing)'}"
            yield f"  - now {code(now.output, _SHOWN_TEXT) or '(nothing)'}"
        if len(target.new_failures) > _SHOWN_CHANGES:
            yield f"- and {len(target.new_failures) - _SHOWN_CHANGES} more in report.json"
        if target.fixed:
            yield f"- fixed: {_few(f'{now.suite}/{now.case}' for now, _ in target.fixed)}"
        yield ""
    named = {"new": changes.new_cases, "removed": changes.removed, "edited": changes.edited}
    yield from _listed(
        f"{word} cases: {_few(f'{suite}/{case}' for suite, case in keys)}" for word, keys in named.items() if keys
    )
    yield from _listed(f"note: {markdown(note)}" for note in changes.notes)
    yield from _listed(
        f"task {code(task)} is not compared: {markdown(reason)}" for task, reason in changes.not_compared.items()
    )


def _noise(outcome: RunOutcome) -> Iterator[str]:
    """Yield what repeats changed, which cases do not count, and which count again."""
    lines = [markdown(head) for head in repeat_heads(outcome)]
    lines += [f"{code(name)}: {outcomes}" for name, outcomes in list(flips(outcome))[:_SHOWN_CHANGES]]
    lines += [f"quarantined: {code(case)}: {markdown(reason, _SHOWN_TEXT)}" for case, reason in quarantined(outcome)]
    lines += [f"**quarantine is over**: {code(case)} counts again: {reason}" for case, reason in expired(outcome)]
    if lines:
        yield "### Repeats and quarantine"
        yield ""
        yield from _listed(lines)


def _errors(outcome: RunOutcome) -> Iterator[str]:
    """Yield the causes of each judged target's misses, the largest first, and which rows would repair them."""
    wrong = [found for found in analyse_errors(outcome) if found.missed]
    if not wrong:
        return
    yield "### What went wrong, by cause"
    yield ""
    yield (
        "Each miss counts once, for its main cause. The rows that would repair it are new training rows, never the failing "
        "cases themselves. Long: among the longest tenth of a task's prompts."
    )
    yield ""
    for found in wrong:
        inside = [f"{_SLICES[name]} {missed} of {cases}" for name, (cases, missed) in found.slices.items()]
        yield f"{code(found.target)} got {found.missed} of {counted(found.cases, 'case')} wrong{_bracketed(inside)}."
        yield ""
        for cluster in found.clusters:
            yield from _cluster(cluster, cause_text(cluster, outcome))
        yield ""


def _cluster(cluster: Cluster, name: str) -> Iterator[str]:
    """Yield one cause: how often, what it was, what would repair it, where to look."""
    critical = sum(record.outcome == "failed" for record in cluster.records)
    about = [f"{100 * cluster.count / cluster.of:.0f} %", *([f"{critical} critical"] if critical else [])]
    about += [f"{count} {_SLICES[slice_]}" for slice_, count in cluster.slices.items()]
    yield f"- **{cluster.count}** {markdown(name)}{_bracketed(about)}"
    yield f"  - {', '.join(f'{code(what)} {n}' for what, n in cluster.most)}"
    yield f"  - rows: {markdown(cluster.rows)}"
    yield f"  - cases: {', '.join(_where(record) for record in cluster.examples)}"


def _confusions(outcome: RunOutcome) -> Iterator[str]:
    """Yield which labels of each primary field were taken for which, folded, where the table can be read."""
    shown = [one for one in describe_labels(outcome) if one.is_primary and len(one.classes) <= _MOST_CLASSES]
    yield from ("### Labels", "") if shown else ()
    for detail in shown:
        yield from _confusion(detail)


def _confusion(detail: FieldDetail) -> Iterator[str]:
    name = html.escape(f"{detail.field} on {detail.target}")
    calibration = "" if detail.ece is None else f", calibration error {number(detail.ece)}"
    yield f"<details><summary>Confusion of {name} (n = {detail.n}{calibration})</summary>"
    yield ""
    names = [code(label, 40, cell=True) for label in detail.classes]
    yield f"| expected ↓ given → | {' | '.join(names)} | other | none |"
    yield "|---|" + "---|" * (len(names) + 2)
    for place, (label, row) in enumerate(zip(names, detail.matrix, strict=True)):
        cells = [f"**{n}**" if column == place else str(n or "") for column, n in enumerate(row)]
        yield f"| {label} | {' | '.join(cells)} |"
    yield ""
    yield "</details>"
    yield ""


def _cases(outcome: RunOutcome) -> Iterator[str]:
    """Yield the cases that are wrong, the worst first, most of them folded."""
    judged = outcome.release.kinds
    worst = worst_first([record for record in outcome.records if record.target in judged])
    if not worst:
        return
    shown = worst[:_SHOWN_CASES]
    yield f"### Cases worth looking at ({len(shown)} of {len(worst)})"
    yield ""
    for record in shown[:_UNFOLDED_CASES]:
        yield from _case(record, many_targets=len(judged) > 1)
    yield ""
    if folded := shown[_UNFOLDED_CASES:]:
        yield f"<details><summary>{len(folded)} more</summary>"
        yield ""
        for record in folded:
            yield from _case(record, many_targets=len(judged) > 1)
        yield ""
        yield "</details>"


def _case(record: Record, *, many_targets: bool) -> Iterator[str]:
    """Yield one case: which contract is broken, what was expected, answered and asked."""
    yield f"- **{_outcome(record)}** {_where(record)}{f' on {code(record.target)}' if many_targets else ''}"
    if record.error is not None:
        yield f"  - engine {code(record.error, 1000)}"
    yield from (f"  - broken {code(f'{one.contract}: {one.message}', _SHOWN_TEXT)}" for one in record.violations)
    if record.has_expected:
        yield f"  - expected {code(json.dumps(record.expected, ensure_ascii=False), _SHOWN_TEXT)}"
    if record.error is None:
        yield f"  - got {code(record.output, _SHOWN_TEXT) or '(nothing)'}"
    yield f"  - asked {code(record.input, _SHOWN_TEXT) or '(nothing)'}"


def _where(record: Record) -> str:
    return f"{markdown(record.location)} {code(record.case)}"


def _outcome(record: Record) -> str:
    return f"{record.outcome} (critical)" if record.critical else record.outcome


def _bracketed(parts: Sequence[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""


def _few(names: Iterable[str]) -> str:
    """Return the first names and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _SHOWN_CHANGES} more" if len(listed) > _SHOWN_CHANGES else ""
    return ", ".join(map(code, listed[:_SHOWN_CHANGES])) + more


def _listed(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines as a list, with an empty line after it; nothing for none."""
    listed = [f"- {line}" for line in lines]
    yield from (*listed, "") if listed else ()


def _opens_fold(line: str) -> bool:
    return line.startswith("<details>")

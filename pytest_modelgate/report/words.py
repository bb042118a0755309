"""Say figures and findings in a few words, alike on the terminal and in summary.md."""

from __future__ import annotations

from collections import Counter

from pytest_modelgate.gates import GateResult
from pytest_modelgate.report.arms import Arm, Figure
from pytest_modelgate.report.changes import Changes, TargetChanges
from pytest_modelgate.report.error_analysis import Cluster
from pytest_modelgate.report.outcome import RunOutcome

SYMBOLS = {"passed": "✓", "failed": "✗", "inconclusive": "?", "incomplete": "✗", "not evaluated": "-"}


def symbol(gate: GateResult) -> str:
    """Return the mark of a gate's outcome."""
    return SYMBOLS[gate.outcome]


def limit_text(gate: GateResult) -> str:
    """Return the limit of a result: ``>= 0.9``, or by its name where it is none of the value itself."""
    signs = {"min": ">=", "max": "<="}
    return " ".join(
        f"{signs[name]} {value:g}" if name in signs else f"{name.replace('.', ' ').replace('_', ' ')} {value:g}"
        for name, value in gate.limit.items()
    )


def compared_text(gate: GateResult) -> str:
    """Return what a result is compared with: the value of the last release, or a control's."""
    if gate.baseline is None:
        return ""
    control = next((name.partition(".")[2] for name in gate.limit if name.startswith("uplift_over.")), None)
    return f"{'was' if control is None else control} {number(gate.baseline)}"


def interval_text(gate: GateResult) -> str:
    """Return the interval of a result, which is that of the change where it is compared with something."""
    if gate.interval is None:
        return ""
    shown = f"[{number(gate.interval[0])}, {number(gate.interval[1])}]"
    return shown if gate.baseline is None else f"change {shown}"


def number(value: float) -> str:
    """Return a figure with as many digits as are worth reading."""
    return f"{value:.4f}" if 0 < abs(value) < 1 else f"{value:.4g}"


def figure_text(figure: Figure) -> str:
    """Return a figure with its interval."""
    if figure.value is None:
        return "-"
    interval = "" if figure.interval is None else f" [{number(figure.interval[0])}, {number(figure.interval[1])}]"
    return f"{number(figure.value)}{interval}"


def percent(share: float | None) -> str:
    """Return a share as a percentage; nothing for none."""
    return "" if share is None else f"{100 * share:.3g} %"


def latency_text(arm: Arm) -> str:
    """Return an arm's times; nothing where none were measured."""
    return "" if arm.latency_ms is None else " / ".join(f"{value:.4g}" for value in arm.latency_ms)


def accepted_text(changes: Changes) -> str:
    """Return what the baseline is: when it was accepted, of which target, and why."""
    heads = {tuple(head.items()): head for head in changes.accepted.values()}.values()
    parts = [
        f"{str(head['created'])[:10]}, {head['target']}"
        + (f" at {head['commit'][:9]}" if head["commit"] else "")
        + f": {head['reason']}"
        for head in heads
    ]
    return "; ".join(parts)


def target_changes_text(target: TargetChanges) -> str:
    """Return how many cases of a target changed, and in which direction."""
    parts = [
        counted(len(target.new_failures), "new failure"),
        f"{len(target.fixed)} fixed",
        f"{target.changed_wording} only in other words",
    ]
    rates = [
        f"{task} win rate {number(rate.value)}" if len(target.win_rates) > 1 else f"win rate {number(rate.value)}"
        for task, rate in target.win_rates.items()
        if rate.value is not None
    ]
    return ", ".join((*parts, *rates)) + f" (of {counted(target.compared, 'case')})"


def case_changes_text(changes: Changes) -> str:
    """Return how the cases themselves changed; nothing where they did not."""
    named = {"new": changes.new_cases, "removed": changes.removed, "edited": changes.edited}
    parts = [f"{len(keys)} {word}" for word, keys in named.items() if keys]
    return f"cases: {', '.join(parts)}" if parts else ""


def cuts_text(outcome: RunOutcome, target: str) -> str:
    """Return how many inputs were shortened for a target, in each suite; nothing where none was."""
    records = outcome.of(target)
    cases = Counter(record.suite for record in records)
    cuts = Counter(record.suite for record in records if record.input_tokens_dropped)
    return ", ".join(f"{n} of {cases[suite]} ({suite})" for suite, n in cuts.items())


def cause_text(cluster: Cluster, outcome: RunOutcome) -> str:
    """Return what misses have in common: ``wrong_label of urgency``, with the task's name where there are several."""
    task = f"{cluster.task}: " if len(outcome.release.tasks) > 1 else ""
    return f"{task}{cluster.cause}{f' of {cluster.subject}' if cluster.subject else ''}"


def counted(count: int, what: str) -> str:
    """Return ``1 case`` or ``2 cases``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"

"""Tell what the serial phase measured: a row for each target, and what a reader must know to trust it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_modelgate.engines.host import available_threads
from pytest_modelgate.metrics.performance import (
    measure_time,
    peak_rss_mb,
    prompt_tokens_per_second,
    times,
    tokens_per_second,
    too_few,
)
from pytest_modelgate.records import Performance
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.statistics import values_needed

HEAD = (
    "speed",
    "p50 / p95 / p99 ms",
    "first token p50",
    "between tokens p50",
    "tokens/s",
    "prompt tokens/s",
    "peak MB",
    "cost per 1k",
)
_USUAL = 0.95  # the confidence that a percentile's bound is told for where a gate asks for none
_BUSY = 0.25  # cores that other programs may use unmentioned


def speed_rows(outcome: RunOutcome) -> list[tuple[str, ...]]:
    """
    Return the table, its head first, without columns that nobody fills; empty where nothing was measured.

    The baseline model's row stands under that of the target with which it took turns.
    """
    rows: list[tuple[str, ...]] = []
    for measured in outcome.performances.values():
        rows.extend(_row(one.target, one) for one in (measured,) if one.samples)
        if measured.against is not None and measured.against.samples:
            rows.append(_row(f"{measured.against.target} (baseline model)", measured.against))
    if not rows:
        return []
    columns = [column for column in zip(HEAD, *rows, strict=True) if any(column[1:])]
    return list(zip(*columns, strict=True))


def speed_notes(outcome: RunOutcome) -> Iterator[str]:
    """Yield what the figures do not say themselves: too few requests, a busy machine, a phase that failed."""
    few: dict[str, None] = {}
    for measured in outcome.performances.values():
        for one in (measured, *([measured.against] if measured.against is not None else [])):
            if one.error is not None:
                yield f"speed of {one.target} was not measured: {one.error}"
        few |= dict.fromkeys(_few(outcome, measured))
        if measured.others_busy is not None and measured.others_busy > _BUSY:
            yield (
                f"while {measured.target} was measured other programs kept {measured.others_busy:.1f} of "
                f"{available_threads()} cores busy: its times are longer than they would be"
            )
    yield from few


def _few(outcome: RunOutcome, measured: Performance) -> Iterator[str]:
    """Yield which percentiles decide by themselves although their bound would take more requests."""
    for gate in outcome.release.gates:
        if gate.metric.suffix != "statistic" or gate.table.confidence is not None or gate.arguments == ("p50",):
            continue
        n = len(times(measured, gate.metric.name)) if gate.metric.source == "performance" else 0
        if n and too_few(gate.arguments[0], _USUAL, n):
            needed = values_needed(float(gate.arguments[0].removeprefix("p")), _USUAL)
            yield (
                f"gate {gate.name} goes by {gate.table.metric} of {n} requests as it was seen: with confidence = {_USUAL:g} "
                f"it would take {needed} ([performance] sample)"
            )


def _row(name: str, measured: Performance) -> tuple[str, ...]:
    latency = [measure_time(measured, "latency_ms", statistic).value for statistic in ("p50", "p95", "p99")]
    cells: Sequence[float | None] = (
        measure_time(measured, "ttft_ms", "p50").value,
        measure_time(measured, "inter_token_ms", "p50").value,
        tokens_per_second(measured).value or None,
        prompt_tokens_per_second(measured).value,
        peak_rss_mb(measured).value,
        measured.cost_per_1k_requests,
    )
    return (name, " / ".join(map(_short, latency)), *map(_short, cells))


def _short(value: float | None) -> str:
    """Return four digits, or all before the point; nothing for none."""
    return "" if value is None else f"{value:.4g}" if value < _WHOLE else f"{value:.0f}"


_WHOLE = 1000

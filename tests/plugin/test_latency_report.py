"""What was measured of speed stands on the terminal and in summary.md, with what a reader must know to trust it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_modelgate.engines.host import available_threads
from pytest_modelgate.records import Performance, Sample
from pytest_modelgate.report import speed
from pytest_modelgate.report.markdown import build_markdown
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.report.terminal import summary_lines
from tests.outcomes import judged

if TYPE_CHECKING:
    from tests.conftest import Project


def phase(name: str = "cand", ms: float = 100, n: int = 40) -> Performance:
    """Return a phase in which every request took so long, a quarter of it to the first of five tokens."""
    return Performance(name, tuple(Sample(f"c{i}", ms / 4000, ms / 1000, 5, 50) for i in range(n)), 64_000_000)


def outcome(
    project: Project, performance: Performance, gate: str = 'metric = "latency_ms.p50"\nmax = 500'
) -> RunOutcome:
    """Return a run in which this was measured."""
    project.write_gates(speed=gate)
    answers = {f"{suite}/{row['id']}": "{}" for suite, rows in project.rows.items() for row in rows}
    return judged(project.path, {"cand": answers}, performances={"cand": performance})


def on_terminal(found: RunOutcome) -> str:
    """Return the summary as pytest shows it."""
    return "\n".join(line for line, _ in summary_lines(found))


def test_a_row_for_each_measured_target(project: Project) -> None:
    """It holds times, rates and memory; cost has no column where no price is given."""
    head, row = speed.speed_rows(outcome(project, phase()))

    assert dict(zip(head, row, strict=True)) == {
        "speed": "cand",
        "p50 / p95 / p99 ms": "100 / 100 / 100",
        "first token p50": "25",
        "between tokens p50": "18.75",
        "tokens/s": "50",
        "prompt tokens/s": "2000",
        "peak MB": "64",
    }


def test_the_last_release_stands_below_the_target(project: Project) -> None:
    """Its row says what it is."""
    _, *rows = speed.speed_rows(outcome(project, replace(phase(), against=phase("last", 90))))

    assert [row[:2] for row in rows] == [("cand", "100 / 100 / 100"), ("last (baseline model)", "90 / 90 / 90")]


def test_the_table_stands_in_both_summaries(project: Project) -> None:
    """On the terminal in columns, in summary.md as a table."""
    found = outcome(project, phase())

    assert "\nspeed  p50 / p95 / p99 ms  first token p50" in on_terminal(found)
    assert "| `cand` | 100 / 100 / 100 | 25 |" in build_markdown(found)


def test_nothing_stands_where_nothing_was_measured(project: Project) -> None:
    """A replay's summary has no such part."""
    found = replace(outcome(project, phase()), performances={})

    assert "prompt tokens/s" not in on_terminal(found)
    assert "### Speed" not in build_markdown(found)


@pytest.mark.parametrize(("n", "is_told"), [(58, True), (59, False)])
def test_a_percentile_of_few_requests_is_told(project: Project, n: int, *, is_told: bool) -> None:
    """A gate without confidence goes by what was seen; how many requests a bound takes is said."""
    notes = list(speed.speed_notes(outcome(project, phase(n=n), 'metric = "latency_ms.p95"\nmax = 500')))

    assert bool(notes) == is_told
    if is_told:
        assert notes == [
            (
                "gate speed goes by latency_ms.p95 of 58 requests as it was seen: with confidence = 0.95 it would take 59 "
                "([performance] sample)"
            )
        ]


@pytest.mark.parametrize(
    "gate", ['metric = "latency_ms.p95"\nmax = 500\nconfidence = 0.95', 'metric = "ttft_ms.mean"\nmax = 5']
)
def test_what_is_no_guess_is_not_told(project: Project, gate: str) -> None:
    """A gate with confidence says so itself, and a mean needs no number of requests."""
    assert list(speed.speed_notes(outcome(project, phase(n=10), gate))) == []


@pytest.mark.parametrize(("busy", "is_told"), [(1.4, True), (0.2, False), (None, False)])
def test_a_busy_machine_is_told(project: Project, busy: float | None, *, is_told: bool) -> None:
    """Times that were taken while other programs computed are no good times."""
    notes = list(speed.speed_notes(outcome(project, replace(phase(n=100), others_busy=busy))))

    assert bool(notes) == is_told
    if is_told:
        assert notes[0].startswith(
            f"while cand was measured other programs kept 1.4 of {available_threads()} cores busy: "
        )


def test_a_phase_that_failed_is_told(project: Project) -> None:
    """The reason stands in both summaries, inert."""
    found = outcome(project, Performance("cand", error="golden/<b>: the engine\x1b[31m died"))

    assert "note: speed of cand was not measured: golden/<b>: the engine" in on_terminal(found)
    assert "\x1b" not in on_terminal(found)
    assert "<b>" not in build_markdown(found)
    assert "was not measured" in build_markdown(found)

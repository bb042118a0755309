"""--modelgate-fail-fast: stop when the verdict is certain, and never come to another one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_modelgate.evaluation import Findings, evaluate
from pytest_modelgate.fail_fast import FailFast
from pytest_modelgate.judgement import judge, record_failure
from pytest_modelgate.records import Failure, Generation, Record
from pytest_modelgate.release import load_rules

if TYPE_CHECKING:
    from tests.conftest import Project

FAILED = pytest.ExitCode.TESTS_FAILED
WRONG = json.dumps({"intent": "bug", "urgency": "low"})
RIGHT = json.dumps({"intent": "billing", "urgency": "low"})
HEAD = (
    'version = 1\n[suites]\ngolden = "golden/*.jsonl"\n'
    '[tasks.support]\nkind = "classification"\nschema = "golden/schema.json"\nfields = ["intent", "urgency"]\n'
)
INTENT = 'metric = "accuracy.intent"'


def many_cases(project: Project, n: int, *, right: int, critical: int | None = None) -> None:
    """Make ``n`` golden cases alone, of which the first ``right`` are answered rightly."""
    project.rows.clear()
    project.write_cases("golden", *(project.case(f"c{i}", critical=i == critical) for i in range(n)))
    (project.path / "journal.jsonl").unlink()
    project.record({f"golden/c{i}": WRONG for i in range(right, n)})


def test_critical_cases_come_first(project: Project) -> None:
    """The critical case at the end is run first; without the option the order is the suite's."""
    project.write_gates(head=HEAD, critical='metric = "critical_failures"\nmax = 0')
    many_cases(project, 100, right=99, critical=99)

    result = project.run("--modelgate-fail-fast")

    assert result.ret == FAILED
    assert project.outcomes == {"golden/c99[cand]": "failed"}
    told = "stopped early: gate critical[cand] cannot pass any more: 1 > 0"
    assert project.report["reasons"][0] == told
    assert project.report["verdict"] == "blocked"
    result.stdout.fnmatch_lines([f"  {told}", f"! Interrupted: {told} !!"])

    assert project.run().ret == FAILED
    assert len(project.outcomes) == 100
    assert next(iter(project.outcomes)) == "golden/c0[cand]"


@pytest.mark.parametrize(
    ("gate", "right", "run", "told"),
    [
        (f"{INTENT}\nmin = 0.9", 0, 11, "11 of 100 cases are wrong, at best 0.89 < 0.9"),
        (f"{INTENT}\nmin = 0.9", 50, 61, "11 of 100 cases are wrong, at best 0.89 < 0.9"),
        (f"{INTENT}\nmin = 1", 0, 1, "1 of 100 cases are wrong, at best 0.99 < 1"),
        (f"{INTENT}\nmin = 0.9\nconfidence = 0.95", 0, 11, "11 of 100 cases are wrong, at best 0.89 < 0.9"),
        (f'{INTENT}\nmin = 0.9\ntags = ["t"]\nmax = 0.99', 0, 2, "2 of 10 cases are wrong, at best 0.8 < 0.9"),
        ('metric = "fnr.intent.billing"\nmax = 0.05', 0, 6, "6 of 100 cases, at least 0.06 > 0.05"),
        ('metric = "critical_failures"\nmax = 1', 0, 2, "2 > 1"),
    ],
)
def test_a_lost_gate_stops_the_run(project: Project, gate: str, right: int, run: int, told: str) -> None:
    """The run ends with the first case after which a share or a count cannot keep its limit."""
    project.write_gates(head=HEAD, it=gate)
    many_cases(project, 100, right=right)
    if "tags" in gate or "critical" in gate:
        rows = project.rows["golden"]
        project.write_cases(
            "golden",
            *(row | ({"tags": ["t"], "critical": "critical" in gate} if i < 10 else {}) for i, row in enumerate(rows)),
        )

    result = project.run("--modelgate-fail-fast", "-p", "no:xdist")

    assert result.ret == FAILED
    assert len(project.outcomes) == run
    assert project.report["reasons"][0] == f"stopped early: gate it[cand] cannot pass any more: {told}"
    assert project.report["selection"] == "partial"


@pytest.mark.parametrize(
    "gate",
    [
        f'{INTENT}\nmin = 0.9\nseverity = "warn"',
        'metric = "macro_f1.intent"\nmin = 0.9\nseverity = "warn"',
        f'{INTENT}\nmin = 0.9\nconfidence = 0.95\non_inconclusive = "warn"\nmin_n = 100',
        f'{INTENT}\nmin = 0.9\ntargets = ["gguf"]',
    ],
)
def test_what_need_not_block_never_stops(project: Project, gate: str) -> None:
    """A gate that warns, that may end inconclusive, or that is not for this target stops nothing."""
    project.write_gates(head=HEAD, it=gate, form='metric = "json_parse_rate"\nmin = 1')
    many_cases(project, 100, right=85)

    full, fast = project.run(), project.run("--modelgate-fail-fast")

    assert (full.ret, fast.ret) == (0, 0)
    assert len(project.outcomes) == 100


@pytest.mark.parametrize(("right", "confidence"), [(85, "confidence = 0.95"), (91, ""), (90, "")])
def test_an_interval_is_never_looked_at_on_the_way(project: Project, right: int, confidence: str) -> None:
    """Ten wrong answers at the start are neither proof nor hope: a share that can be reached is waited for."""
    project.write_gates(head=HEAD, it=f"{INTENT}\nmin = {'0.8' if confidence else '0.9'}\n{confidence}")
    many_cases(project, 100, right=100)
    (project.path / "journal.jsonl").unlink()
    project.record({f"golden/c{i}": WRONG for i in range(100 - right)})

    full = project.run()
    outcome = project.gates["it[cand]"]
    fast = project.run("--modelgate-fail-fast")

    assert len(project.outcomes) == 100
    assert (fast.ret, project.gates["it[cand]"]) == (full.ret, outcome)
    assert outcome == ("inconclusive" if confidence else "passed")


def test_a_lost_run_under_xdist(project: Project, mode: tuple[str, ...]) -> None:
    """Workers are told to stop as well: exit code 1, blocked, and the gate named."""
    project.write_gates(head=HEAD, it=f"{INTENT}\nmin = 0.99")
    many_cases(project, 400, right=0)

    result = project.run("--modelgate-fail-fast", *mode)

    assert result.ret == FAILED
    assert "stopped early: gate it[cand] cannot pass any more: 5 of 400 cases are wrong" in project.report["reasons"][0]
    assert project.report["verdict"] == "blocked"


def test_one_lost_target_ends_the_run(project: Project) -> None:
    """Every target must pass: the second one is not asked for what cannot help."""
    project.write_gates(head=HEAD, it=f"{INTENT}\nmin = 0.9")
    many_cases(project, 30, right=30)
    project.record({f"golden/c{i}": WRONG for i in range(30)}, target="off")

    result = project.run("--modelgate-fail-fast", models=["replay:journal.jsonl#off", "replay:journal.jsonl#cand"])

    assert result.ret == FAILED
    assert {name.partition("[")[2] for name in project.outcomes} == {"off]"}


def test_a_passing_run_is_whole(project: Project, mode: tuple[str, ...]) -> None:
    """A run that passes has run every case, as without the option."""
    result = project.run("--modelgate-fail-fast", *mode)

    assert result.ret == 0
    assert (project.report["verdict"], project.report["selection"]) == ("passed", "full")
    assert set(project.gates.values()) == {"passed"}


# The same verdict as a full run

LIMITS = {
    "form": 'metric = "schema_validity"\nmin = 0.7',
    "intent": f"{INTENT}\nmin = 0.6",
    "both": f"{INTENT}\nmin = 0.3\nmax = 0.9",
    "sure": f"{INTENT}\nmin = 0.3\nconfidence = 0.9",
    "unsure": f'{INTENT}\nmin = 0.5\nconfidence = 0.9\non_inconclusive = "warn"',
    "few": 'metric = "fpr.intent.bug"\nmax = 0.3\nmin_n = 9\non_inconclusive = "warn"',
    "hint": f'{INTENT}\nmin = 0.99\nseverity = "warn"',
    "critical": 'metric = "critical_failures"\nmax = 0',
    "ends": 'metric = "truncation_rate"\nmax = 0.25',
    "mixed_up": 'metric = "fpr.intent.bug"\nmax = 0.4',
    "f1": 'metric = "macro_f1.intent"\nmin = 0.4',
    "tagged": 'metric = "accuracy"\nmin = 0.34\ntags = ["t"]',
}
N = 12
ANSWERS = {
    "right": Generation(RIGHT),
    "wrong": Generation(WRONG),
    "broken": Generation("?"),
    "cut": Generation(RIGHT, finish_reason="length"),
}


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answers=st.lists(st.sampled_from([*ANSWERS, "right", "right", "error"]), min_size=N, max_size=N),
    names=st.lists(st.sampled_from(sorted(LIMITS)), min_size=1, max_size=4, unique=True),
)
def test_what_stops_early_would_have_been_blocked(project: Project, answers: list[str], names: list[str]) -> None:
    """Whatever the answers: if a run is stopped, the full run is blocked; if that passes, it is not stopped."""
    project.write_gates(head=HEAD, **{name: LIMITS[name] for name in names})
    project.rows.clear()
    project.write_cases(
        "golden",
        *(
            project.case(
                f"c{i}", intent="bug" if i == 11 else "billing", critical=i == 5, tags=["t"] if i % 4 == 0 else []
            )
            for i in range(N)
        ),
    )
    rules = load_rules(project.path / "gates.toml")
    task = rules.tasks["support"]

    def record(number: int, answer: str) -> Record:
        case = rules.cases[number]
        if answer == "error":
            return record_failure(case, "cand", Failure("hung", "no answer"))
        return judge(task, case, "cand", ANSWERS[answer])

    records = [record(number, answer) for number, answer in enumerate(answers)]
    fail_fast = FailFast(rules.gates)
    told = [reason for one in records if (reason := fail_fast.add(one, "replay")) is not None]
    results = evaluate(rules.gates, Findings({"cand": "replay"}, records))
    lost = {result.name.partition(".")[0] for result in results if result.blocks}

    assert {reason.removeprefix("gate ").partition("[")[0] for reason in told} <= lost
    if not lost:
        assert told == []


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wrong=st.sets(st.integers(0, 29), max_size=9))
def test_sessions_come_to_the_same_verdict(project: Project, wrong: set[int]) -> None:
    """The whole run with the option says what it says without."""
    project.write_gates(head=HEAD, it=f"{INTENT}\nmin = 0.85", critical='metric = "critical_failures"\nmax = 0')
    many_cases(project, 30, right=30, critical=17)
    (project.path / "journal.jsonl").unlink()
    project.record({f"golden/c{i}": WRONG for i in wrong})

    full = project.run()
    fast = project.run("--modelgate-fail-fast")

    assert fast.ret == full.ret == int(len(wrong) > 4 or 17 in wrong)
    if full.ret == 0:
        assert len(project.outcomes) == 30
    else:
        assert len(project.outcomes) < 30 or max(wrong) == 29

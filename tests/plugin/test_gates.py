"""A gate is a metric on a slice, with limits; only passed is green."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project

FAILED = pytest.ExitCode.TESTS_FAILED
WRONG = json.dumps({"intent": "bug", "urgency": "low"})


def ten_cases(project: Project, *, right: int) -> None:
    """Make ten golden cases of which the target answers ``right`` rightly."""
    project.write_cases("golden", *(project.case(f"c{i}", tags=["even"] if i % 2 == 0 else []) for i in range(10)))
    (project.path / "journal.jsonl").unlink()
    project.record({f"golden/c{i}": WRONG for i in range(right, 10)})


@pytest.mark.parametrize(
    ("limits", "outcomes"),
    [
        ("min = 0.8", {"it[cand]": "passed"}),
        ("min = 0.81", {"it[cand]": "failed"}),
        ("min = 0.5\nmax = 0.8", {"it.min[cand]": "passed", "it.max[cand]": "passed"}),
        ("min = 0.5\nmax = 0.79", {"it.min[cand]": "passed", "it.max[cand]": "failed"}),
        ("min = 0.9\nmax = 0.95", {"it.min[cand]": "failed", "it.max[cand]": "passed"}),
    ],
)
def test_limits(project: Project, limits: str, outcomes: dict[str, str]) -> None:
    """``min`` and ``max`` include their limit; a gate with both has two results."""
    ten_cases(project, right=8)
    project.write_gates(it=f'metric = "accuracy.intent"\nsuites = ["golden"]\n{limits}')

    result = project.run()

    assert project.gates == outcomes
    assert result.ret == ("failed" in outcomes.values())


@pytest.mark.parametrize(
    ("gate", "n", "observed"),
    [
        ('metric = "accuracy.intent"', 13, 11 / 13),
        ('metric = "accuracy"', 13, 11 / 13),
        ('metric = "accuracy.urgency"', 13, 1.0),
        ('metric = "json_parse_rate"', 14, 1.0),
        ('metric = "accuracy.intent"\nsuites = ["golden"]', 10, 0.8),
        ('metric = "accuracy.intent"\nsuites = "heldout"', 2, 1.0),
        ('metric = "accuracy.intent"\nsuites = ["golden", "heldout"]', 12, 10 / 12),
        ('metric = "accuracy.intent"\ntask = "support"', 13, 11 / 13),
        ('metric = "accuracy.intent"\ntags = ["even"]', 5, 0.8),
        ('metric = "accuracy.intent"\ntags = ["even"]\nsuites = ["golden"]', 5, 0.8),
        ('metric = "accuracy.intent"\ntargets = ["replay"]', 13, 11 / 13),
        ('metric = "fnr.intent.billing"\nsuites = ["golden"]', 10, 0.2),
        ('metric = "fpr.intent.refund"\nsuites = ["golden"]', 10, 0.0),
    ],
)
def test_slices(project: Project, gate: str, n: int, observed: float) -> None:
    """Suites, task and tags restrict what a gate counts; cases that the metric does not know are no part of n."""
    ten_cases(project, right=8)
    project.write_cases("adversarial", project.case("odd"), {"id": "open", "input": "?"})
    project.record()
    project.record({"golden/c8": WRONG, "golden/c9": WRONG})
    limit = "max = 0.5" if "fpr" in gate or "fnr" in gate else "min = 0.5"
    project.write_gates(it=f"{gate}\n{limit}")

    result = project.run()

    assert result.ret == 0
    (found,) = project.report["gates"]
    assert (found["n"], found["observed"]) == (n, pytest.approx(observed))


def test_tasks_are_judged_apart(project: Project) -> None:
    """A gate that names a task counts only its cases."""
    project.write_gates(
        head='version = 1\n[suites]\ngolden = "golden/*.jsonl"\n'
        '[tasks.support]\nkind = "classification"\nfields = ["intent"]\n[tasks.free]\nkind = "extraction"\n',
        support='metric = "exact_match"\ntask = "support"\nmin = 1',
        free='metric = "exact_match"\ntask = ["free"]\nmin = 1',
    )
    project.write_cases(
        "golden",
        {"id": "a", "task": "support", "input": "x", "expected": {"intent": "bug"}},
        {"id": "b", "task": "free", "input": "x", "expected": {"amount": 2}},
    )
    project.record({"golden/b": '{"amount": 3}'}, target="off")

    project.run(target="off")

    assert project.gates == {"support[off]": "passed", "free[off]": "failed"}
    assert [gate["n"] for gate in project.report["gates"]] == [1, 1]


def test_warning_does_not_block(project: Project) -> None:
    """A failed gate of severity warn is shown as a warning, and the release goes out."""
    ten_cases(project, right=8)
    project.write_gates(
        it='metric = "accuracy.intent"\nsuites = ["golden"]\nmin = 0.9\nseverity = "warn"',
        form='metric = "json_parse_rate"\nmin = 1',
    )

    result = project.run("-v")

    assert result.ret == 0
    assert project.report["verdict"] == "passed"
    assert project.gates == {"it[cand]": "failed", "form[cand]": "passed"}
    shown = "\n".join(result.outlines)
    assert "GATE FAILED, WARNS ONLY" in shown
    assert "✗ it[cand]    0.8000  >= 0.9  n=10  [0.4902, 0.9433]  accuracy.intent 0.8 < 0.9  (warns only)" in shown


@pytest.mark.parametrize(
    ("right", "outcome", "reason"),
    [
        (10, "passed", "accuracy.intent is at least 0.7411 at 95% confidence, >= 0.7"),
        (
            8,
            "inconclusive",
            "inconclusive: accuracy.intent is 0.8, at 95% confidence between 0.4931 and 0.9632; the limit is 0.7",
        ),
        (2, "failed", "accuracy.intent is at most 0.5069 at 95% confidence, < 0.7"),
    ],
)
def test_confidence_asks_for_a_bound(project: Project, right: int, outcome: str, reason: str) -> None:
    """With ``confidence`` the exact one-sided bound must clear the limit; between the bounds it is inconclusive."""
    ten_cases(project, right=right)
    project.write_gates(it='metric = "accuracy.intent"\nsuites = ["golden"]\nmin = 0.7\nconfidence = 0.95')

    result = project.run()

    (gate,) = project.report["gates"]
    assert (gate["outcome"], gate["reason"]) == (outcome, reason)
    assert result.ret == (outcome != "passed")


def test_inconclusive_may_only_warn(project: Project) -> None:
    """``on_inconclusive = "warn"`` lets an inconclusive gate pass, and not a failed one."""
    gate = 'metric = "accuracy.intent"\nsuites = ["golden"]\nmin = 0.7\nconfidence = 0.95\non_inconclusive = "warn"'
    project.write_gates(it=gate)

    ten_cases(project, right=8)
    result = project.run("-v")
    assert result.ret == 0
    assert project.gates == {"it[cand]": "inconclusive"}
    result.stdout.fnmatch_lines(["gates.toml::it[[]cand[]] GATE INCONCLUSIVE, WARNS ONLY *"])

    ten_cases(project, right=2)
    assert project.run().ret == FAILED
    assert project.gates == {"it[cand]": "failed"}


def test_gate_for_another_kind_of_target_is_not_evaluated(project: Project) -> None:
    """A gate that judges no target of the run is said to be not evaluated, and blocks nothing."""
    project.write_gates(
        speed='metric = "latency_ms.p95"\nmax = 100\ntargets = ["gguf"]', form='metric = "json_parse_rate"\nmin = 1'
    )

    result = project.run()

    assert result.ret == 0
    assert project.gates == {"speed[None]": "not evaluated", "form[cand]": "passed"}
    result.stdout.fnmatch_lines(["- speed * not evaluated: no gguf target in this run"])


def test_target_that_no_gate_judges_blocks(project: Project) -> None:
    """A target to which no gate applies is never a silent pass."""
    project.write_gates(form='metric = "json_parse_rate"\nmin = 1\ntargets = ["gguf", "adapter"]')

    result = project.run()

    assert result.ret == FAILED
    assert project.gates == {"form[None]": "not evaluated", "every_target_is_judged[cand]": "not evaluated"}
    assert project.report["verdict"] == "blocked"
    result.stdout.fnmatch_lines(
        ["*every_target_is_judged[[]cand[]]: not evaluated: no gate that blocks for answers applies*"]
    )


def test_speed_of_a_replay_is_not_evaluated(project: Project) -> None:
    """A recorded answer has no latency, so that a gate on it cannot pass."""
    project.write_gates(speed='metric = "latency_ms.p95"\nmax = 100', form='metric = "json_parse_rate"\nmin = 1')

    result = project.run()

    assert result.ret == FAILED
    assert project.gates == {"speed[cand]": "not evaluated", "form[cand]": "passed"}
    result.stdout.fnmatch_lines(
        [
            "*not evaluated: nothing was measured: the run stopped before, or answers were replayed, which have no latency"
        ]
    )


def test_every_target_must_pass(project: Project) -> None:
    """One target that a gate fails blocks the run, and is named."""
    project.record({"golden/late": WRONG}, target="off")

    result = project.run(models=["replay:journal.jsonl#cand", "replay:journal.jsonl#off"])

    assert result.ret == FAILED
    assert {name: outcome for name, outcome in project.gates.items() if outcome != "passed"} == {
        "critical[off]": "failed"
    }
    assert "gate critical[off]: critical_failures 1 > 0" in project.report["reasons"]


def test_gate_lines(project: Project) -> None:
    """Each gate is one line with mark, id, observed, limit, n, interval and, where it needs one, the reason."""
    project.record({"golden/late": WRONG}, target="off")

    result = project.run(target="off")

    assert project.gate_lines(result) == [
        "✓ form[off]           1  >= 0.99  n=7  [0.6457, 1]",
        "✗ critical[off]       1  <= 0     n=1  critical_failures 1 > 0",
        "✓ intent[off]    0.8000  >= 0.6   n=5  [0.3755, 0.9638]",
        "",
        "off: 7 of 7 cases run: 6 passed, 1 failed",
        "    1 wrong_label of intent: bug given for billing (1); see golden/support.jsonl:1 late",
        "7 of 7 generations were taken from a journal",
        "controls not run: base, prompted, larger (--control)",
        "",
        "verdict: blocked",
        "  gate critical[off]: critical_failures 1 > 0",
        "  1 critical case failed: late[off]",
    ]


def test_gates_are_tests_of_their_own(project: Project, mode: tuple[str, ...]) -> None:
    """In JUnit XML each gate is a test case, a failed one with its reason."""
    project.record({"golden/late": WRONG}, target="off")

    project.run("--junitxml=junit.xml", *mode, target="off")

    suite = ET.parse(project.path / "junit.xml").getroot()[0]  # noqa: S314 - our own run wrote it
    gates = {case.get("name"): case.find("failure") for case in suite if case.get("classname") == "gates.toml"}
    assert set(gates) == {"form[off]", "critical[off]", "intent[off]"}
    failure = gates["critical[off]"]
    assert failure is not None
    assert failure.text == "critical_failures 1 > 0"
    assert gates["form[off]"] is None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("10", "2", "0")


def test_progress_counts_gates(project: Project) -> None:
    """Gates are counted as collected, so that progress ends at 100 %."""
    result = project.run()

    result.stdout.fnmatch_lines(["heldout/support.jsonl ..ggg * [[]100%[]]"])
    assert all(f"[{percent}%]" not in str(result.stdout) for percent in range(101, 200))


def test_run_without_a_terminal_reporter(project: Project) -> None:
    """With -p no:terminal the verdict is the same."""
    project.record({"golden/late": WRONG}, target="off")

    assert project.run("-p", "no:terminal", target="off").ret == FAILED
    assert project.report["verdict"] == "blocked"
    assert project.run("-p", "no:terminal").ret == 0
    assert project.report["verdict"] == "passed"


@pytest.mark.parametrize(
    "gates",
    [
        {"it": 'metric = "accuracy.intent"\nmin = 0.9\nseverity = "warn"'},
        {"it": 'metric = "accuracy.intent"\nmin = 0.9\ntargets = ["gguf"]', "speed": 'metric = "ttft_ms.p50"\nmax = 9'},
        {"it": 'metric = "truncation_rate"\nmax = 0'},
        {"it": 'metric = "repetition_rate"\nmax = 0', "leak": 'metric = "leak_rate"\nmax = 0'},
    ],
)
def test_warnings_speed_and_form_alone_judge_no_target(project: Project, gates: dict[str, str]) -> None:
    """A target that no gate can block for its answers is never green."""
    project.write_gates(**gates)

    result = project.run()

    assert result.ret == FAILED
    assert project.gates["every_target_is_judged[cand]"] == "not evaluated"


def test_blocked_is_never_exit_0(project: Project) -> None:
    """A critical case that a conftest marks xfail, and that no gate counts, still blocks."""
    project.write_gates(form='metric = "json_parse_rate"\nmin = 1')
    project.record({"golden/late": WRONG})
    project.write(
        "conftest.py",
        "import pytest\ndef pytest_collection_modifyitems(items):\n    for i in items: i.add_marker(pytest.mark.xfail)\n",
    )

    result = project.run("-p", "no:strict")

    assert project.report["verdict"] == "blocked"
    assert result.ret == FAILED
    result.stdout.fnmatch_lines(["*gates.toml::verdict*"])


def test_labels_of_other_types_are_not_right(project: Project) -> None:
    """``"true"`` for ``true`` is wrong in macro-F1 as it is in accuracy."""
    schema = {"type": "object", "properties": {"intent": {}, "urgency": {}}, "required": ["intent", "urgency"]}
    project.write("golden/schema.json", json.dumps(schema))
    project.write_cases(
        "golden", *(project.case(f"c{i}") | {"expected": {"intent": True, "urgency": 1}} for i in range(3))
    )
    (project.path / "journal.jsonl").unlink()
    project.record({f"golden/c{i}": '{"intent": "true", "urgency": "1"}' for i in range(3)})
    project.write_gates(it='metric = "macro_f1.intent"\nmin = 0.5\nsuites = ["golden"]')

    assert project.run().ret == FAILED
    assert project.gates == {"it[cand]": "failed"}


def test_three_right_answers_prove_little(project: Project) -> None:
    """With confidence, macro-F1 of 1.0 over three cases is inconclusive, not proved."""
    project.write_gates(it='metric = "macro_f1.intent"\nmin = 0.9\nconfidence = 0.95\nsuites = ["golden"]')

    assert project.run().ret == FAILED
    assert project.gates == {"it[cand]": "inconclusive"}

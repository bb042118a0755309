"""A case is passed, missed, failed or an error; what fails the run is told by letters and exit code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project

LENIENT = {"intent": 'metric = "accuracy.intent"\nmin = 0.1'}
WRONG = json.dumps({"intent": "bug", "urgency": "low"})


def test_green_run(project: Project, mode: tuple[str, ...]) -> None:
    """Right answers pass every case and gate, and the exit code is 0."""
    result = project.run(*mode)

    assert result.ret == 0
    result.assert_outcomes(passed=10)
    assert set(project.outcomes.values()) == {"passed"}
    assert set(project.gates.values()) == {"passed"}
    result.stdout.fnmatch_lines(["modelgate: cand (replay); 7 cases, 3 gates from gates.toml", "verdict: passed"])


def test_miss_counts_but_does_not_fail(project: Project) -> None:
    """A wrong answer to a case that is not critical is an m, and fails nothing by itself."""
    project.write_gates(**LENIENT)
    project.record({"heldout/other": WRONG}, target="off")

    result = project.run(target="off")

    assert result.ret == 0
    assert project.outcomes["heldout/other[off]"] == "missed"
    result.assert_outcomes(passed=7)
    result.stdout.fnmatch_lines(["*1 missed*"])
    result.stdout.fnmatch_lines(["misses worth looking at (1 of 1; all are in errors.jsonl)", "  wrong     intent"])


def test_critical_miss_fails_the_run_by_itself(project: Project) -> None:
    """A critical case with a wrong primary field fails the run, whatever the gates say."""
    project.write_gates(**LENIENT)
    project.record({"golden/late": WRONG}, target="off")

    result = project.run(target="off")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert project.outcomes["golden/late[off]"] == "failed"
    assert project.gates == {"intent[off]": "passed"}
    result.stdout.fnmatch_lines(
        [
            "golden/support.jsonl:1: critical case 'late' on off: failed",
            "  wrong     intent",
            '  expected  {"intent": "billing", "urgency": "low"}',
            '  got       {"intent": "bug", "urgency": "low"}',
            "  input     About late.",
            "verdict: blocked",
            "  1 critical case failed: late[off]",
            "FAILED golden/support.jsonl::late[[]off[]]*",
        ],
        consecutive=False,
    )


@pytest.mark.parametrize(
    ("critical", "answer", "outcome"),
    [
        (True, '{"intent": "billing", "urgency": "low"}', "passed"),
        (True, '{"intent": "billing", "urgency": "high"}', "missed"),
        (True, '{"intent": "bug", "urgency": "low"}', "failed"),
        (True, '{"intent": "billing"}', "failed"),
        (True, "billing", "failed"),
        (["urgency"], '{"intent": "bug", "urgency": "low"}', "missed"),
        (["urgency"], '{"intent": "billing", "urgency": "high"}', "failed"),
        (["intent", "urgency"], '{"intent": "billing", "urgency": "high"}', "failed"),
        (False, "billing", "missed"),
    ],
)
def test_what_makes_a_critical_case_fail(project: Project, critical: object, answer: str, outcome: str) -> None:
    """``true`` asks for the contract and the primary field, a list for the fields that it names."""
    project.write_gates(**LENIENT)
    project.write_cases("golden", project.case("it", critical=critical), project.case("other"))
    project.record({"golden/it": answer}, target="off")

    result = project.run(target="off")

    assert project.outcomes["golden/it[off]"] == outcome
    assert result.ret == (outcome == "failed")


def test_answer_that_was_cut_off_is_a_miss(project: Project) -> None:
    """A right answer that never ended its turn breaks a contract."""
    project.write_gates(cut='metric = "truncation_rate"\nmax = 0', **LENIENT)
    project.record(target="endless", finish_reason="length", output_tokens=128)

    result = project.run(target="endless")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert set(project.outcomes.values()) == {"missed", "failed"}
    assert project.gates == {"cut[endless]": "failed", "intent[endless]": "passed"}
    (message,) = {violation["message"] for row in project.report["cases"] for violation in row["violations"]}
    assert message == "stopped after 128 tokens without ending its turn"


def test_engine_error_is_never_the_models_mistake(project: Project, mode: tuple[str, ...]) -> None:
    """A case without an answer is an error: it counts in no metric, and its gates are incomplete."""
    project.write_cases("heldout", project.case("other"), project.case("late", "refund"), project.case("new"))

    result = project.run(*mode)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert project.outcomes["heldout/new[cand]"] == "error"
    assert project.gates == {"form[cand]": "incomplete", "critical[cand]": "passed", "intent[cand]": "incomplete"}
    assert [gate["observed"] for gate in project.report["gates"]] == [1, 0, 1]
    result.stdout.fnmatch_lines(
        [
            "  engine    missing: journal.jsonl holds no generation of heldout/new",
            "*incomplete: 1 of 8 cases have no result (1 with an engine error)",
            "  1 case with an engine error: new[[]cand[]]",
            "ERROR heldout/support.jsonl::new[[]cand[]]*",
        ]
    )


def test_letters(project: Project) -> None:
    """Cases show . m F E, gates g and G."""
    project.record({"golden/late": WRONG, "golden/crash": WRONG}, target="off")
    project.write_cases("heldout", project.case("late", "refund"), project.case("new"))

    result = project.run(target="off")

    result.stdout.fnmatch_lines(["golden/support.jsonl Fm. *", "adversarial/support.jsonl .. *"])
    result.stdout.fnmatch_lines(["heldout/support.jsonl .EGGG *"])


def test_words(project: Project) -> None:
    """With -v each outcome is a word."""
    project.record({"golden/late": WRONG, "golden/crash": WRONG}, target="off")
    project.write_cases("heldout", project.case("late", "refund"), project.case("new"))

    result = project.run("-v", target="off")

    result.stdout.fnmatch_lines(
        [
            "golden/support.jsonl::late[[]off[]] FAILED *",
            "golden/support.jsonl::crash[[]off[]] MISSED *",
            "golden/support.jsonl::money-back[[]off[]] PASSED *",
            "heldout/support.jsonl::new[[]off[]] ERROR *",
            "gates.toml::form[[]off[]] GATE INCOMPLETE *",
            "gates.toml::critical[[]off[]] GATE FAILED *",
        ]
    )


def test_strict_fails_on_every_miss(project: Project, mode: tuple[str, ...]) -> None:
    """With --modelgate-strict a miss fails the run and is a reason of the verdict."""
    project.write_gates(**LENIENT)
    project.record({"heldout/other": WRONG}, target="off")

    result = project.run("--modelgate-strict", *mode, target="off")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert project.outcomes["heldout/other[off]"] == "missed"
    assert project.report["verdict"] == "blocked"
    result.stdout.fnmatch_lines(["FAILED heldout/support.jsonl::other[[]off[]]*"])
    assert project.report["reasons"] == ["1 case missed: other[off]"]


def test_many_reasons_are_counted(project: Project) -> None:
    """The verdict names three cases and counts the rest."""
    project.write_gates(**LENIENT)
    project.write_cases("golden", *(project.case(f"c{i}", critical=True) for i in range(5)))
    project.record({f"golden/c{i}": WRONG for i in range(5)}, target="off")

    project.run(target="off")

    assert project.report["reasons"] == ["5 critical cases failed: c0[off], c1[off], c2[off] and 2 more"]


def test_a_case_without_expectation_needs_its_contract_only(project: Project) -> None:
    """Where nothing is expected, an answer that obeys the schema passes and another is missed."""
    project.record({"adversarial/empty": "I cannot"}, target="off")

    project.run()
    assert project.outcomes["adversarial/empty[cand]"] == "passed"

    project.run(target="off")
    assert project.outcomes["adversarial/empty[off]"] == "missed"

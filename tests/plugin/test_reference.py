"""--reference: an export must agree with what it was made from."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.metrics.parity import answer_churn, harmful_flip_rate, reference_loss
from pytest_modelgate.records import Outcome, Record
from tests.conftest import Project, label

REFERENCE = ("--reference", "replay:journal.jsonl#adapter")
WRONG = json.dumps(label("bug", "high"))


def recorded(project: Project, ours: dict[str, str], theirs: dict[str, str] | None = None) -> None:
    """Record a candidate and its reference anew."""
    (project.path / "journal.jsonl").unlink()
    project.record(ours)
    project.record(theirs or {}, target="adapter")


def test_equal_answers_pass(project: Project, mode: tuple[str, ...]) -> None:
    """A candidate that answers as its reference does passes, and the reference's cases are told apart from its own."""
    recorded(project, {})

    result = project.run(*REFERENCE, *mode)

    assert result.ret == 0
    assert project.gates["parity_loss[cand]"] == "passed"
    assert {target["id"]: target["role"] for target in project.report["targets"]} == {
        "cand": "model",
        "adapter": "reference",
    }
    result.stdout.fnmatch_lines(["adapter (reference): 7 of 7 cases run: 7 passed"])


def test_lost_critical_case_blocks(project: Project, mode: tuple[str, ...]) -> None:
    """A critical case that the reference gets right and the candidate does not blocks, by a gate that nobody wrote."""
    recorded(project, {"golden/late": WRONG})

    result = project.run(*REFERENCE, *mode)

    assert result.ret == 1
    gate = next(gate for gate in project.report["gates"] if gate["name"] == "parity_critical_flips")
    assert (gate["outcome"], gate["observed"], gate["origin"]) == ("failed", 1.0, "added by --reference")


def test_net_loss_blocks_and_churn_does_not(project: Project) -> None:
    """One case lost and another won is no loss; one lost alone is."""
    recorded(project, {"heldout/other": WRONG}, {"heldout/late": WRONG})
    project.run(*REFERENCE)
    assert project.gates["parity_loss[cand]"] == "passed"

    recorded(project, {"heldout/other": WRONG})
    result = project.run(*REFERENCE)

    assert result.ret == 1
    assert project.gates["parity_loss[cand]"] == "failed"


def test_reference_that_is_wrong_fails_nothing(project: Project) -> None:
    """What the reference gets wrong, be it critical, is no failure of the run."""
    recorded(project, {}, {"golden/late": WRONG, "heldout/other": "no JSON"})

    result = project.run(*REFERENCE)

    assert result.ret == 0


def test_reference_without_answers_leaves_the_gates_open(project: Project) -> None:
    """A reference that lacks a case makes the comparison incomplete, which blocks."""
    (project.path / "journal.jsonl").unlink()
    project.record()
    with (project.path / "journal.jsonl").open("a", encoding="utf-8") as file:
        row = {"target": "adapter", "suite": "golden", "case": "late", "generation": {"text": json.dumps(label())}}
        file.write(json.dumps(row) + "\n")

    result = project.run(*REFERENCE)

    assert result.ret == 1
    assert project.gates["parity_loss[cand]"] == "incomplete"


def test_own_gate_on_agreement_needs_a_reference(project: Project) -> None:
    """A gate that compares with a reference blocks a run without one, and says which option gives it."""
    project.write_gates(form='metric = "schema_validity"\nmin = 0.99', same='metric = "output_agreement"\nmin = 1.0')

    result = project.run()

    assert result.ret == 1
    gate = next(gate for gate in project.report["gates"] if gate["name"] == "same")
    assert gate["reason"] == "not evaluated: output_agreement compares with a reference: give --reference SPEC"


def test_margin_against_the_reference_is_judged_per_task(project: Project) -> None:
    """``max_reference_regression`` allows an export to cost so much, with McNemar's p beside it."""
    project.write_gates(
        form='metric = "schema_validity"\nmin = 0.99', kept='metric = "accuracy.intent"\nmax_reference_regression = 0.1'
    )
    recorded(project, {"heldout/other": WRONG})

    result = project.run(*REFERENCE)

    assert result.ret == 1
    gate = next(gate for gate in project.report["gates"] if gate["name"] == "kept")
    assert gate["outcome"] == "failed"
    assert "worse than adapter in task 'support'" in gate["reason"]
    assert "1 cases lost, 0 won, exact McNemar p = 1" in gate["reason"]


@pytest.mark.parametrize("spec", ["http://localhost:1/v1#m", "python:rules:answer"])
def test_reference_must_be_something_that_was_exported_from(project: Project, spec: str) -> None:
    """A server or a program is no reference."""
    result = project.run("--reference", spec)

    assert result.ret == 4
    assert f"--reference {spec}: " in result.stderr.str()


def test_reference_alone_is_a_mistake(project: Project) -> None:
    """--reference without --model judges nothing."""
    result = project.pytester.runpytest_inprocess("--reference", "replay:journal.jsonl#cand")

    assert result.ret == 4
    assert "--reference needs --model" in result.stderr.str()


OUTCOMES = st.sampled_from(["passed", "missed", "failed"])


@given(st.lists(st.tuples(OUTCOMES, OUTCOMES), min_size=1, max_size=40))
def test_loss_is_the_difference_of_the_pass_rates(outcomes: list[tuple[Outcome, Outcome]]) -> None:
    """The net loss is the reference's pass rate less the target's, and lies within its bounds."""
    pairs = [(record(ours, n), record(theirs, n)) for n, (ours, theirs) in enumerate(outcomes)]

    loss = reference_loss(pairs)

    passed = [[one.outcome == "passed" for one in side] for side in zip(*pairs, strict=True)]
    assert loss.value == pytest.approx((sum(passed[1]) - sum(passed[0])) / len(pairs))
    assert loss.bounds is not None
    assert loss.value is not None
    low, high = loss.bounds(0.95)
    assert low - 1e-9 <= loss.value <= high + 1e-9
    assert (harmful_flip_rate(pairs).value or 0.0) >= loss.value - 1e-9
    assert answer_churn(pairs).value == 0.0  # the same text on both sides, however it was judged


def record(outcome: Outcome, number: int) -> Record:
    """Return a record of one case."""
    return Record(target="t", suite="golden", task="support", case=str(number), outcome=outcome)

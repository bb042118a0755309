"""Arms are compared side by side: what was there before, what had to be beaten, what is to be released."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest

from pytest_modelgate.records import Performance, Sample
from pytest_modelgate.report.arms import compare_arms
from pytest_modelgate.report.markdown import build_markdown
from pytest_modelgate.report.terminal import summary_lines
from tests.outcomes import judged

if TYPE_CHECKING:
    from tests.conftest import Project

WRONG = json.dumps({"intent": "bug", "urgency": "low"})
BROKEN = "no"
PROGRAM = 'def answer(messages):\n    return \'{"intent": "billing", "urgency": "low"}\'\n'


def answers(project: Project, **wrong: str) -> dict[str, str]:
    """Return right answers to every case, but for those given as ``suite__case``."""
    right = {
        f"{suite}/{row['id']}": json.dumps(row.get("expected", {"intent": "bug", "urgency": "low"}))
        for suite, rows in project.rows.items()
        for row in rows
    }
    return right | {name.replace("__", "/"): text for name, text in wrong.items()}


def test_arms_without_controls(project: Project) -> None:
    """Where no control ran one line says so, and the summary has a row for each that is missing."""
    result = project.run()

    lines = project.gate_lines(result)
    assert "controls not run: base, prompted, larger (--control)" in lines
    assert not any(line.startswith("arm ") for line in lines)
    arms = project.report["arms"]
    assert [(arm["id"], arm["arm"], arm["ran"], arm["note"]) for arm in arms] == [
        ("base", "base", False, "not run (--control SPEC,id=base)"),
        ("prompted", "prompted base", False, "not run (--control SPEC,id=prompted)"),
        ("larger", "larger model", False, "not run (--control SPEC,id=larger)"),
        ("cand", "judged", True, None),
    ]
    summary = (project.out / "summary.md").read_text(encoding="utf-8")
    assert "| `prompted` (prompted base) | not run (--control SPEC,id=prompted) |" in summary


def test_arms_in_order_with_their_figures(project: Project) -> None:
    """Base, prompted base, program, larger and other controls come before the judged target."""
    project.write("rules.py", PROGRAM)
    project.record({"golden/late": WRONG, "heldout/other": BROKEN}, target="base")
    project.record({"golden/late": BROKEN}, target="other")
    project.record(target="bigger")

    result = project.run(
        *("--control", "replay:journal.jsonl#other"),
        *("--control", "python:rules:answer,id=rules"),
        *("--control", "replay:journal.jsonl#bigger,id=larger"),
        *("--control", "replay:journal.jsonl#base"),
    )

    arms = {arm["id"]: arm for arm in project.report["arms"]}
    assert list(arms) == ["base", "prompted", "rules", "larger", "other", "cand"]
    assert [arm["arm"] for arm in arms.values()] == [
        "base",
        "prompted base",
        "program",
        "larger model",
        "control",
        "judged",
    ]
    base = arms["base"]
    assert [(figure["metric"], figure["value"], figure["n"]) for figure in base["figures"]] == [
        ("macro_f1.intent", pytest.approx((0 + 2 / 3 + 1) / 3), 5),
        ("accuracy.intent", pytest.approx(3 / 5), 5),
    ]
    low, high = base["figures"][1]["interval"]
    assert 0 < low < 0.6 < high < 1
    assert (base["cases"], base["of"], base["contract_error_rate"]) == (5, 5, pytest.approx(1 / 5))
    assert base["failing"] == ["golden/late", "heldout/other"]
    assert (base["latency_ms"], base["tokens_per_second"], base["cost_per_1k_requests"]) == (None, None, None)
    assert arms["cand"]["figures"][0]["value"] == 1
    shown = project.gate_lines(result)
    start = next(number for number, line in enumerate(shown) if line.startswith("arm "))
    assert shown[start].split() == ["arm", "macro_f1.intent", "breaks", "contract"]
    assert [line.split()[0] for line in shown[start + 1 : start + 6]] == ["base", "rules", "larger", "other", "cand"]
    assert shown[start + 6] == "not run: prompted (--control SPEC,id=NAME)"


def test_a_judged_target_is_its_own_arm(project: Project) -> None:
    """A base that is judged itself is not missed as a control."""
    project.record(target="base")

    project.run(models=["replay:journal.jsonl#cand", "replay:journal.jsonl#base"])

    assert [(arm["id"], arm["judged"]) for arm in project.report["arms"] if arm["ran"]] == [
        ("cand", True),
        ("base", True),
    ]
    assert "base" not in [arm["id"] for arm in project.report["arms"] if not arm["ran"]]


def test_speed_and_cost(project: Project) -> None:
    """Times, tokens and cost stand beside the figures where they were measured."""
    samples = tuple(Sample(f"c{i}", 0.01, 0.1, 20) for i in range(10))
    given = answers(project)

    outcome = judged(
        project.path,
        {"cand": given},
        controls={"base": given},
        performances={
            "cand": Performance("cand", samples, price_per_hour=3.6),
            "base": Performance("base", error="golden/late: the engine died"),
        },
    )

    arms = {arm.id: arm for arm in compare_arms(outcome)}
    assert arms["cand"].latency_ms == (100, 100)
    assert arms["cand"].tokens_per_second == pytest.approx(200)
    assert arms["cand"].cost_per_1k == pytest.approx(0.1)
    assert arms["base"].note == "speed not measured: golden/late: the engine died"
    lines = [line for line, _ in summary_lines(outcome)]
    assert any(line.split()[-4:] == ["/", "100", "200", "0.1"] for line in lines if line.startswith("cand  "))
    assert "| 100 / 100 | 200 | 0.1 |" in build_markdown(outcome)


def test_cases_without_an_answer_are_told(project: Project) -> None:
    """An arm that answered only some of the cases says so."""
    given = answers(project)
    some = {name: text for name, text in given.items() if name != "golden/late"}

    outcome = judged(project.path, {"cand": given}, controls={"base": some})

    base = next(arm for arm in compare_arms(outcome) if arm.id == "base")
    assert (base.cases, base.of) == (4, 5)
    assert "4 of 5 cases answered" in build_markdown(outcome)


def test_figures_by_kind_of_task(project: Project) -> None:
    """Each kind of task is compared by its own metric; with several tasks each column names its own."""
    project.write("tools.json", '[{"name": "f", "parameters": {"type": "object", "properties": {}}}]')
    project.write_gates(
        head='version = 1\n[suites]\ngolden = "golden/*.jsonl"\n'
        '[tasks.record]\nkind = "extraction"\n[tasks.free]\nkind = "text"\n'
        '[tasks.call]\nkind = "tool_call"\ntools = "tools.json"\n',
        it='metric = "case_pass_rate"\nmin = 0.1',
    )
    expected = {"record": {"total": 1}, "free": "yes", "call": [{"name": "f", "arguments": {}}]}
    project.write_cases(
        "golden", *({"id": name, "task": name, "input": "x", "expected": it} for name, it in expected.items())
    )
    given = {"golden/record": '{"total": 1}', "golden/free": "no", "golden/call": '{"name": "f", "arguments": {}}'}

    outcome = judged(project.path, {"cand": given}, controls={"base": {}})

    arms = {arm.id: arm for arm in compare_arms(outcome)}
    assert [(figure.task, figure.metric, figure.value) for figure in arms["cand"].figures] == [
        ("record", "field_f1", 1),
        ("free", "quality", 0),
        ("call", "exact_match", 1),
    ]
    assert [figure.value for figure in arms["base"].figures] == [None, None, None]
    assert any("record field_f1" in line and "free quality" in line for line, _ in summary_lines(outcome))


def test_quarantined_cases_are_left_out(project: Project) -> None:
    """A case that does not count for the gates does not count here."""
    flip = {"role": "model", "suite": "heldout", "case": "other", "outcomes": ["passed", "missed"]}
    project.write("flips.json", json.dumps({"modelgate_repeat": 1, "flipping_cases": [flip]}))
    gates = (project.path / "gates.toml").read_text(encoding="utf-8")
    until = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30)
    quarantine = '[quarantine."heldout/other"]\nreason = "ties"\nevidence = "flips.json"\n'
    project.write("gates.toml", f"{gates}\n{quarantine}until = {until}\n")
    project.record({"heldout/other": BROKEN}, target="off")

    project.run(target="off")

    judged_arm = next(arm for arm in project.report["arms"] if arm["ran"])
    assert (judged_arm["of"], judged_arm["contract_error_rate"]) == (4, 0)

"""The report says what changed against the baseline and between repeats, what fails now and did not first."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from pytest_modelgate.baselines import write_baseline
from pytest_modelgate.judgement import judge
from pytest_modelgate.records import Generation
from pytest_modelgate.release import load_rules

if TYPE_CHECKING:
    from tests.conftest import Project

SCHEMA = json.loads(Path(__file__).parents[2].joinpath("docs", "report.schema.json").read_text(encoding="utf-8"))
RIGHT = json.dumps({"intent": "billing", "urgency": "low"})
REWORDED = json.dumps({"urgency": "low", "intent": "billing"})
WRONG = json.dumps({"intent": "bug", "urgency": "low"})
SOON = str(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=30))
REGRESSION = {
    "form": 'metric = "schema_validity"\nmin = 0.1',
    "kept": 'metric = "accuracy.intent"\nmax_regression = 0.9',
}


def accept(project: Project, answers: dict[str, str] | None = None) -> None:
    """Write a baseline of right answers, except those given, as an accepted run of a model would."""
    rules = load_rules(project.path / "gates.toml")
    given = answers or {}
    records = [
        judge(
            rules.tasks[case.task],
            case,
            "v1",
            Generation(given.get(f"{case.suite}/{case.id}", json.dumps(case.expected) if case.has_expected else RIGHT)),
        )
        for case in rules.cases
    ]
    write_baseline(
        rules.baselines,
        rules.tasks,
        rules.cases,
        records,
        rules.gates_file.generation.model_dump(),
        {"reason": "first release", "target": {"id": "v1"}, "machine": {}},
    )


def baseline_lines(project: Project, result: pytest.RunResult) -> list[str]:
    """Return the terminal's lines on the baseline, without its date and commit."""
    lines = project.gate_lines(result)
    start = next(number for number, line in enumerate(lines) if line.startswith("against the baseline"))
    head = re.sub(r"\d{4}-\d\d-\d\d, v1( at \w+)?", "DAY, v1", lines[start])
    return [head, *lines[start + 1 : lines.index("", start)]]


def section(project: Project, title: str) -> list[str]:
    """Return the lines of one section of summary.md."""
    lines = (project.out / "summary.md").read_text(encoding="utf-8").splitlines()
    start = lines.index(f"### {title}")
    end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith("### ")), len(lines))
    return [line for line in lines[start + 1 : end] if line]


def test_changes_case_by_case(project: Project) -> None:
    """New failures come first with their old answer, then what was fixed, reworded, added, removed and edited."""
    project.write_gates(**REGRESSION)
    accept(project, {"golden/crash": WRONG, "heldout/other": RIGHT})
    project.write_cases("heldout", project.case("late", "refund"), project.case("other"), project.case("added"))
    project.write_cases("adversarial", project.case("shouting", "bug", input="Edited."))
    project.record({"heldout/other": WRONG, "golden/late": REWORDED}, target="off")

    result = project.run(target="off")

    jsonschema.Draft202012Validator(SCHEMA).validate(project.report)
    changes = project.report["baseline"]
    (accepted,) = changes["accepted"]
    assert (accepted["task"], accepted["reason"], accepted["target"]) == ("support", "first release", "v1")
    (target,) = changes["targets"]
    assert target["new_failures"] == [
        {
            "suite": "heldout",
            "case": "other",
            "location": "heldout/support.jsonl:2",
            "critical": False,
            "was": "passed",
            "now": "missed",
            "old_output": RIGHT,
        }
    ]
    assert [(row["case"], row["was"], row["now"]) for row in target["fixed"]] == [("crash", "missed", "passed")]
    assert (target["compared"], target["changed_wording"]) == (5, 1)
    assert target["win_rate"]["support"]["value"] == 0.5
    assert (changes["new_cases"], changes["removed"]) == (["heldout/added"], ["adversarial/empty"])
    assert changes["edited"] == ["adversarial/shouting"]
    assert baseline_lines(project, result) == [
        "against the baseline (DAY, v1: first release):",
        "  1 new failure, 1 fixed, 1 only in other words, win rate 0.5000 (of 5 cases)",
        "    heldout/support.jsonl:2 other: passed, now missed",
        f"      was {RIGHT}",
        f"      now {WRONG}",
        "  cases: 1 new, 1 removed, 1 edited",
    ]
    assert section(project, "Changes against the baseline")[1:] == [
        "`off`: 1 new failure, 1 fixed, 1 only in other words, win rate 0.5000 (of 5 cases).",
        "- heldout/support.jsonl:2 `other`: passed before, now missed",
        f"  - was `{RIGHT}`",
        f"  - now `{WRONG}`",
        "- fixed: `golden/crash`",
        "- new cases: `heldout/added`",
        "- removed cases: `adversarial/empty`",
        "- edited cases: `adversarial/shouting`",
    ]


def test_critical_failures_come_first(project: Project) -> None:
    """Of several new failures, failed critical cases are told first, three on the terminal and all in the report."""
    project.write_gates(**REGRESSION)
    accept(project)
    wrong = dict.fromkeys(("golden/money-back", "golden/late", "heldout/late", "heldout/other"), WRONG)
    project.record(wrong, target="off")

    result = project.run(target="off")

    (target,) = project.report["baseline"]["targets"]
    assert [row["case"] for row in target["new_failures"]] == ["late", "money-back", "late", "other"]
    assert target["new_failures"][0]["now"] == "failed"
    lines = baseline_lines(project, result)
    assert lines[2] == "    golden/support.jsonl:1 late: passed, now failed"
    assert lines[-1] == "    and 1 more in report.json"


def test_gates_show_what_they_compare_with(project: Project) -> None:
    """A gate on a regression shows the baseline's value; its interval is that of the change."""
    project.write_gates(**REGRESSION)
    accept(project)
    project.record({"heldout/other": WRONG}, target="off")

    result = project.run(target="off")

    (line,) = [line for line in project.gate_lines(result) if line.startswith("✓ kept[off]")]
    assert re.fullmatch(r"✓ kept\[off\] +0\.8333 +max regression 0\.9 +n=6 +change \[-.*\] +was 1", line)
    (row,) = [line for line in section(project, "Gates") if "`kept[off]`" in line]
    assert "| 0.8333 (was 1) |" in row


def test_without_a_baseline_one_line_says_so(project: Project) -> None:
    """Where a gate compares with a baseline and there is none, one line tells how to make one."""
    project.write_gates(**REGRESSION)

    lines = project.gate_lines(project.run())

    assert "no baseline yet (--modelgate-accept REASON)" in lines
    assert project.report["baseline"] is None
    assert section(project, "Changes against the baseline") == ["No baseline yet (`--modelgate-accept REASON`)."]


def test_nobody_is_told_of_a_baseline_that_no_gate_wants(project: Project) -> None:
    """Without a gate on regressions there is no word about baselines."""
    result = project.run()

    assert not any("baseline" in line for line in project.gate_lines(result) if not line.startswith("report: "))
    assert "baseline" not in (project.out / "summary.md").read_text(encoding="utf-8")


def test_what_was_judged_by_other_rules_is_not_compared(project: Project) -> None:
    """A task whose rules changed is named with the reason, and its cases are no regressions."""
    project.write_gates(**REGRESSION)
    accept(project)
    project.write("golden/schema.json", json.dumps({"type": "object"}))
    project.record({"heldout/other": WRONG}, target="off")

    result = project.run(target="off")

    changes = project.report["baseline"]
    assert changes["not_compared"] == {"support": "schema changed"}
    assert changes["targets"][0]["new_failures"] == []
    assert "  support: not compared: schema changed" in project.gate_lines(result)


def test_quarantined_case_is_not_removed(project: Project) -> None:
    """A case that is kept out of the verdict is not told as one that is gone."""
    project.write_gates(**REGRESSION)
    accept(project)
    quarantine(project, "heldout/other", SOON)

    project.run()

    assert project.report["baseline"]["removed"] == []


def quarantine(project: Project, case: str, until: str) -> None:
    """Put one case into quarantine."""
    suite, name = case.split("/")
    flip = {"target": "cand", "role": "model", "suite": suite, "case": name, "outcomes": ["passed", "missed"]}
    project.write("flips.json", json.dumps({"modelgate_repeat": 1, "flipping_cases": [flip]}))
    gates = (project.path / "gates.toml").read_text(encoding="utf-8")
    table = f'[quarantine."{case}"]\nreason = "two answers tie"\nevidence = "flips.json"\nuntil = {until}\n'
    project.write("gates.toml", f"{gates}\n{table}")


def test_quarantine_is_shown(project: Project) -> None:
    """A quarantined case is shown with reason, evidence and date."""
    quarantine(project, "heldout/other", SOON)
    project.record({"heldout/other": WRONG}, target="off")

    result = project.run(target="off")

    assert result.ret == 0
    told = f"two answers tie (1 x missed, 1 x passed; until {SOON})"
    assert f"quarantined: heldout/other: {told}" in project.gate_lines(result)
    assert project.report["quarantine"] == {"active": [{"case": "heldout/other", "reason": told}], "expired": []}
    assert section(project, "Repeats and quarantine") == [f"- quarantined: `heldout/other`: {told}"]
    assert project.report["errors"][0]["clusters"][0]["slices"] == {"quarantined": 1}


def test_quarantine_that_is_over_is_shown_loudly(project: Project) -> None:
    """A quarantine that ended is told in capitals: the case counts again."""
    quarantine(project, "heldout/other", "2020-01-01")

    result = project.run()

    line = "QUARANTINE IS OVER: heldout/other counts again: quarantine ended on 2020-01-01"
    assert line in project.gate_lines(result)
    assert project.report["quarantine"]["expired"] == [
        {"case": "heldout/other", "reason": "quarantine ended on 2020-01-01"}
    ]


def record_repeats(project: Project, answers: dict[int, dict[str, str]]) -> None:
    """Record right answers of ``cand`` for two more repeats, but for those given."""
    rows: list[dict[str, Any]] = [
        {
            "target": "cand",
            "suite": suite,
            "case": row["id"],
            "repeat": repeat,
            "generation": {
                "text": answers.get(repeat, {}).get(f"{suite}/{row['id']}", json.dumps(row.get("expected", {})))
            },
        }
        for repeat in (1, 2)
        for suite, cases in project.rows.items()
        for row in cases
    ]
    with (project.path / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_repeats_that_agree(project: Project) -> None:
    """Where nothing changed one line says so, and repeat.json is the evidence."""
    project.write_cases("adversarial", project.case("shouting", "bug"))
    (project.path / "journal.jsonl").unlink()
    project.record()
    record_repeats(project, {1: {"golden/late": REWORDED}})

    result = project.run("--modelgate-repeat", "3")

    lines = project.gate_lines(result)
    assert "3 repeats: 0 of 6 cases changed their outcome, 1 only their wording; no gate changed" in lines
    evidence = json.loads((project.out / "repeat.json").read_text(encoding="utf-8"))
    assert evidence == project.report["repeats"]
    assert evidence["flipping_cases"] == []
    jsonschema.Draft202012Validator(SCHEMA).validate(project.report)


def test_repeats_that_differ(project: Project) -> None:
    """Cases and gates that changed are listed with their outcomes in order."""
    project.write_cases("adversarial", project.case("shouting", "bug"))
    project.write_gates(
        form='metric = "schema_validity"\nmin = 0.9', intent='metric = "accuracy.intent"\nmin = 1\nsuites = ["heldout"]'
    )
    (project.path / "journal.jsonl").unlink()
    project.record()
    record_repeats(project, {2: {"heldout/other": WRONG}})

    result = project.run("--modelgate-repeat", "3")

    lines = project.gate_lines(result)
    start = lines.index("3 repeats: 1 of 6 cases changed their outcome, 0 only their wording; 1 gate changed")
    assert lines[start + 1 : start + 3] == [
        "  heldout/other[cand]: passed, passed, missed",
        "  gate intent[cand]: passed, passed, failed",
    ]
    assert section(project, "Repeats and quarantine")[1:] == [
        "- `heldout/other[cand]`: passed, passed, missed",
        "- `gate intent[cand]`: passed, passed, failed",
    ]
    evidence = json.loads((project.out / "repeat.json").read_text(encoding="utf-8"))
    assert evidence["flipping_cases"] == [
        {
            "target": "cand",
            "role": "model",
            "suite": "heldout",
            "case": "other",
            "outcomes": ["passed", "passed", "missed"],
        }
    ]


def test_evidence_of_an_earlier_run_is_kept(project: Project) -> None:
    """A run without repeats leaves repeat.json alone: gates.toml may name it."""
    evidence = project.write(".modelgate/repeat.json", "{}")

    project.run()

    assert evidence.read_text(encoding="utf-8") == "{}"

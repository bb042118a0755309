"""--modelgate-repeat: the same model asked several times, to tell how much of a verdict is noise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_modelgate.evaluation import Findings
from pytest_modelgate.identity import generation_key
from pytest_modelgate.judgement import judge, record_failure
from pytest_modelgate.records import Failure, Generation, Message, Record, Request
from pytest_modelgate.release import load_rules
from pytest_modelgate.repeats import RepeatFindings, compare_repeats
from pytest_modelgate.runner import journal_key

if TYPE_CHECKING:
    from tests.conftest import Project

FAILED = pytest.ExitCode.TESTS_FAILED
USAGE_ERROR = pytest.ExitCode.USAGE_ERROR
WRONG = json.dumps({"intent": "bug", "urgency": "low"})
OTHER_WORDS = json.dumps({"urgency": "low", "intent": "billing"})


def repeat(project: Project, number: int, answers: dict[str, str] | None = None, *, target: str = "cand") -> None:
    """Record one more try of every case: what the first one gave, except the answers given."""
    path = project.path / "journal.jsonl"
    before = path.read_text()
    project.record(answers, target=target)
    rows = [json.loads(line) for line in path.read_text()[len(before) :].splitlines()]
    path.write_text(before + "".join(json.dumps(row | {"repeat": number}) + "\n" for row in rows))


def found(project: Project) -> dict[str, object]:
    """Return repeat.json."""
    return dict(json.loads((project.out / "repeat.json").read_bytes()))


def test_flips_are_told(project: Project, mode: tuple[str, ...]) -> None:
    """A case that changes its outcome, a gate that does, and an answer in other words are three things."""
    project.write_gates(intent='metric = "accuracy.intent"\nmin = 0.95\nsuites = ["heldout"]')
    repeat(project, 1, {"heldout/other": WRONG})
    repeat(project, 2, {"golden/late": OTHER_WORDS})

    result = project.run("--modelgate-repeat", "3", *mode)

    assert result.ret == FAILED
    assert project.report["reasons"] == ["gate intent[cand] was passed, failed, passed in the repeats"]
    assert project.gates == {"intent[cand]": "passed"}
    assert found(project) == {
        "modelgate_repeat": 1,
        "repeats": 3,
        "changed_answers": {"cand": 2},
        "unanswered": {"cand": 0},
        "flipping_cases": [
            {
                "target": "cand",
                "role": "model",
                "suite": "heldout",
                "case": "other",
                "outcomes": ["passed", "missed", "passed"],
            }
        ],
        "flipping_gates": [{"gate": "intent", "target": "cand", "outcomes": ["passed", "failed", "passed"]}],
    }
    assert project.report["repeats"] == found(project)
    result.stdout.fnmatch_lines(
        [
            "3 repeats: 1 of 7 cases changed their outcome, 1 only their wording; 1 gate changed",
            "  heldout/other[[]cand[]]: passed, missed, passed",
            "  gate intent[[]cand[]]: passed, failed, passed",
        ]
    )


def test_a_critical_case_that_fails_once_fails(project: Project, mode: tuple[str, ...]) -> None:
    """A critical case that any try got wrong fails its item and blocks, whichever try that was."""
    project.write_gates(form='metric = "schema_validity"\nmin = 0.5')
    repeat(project, 1, {"golden/late": WRONG})
    told = "critical case golden/late[{}] failed in 1 of 2 repeats"

    later = project.run("--modelgate-repeat", "2", *mode)

    assert later.ret == FAILED
    later.assert_outcomes(failed=1, passed=7)
    assert project.report["reasons"] == [told.format("cand")]
    later.stdout.fnmatch_lines(
        ["golden/support.jsonl:1: critical case 'late' on cand: failed", "FAILED golden/support.jsonl::late[[]cand[]]*"]
    )
    assert project.report["verdict"] == "blocked"

    project.record({"golden/late": WRONG}, target="off")
    repeat(project, 1, target="off")
    assert project.run("--modelgate-repeat", "2", target="off").ret == FAILED
    assert told.format("off") in project.report["reasons"]
    assert len(project.outcomes) == 7


def test_a_blocking_gate_must_be_the_same_in_every_repeat(project: Project) -> None:
    """A gate that blocks and changed between repeats blocks the run; one that only warns does not."""
    table = 'metric = "accuracy.intent"\nmin = 0.95\nsuites = ["heldout"]'
    form = 'metric = "schema_validity"\nmin = 0.5'
    repeat(project, 1, {"heldout/other": WRONG})

    project.write_gates(form=form, intent=f'{table}\nseverity = "warn"')
    assert project.run("--modelgate-repeat", "2").ret == 0
    assert [row["gate"] for row in project.report["repeats"]["flipping_gates"]] == ["intent"]

    project.write_gates(form=form, intent=table)
    assert project.run("--modelgate-repeat", "2").ret == FAILED
    assert project.report["verdict"] == "blocked"
    assert project.report["reasons"] == ["gate intent[cand] was passed, failed in the repeats"]


def test_a_miss_in_a_repeat_is_noise(project: Project) -> None:
    """A case that is not critical may be missed in a repeat, as long as every gate holds."""
    repeat(project, 1, {"heldout/other": WRONG})

    result = project.run("--modelgate-repeat", "2")

    assert result.ret == 0
    assert [row["case"] for row in project.report["repeats"]["flipping_cases"]] == ["other"]


def test_nothing_changed(project: Project) -> None:
    """A model that always answers the same has no noise, which is said."""
    repeat(project, 1)
    repeat(project, 2)

    result = project.run("--modelgate-repeat", "3")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["3 repeats: 0 of 7 cases changed their outcome, 0 only their wording; no gate changed"]
    )
    assert found(project)["flipping_cases"] == []


def test_once_is_no_repeat(project: Project) -> None:
    """Without the option, or with 1, nothing is said of noise and no file is written."""
    for arguments in ((), ("--modelgate-repeat", "1")):
        result = project.run(*arguments)
        assert result.ret == 0
        result.stdout.no_fnmatch_line("*repeats*")
        assert not (project.out / "repeat.json").exists()
        assert project.report["repeats"] is None


@pytest.mark.parametrize(
    ("value", "told"),
    [("0", "*--modelgate-repeat must be at least 1, got 0"), ("-2", "*at least 1, got -2"), ("some", "*invalid int*")],
)
def test_less_than_once_is_a_mistake(project: Project, value: str, told: str) -> None:
    """K must be a number from 1."""
    result = project.run(f"--modelgate-repeat={value}")

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([told])


def test_an_answer_that_is_missing_is_no_flip(project: Project) -> None:
    """A recording without repeats, or an engine that failed, changes no outcome: it is counted by itself."""
    repeat(project, 1, {"heldout/other": WRONG})

    result = project.run("--modelgate-repeat", "3")

    assert result.ret == 0
    result.assert_outcomes(passed=10)
    assert project.report["verdict"] == "passed"
    data = found(project)
    assert data["unanswered"] == {"cand": 7}
    assert data["flipping_gates"] == []
    assert data["flipping_cases"] == [
        {
            "target": "cand",
            "role": "model",
            "suite": "heldout",
            "case": "other",
            "outcomes": ["passed", "missed", "error"],
        }
    ]
    result.stdout.fnmatch_lines(["3 repeats: 1 of 7 cases *; 7 answers missing"])


def test_a_controls_flips_are_told_apart(project: Project) -> None:
    """What a control changes is shown as the control's."""
    project.record(target="base")
    for number, answers in enumerate(({}, {"heldout/other": WRONG})):
        repeat(project, number + 1, target="cand")
        repeat(project, number + 1, answers, target="base")

    project.run("--modelgate-repeat", "3", "--control", "replay:journal.jsonl#base")

    assert [(row["target"], row["role"]) for row in project.report["repeats"]["flipping_cases"]] == [
        ("base", "control")
    ]


def test_a_part_of_the_cases_can_be_repeated(project: Project) -> None:
    """-k with repeats tells of the cases that were run, and no more."""
    repeat(project, 1, {"heldout/other": WRONG})

    project.run("--modelgate-repeat", "2", "-k", "other")

    data = found(project)
    assert data["unanswered"] == {"cand": 0}
    assert [row["case"] for row in project.report["repeats"]["flipping_cases"]] == ["other"]


def test_each_try_has_a_journal_key_of_its_own() -> None:
    """A second try is never answered by the first one's generation; the first has the key of a run without repeats."""
    request = Request("golden/late", 64, messages=(Message("user", "x"),))

    keys = [journal_key("identity", request, number) for number in range(4)]

    assert len(set(keys)) == 4
    assert keys[0] == journal_key("identity", request)
    greedy = {"temperature": 0.0, "repeat_penalty": 1.0, "grammar": "none", "seed": 0}
    assert keys[2] == generation_key("identity", request, greedy | {"repeat": 2})


# What is compared


def rounds_of(project: Project, *tries: dict[str, str | None]) -> RepeatFindings:
    """Return what is found where each try answers wrongly as given; None stands for no answer."""
    rules = load_rules(project.path / "gates.toml")

    def record(case_number: int, answers: dict[str, str | None]) -> Record:
        case = rules.cases[case_number]
        key = f"{case.suite}/{case.id}"
        text = answers.get(key, json.dumps(case.expected or {"intent": "bug", "urgency": "low"}))
        if text is None:
            return record_failure(case, "cand", Failure("died", "gone"))
        return judge(rules.tasks[case.task], case, "cand", Generation(text))

    rounds = [[record(number, answers) for number in range(len(rules.cases))] for answers in tries]
    return compare_repeats(rules.gates, Findings({"cand": "gguf"}, rounds[0]), rounds)


def test_outcomes_are_kept_in_order(project: Project) -> None:
    """Five tries, in the order in which they were made."""
    flip: dict[str, str | None] = {"golden/late": WRONG}

    told = rounds_of(project, {}, flip, flip, {}, flip)

    assert told.cases == {("cand", "golden", "late"): ("passed", "failed", "failed", "passed", "failed")}
    assert told.gates == {
        ("critical", "cand"): ("passed", "failed", "failed", "passed", "failed"),
    }
    assert told.texts == {"cand": 1}


def test_the_first_try_may_be_the_odd_one(project: Project) -> None:
    """A case that failed once and then passed flips as well."""
    told = rounds_of(project, {"heldout/other": WRONG}, {}, {})

    assert told.cases == {("cand", "heldout", "other"): ("missed", "passed", "passed")}


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_try_without_an_answer_flips_nothing(project: Project, gone: int) -> None:
    """Wherever the engine failed, passed and passed are the same."""
    tries: list[dict[str, str | None]] = [{}, {}, {}]
    tries[gone] = {"golden/late": None}

    told = rounds_of(project, *tries)

    assert (told.cases, told.gates, told.texts) == ({}, {}, {"cand": 0})
    assert told.unanswered == {"cand": 1}

"""Cases are pytest items: everything that selects tests selects them, and a part is never a whole verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project

FAILED = pytest.ExitCode.TESTS_FAILED
WRONG = json.dumps({"intent": "bug", "urgency": "low"})
ALL = [
    "golden/support.jsonl::late[cand]",
    "golden/support.jsonl::crash[cand]",
    "golden/support.jsonl::money-back[cand]",
    "adversarial/support.jsonl::shouting[cand]",
    "adversarial/support.jsonl::empty[cand]",
    "heldout/support.jsonl::late[cand]",
    "heldout/support.jsonl::other[cand]",
]
GOLDEN = ["golden/late[cand]", "golden/crash[cand]", "golden/money-back[cand]"]


@pytest.mark.parametrize(
    ("arguments", "run"),
    [
        (("-k", "late"), ["golden/late[cand]", "heldout/late[cand]"]),
        (("-k", "app"), ["golden/crash[cand]"]),
        (("-k", "cand and other"), ["heldout/other[cand]"]),
        (("-k", "support and not golden and not heldout"), ["adversarial/shouting[cand]", "adversarial/empty[cand]"]),
        (("-m", "golden"), GOLDEN),
        (("-m", "critical"), ["golden/late[cand]"]),
        (("-m", "modelgate and not heldout and not adversarial"), GOLDEN),
        (("golden/support.jsonl",), GOLDEN),
        (("golden",), GOLDEN),
        (("golden/support.jsonl::crash[cand]",), ["golden/crash[cand]"]),
        (("--deselect", "heldout", "--deselect", "adversarial"), GOLDEN),
    ],
)
def test_part_of_the_cases(project: Project, arguments: tuple[str, ...], run: list[str]) -> None:
    """A part of the cases is judged, and every gate that counts another case is incomplete."""
    result = project.run(*arguments)

    assert result.ret == FAILED
    assert list(project.outcomes) == run
    assert project.gates["form[cand]"] == "incomplete"
    assert project.gates["critical[cand]"] == ("passed" if "golden/late[cand]" in run else "incomplete")
    assert project.report["selection"] == "partial"
    assert project.report["verdict"] == "blocked"
    result.stdout.fnmatch_lines([f"*incomplete: {7 - len(run)} of 7 cases have no result ({7 - len(run)} not run)"])


def test_case_id_without_target_selects_it_on_all_targets(project: Project) -> None:
    """Without ``[target]`` the node id of a case means it on each target."""
    project.record(target="second")

    project.run(
        "golden/support.jsonl::late", models=["replay:journal.jsonl#cand", "replay:journal.jsonl#second,id=two"]
    )

    assert list(project.outcomes) == ["golden/late[cand]", "golden/late[two]"]


@pytest.mark.parametrize(
    "arguments", [("-k", "nothing-like-it"), ("-m", "not modelgate"), ("-m", "not modelgate", "-n", "2")]
)
def test_nothing_selected_is_blocked(project: Project, arguments: tuple[str, ...]) -> None:
    """When every case is deselected the gates are incomplete and the exit code is 1, never 5."""
    result = project.run(*arguments)

    assert result.ret == FAILED
    assert set(project.gates.values()) == {"incomplete"}
    assert project.report["verdict"] == "blocked"


def test_collect_only_lists_cases_and_judges_nothing(project: Project) -> None:
    """--collect-only -q prints one id a line, the order of the suites kept, and writes no report."""
    result = project.run("--collect-only", "-q")

    assert result.ret == 0
    assert [line for line in result.outlines if "::" in line] == ALL
    assert {path.name for path in project.out.iterdir()} == {".gitignore", "hashes.json"}
    result.stdout.no_fnmatch_line("*verdict*")


def test_collect_only_keeps_the_last_report(project: Project) -> None:
    """Looking at what would run does not take the last verdict away."""
    project.run()

    project.run("--collect-only")

    assert project.report["verdict"] == "passed"


def test_collect_only_of_nothing_is_one(project: Project) -> None:
    """Exit code 5 does not occur with --model, not even where nothing is listed."""
    assert project.run("--collect-only", "-k", "nothing-like-it").ret == FAILED


def test_last_failed_runs_the_failed_cases_again(project: Project) -> None:
    """--lf runs the failed case alone; the gates stay incomplete until a whole run."""
    project.record({"golden/late": WRONG}, target="off")
    project.run(target="off")

    result = project.run("--lf", target="off")

    assert result.ret == FAILED
    assert list(project.outcomes) == ["golden/late[off]"]
    assert project.gates == {"form[off]": "incomplete", "critical[off]": "failed", "intent[off]": "incomplete"}


def test_last_failed_after_failed_gates_runs_everything(project: Project) -> None:
    """When only a gate failed, --lf has no case to run again and runs all of them."""
    project.write_gates(form='metric = "accuracy.intent"\nmin = 1')
    project.record({"heldout/other": WRONG}, target="off")
    project.run(target="off")

    result = project.run("--lf", target="off")

    assert result.ret == FAILED
    assert len(project.outcomes) == 7
    assert project.gates == {"form[off]": "failed"}


@pytest.mark.parametrize("mode", [(), ("-n", "2")], ids=["plain", "n2"])
def test_stopping_at_the_first_failure_blocks(project: Project, mode: tuple[str, ...]) -> None:
    """After -x the report says what is missing, and no gate is green that did not see all of its cases."""
    project.record({"golden/late": WRONG}, target="off")

    result = project.run("-x", *mode, target="off")

    assert result.ret == (pytest.ExitCode.INTERRUPTED if mode else FAILED)
    assert project.report["verdict"] == "blocked"
    assert project.report["selection"] == "partial"
    assert project.gates["form[off]"] == "incomplete"
    assert project.report["reasons"][0] == ("the run stopped before all cases were done: gates were not judged in full")
    result.stdout.fnmatch_lines(["verdict: blocked"])


def test_interrupted_run_is_blocked(project: Project) -> None:
    """Ctrl-C ends with exit code 2 and a report of what was done."""
    project.write(
        "conftest.py",
        "def pytest_runtest_setup(item):\n    if 'crash' in item.nodeid:\n        raise KeyboardInterrupt\n",
    )

    result = project.run(fresh=True)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert project.outcomes == {"golden/late[cand]": "passed"}
    assert project.report["verdict"] == "blocked"
    assert project.gates == {"form[cand]": "incomplete", "critical[cand]": "passed", "intent[cand]": "incomplete"}


def test_nothing_but_the_suites_is_collected(project: Project, mode: tuple[str, ...]) -> None:
    """Without a path, the project's own unit tests are not run with --model."""
    project.write("test_own.py", "def test_it():\n    raise AssertionError\n")
    project.write("pytest.ini", "[pytest]\ntestpaths = .\n")

    result = project.run(*mode)

    assert result.ret == 0
    assert len(project.outcomes) == 7
    result.assert_outcomes(passed=10)


def test_unit_tests_alone_leave_the_gates_incomplete(project: Project) -> None:
    """``pytest --model X test_own.py`` runs what was asked for and releases nothing."""
    project.write("test_own.py", "def test_it():\n    pass\n")

    result = project.run("test_own.py")

    assert result.ret == FAILED
    assert project.outcomes == {}
    assert set(project.gates.values()) == {"incomplete"}


def test_unit_tests_and_suites_in_one_run(project: Project, mode: tuple[str, ...]) -> None:
    """Named together, unit tests and suites are run in one session, unit tests first."""
    project.write("test_own.py", "import pytest\n@pytest.mark.parametrize('x', ['cand'])\ndef test_it(x):\n    pass\n")

    result = project.run("golden", "heldout", "adversarial", "test_own.py", *mode)

    assert result.ret == 0
    assert project.report["selection"] == "full"
    result.assert_outcomes(passed=11)


def test_unit_tests_without_model_know_nothing_of_suites(project: Project) -> None:
    """Without --model the suites are no tests, even if named, and nothing is written."""
    project.write("test_own.py", "def test_it():\n    pass\n")

    result = project.run(models=[])

    assert result.ret == 0
    result.assert_outcomes(passed=1)
    assert not project.out.exists()
    result.stdout.no_fnmatch_line("*modelgate:*")


def test_options_after_paths(project: Project) -> None:
    """Options and paths may stand in any order."""
    result = project.run("golden", "heldout", "--model", "replay:journal.jsonl#cand", "adversarial", models=[])

    assert result.ret == 0
    assert project.report["selection"] == "full"


def test_files_in_sub_folders(project: Project) -> None:
    """A pattern with ** takes in files of sub-folders; their ids are unique across the suite."""
    head = (project.path / "gates.toml").read_text().partition("[gates")[0]
    project.write_gates(
        head=head + '[suites]\ngolden = ["golden/**/*.jsonl"]\n', form='metric = "json_parse_rate"\nmin = 1'
    )
    project.write_cases("golden", project.case("below"), file="billing/deep/more.jsonl")
    project.record()

    result = project.run()

    assert result.ret == 0
    assert "golden/below[cand]" in project.outcomes
    assert [row["path"] for row in project.report["suites"]] == [
        "golden/billing/deep/more.jsonl",
        "golden/support.jsonl",
    ]


def test_other_rootdir(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates and suites are found from the rootdir when pytest is started in a folder below it."""
    project.write("pytest.ini", "[pytest]\n")
    inner = project.path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)

    result = project.run(models=["replay:../journal.jsonl#cand"])

    assert result.ret == 0
    assert len(project.outcomes) == 7
    assert not (inner / ".modelgate").exists()


def test_suites_outside_the_rootdir(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gates file elsewhere brings its suites with it."""
    other = project.path.parent / f"{project.path.name}-other"
    other.mkdir()
    monkeypatch.chdir(other)

    result = project.run(
        "--rootdir",
        str(other),
        "--gates",
        str(project.path / "gates.toml"),
        models=[f"replay:{project.path}/journal.jsonl#cand"],
    )

    assert result.ret == 0
    assert (other / ".modelgate" / "report.json").exists()
    result.stdout.fnmatch_lines(["cand: 7 of 7 cases run: 7 passed"])

"""The baseline: the accepted answers of the last release, and what of them a run is compared with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelgate import acceptance, baselines, release
from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.evaluation import Findings, evaluate
from pytest_modelgate.gates import GateResult
from pytest_modelgate.records import Performance, Sample
from pytest_modelgate.release import load_release, load_rules
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.runner import TargetRun
from pytest_modelgate.specs import parse_specs
from pytest_modelgate.targets import Target
from tests.conftest import HEAD, SCHEMA

if TYPE_CHECKING:
    from tests.conftest import Project

FAILED = pytest.ExitCode.TESTS_FAILED
USAGE_ERROR = pytest.ExitCode.USAGE_ERROR
WRONG = json.dumps({"intent": "bug", "urgency": "low"})
MODEL = "replay:journal.jsonl#cand"
NO_BASELINE = "not evaluated: no baseline yet; accept this release with --modelgate-accept REASON"
NOTHING_IN_COMMON = (
    "not evaluated: no case is as it was when the baseline was accepted; accept this release with "
    "--modelgate-accept REASON"
)
FORM = 'metric = "json_parse_rate"\nmin = 0.1'
REGRESSIONS = 'metric = "regressions"\nmax = 0'
CRITICAL = 'metric = "critical_regressions"\nmax = 0'
TWO_TASKS = (
    'version = 1\n[suites]\ngolden = "golden/*.jsonl"\n'
    '[tasks.a]\nkind = "classification"\nfields = "intent"\n[tasks.b]\nkind = "classification"\nfields = "intent"\n'
)

Accept = Callable[..., bytes]


@pytest.fixture
def accept(project: Project) -> Accept:
    """Return what makes a recording the baseline, as only a model's answers can be on the command line."""

    def write(target: str = "cand", performance: Performance | None = None) -> bytes:
        rules = load_rules(project.path / "gates.toml")
        loaded = load_release(rules, parse_specs([f"replay:journal.jsonl#{target}"], project.path), None)
        run = TargetRun(loaded, loaded.judged[0], loaded.cases, None)
        records = tuple(run.record(case) for case in loaded.cases)
        measured = {} if performance is None else {target: performance}
        written = acceptance.accept(RunOutcome(loaded, records, (), performances=measured), "for a test")
        return b"".join(path.read_bytes() for path in written)

    return write


@pytest.fixture
def _stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a replay be accepted, in this process, in place of a model that takes seconds."""
    monkeypatch.setattr(Target, "is_replay", False)
    monkeypatch.delenv("CI", raising=False)


def baseline(project: Project) -> dict[str, bytes]:
    """Return the files of the baseline."""
    folder = project.path / "baselines"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def compare(project: Project, **gates: str) -> None:
    """Write gates that compare, beside one that judges the answers."""
    project.write_gates(form=FORM, **gates)


def record_anew(project: Project, answers: Mapping[str, str] | None = None, **generation: Any) -> None:
    """Replace what the candidate answered."""
    (project.path / "journal.jsonl").unlink()
    project.record(answers, **generation)


def gate(project: Project, name: str) -> dict[str, Any]:
    """Return one gate's result in report.json."""
    (found,) = (result for result in project.report["gates"] if result["name"] == name)
    return dict(found)


# Accepting


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (("--model", MODEL, "--modelgate-accept", "why"), {}, "--modelgate-accept takes no replay: *"),
        (
            ("--model", MODEL, "--model", f"{MODEL},id=two", "--modelgate-accept", "why"),
            {},
            "--modelgate-accept takes exactly one --model, the one that is released; got cand, two",
        ),
        (("--model", MODEL, "--modelgate-accept", ""), {}, "--modelgate-accept: say why, *"),
        (("--model", MODEL, "--modelgate-accept", " \t"), {}, "--modelgate-accept: say why, *"),
        (("--model", MODEL, "--modelgate-accept", "why"), {"CI": "true"}, "--modelgate-accept is refused in CI, *"),
        (("--model", MODEL, "--modelgate-accept", "why"), {"CI": "1"}, "--modelgate-accept is refused in CI, *"),
        (("--model", MODEL, "--modelgate-accept", "why"), {"CI": "false"}, "--modelgate-accept takes no replay: *"),
        (("--modelgate-accept", "why"), {}, "--modelgate-accept needs --model, the target that is judged"),
    ],
)
def test_acceptance_is_refused(
    project: Project,
    accept: Accept,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    told: str,
) -> None:
    """What could never be a baseline is refused before anything runs, and the old one stays as it is."""
    accept()
    before = baseline(project)
    project.record({"golden/late": WRONG})
    monkeypatch.delenv("CI", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    result = project.run(*arguments, models=[])

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {told}"])
    assert len(result.errlines) <= 2
    assert baseline(project) == before
    assert not (project.out / "report.json").exists()


@pytest.mark.usefixtures("_stands_in")
def test_a_full_passing_run_becomes_the_baseline(project: Project) -> None:
    """The file says why, what, when and by which rules; the next run is compared with it."""
    compare(project, all=REGRESSIONS)

    result = project.run("--modelgate-accept", "  first release, reviewed by Ana ")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["accepted as the baseline: baselines/support.jsonl; commit it"])
    assert list(baseline(project)) == ["support.jsonl"]
    head, *rows = [json.loads(line) for line in baseline(project)["support.jsonl"].splitlines()]
    assert (head["task"], head["reason"], head["n"]) == ("support", "first release, reviewed by Ana", 7)
    assert head["target"]["id"] == "cand"
    assert {"schema", "fields", "generation.max_tokens", "metrics"} < set(head["rules"])
    assert [(row["record"]["suite"], row["record"]["case"]) for row in rows][:2] == [
        ("golden", "late"),
        ("golden", "crash"),
    ]

    project.record({"golden/late": WRONG}, target="off")
    assert project.run().ret == 0
    assert project.gates["all[cand]"] == "passed"
    assert project.run(target="off").ret == FAILED
    assert gate(project, "all")["reason"] == "regressions 1 > 0"


@pytest.mark.usefixtures("_stands_in")
@pytest.mark.parametrize(
    ("arguments", "answers", "told"),
    [
        (("-m", "golden"), {}, "baseline not written: the run is partial: a baseline holds every case"),
        (("--deselect", "adversarial"), {}, "baseline not written: the run is partial: a baseline holds every case"),
        (("-k", "late"), {}, "baseline not written: the run is blocked"),
        (("-x",), {"golden/late": WRONG}, "baseline not written: the run is blocked"),
        ((), {"golden/late": WRONG}, "baseline not written: the run is blocked"),
        (("--modelgate-fail-fast",), {"golden/late": WRONG}, "baseline not written: the run is blocked"),
        (("--modelgate-strict",), {"heldout/other": WRONG}, "baseline not written: the run is blocked"),
        (
            ("golden", "adversarial", "heldout", "test_own.py"),
            {},
            "baseline not written: another test failed",
        ),
    ],
)
def test_a_run_that_is_not_full_and_passed_is_no_baseline(
    project: Project, accept: Accept, arguments: tuple[str, ...], answers: dict[str, str], told: str
) -> None:
    """Part of a run, or a blocked one, writes nothing, says why and is no success."""
    project.write_gates(intent='metric = "accuracy.intent"\nmin = 0.9\nsuites = ["golden"]')
    accept()
    before = baseline(project)
    record_anew(project, answers)
    project.write("test_own.py", "def test_it():\n    assert False\n")

    result = project.run("--modelgate-accept", "why", *arguments)

    assert result.ret == FAILED
    assert told in [line.strip() for line in result.outlines]
    assert baseline(project) == before


@pytest.mark.usefixtures("_stands_in")
def test_ci_may_be_told_to_accept(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """--modelgate-accept-in-ci is the way round, in so many words."""
    monkeypatch.setenv("CI", "true")

    assert project.run("--modelgate-accept", "why", "--modelgate-accept-in-ci").ret == 0
    assert list(baseline(project)) == ["support.jsonl"]


@pytest.mark.usefixtures("_stands_in")
@pytest.mark.parametrize("broken", [".a.jsonl", ".b.jsonl"])
def test_a_failing_write_leaves_the_old_baseline_whole(
    project: Project, accept: Accept, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A full disk at any task leaves every task's old file, nothing half-written, and blocks."""
    two_tasks(project, right={"a": 10, "b": 10}, n={"a": 10, "b": 10})
    accept()
    before = baseline(project)
    write_text = Path.write_text

    def full_disk(path: Path, *arguments: Any, **more: Any) -> int:
        if path.name.startswith(broken):
            write_text(path, "{")
            raise OSError(28, "No space left on device", str(path))
        return write_text(path, *arguments, **more)

    monkeypatch.setattr(Path, "write_text", full_disk)

    result = project.run("--modelgate-accept", "why")

    assert result.ret == FAILED
    assert baseline(project) == before
    assert project.report["verdict"] == "blocked"
    result.stdout.fnmatch_lines([f"*baseline could not be written: *{broken}.*: No space left on device"])


def test_a_case_without_an_answer_is_not_kept(project: Project, accept: Accept) -> None:
    """An engine error that a quarantine let through is nothing to compare with later."""
    rows = (project.path / "journal.jsonl").read_text().splitlines(keepends=True)
    project.write("journal.jsonl", "".join(row for row in rows if "crash" not in row))

    accepted = accept()

    assert b'"case":"money-back"' in accepted
    assert b'"case":"crash"' not in accepted


# Without one


def test_the_first_run_compares_with_nothing(project: Project) -> None:
    """Without a baseline every comparing gate is not evaluated, which is said loudly and does not block."""
    compare(
        project,
        critical=CRITICAL,
        all=REGRESSIONS,
        wins='metric = "win_rate"\nmin = 0.45',
        drop='metric = "accuracy.intent"\nmax_regression = 0.02',
        both='metric = "accuracy.intent"\nmin = 0.5\nmax_regression = 0.02',
    )

    result = project.run()

    assert result.ret == 0
    assert project.gates == {
        "form[cand]": "passed",
        "critical[cand]": "not evaluated",
        "all[cand]": "not evaluated",
        "wins[cand]": "not evaluated",
        "drop[cand]": "not evaluated",
        "both.min[cand]": "passed",
        "both.max_regression[cand]": "not evaluated",
    }
    lines = project.gate_lines(result)
    assert sum(line.startswith("- ") and NO_BASELINE in line for line in lines) == 5
    assert "no baseline yet (--modelgate-accept REASON)" in lines


def test_comparing_gates_alone_judge_nothing(project: Project) -> None:
    """A target that only comparing gates judge is not green for want of a baseline."""
    project.write_gates(critical=CRITICAL, drop='metric = "accuracy.intent"\nmax_regression = 0.02')

    assert project.run().ret == FAILED
    assert project.gates["every_target_is_judged[cand]"] == "not evaluated"


def test_a_new_task_has_no_baseline_and_the_others_keep_theirs(project: Project, accept: Accept) -> None:
    """A task that was added is not compared; a regression of the old task still blocks."""
    one = TWO_TASKS.partition("[tasks.b]")[0]
    project.rows.clear()
    cases = [project.case(f"c{i}", critical=i == 0) | {"task": "a"} for i in range(4)]
    new = [project.case(f"n{i}", critical=i == 0) | {"task": "b"} for i in range(4)]
    for row in (*cases, *new):
        row["expected"] = {"intent": "billing"}
    project.write_cases("golden", *cases)
    record_anew(project)
    project.write_gates(head=one, form=FORM, critical=CRITICAL)
    accept()
    project.write_gates(
        head=TWO_TASKS, form=FORM, critical=CRITICAL, drop='metric = "accuracy.intent"\nmax_regression = 0.1'
    )
    project.write_cases("golden", *cases, *new)
    project.record()
    project.record({"golden/c0": WRONG}, target="off")

    assert project.run().ret == 0
    assert project.gates == {
        "form[cand]": "passed",
        "critical[cand]": "passed",
        "drop.max_regression.a[cand]": "passed",
        "drop.max_regression.b[cand]": "not evaluated",
    }
    assert project.run(target="off").ret == FAILED
    assert project.gates["critical[off]"] == "failed"


# Damage


def _flip(text: str) -> str:
    return text.replace('"outcome":"passed"', '"outcome":"failed"', 1)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda text: text[: len(text) // 2], id="torn"),
        pytest.param(lambda text: "\n".join(text.splitlines()[:-1]) + "\n", id="a line lost"),
        pytest.param(lambda text: "\n".join(text.splitlines()[1:]) + "\n", id="the head lost"),
        pytest.param(lambda text: text + text.splitlines()[-1] + "\n", id="a line twice"),
        pytest.param(lambda _: "not JSON\n", id="not JSON"),
        pytest.param(lambda _: "5\n", id="a number"),
        pytest.param(lambda _: "[]\n", id="a list"),
        pytest.param(lambda _: '"text"\n', id="a text"),
        pytest.param(lambda _: "{}\n", id="an object"),
        pytest.param(lambda _: "[" * 100_000, id="deep"),
        pytest.param(lambda _: b"\xff\xfe\n", id="not UTF-8"),
        pytest.param(lambda text: text.replace('"modelgate_baseline":1', '"modelgate_baseline":2'), id="version"),
        pytest.param(lambda text: text.replace('"task":"support"', '"task":"other"', 1), id="another task's"),
        pytest.param(_flip, id="an outcome edited"),
        pytest.param(lambda text: text.replace('"critical":true', '"critical":false'), id="criticality edited"),
        pytest.param(lambda text: text.replace('"quality":1.0', '"quality":"x"', 1), id="a score that is none"),
        pytest.param(
            lambda text: text.replace('"performance":null', '"performance":{"a":1}'), id="times that are none"
        ),
        pytest.param(lambda text: "<<<<<<< HEAD\n" + text, id="a merge conflict"),
    ],
)
def test_a_damaged_baseline_is_never_taken_for_none(
    project: Project, accept: Accept, damage: Callable[[str], str | bytes]
) -> None:
    """One line that names the file, exit code 4, whatever is wrong with it."""
    compare(project, all=REGRESSIONS)
    accept()
    path = project.path / "baselines" / "support.jsonl"
    damaged = damage(path.read_text())
    project.write("baselines/support.jsonl", damaged)

    result = project.run()

    assert result.ret == USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert line.startswith(f"ERROR: {path}: is no baseline, or a damaged one: ")
    assert line.endswith("restore it from version control, or delete it to start anew")


def test_line_ends_of_another_system_are_no_damage(project: Project, accept: Accept) -> None:
    """Git may write other line ends: what is said is the same."""
    compare(project, all=REGRESSIONS)
    project.write("baselines/support.jsonl", accept().replace(b"\n", b"\r\n"))

    assert project.run().ret == 0
    assert project.gates["all[cand]"] == "passed"


# Cases that changed


def test_new_removed_and_edited_cases_are_not_compared(project: Project, accept: Accept) -> None:
    """Only what is asked and expected as before is compared; the others are listed and do not block."""
    compare(project, all=REGRESSIONS, drop='metric = "accuracy.intent"\nmax_regression = 0')
    accept()
    project.write_cases(
        "golden",
        project.case("late", critical=True, tags=["other", "tags"], group="other"),
        project.case("crash", "bug", "high") | {"input": "It crashed again."},
        project.case("brand-new", "refund"),
    )
    record_anew(project, {"golden/crash": WRONG, "golden/brand-new": WRONG})

    result = project.run()

    assert result.ret == 0
    assert project.gates == {"form[cand]": "passed", "all[cand]": "passed", "drop[cand]": "passed"}
    assert (gate(project, "all")["n"], gate(project, "drop")["n"]) == (5, 4)
    changes = project.report["baseline"]
    assert (changes["new_cases"], changes["removed"], changes["edited"]) == (
        ["golden/brand-new"],
        ["golden/money-back"],
        ["golden/crash"],
    )


@pytest.mark.parametrize(
    ("edit", "how"),
    [
        (None, "removed"),
        ({"id": "later"}, "removed"),
        ({"input": "Something easier."}, "edited"),
        ({"expected": {"intent": "bug", "urgency": "low"}}, "edited"),
        ({"critical": False}, "edited"),
        ({"critical": ["urgency"]}, "edited"),
    ],
)
@pytest.mark.usefixtures("_stands_in")
def test_a_critical_case_is_not_lost_in_silence(
    project: Project, accept: Accept, edit: dict[str, Any] | None, how: str
) -> None:
    """A critical case that was removed, renamed or edited blocks, named, until that is accepted."""
    compare(project, critical='metric = "case_pass_rate"\nmin = 0.5', all=REGRESSIONS)
    accept()
    rest = [project.case("crash", "bug", "high"), project.case("money-back", "refund", "high")]
    project.write_cases("golden", *([] if edit is None else [project.case("late", critical=True) | edit]), *rest)
    record_anew(project)

    blocked = project.run()

    assert blocked.ret == FAILED
    told = (
        f"gate critical_cases_are_kept: failed: critical case golden/late was {how} since the baseline was accepted; "
        "accept it with --modelgate-accept REASON"
    )
    assert project.report["reasons"] == [told]

    assert project.run("--modelgate-accept", "the case was ambiguous").ret == 0
    assert project.run().ret == 0


@pytest.mark.usefixtures("_stands_in")
def test_every_case_edited_blocks_and_can_be_accepted(project: Project, accept: Accept) -> None:
    """When nothing can be compared any more the gates say so and block, and do not keep the way out shut."""
    compare(
        project,
        critical=CRITICAL,
        all=REGRESSIONS,
        wins='metric = "win_rate"\nmin = 0.4',
        drop='metric = "accuracy.intent"\nmax_regression = 0',
    )
    accept()
    for suite, rows in dict(project.rows).items():
        project.write_cases(suite, *(row | {"input": f"{row['input']} Please."} for row in rows))

    assert project.run().ret == FAILED
    for name in ("critical", "all", "wins", "drop"):
        assert gate(project, name)["outcome"] == "not evaluated"
        assert gate(project, name)["reason"] == NOTHING_IN_COMMON
        assert gate(project, name)["blocks"]

    assert project.run("--modelgate-accept", "all inputs were made polite").ret == 0
    assert project.run().ret == 0
    assert set(project.gates.values()) == {"passed"}


def write_what_is_left(project: Project, how: str, n: int) -> None:
    """Edit or remove ``n`` of the accepted cases that are not critical, and add one."""
    places = [("heldout", 0), ("heldout", 1), ("golden", 1), ("golden", 2)][:n]
    for suite in ("golden", "heldout"):
        changed = {place for its, place in places if its == suite}
        rows = [
            row | {"input": f"{row['input']} Please."} if place in changed else row
            for place, row in enumerate(project.rows[suite])
            if how == "edited" or place not in changed
        ]
        project.write_cases(suite, *rows, *([project.case("added")] if suite == "heldout" else []))
    record_anew(project)


@pytest.mark.usefixtures("_stands_in")
@pytest.mark.parametrize("how", ["edited", "removed"])
def test_a_sliver_of_the_baseline_compares_nothing(project: Project, accept: Accept, how: str) -> None:
    """More than half of the accepted cases edited or removed: what is left decides nothing, until that is accepted."""
    compare(
        project,
        all=REGRESSIONS,
        wins='metric = "win_rate"\nmin = 0.4',
        drop='metric = "accuracy.intent"\nmax_regression = 0',
    )
    accept()
    write_what_is_left(project, how, 4)

    assert project.run().ret == FAILED
    advice = "accepted cases are as they were; accept this release with --modelgate-accept REASON"
    for name, left in {"all": "3 of 7", "wins": "2 of 6", "drop": "2 of 6"}.items():
        found = gate(project, name)
        assert (found["outcome"], found["blocks"]) == ("not evaluated", True)
        assert found["reason"] == f"not evaluated: only {left} {advice}"
    assert len(project.report["reasons"]) == 3

    assert project.run("--modelgate-accept", "half of them were unclear").ret == 0
    assert project.run().ret == 0
    assert set(project.gates.values()) == {"passed"}


@pytest.mark.parametrize("how", ["edited", "removed"])
def test_half_of_the_baseline_still_compares(project: Project, accept: Accept, how: str) -> None:
    """With half of the accepted cases as they were the rest is compared: nothing blocks, and a regression does."""
    compare(project, all=REGRESSIONS, drop='metric = "accuracy.intent"\nmax_regression = 0')
    accept()
    write_what_is_left(project, how, 3)
    project.record({"golden/late": WRONG}, target="off")

    assert project.run().ret == 0
    assert (gate(project, "all")["n"], gate(project, "drop")["n"]) == (4, 3)
    assert set(project.gates.values()) == {"passed"}
    assert project.run(target="off").ret == FAILED
    assert project.gates["all[off]"] == project.gates["drop[off]"] == "failed"


@pytest.mark.usefixtures("_stands_in")
def test_renaming_every_case_is_no_way_round(project: Project, accept: Accept) -> None:
    """Cases that are all new, where others were removed, are not compared with nothing in peace."""
    project.write_gates(form=FORM, drop='metric = "accuracy.intent"\nsuites = ["heldout"]\nmax_regression = 0')
    accept()
    project.write_cases("heldout", *(row | {"id": f"{row['id']}-2"} for row in project.rows["heldout"]))
    record_anew(project, {"heldout/late-2": WRONG, "heldout/other-2": WRONG})

    assert project.run().ret == FAILED
    assert gate(project, "drop")["reason"] == NOTHING_IN_COMMON
    assert project.run("--modelgate-accept", "renamed").ret == 0


def test_a_slice_of_new_cases_alone_waits(project: Project, accept: Accept) -> None:
    """Where cases were only added, their slice is not evaluated and does not block."""
    project.write_gates(
        form=FORM, drop='metric = "accuracy.intent"\ntags = ["vip"]\nmax_regression = 0', all=REGRESSIONS
    )
    with pytest.raises(ConfigurationError):
        accept()  # no case has the tag yet
    compare(project, all=REGRESSIONS)
    accept()
    project.write_cases("golden", *project.rows["golden"], project.case("vip", tags=["vip"]))
    project.record()
    project.write_gates(
        form=FORM, drop='metric = "accuracy.intent"\ntags = ["vip"]\nmax_regression = 0', all=REGRESSIONS
    )

    assert project.run().ret == 0
    assert project.gates == {"form[cand]": "passed", "drop[cand]": "not evaluated", "all[cand]": "passed"}


@pytest.mark.usefixtures("_stands_in")
def test_a_task_that_is_gone_takes_no_critical_case_with_it(project: Project, accept: Accept) -> None:
    """A task that was renamed or taken out of gates.toml blocks for its critical cases, until that is accepted."""
    compare(project, all=REGRESSIONS)
    accept()
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text().replace("[tasks.support]", "[tasks.support2]"))

    assert project.run().ret == FAILED
    reason = gate(project, "critical_cases_are_kept")["reason"]
    assert "critical case golden/late was removed since the baseline was accepted" in reason
    assert gate(project, "all")["blocks"]

    assert project.run("--modelgate-accept", "renamed").ret == 0
    assert list(baseline(project)) == ["support2.jsonl"]
    assert project.run().ret == 0


@pytest.mark.usefixtures("_stands_in")
def test_two_gates_files_share_a_folder(project: Project, accept: Accept) -> None:
    """The baseline of another gates file's task is neither lost nor in the way."""
    accept()
    text = (project.path / "gates.toml").read_text()
    project.write("other.toml", text.replace("[tasks.support]", "[tasks.other]"))

    assert project.run("--gates", "other.toml", "--modelgate-accept", "why").ret == 0
    assert sorted(baseline(project)) == ["other.jsonl", "support.jsonl"]
    assert project.run().ret == 0


def test_a_suite_file_may_be_renamed_and_split(project: Project, accept: Accept) -> None:
    """Cases are known by task, suite and id, never by file or line."""
    compare(project, critical=CRITICAL, all=REGRESSIONS)
    accept()
    golden = project.path / "golden" / "support.jsonl"
    lines = golden.read_text().splitlines(keepends=True)
    golden.unlink()
    project.write("golden/z.jsonl", "".join(lines[:1]))
    project.write("golden/a.jsonl", "\n" + "".join(lines[1:]))

    assert project.run().ret == 0
    assert gate(project, "all")["n"] == 7
    assert project.report["baseline"]["new_cases"] == []


# Rules that changed


RULES: dict[str, tuple[str, str, str]] = {
    "schema": ("golden/schema.json", '"low", "high"', '"low", "high", "none"'),
    "fields": ("gates.toml", 'fields = ["intent", "urgency"]', 'fields = ["intent"]'),
    "primary": ("gates.toml", 'primary = "intent"', 'primary = "urgency"'),
    "generation.max_tokens": ("gates.toml", "max_tokens = 64", "max_tokens = 65"),
    "generation.n_ctx": ("gates.toml", "n_ctx = 512", "n_ctx = 1024"),
    "contracts": ("contracts_of_baseline.py", "return None", "return None  # but otherwise"),
}


def write_rules(project: Project) -> None:
    """Write gates whose rules can be edited."""
    project.write("contracts_of_baseline.py", "def fine(text, case):\n    return None\n")
    head = HEAD.replace('primary = "intent"', 'primary = "intent"\ncontracts = "contracts_of_baseline:fine"')
    head = head.replace("version = 1", "version = 1\n[generation]\nmax_tokens = 64\nn_ctx = 512\n")
    project.write_gates(
        head=head,
        form=FORM,
        critical=CRITICAL,
        all=REGRESSIONS,
        drop='metric = "accuracy.intent"\nmax_regression = 0.5',
    )


@pytest.mark.usefixtures("_stands_in")
@pytest.mark.parametrize("rule", RULES)
def test_a_changed_rule_refuses_the_comparison(project: Project, accept: Accept, rule: str) -> None:
    """What judges and generates answers must be the same: it is said what differs, and blocks until it is accepted."""
    write_rules(project)
    accept()
    name, old, new = RULES[rule]
    text = (project.path / name).read_text()
    assert old in text
    project.write(name, text.replace(old, new))

    blocked = project.run()

    assert blocked.ret == FAILED
    assert {name: outcome for name, outcome in project.gates.items() if outcome != "passed"} == {
        "critical[cand]": "not evaluated",
        "all[cand]": "not evaluated",
        "drop[cand]": "not evaluated",
    }
    told = (
        f"not evaluated: the baseline of task 'support' was judged by other rules: {rule} changed; "
        "accept this release with --modelgate-accept REASON"
    )
    assert {gate(project, name)["reason"] for name in ("critical", "all", "drop")} == {told}

    assert project.run("--modelgate-accept", "new rules").ret == 0
    assert project.run().ret == 0
    assert set(project.gates.values()) == {"passed"}


def test_several_changed_rules_are_all_named(project: Project, accept: Accept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The version of the metrics is a rule like the others."""
    write_rules(project)
    accept()
    monkeypatch.setattr(baselines, "METRICS_VERSION", 99)
    project.write("golden/schema.json", json.dumps(SCHEMA | {"title": "Labels"}))

    assert project.run().ret == FAILED
    assert gate(project, "all")["reason"].endswith(
        "was judged by other rules: metrics, schema changed; accept this release with --modelgate-accept REASON"
    )


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("golden/system.txt", "Label", "Please label"),
        ("gates.toml", "min = 0.1", "min = 0.2"),
        ("gates.toml", "# task", 'release_gates = "default"\ntarget = 0.5'),
        ("gates.toml", "# task", 'columns = { id = "id" }'),
        ("gates.toml", 'schema = "golden/schema.json"', 'schema = "golden/again.json"'),
    ],
)
def test_what_does_not_judge_answers_may_change(
    project: Project, accept: Accept, name: str, old: str, new: str
) -> None:
    """A better prompt, other limits, the published gates and the name of a schema's file leave answers comparable."""
    project.write("golden/again.json", json.dumps(SCHEMA))
    project.write_gates(head=f"{HEAD}# task\n", form=FORM, all=REGRESSIONS)
    accept()
    text = (project.path / name).read_text()
    assert old in text
    project.write(name, text.replace(old, new))

    project.run()

    assert project.gates["all[cand]"] == "passed"


def test_only_the_changed_task_is_refused(project: Project, accept: Accept) -> None:
    """Rules belong to a task: the other one is compared as before."""
    two_tasks(project, right={"a": 10, "b": 10}, n={"a": 10, "b": 10})
    accept()
    gates = project.path / "gates.toml"
    gates.write_text(
        gates.read_text().replace('fields = "intent"\n[tasks.b]', 'fields = ["intent"]\nprimary = "intent"\n[tasks.b]')
    )

    assert project.run().ret == FAILED
    assert project.gates == {
        "form[cand]": "passed",
        "drop.max_regression.a[cand]": "not evaluated",
        "drop.max_regression.b[cand]": "passed",
    }


# What is compared


@pytest.mark.parametrize(
    ("table", "answers", "outcome", "reason"),
    [
        (CRITICAL, {}, "passed", "critical_regressions 0 <= 0"),
        (CRITICAL, {"golden/late": WRONG}, "failed", "critical_regressions 1 > 0"),
        (CRITICAL, {"golden/crash": WRONG}, "passed", "critical_regressions 0 <= 0"),
        (REGRESSIONS, {"golden/crash": WRONG, "heldout/other": WRONG}, "failed", "regressions 2 > 0"),
        (
            'metric = "regressions"\nmax = 2',
            {"golden/crash": WRONG, "heldout/other": WRONG},
            "passed",
            "regressions 2 <= 2",
        ),
        (
            'metric = "win_rate"\nmin = 0.5',
            {},
            "passed",
            "win_rate 0.5 >= 0.5",
        ),
        (
            'metric = "win_rate"\nmin = 0.5\nsuites = ["golden", "heldout"]',
            {"golden/crash": WRONG},
            "failed",
            "win_rate 0.4 < 0.5",
        ),
        (
            'metric = "accuracy.intent"\nmax_regression = 0.2\nsuites = ["golden", "heldout"]',
            {"golden/late": WRONG},
            "passed",
            "0.2 worse than the baseline in task 'support', 0.2 worse is allowed (1 cases lost, 0 won, exact McNemar p = 1)",
        ),
        (
            'metric = "accuracy.intent"\nmax_regression = 0.19\nsuites = ["golden", "heldout"]',
            {"golden/late": WRONG},
            "failed",
            "0.2 worse than the baseline in task 'support', 0.19 worse is allowed (1 cases lost, 0 won, exact McNemar p = 1)",
        ),
        (
            'metric = "macro_f1.intent"\nmax_regression = 0.01',
            {},
            "passed",
            "0 better than the baseline in task 'support', 0.01 worse is allowed",
        ),
        (
            'metric = "accuracy.intent"\nmax_regression = 0.5\nmin_n = 6',
            {},
            "inconclusive",
            "inconclusive: n = 5 is less than min_n = 6",
        ),
    ],
)
def test_comparing_gates(
    project: Project, accept: Accept, table: str, answers: dict[str, str], outcome: str, reason: str
) -> None:
    """Each comparing metric and limit, by what it says."""
    project.write_cases("adversarial", project.case("shouting", "bug"), {"id": "empty", "input": ""}, *[])
    if "min_n" in table:
        project.write_cases("adversarial", *({"id": f"open{i}", "input": ""} for i in range(3)))
        table = table.replace("min_n", 'suites = ["golden", "heldout"]\nmin_n')
    record_anew(project)
    compare(project, it=table.replace("min_n = 6", "min_n = 5"))
    accept()
    if "min_n" in table:
        project.write_cases("heldout", project.case("late", "refund"), project.case("other"), project.case("sixth"))
        table = table.replace("min_n = 5", "min_n = 6")
        compare(project, it=table)
    record_anew(project, answers)

    result = project.run()

    assert (gate(project, "it")["outcome"], gate(project, "it")["reason"]) == (outcome, reason)
    if outcome != "passed":
        assert result.ret == FAILED


@pytest.mark.parametrize(
    ("metric", "change", "passes"),
    [
        ('metric = "accuracy.intent"', {f"golden/c{i}": WRONG for i in range(5)}, False),
        ('metric = "truncation_rate"', "length", False),
        ('metric = "truncation_rate"', "stop", True),
    ],
)
@pytest.mark.parametrize("confidence", ["", "\nconfidence = 0.95"])
def test_worse_is_worse_in_either_direction(
    project: Project, accept: Accept, metric: str, change: Any, passes: bool, confidence: str
) -> None:
    """Lower accuracy and a higher truncation rate are regressions; fewer truncations are none."""
    project.write_cases("golden", *(project.case(f"c{i}") for i in range(40)))
    compare(project, it=f'{metric}\nmax_regression = 0.1\nsuites = ["golden"]{confidence}')
    record_anew(project, finish_reason="length" if change == "stop" else "stop")
    accept()
    if isinstance(change, str):
        record_anew(project, finish_reason=change)
    else:
        record_anew(project, change)

    project.run()

    it = gate(project, "it")
    if metric.endswith('rate"'):
        assert it["outcome"] == ("passed" if passes else "failed")
    else:  # 5 of 40 lost: 0.125 by the point; surely more than 0.1 it is not
        assert it["outcome"] == ("inconclusive" if confidence else "failed")
    assert project.report["verdict"] == ("passed" if passes else "blocked")


@pytest.mark.parametrize(
    ("n", "lost", "outcome"),
    [(300, 0, "passed"), (300, 2, "passed"), (40, 0, "inconclusive"), (300, 12, "inconclusive"), (300, 30, "failed")],
)
def test_confidence_asks_for_a_bound_of_the_change(
    project: Project, accept: Accept, n: int, lost: int, outcome: str
) -> None:
    """With ``confidence`` the change must surely be smaller than allowed: few cases prove nothing."""
    two_tasks(project, right={"a": n}, n={"a": n}, more="\nconfidence = 0.95")
    accept()
    two_tasks(project, right={"a": n - lost}, n={"a": n}, more="\nconfidence = 0.95")

    result = project.run()

    assert gate(project, "drop")["outcome"] == outcome
    assert result.ret == (outcome != "passed")
    assert "with 95% confidence between " in gate(project, "drop")["reason"]


def test_an_answer_that_counts_in_one_release_only(project: Project, accept: Accept) -> None:
    """What cannot be told of an answer is left out of the pair; where no pair is left, that is no pass."""
    project.write(
        "own_of_baseline.py",
        "from pytest_modelgate.metrics import own_share\n"
        "@own_share\n"
        "def short(record):\n"
        "    return None if 'skip' in record.output else len(record.output) < 60\n",
    )
    compare(project, drop='metric = "own_of_baseline:short"\nmax_regression = 0')
    accept()
    long = json.dumps({"intent": "billing", "urgency": "low"}) + " " * 60
    record_anew(project, {"golden/late": "skip", "golden/crash": long})

    assert project.run().ret == FAILED
    assert gate(project, "drop")["reason"].startswith("0.1667 worse than the baseline in task 'support', 0 worse is")

    everything = {f"{suite}/{row['id']}": "skip" for suite, rows in project.rows.items() for row in rows}
    record_anew(project, everything)
    project.run()
    assert gate(project, "drop")["outcome"] == "not evaluated"
    assert gate(project, "drop")["blocks"]


def test_a_part_of_the_cases_is_incomplete(project: Project, accept: Accept) -> None:
    """-k leaves comparing gates incomplete, as every other."""
    compare(project, all=REGRESSIONS, drop='metric = "accuracy.intent"\nmax_regression = 0.5')
    accept()

    project.run("-k", "late")

    assert project.gates == {"form[cand]": "incomplete", "all[cand]": "incomplete", "drop[cand]": "incomplete"}


# Several tasks


def two_tasks(project: Project, *, right: dict[str, int], n: dict[str, int], more: str = "") -> None:
    """Make golden cases of tasks a and b, of which the candidate answers so many rightly, and one gate over both."""
    head = "".join(
        part for part in re.split(r"(?=\[tasks)", TWO_TASKS) if not part.startswith("[tasks") or part[7] in right
    )
    project.write_gates(head=head, form=FORM, drop=f'metric = "accuracy.intent"\nmax_regression = 0.05{more}')
    project.rows.clear()
    project.write_cases("golden", *(project.case(f"{task}{i}") | {"task": task} for task in n for i in range(n[task])))
    record_anew(project, {f"golden/{task}{i}": WRONG for task in n for i in range(right[task], n[task])})


def test_a_drop_in_one_task_is_not_made_good_by_another(
    project: Project, accept: Accept, mode: tuple[str, ...]
) -> None:
    """The average of two tasks rises while one falls: blocked, and the task is named."""
    two_tasks(project, right={"a": 40, "b": 20}, n={"a": 40, "b": 60})
    accept()
    two_tasks(project, right={"a": 34, "b": 60}, n={"a": 40, "b": 60})

    result = project.run(*mode)

    assert result.ret == FAILED
    assert project.gates == {
        "form[cand]": "passed",
        "drop.max_regression.a[cand]": "failed",
        "drop.max_regression.b[cand]": "passed",
    }
    assert project.report["reasons"] == [
        (
            "gate drop.max_regression.a[cand]: 0.15 worse than the baseline in task 'a', 0.05 worse is allowed "
            "(6 cases lost, 0 won, exact McNemar p = 0.0312)"
        )
    ]


def test_a_regression_of_every_task_is_named_in_each(project: Project, accept: Accept) -> None:
    """6.4 points lost in one task and 13.5 in the other block for both, by name."""
    two_tasks(project, right={"a": 125, "b": 200}, n={"a": 125, "b": 200})
    accept()
    two_tasks(project, right={"a": 117, "b": 173}, n={"a": 125, "b": 200})

    assert project.run().ret == FAILED
    reasons = project.report["reasons"]
    assert [reason.partition(" (")[0] for reason in reasons] == [
        "gate drop.max_regression.a[cand]: 0.064 worse than the baseline in task 'a', 0.05 worse is allowed",
        "gate drop.max_regression.b[cand]: 0.135 worse than the baseline in task 'b', 0.05 worse is allowed",
    ]


def test_cases_of_one_id_in_two_suites_are_two(project: Project, accept: Accept) -> None:
    """golden/late and heldout/late are compared each with its own."""
    compare(project, all=REGRESSIONS)
    accept()
    record_anew(project, {"heldout/late": WRONG})

    project.run()

    assert gate(project, "all")["observed"] == 1
    (changed,) = project.report["baseline"]["targets"][0]["new_failures"]
    assert (changed["suite"], changed["case"]) == ("heldout", "late")


# Times


def times(ms: float) -> Performance:
    """Return a serial phase in which every request took so long."""
    return Performance("cand", tuple(Sample(f"c{i}", ms / 2000, ms / 1000, 5) for i in range(20)))


def judge_times(project: Project, ms: float) -> GateResult:
    """Return the result of the gate on speed for a model that takes so long."""
    rules = load_rules(project.path / "gates.toml")
    findings = Findings({"cand": "gguf"}, (), {"cand": times(ms)}, baseline=rules.baseline)
    (found,) = (result for result in evaluate(rules.gates, findings) if result.name == "speed")
    return found


@pytest.mark.parametrize(
    ("ms", "outcome", "reason"),
    [
        (100, "passed", "100 ms <= 120 ms allowed; the baseline took 100 ms"),
        (115, "passed", "115 ms <= 120 ms allowed; the baseline took 100 ms"),
        (119, "passed", "119 ms <= 120 ms allowed; the baseline took 100 ms"),
        (121, "failed", "121 ms > 120 ms allowed; the baseline took 100 ms"),
        (50, "passed", "50 ms <= 120 ms allowed; the baseline took 100 ms"),
    ],
)
def test_a_time_may_grow_by_ratio_or_milliseconds(
    project: Project, accept: Accept, ms: float, outcome: str, reason: str
) -> None:
    """A time fails when it exceeds both, so that fractions of a millisecond cry no wolf."""
    compare(project, speed='metric = "latency_ms.p95"\nmax_increase = { ratio = 1.15, ms = 20 }')
    accept(performance=times(100))

    found = judge_times(project, ms)

    assert (found.outcome, found.reason, found.blocks) == (outcome, reason, outcome == "failed")
    assert found.baseline == pytest.approx(100)


def test_times_of_another_machine_are_not_compared(
    project: Project, accept: Accept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A baseline that was timed elsewhere decides nothing: not evaluated, said with both times, not blocking."""
    compare(project, speed='metric = "latency_ms.p95"\nmax_increase = { ratio = 1.15 }')
    accept(performance=times(100))
    monkeypatch.setattr(release, "describe_machine", lambda: {"cpu": "another"})

    found = judge_times(project, 1000)

    assert (found.outcome, found.blocks) == ("not evaluated", False)
    assert found.reason.startswith("not evaluated: advice only: 1000 ms here, 100 ms when the baseline was accepted")
    assert found.reason.endswith("give the last release as --baseline-model SPEC, which is measured in turns with it")


def test_a_baseline_without_times_is_not_compared(project: Project, accept: Accept) -> None:
    """Where the accepted run measured no speed there is nothing to exceed."""
    compare(project, speed='metric = "latency_ms.p95"\nmax_increase = { ratio = 1.15 }')
    accept()

    assert judge_times(project, 1000).outcome == "not evaluated"

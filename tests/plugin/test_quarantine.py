"""[quarantine]: a case that is proved to flip does not count for a while; a critical one always does."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.gates_file import load_gates_file
from pytest_modelgate.quarantine import Quarantine, read_quarantine
from pytest_modelgate.release import load_rules

if TYPE_CHECKING:
    from tests.conftest import Project

FAILED = pytest.ExitCode.TESTS_FAILED
USAGE_ERROR = pytest.ExitCode.USAGE_ERROR
WRONG = json.dumps({"intent": "bug", "urgency": "low"})
TODAY = dt.datetime.now(dt.UTC).date()
SOON, LONG_AGO = str(TODAY + dt.timedelta(days=60)), "2001-01-01"


def flip(case: str = "other", *outcomes: str, suite: str = "heldout", role: str = "model") -> dict[str, Any]:
    """Return a row of what --modelgate-repeat finds."""
    return {
        "target": "cand",
        "role": role,
        "suite": suite,
        "case": case,
        "outcomes": list(outcomes or ("passed", "missed")),
    }


def write_evidence(project: Project, *rows: Any, **more: Any) -> None:
    """Write what --modelgate-repeat would have found."""
    data = {"modelgate_repeat": 1, "repeats": 2, "flipping_cases": list(rows), "flipping_gates": []} | more
    project.write("quarantine/found.json", json.dumps(data))


def quarantine(project: Project, case: str = "heldout/other", until: str = SOON, **more: str) -> None:
    """Put a case into quarantine, beside gates that need every heldout case right."""
    table = {"reason": '"two labels fit"', "evidence": '"quarantine/found.json"', "until": until} | more
    head = (project.path / "gates.toml").read_text().partition("\n[gates")[0]
    project.write_gates(
        head=head.partition("\n[quarantine")[0]
        + f'\n[quarantine."{case}"]\n'
        + "".join(f"{key} = {value}\n" for key, value in table.items() if value),
        intent='metric = "accuracy.intent"\nmin = 1\nsuites = ["heldout"]',
        form='metric = "json_parse_rate"\nmin = 0.5',
    )


def test_a_flipping_case_is_kept_out(project: Project, mode: tuple[str, ...]) -> None:
    """From the repeated run over its evidence to the quarantine: letter q, no gate counts it, the run is green."""
    project.write_gates(intent='metric = "accuracy.intent"\nmin = 1\nsuites = ["heldout"]')
    rows = (project.path / "journal.jsonl").read_text().splitlines()
    again = [json.loads(row) | {"repeat": 1} for row in rows]
    again[-1]["generation"]["text"] = WRONG
    project.write("journal.jsonl", "\n".join([*rows, *map(json.dumps, again)]) + "\n")
    project.run("--modelgate-repeat", "2")
    project.write("quarantine/found.json", (project.out / "repeat.json").read_bytes())
    project.record({"heldout/other": WRONG}, target="off")
    assert project.run(target="off").ret == FAILED
    quarantine(project)

    result = project.run("--modelgate-strict", *mode, target="off")

    assert result.ret == 0
    assert project.gates == {"intent[off]": "passed", "form[off]": "passed"}
    assert [gate["n"] for gate in project.report["gates"]] == [1, 6]
    assert project.outcomes["heldout/other[off]"] == "missed"
    result.stdout.fnmatch_lines(
        [
            f"quarantined: heldout/other: two labels fit (1 x missed, 1 x passed; until {SOON})",
            "*, 1 quarantined *",
        ]
    )


def test_letter_and_word(project: Project) -> None:
    """The progress shows q, -v shows QUARANTINED, right or wrong."""
    write_evidence(project, flip())
    quarantine(project)

    project.run("-p", "no:xdist").stdout.fnmatch_lines(["heldout/support.jsonl .qgg *"])
    project.run("-v").stdout.fnmatch_lines(["heldout/support.jsonl::other[[]cand[]] QUARANTINED *"])


def test_only_the_named_case_is_kept_out(project: Project) -> None:
    """A case of the same id in another suite, and other cases of the suite, count as before."""
    write_evidence(project, flip("late"))
    quarantine(project, "heldout/late")
    project.record({"golden/late": WRONG}, target="off")
    project.record({"heldout/other": WRONG}, target="miss")

    assert project.run(target="off").ret == FAILED
    assert project.outcomes["golden/late[off]"] == "failed"
    assert project.run(target="miss").ret == FAILED
    assert project.gates["intent[miss]"] == "failed"


@pytest.mark.parametrize("until", [LONG_AGO, "2026-01-01"])
def test_after_its_time_the_case_counts_again(project: Project, until: str) -> None:
    """The day after ``until`` the case fails gates as before, and it is said that its time is over."""
    write_evidence(project, flip())
    quarantine(project, until=until)
    project.record({"heldout/other": WRONG}, target="off")

    result = project.run(target="off")

    assert result.ret == FAILED
    assert project.gates["intent[off]"] == "failed"
    result.stdout.fnmatch_lines([f"QUARANTINE IS OVER: heldout/other counts again: quarantine ended on {until}"])
    assert project.run("-v").ret == 0  # nothing is wrong with a case that passes
    assert project.report["quarantine"]["expired"] == [
        {"case": "heldout/other", "reason": f"quarantine ended on {until}"}
    ]


@pytest.mark.parametrize(("day", "active"), [("2026-12-20", True), ("2026-12-21", True), ("2026-12-22", False)])
def test_until_is_the_last_day(project: Project, day: str, active: bool) -> None:
    """The case does not count up to and with the day that is named."""
    cases = load_rules(project.path / "gates.toml").cases
    write_evidence(project, flip())
    quarantine(project, until="2026-12-21")
    gates_file = load_gates_file(project.path / "gates.toml")

    found = read_quarantine(gates_file, cases, dt.date.fromisoformat(day))

    key = ("heldout", "other")
    assert isinstance(found, Quarantine)
    assert (set(found.active), set(found.expired)) == (({key}, set()) if active else (set(), {key}))


@pytest.mark.parametrize(("day", "allowed"), [("2026-09-21", False), ("2026-09-22", True)])
def test_a_quarantine_ends_within_90_days(project: Project, day: str, allowed: bool) -> None:
    """A date further ahead is a mistake, which is told when the file is read."""
    cases = load_rules(project.path / "gates.toml").cases
    write_evidence(project, flip())
    quarantine(project, until="2026-12-21")
    gates_file = load_gates_file(project.path / "gates.toml")
    today = dt.date.fromisoformat(day)

    if allowed:
        assert set(read_quarantine(gates_file, cases, today).active) == {("heldout", "other")}
    else:
        with pytest.raises(GatesFileError, match=r"until: 2026-12-21 is more than 90 days ahead$"):
            read_quarantine(gates_file, cases, today)


def test_nobody_quarantines_for_ever(project: Project) -> None:
    """A date far ahead is one line and exit code 4."""
    write_evidence(project, flip())
    quarantine(project, until="2999-12-31")

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(
        ['ERROR: gates.toml: [[]quarantine."heldout/other"[]] until: 2999-12-31 is more than 90 days ahead']
    )


@pytest.mark.parametrize(("n", "held", "most"), [(2, 1, 1), (2, 2, 1), (19, 2, 1), (20, 2, 2), (29, 3, 2), (30, 3, 3)])
def test_at_most_a_tenth_of_a_suite(project: Project, n: int, held: int, most: int) -> None:
    """A tenth of a suite's cases, or one, may be quarantined at once; those whose time is over do not count."""
    names = [f"c{number}" for number in range(n)]
    project.write_cases("heldout", *(project.case(name) for name in names))
    project.record()
    write_evidence(project, *(flip(name) for name in names))
    quarantine(project, "heldout/c0")
    gates = project.path / "gates.toml"
    table = '\n[quarantine."heldout/{}"]\nreason = "x"\nevidence = "quarantine/found.json"\nuntil = {}\n'
    more = [table.format(name, SOON if place < held else LONG_AGO) for place, name in enumerate(names) if place]
    gates.write_text(gates.read_text() + "".join(more))

    result = project.run()

    if held <= most:
        assert result.ret == 0
        assert len(project.report["quarantine"]["active"]) == held
    else:
        assert result.ret == USAGE_ERROR
        result.stderr.fnmatch_lines(
            [
                (
                    f"ERROR: gates.toml: [[]quarantine[]] {held} cases of suite 'heldout' are quarantined; "
                    f"at most {most}, a tenth, may be"
                )
            ]
        )


@pytest.mark.parametrize(
    ("case", "more", "told"),
    [
        ("golden/late", {}, "the case is critical; a critical case is never quarantined"),
        ("heldout/othr", {}, "no such case (did you mean 'heldout/other'?); it is written suite/case"),
        ("other", {}, "no such case*; it is written suite/case"),
        ("heldout/late", {}, "evidence: quarantine/found.json does not show that the case flips"),
        (
            "heldout/other",
            {"evidence": '"nowhere.json"'},
            "evidence: nowhere.json is no file that --modelgate-repeat *",
        ),
        ("heldout/other", {"evidence": '"golden"'}, "evidence: golden is no file that --modelgate-repeat wrote: *"),
        ("heldout/other", {"evidence": '"gates.toml"'}, "evidence: gates.toml is no file that --modelgate-repeat *"),
    ],
)
@pytest.mark.parametrize("until", [SOON, LONG_AGO], ids=["now", "later"])
def test_what_cannot_be_quarantined(project: Project, case: str, more: dict[str, str], told: str, until: str) -> None:
    """A critical case, an unknown one, and one that its evidence does not show to flip: a mistake, now and later."""
    write_evidence(project, flip(), flip("late", suite="golden"))
    quarantine(project, case, until, **more)

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([f'ERROR: gates.toml: [[]quarantine."{case}"[]] {told}'])
    assert len([line for line in result.errlines if line]) == 1


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [flip("other", "missed", "missed", "missed")],
        [flip("other", "passed", "error")],
        [flip("other", "missed", "error", "missed")],
        [flip("other", "passed")],
        [flip("other", suite="golden")],
        [flip("other", role="control")],
    ],
)
def test_evidence_that_shows_no_flip(project: Project, rows: list[Any]) -> None:
    """Nobody may call a case flaky because a model fails it, an engine died on it, or a control changed its mind."""
    write_evidence(project, *rows)
    quarantine(project)

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["*evidence: quarantine/found.json does not show that the case flips"])


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not JSON",
        "[]",
        "5",
        "null",
        "{}",
        '{"modelgate_repeat": 2, "flipping_cases": []}',
        '{"flipping_cases": [{"role": "model", "suite": "heldout", "case": "other", "outcomes": ["passed", "missed"]}]}',
        '{"modelgate_repeat": 1, "flipping_cases": {"other": 1}}',
        '{"modelgate_repeat": 1, "flipping_cases": [5]}',
        '{"modelgate_repeat": 1, "flipping_cases": [{"suite": "heldout", "case": "other"}]}',
        json.dumps({"modelgate_repeat": 1, "flipping_cases": [flip() | {"outcomes": "passed"}]}),
        json.dumps({"modelgate_repeat": 1, "flipping_cases": [flip() | {"outcomes": ["yes", "no"]}]}),
        json.dumps({"modelgate_repeat": 1, "flipping_cases": [flip() | {"outcomes": [["passed"], 1]}]}),
        "[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_broken_evidence(project: Project, content: str | bytes) -> None:
    """What --modelgate-repeat did not write is no evidence: one line, exit code 4."""
    project.write("quarantine/found.json", content)
    quarantine(project)

    result = project.run()

    assert result.ret == USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert "evidence: quarantine/found.json is no file that --modelgate-repeat wrote: " in line


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"until": '"2026-12-21"'}, "[[]quarantine.heldout/other[]] until: input should be a valid date, got *"),
        ({"until": "2026-12-21T10:00:00"}, "[[]quarantine.heldout/other[]] until: *"),
        ({"until": "20261221"}, "[[]quarantine.heldout/other[]] until: *"),
        ({"until": "2026-13-41"}, "not TOML: *"),
        ({"until": ""}, "[[]quarantine.heldout/other[]] key 'until' is missing"),
        ({"reason": '""'}, "[[]quarantine.heldout/other[]] reason: *"),
        ({"reason": ""}, "[[]quarantine.heldout/other[]] key 'reason' is missing"),
        ({"evidence": ""}, "[[]quarantine.heldout/other[]] key 'evidence' is missing"),
        (
            {"untill": "2026-12-21", "until": ""},
            "[[]quarantine.heldout/other[]] unknown key 'untill' (did you mean 'until'?)*",
        ),
    ],
)
def test_tables_that_are_wrong(project: Project, more: dict[str, str], told: str) -> None:
    """A reason, evidence and a TOML date are wanted, nothing else."""
    write_evidence(project, flip())
    quarantine(project, **more)

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: gates.toml: {told}"])


def test_a_gate_is_never_left_without_cases(project: Project) -> None:
    """A gate whose every case is quarantined could never be decided, which is a mistake and no pass."""
    project.write_cases("heldout", project.case("other"))
    write_evidence(project, flip())
    quarantine(project)

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: gates.toml: [[]gates.intent[]] selects no case with 'expected': *"])


def test_min_n_counts_without_the_quarantined(project: Project) -> None:
    """A gate that needs two cases does not have them while one is quarantined."""
    write_evidence(project, flip())
    quarantine(project)
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text().replace("min = 1\n", "min = 1\nmin_n = 2\n"))

    assert project.run().ret == USAGE_ERROR


def test_a_critical_case_may_not_become_quarantined_later(project: Project) -> None:
    """A case that is made critical while it is quarantined is a mistake."""
    write_evidence(project, flip())
    quarantine(project)
    assert project.run().ret == 0

    project.write_cases("heldout", project.case("late", "refund"), project.case("other", critical=True))

    assert project.run().ret == USAGE_ERROR

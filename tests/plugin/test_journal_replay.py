"""A replay answers from a journal, by hand or by an earlier run, and never with another case's answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelgate.identity import messages_digest
from pytest_modelgate.records import Message, Request

if TYPE_CHECKING:
    from tests.conftest import Project

RIGHT = '{"intent": "billing", "urgency": "low"}'
FAILED = pytest.ExitCode.TESTS_FAILED


def only_case(project: Project, *lines: str | dict[str, Any] | bytes) -> None:
    """Make a project of one case and write its journal line by line."""
    head = (project.path / "gates.toml").read_text().partition("[gates")[0] + '[suites]\ngolden = "golden/*.jsonl"\n'
    project.write_gates(head=head, intent='metric = "accuracy.intent"\nmin = 1')
    project.write_cases("golden", project.case("it"))
    parts = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    project.write("journal.jsonl", b"\n".join(part if isinstance(part, bytes) else part.encode() for part in parts))


def row(text: Any = RIGHT, **more: Any) -> dict[str, Any]:
    """Return a journal row of the one case."""
    return {"target": "cand", "suite": "golden", "case": "it", "generation": {"text": text, **more}}


def test_row_written_by_hand(project: Project) -> None:
    """Target, suite, case and text are enough."""
    only_case(project, row())

    assert project.run().ret == 0
    assert project.report["targets"][0]["engine"]["name"] == "replay"


def test_the_last_row_of_a_case_counts(project: Project) -> None:
    """A later generation of the same case replaces an earlier one."""
    only_case(project, row("wrong"), row())

    assert project.run().ret == 0


def test_torn_last_line_is_no_generation(project: Project) -> None:
    """A line that a crash cut off is passed over; what stands before it counts."""
    only_case(project, row(), json.dumps(row("wrong"))[:-20])

    assert project.run().ret == 0


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        "null",
        "7",
        "{}",
        b"\xff\xfe",
        "[" * 100_000,
        '{"target": "cand", "suite": "golden", "case": "it"}',
        row(None),
        row(7),
        row(["text"]),
        row("wrong", finish_reason="eos"),
        row("wrong", token_ids=5),
        row("wrong", margins=["x"]),
        row("wrong", logprobs=[True]),
        row("wrong", output_tokens="many"),
        row("wrong", output_tokens=None),
        json.dumps(row("wrong", margins=[float("nan")])),
        json.dumps(row("wrong", total_s=float("inf"))),
        json.dumps(row("wrong", output_tokens=10**400)),
        row() | {"generation": "text"},
        row() | {"generation": {"text": "wrong", "finish_reason": ["stop"]}},
    ],
    ids=range(22),
)
def test_malformed_row_is_no_generation(project: Project, line: str | dict[str, Any] | bytes) -> None:
    """A row that is none changes nothing, wherever it stands."""
    only_case(project, line, row(), line)

    result = project.run()

    assert result.ret == 0
    assert project.outcomes == {"golden/it[cand]": "passed"}


def test_malformed_row_alone_is_an_error_of_the_case(project: Project) -> None:
    """Where a case's only row is malformed, the case is an error and not a miss."""
    only_case(project, row() | {"case": "another"}, row(7))

    assert project.run().ret == FAILED
    assert project.outcomes == {"golden/it[cand]": "error"}


def test_rows_of_other_targets_suites_and_cases_do_not_count(project: Project) -> None:
    """Only the row of this target, suite and case answers."""
    only_case(
        project,
        row() | {"target": "other"},
        row() | {"suite": "heldout"},
        row() | {"case": "other"},
    )

    assert project.run().ret == FAILED
    assert project.outcomes == {"golden/it[cand]": "error"}


def digest(system: str, user: str) -> str:
    """Return what a journal row says of the messages that it answered."""
    return messages_digest(Request("k", 8, messages=(Message("system", system), Message("user", user))))


def test_row_of_the_same_messages_counts(project: Project) -> None:
    """A row that names its messages answers them."""
    only_case(project, row() | {"messages_sha256": digest("Label the message.", "About it.")})

    assert project.run().ret == 0


@pytest.mark.parametrize(
    ("system", "user"), [("Label the message.", "About something."), ("Another task.", "About it.")]
)
def test_edited_case_is_not_answered_from_the_past(project: Project, system: str, user: str) -> None:
    """After an edit of the input or of the system prompt the recorded answer is no answer."""
    only_case(project, row() | {"messages_sha256": digest(system, user)})

    result = project.run()

    assert result.ret == FAILED
    assert project.outcomes == {"golden/it[cand]": "error"}
    result.stdout.fnmatch_lines(["  engine    missing: golden/it was edited after journal.jsonl was recorded"])


def test_edited_expectation_is_judged_anew(project: Project) -> None:
    """What is expected may be edited: the recorded answer stays what it was."""
    only_case(project, row() | {"messages_sha256": digest("Label the message.", "About it.")})
    project.write_cases("golden", project.case("it", "refund"))

    assert project.run().ret == FAILED
    assert project.outcomes == {"golden/it[cand]": "missed"}


def test_replay_writes_no_journal(project: Project) -> None:
    """A replay generates nothing, so that it leaves no journal of its own."""
    project.run()

    assert not (project.out / "journal.jsonl").exists()


def test_summary_says_what_was_replayed(project: Project) -> None:
    """A reader can see that nothing was generated."""
    result = project.run()

    result.stdout.fnmatch_lines(["7 of 7 generations were taken from a journal"])

"""Suites are read line by line, and a bad line never hides the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.cases import CaseRules, SuiteFile, load_suites
from pytest_modelgate.errors import EmptySuiteError, SuitePathError
from pytest_modelgate.records import Message

RULES = CaseRules(tasks=("support",))


def read(folder: Path, *rows: dict[str, Any] | str, rules: CaseRules = RULES) -> SuiteFile:
    """Write one golden file and read it."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "golden").mkdir(exist_ok=True)
    (folder / "golden" / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (file,) = load_suites({"golden": ["golden/*.jsonl"]}, folder, rules)
    return file


def test_case(tmp_path: Path) -> None:
    """A line's keys become a case that knows where it stands."""
    file = read(
        tmp_path,
        "",
        {"id": "a.b-C_1", "input": "hi", "expected": [1], "critical": ["x"], "tags": ["t"], "group": "g"},
    )

    assert file.error is None
    (case,) = file.cases
    assert (case.id, case.suite, case.task, case.prompt, case.expected) == ("a.b-C_1", "golden", "support", "hi", [1])
    assert (case.critical, case.tags, case.group) == (("x",), ("t",), "g")
    assert (case.location, case.line) == ("golden/a.jsonl:2", 2)


def test_null_is_an_expectation(tmp_path: Path) -> None:
    """``"expected": null`` expects null, and no key expects nothing."""
    null, nothing = read(tmp_path, {"id": "a", "input": "x", "expected": None}, {"id": "b", "input": "x"}).cases

    assert (null.expected, null.has_expected) == (None, True)
    assert (nothing.expected, nothing.has_expected) == (None, False)


def test_chat(tmp_path: Path) -> None:
    """A chat is kept whole; what a reader is shown is its last user turn."""
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "last"},
    ]

    (case,) = read(tmp_path, {"id": "a", "messages": turns}).cases

    assert case.prompt == tuple(Message(turn["role"], turn["content"]) for turn in turns)
    assert case.input == "last"


def test_line_separators_inside_strings_end_no_line(tmp_path: Path) -> None:
    """U+2028, U+0085 and the like are characters of a text; only a line feed ends a line."""
    odd = "a\u2028b\u2029c\u0085d\x0ce\x1cf"

    first = json.dumps({"id": "a", "input": odd}, ensure_ascii=False)
    file = read(tmp_path, first, {"id": "b", "input": "x"})

    assert [case.location for case in file.cases] == ["golden/a.jsonl:1", "golden/a.jsonl:2"]
    assert file.cases[0].input == odd


def test_other_names_of_columns(tmp_path: Path) -> None:
    """A task may say how people's own files call id, input and expected; their other columns do not matter."""
    rules = CaseRules(
        tasks=("support",),
        columns={"support": {"id": "incident_id", "input": "timeline", "expected": "summary"}},
    )

    (case,) = read(tmp_path, {"incident_id": "i1", "timeline": "t", "summary": "s", "year": 2024}, rules=rules).cases

    assert (case.id, case.prompt, case.expected) == ("i1", "t", "s")


@pytest.mark.parametrize(
    ("key", "is_slip"),
    [("Label", True), ("lable", True), ("LABELS", True), ("label", False), ("level", False), ("year", False)],
)
def test_a_slip_in_the_name_of_the_expected_column(tmp_path: Path, key: str, is_slip: bool) -> None:
    """A key that is nearly the column of what is expected is an error, or the case would expect nothing."""
    rules = CaseRules(tasks=("support",), columns={"support": {"expected": "label"}})

    file = read(tmp_path, {"id": "a", "input": "x", key: "bug"}, rules=rules)

    if is_slip:
        assert str(file.error) == f"golden/a.jsonl:1: key {key!r} is unknown (did you mean 'label'?)"
    else:
        assert file.error is None
        assert file.cases[0].has_expected == (key == "label")


def test_task_must_be_named_where_there_are_two(tmp_path: Path) -> None:
    """With one task a line need not name it, with two it must."""
    file = read(tmp_path, {"id": "a", "input": "x"}, rules=CaseRules(tasks=("support", "orders")))

    assert str(file.error) == "golden/a.jsonl:1: task is missing; known tasks: support, orders"


def test_rejected_by_its_task(tmp_path: Path) -> None:
    """What a task says against a case is an error of its line."""
    rules = CaseRules(tasks=("support",), reject=lambda case: "no good" if case.id == "b" else None)

    file = read(tmp_path, {"id": "a", "input": "x"}, {"id": "b", "input": "x"}, rules=rules)

    assert str(file.error) == "golden/a.jsonl:2: no good"
    assert file.cases == ()


def test_a_bad_file_does_not_hide_the_others(tmp_path: Path) -> None:
    """Every file is read: good ones with their cases, bad ones with their error."""
    for name, line in (("a", "bad"), ("b", '{"id": "b", "input": "x"}'), ("c", "bad")):
        (tmp_path / f"{name}.jsonl").write_text(line)

    files = load_suites({"golden": ["*.jsonl"]}, tmp_path, RULES)

    assert [(file.name, len(file.cases), file.error is None) for file in files] == [
        ("a.jsonl", 0, False),
        ("b.jsonl", 1, True),
        ("c.jsonl", 0, False),
    ]


def test_overlapping_patterns_read_a_file_once(tmp_path: Path) -> None:
    """A file that two patterns of one suite match is read once."""
    (tmp_path / "a.jsonl").write_text('{"id": "a", "input": "x"}')

    (file,) = load_suites({"golden": ["*.jsonl", "a.*", "**/*.jsonl"]}, tmp_path, RULES)

    assert len(file.cases) == 1


def test_file_above_the_gates_file(tmp_path: Path) -> None:
    """A pattern may lead out of the gates file's folder; the file is named from there."""
    (tmp_path / "gate").mkdir()
    (tmp_path / "a.jsonl").write_text('{"id": "a", "input": "x"}')

    (file,) = load_suites({"golden": ["../*.jsonl"]}, tmp_path / "gate", RULES)

    assert (file.path, file.name) == (tmp_path / "a.jsonl", "../a.jsonl")
    assert file.cases[0].location == "../a.jsonl:1"


def test_suites_that_cannot_be(tmp_path: Path) -> None:
    """An empty suite, one without a pattern and one that shares a file are told apart."""
    (tmp_path / "a.jsonl").write_text('{"id": "a", "input": "x"}')

    with pytest.raises(EmptySuiteError, match="suite 'golden' has no cases: no file matches"):
        load_suites({"golden": ["golden/*.jsonl"]}, tmp_path, RULES)
    with pytest.raises(EmptySuiteError, match="suite 'golden' has no cases: no file matches"):
        load_suites({"golden": []}, tmp_path, RULES)
    with pytest.raises(SuitePathError, match=r"suites 'golden' and 'heldout' share a\.jsonl; a file belongs to one"):
        load_suites({"golden": ["a.jsonl"], "heldout": ["*.jsonl"]}, tmp_path, RULES)

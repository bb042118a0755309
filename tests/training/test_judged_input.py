"""A file, a record or a configuration that a pipeline of judged answers cannot work with is one line that says where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelgate_training.data.judged.config import JudgedData
from modelgate_training.data.judged.pipeline import JudgedResult, build
from modelgate_training.errors import ConfigError, StageError
from pydantic import ValidationError

from tests.training.published_incidents import write

Change = Callable[[list[dict[str, Any]]], object]


def document() -> dict[str, Any]:
    """Return a pipeline of one task and two files."""
    return {
        "sources": {"answers": "answers.jsonl", "judges": {"path": "judges.jsonl"}},
        "tasks": {"cause": {"input": "answers.log", "responses": "answers.by", "scores": "judges.total", "scale": 30}},
        "steps": [{"join": {"tables": ["answers", "judges"]}}, {"select": {}}],
    }


def sources() -> dict[str, list[dict[str, Any]]]:
    """Return four incidents with two models each."""
    ids = ("a", "b", "c", "d")
    return {
        "answers": [
            {"incident_id": one, "log": f"log {one}\nend", "by": {"quartz": f"q{one} w w", "flint": f"f{one} w w w"}}
            for one in ids
        ],
        "judges": [{"incident_id": one, "total": {"quartz": 20 + n, "flint": 21}} for n, one in enumerate(ids)],
    }


def run(folder: Path, changes: dict[str, Change] | None = None, **given: Any) -> JudgedResult:
    """Write the files, changed, and run the pipeline ``given`` as ``config`` (default: that above)."""
    config = JudgedData.model_validate(given.pop("config", document()))
    for name, records in sources().items():
        if changes and name in changes:
            changes[name](records)
        write(folder / f"{name}.jsonl", records)
    return build(config, folder, **given)


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("judges", lambda rows: rows[1]["total"].update(flint="good"),
         "judges.jsonl:2: total.flint: a score is a number, got a text"),
        ("judges", lambda rows: rows[1]["total"].update(flint=True),
         "judges.jsonl:2: total.flint: a score is a number, got true or false"),
        ("judges", lambda rows: rows[1]["total"].update(flint={"depth": None}),
         "judges.jsonl:2: total.flint: a score is a number, got null"),
        ("judges", lambda rows: rows[1]["total"].update(flint={}),
         "judges.jsonl:2: total.flint: a score is a number, got an object"),
        ("judges", lambda rows: rows[3]["total"].update(flint=31),
         "judges.jsonl:4: total.flint: a score is from 0 to 30, got 31"),
        ("judges", lambda rows: rows[2]["total"].update(flimt=9),
         "judges.jsonl:3: total.flimt: unknown model 'flimt' (did you mean 'flint'?): it has no answer to task 'cause' at answers.jsonl:3, which has "),
        ("judges", lambda rows: rows[2].update(incident_id="a"),
         "judges.jsonl:3: incident 'a' stands there twice (first at judges.jsonl:1)"),
        ("judges", lambda rows: rows[0].pop("total"),
         "judges.jsonl:1: key 'total' is missing; it has incident_id"),
        ("judges", lambda rows: rows[0].update(total=[1]),
         "judges.jsonl:1: total must be a table by model, got a list"),
        ("answers", lambda rows: rows[0].update(log=None), "answers.jsonl:1: log is null"),
        ("answers", lambda rows: rows[0].update(log="  "), "answers.jsonl:1: log must be text, got blanks"),
        ("answers", lambda rows: rows[1]["by"].update(flint=["x"]),
         "answers.jsonl:2: by.flint must be text, got a list"),
        ("answers", lambda rows: rows[1].update(incident_id="a b"),
         "answers.jsonl:2: incident_id must be text that matches [A-Za-z0-9_.-]+, got another text"),
        ("answers", lambda rows: rows[1].update(incidentid=rows[1].pop("incident_id")),
         "answers.jsonl:2: key 'incident_id' is missing (did you mean 'incidentid'?); it has log, by, incidentid"),
        ("answers", lambda rows: rows.clear(), "answers.jsonl: no record in it (data.judged.sources.answers)"),
        ("judges", lambda rows: [row.update(incident_id=f"x{row['incident_id']}") for row in rows],
         "data.judged.steps.0.join leaves nothing of 8: not in judges (4), not in answers (4)"),
    ],
)  # fmt: skip
def test_a_bad_record_is_named(tmp_path: Path, name: str, change: Change, expected: str) -> None:
    """What is wrong, what was got, and file and line."""
    with pytest.raises(StageError) as error:
        run(tmp_path, {name: change})
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"incident_id": "a"', "judges.jsonl:1: not a JSON object: not JSON: Expecting … delimiter"),
        (b'\n["a"]', "judges.jsonl:2: a record is a JSON object, got a list"),
        (b'{"incident_id": "a", "total": NaN}', "judges.jsonl:1: not a JSON object: NaN is not a JSON number"),
        (b'{"incident_id": "a"}\n\xff', "judges.jsonl:2: not UTF-8: byte 0xff"),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    """JSONL is read strictly."""
    write(tmp_path / "answers.jsonl", sources()["answers"])
    (tmp_path / "judges.jsonl").write_bytes(content)
    with pytest.raises(StageError) as error:
        build(JudgedData.model_validate(document()), tmp_path)
    assert str(error.value).startswith(expected)


def test_a_missing_file_is_a_mistake_in_the_configuration(tmp_path: Path) -> None:
    """It is named with the source and the folder, on one line."""
    with pytest.raises(ConfigError) as error:
        build(JudgedData.model_validate(document()), tmp_path)
    assert str(error.value) == (
        f"data.judged.sources.answers: answers.jsonl cannot be read in {tmp_path}: No such file or directory"
    )


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return what sets one value of a document."""

    def change(document: dict[str, Any]) -> None:
        *keys, last = path.split(".")
        table: Any = document
        for key in keys:
            table = table[int(key)] if isinstance(table, list) else table[key]
        if isinstance(table, list):
            table.insert(int(last), value)
        else:
            table[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("steps.0", {}, "a step has one name, got none; valid are merge_judgements, join, filter, split, select, augment"),
        ("steps.0", {"split": {}, "select": {}}, "a step has one name, got split, select"),
        ("steps.0", {"select": {}}, "steps.0.select: works on incidents, but the steps before it made nothing"),
        ("steps.0", {"split": {}}, "steps.0.split: nothing to split yet"),
        ("steps.2", {"filter": {"rules": {"cause": {}}}},
         "steps.2.filter: works on incidents, but the steps before it made rows"),
        ("steps.2", {"join": {"tables": ["answers"]}}, "steps.2.join: comes after 'select'"),
        ("steps.1", {"augment": {"tables": ["answers"], "tasks": ["cause"]}},
         "steps.1.augment: works on rows, but the steps before it made incidents"),
        ("steps.2", {"augment": {"tables": ["answers"], "tasks": ["cause"]}},
         "task 'cause' needs 'judges.total', but 'judges' is not among what it works on (answers)"),
        ("steps.0.join.tables", ["answers", "judge"], "(did you mean 'judges'?); valid are answers, judges"),
        ("steps.0.join.required", ["cause"], "steps.0.join: required table 'cause' is none of its tables"),
        ("steps.0", {"merge_judgements": {"tables": ["judges"], "to": "answers"}}, "there is a table 'answers' already"),
        ("steps.1.select.tasks", ["caus"], "steps.1.select: 'caus' is no task (did you mean 'cause'?)"),
        ("steps.1", {"filter": {"rules": {"causes": {}}}}, "'causes' is no task (did you mean 'cause'?)"),
        ("steps.1", {"filter": {"rules": {"cause": {"tokens": [60, 50]}}}}, "tokens are [least, most], got [60, 50]"),
        ("tasks.cause.scores", "judge.total", "'judge.total' is in no source (did you mean 'judges'?)"),
        ("tasks.cause.scores", "judges", "tasks.cause: 'judges' says no key; write SOURCE.KEY"),
        ("tasks.cause.same_model_as", "cause", "tasks.cause.same_model_as: 'cause' is no other task"),
        ("steps", [{"join": {"tables": ["answers", "judges"]}}], "steps: no step makes rows; let one be 'select'"),
        ("steps.1", {"join": {"tables": ["answers", "judges"], "too": "x"}}, "Extra inputs are not permitted"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_found_before_a_file_is_read(path: str, value: Any, expected: str) -> None:
    """Unknown names get the nearest; a step that cannot follow the one before says why."""
    wrong = document()
    _set(path, value)(wrong)
    with pytest.raises(ValidationError) as error:
        JudgedData.model_validate(wrong)
    assert expected in error.value.errors()[0]["msg"]


def test_a_second_split_is_refused() -> None:
    """Who is held back is drawn once."""
    wrong = document()
    wrong["steps"][1:1] = [{"split": {}}, {"split": {}}]
    with pytest.raises(ValidationError, match=r"steps\.2\.split: the second split"):
        JudgedData.model_validate(wrong)


def test_a_configuration_cannot_be_changed() -> None:
    """What was checked stays as it was checked."""
    config = JudgedData.model_validate(document())
    with pytest.raises(ValidationError):
        config.licence = "MIT"


def test_the_best_answer_becomes_the_row(tmp_path: Path) -> None:
    """The highest score counts, of equal ones the first in the file; a path will do for a source."""
    made = run(tmp_path).rows
    assert [(row["id"], row["model"], row["expected"]) for row in made] == [
        ("a-cause", "flint", "fa w w w"),
        ("b-cause", "quartz", "qb w w"),
        ("c-cause", "quartz", "qc w w"),
        ("d-cause", "quartz", "qd w w"),
    ]


def test_a_model_without_a_score_is_never_taken(tmp_path: Path) -> None:
    """An answer that nobody judged is not the best, whatever it says."""
    made = run(tmp_path, {"judges": lambda rows: [row["total"].pop("quartz") for row in rows]}).rows
    assert {row["model"] for row in made} == {"flint"}


@pytest.mark.parametrize(
    ("given", "tokens", "unit", "left"),
    [({}, [3, 3], "words", 3), ({"count_tokens": len}, [7, 8], "tokens", 1)],
)
def test_lengths_are_in_tokens_where_a_tokenizer_is_given(
    tmp_path: Path, given: dict[str, Any], tokens: list[int], unit: str, left: int
) -> None:
    """Words stand for them otherwise, and the counts say so."""
    config = document()
    config["steps"].insert(1, {"filter": {"rules": {"cause": {"tokens": tokens}}}})
    counts = run(tmp_path, config=config, **given).counts[1]
    assert (counts["unit"], counts["left"]) == (unit, left)


def test_how_inputs_are_shortened_can_be_given(tmp_path: Path) -> None:
    """Any function from text to text will do; what it changes is counted once for each incident."""
    made = run(tmp_path, fit=lambda text: text.removesuffix("\nend") if text.startswith(("log a", "log b")) else text)
    assert [row["input"] for row in made.rows] == ["log a", "log b", "log c\nend", "log d\nend"]
    assert made.counts[-1]["cut_inputs"] == 2


def test_an_input_that_cannot_be_cut_is_an_error(tmp_path: Path) -> None:
    """A limit that leaves no room for a first and a last word is one line, not a crash."""
    config = {**document(), "input_tokens": 16}
    with pytest.raises(StageError, match=r"^data\.judged\.input_tokens: the input is "):
        run(tmp_path, config=config, count_tokens=lambda text: 1000 * len(text))


def test_keys_are_the_user_s(tmp_path: Path) -> None:
    """Rows are written with the keys, and carry the licence and the origin, that the configuration says."""
    config = {**document(), "keys": {"expected": "answer", "model": None}, "licence": "CC-BY-4.0", "origin": "judged"}
    row = run(tmp_path, config=config).rows[0]
    assert list(row) == ["id", "incident_id", "task", "input", "answer", "group", "source", "licence", "origin"]
    assert json.loads(json.dumps(row)) == row


def test_whole_numbers_are_ids_too(tmp_path: Path) -> None:
    """An id that is a number in one file and a text in another is one incident."""
    made = run(
        tmp_path,
        {"answers": lambda rows: [row.update(incident_id=number) for number, row in enumerate(rows)],
         "judges": lambda rows: [row.update(incident_id=str(number)) for number, row in enumerate(rows)]},
    )  # fmt: skip
    assert [row["incident_id"] for row in made.rows] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("judges", lambda rows: rows[1]["total"].update(flint="ada@example.org")),
        ("judges", lambda rows: rows[1]["total"].update({"ada@example.org": 3})),
        ("judges", lambda rows: rows[1].update(total=["ada@example.org"])),
        ("judges", lambda rows: rows[0].update({"ada@example.org": rows[0].pop("total")})),
        ("answers", lambda rows: rows[0].update(log=["ada@example.org"])),
        ("answers", lambda rows: rows[1]["by"].update(flint=["ada@example.org"])),
        ("answers", lambda rows: rows[1].update(incident_id="ada@example.org")),
    ],
    ids=["score", "model", "table", "key", "input", "answer", "id"],
)
def test_no_error_quotes_what_stands_there(tmp_path: Path, name: str, change: Change) -> None:
    """What is wrong is said by its type: it has not been masked yet."""
    with pytest.raises(StageError) as error:
        run(tmp_path, {name: change})
    assert "ada" not in str(error.value)

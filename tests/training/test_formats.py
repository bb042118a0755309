"""Rows are read in the forms in which people keep them, and mean the same in all of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelgate_training.config import Source
from modelgate_training.data.formats import Draft, SourceReader, Unreadable
from modelgate_training.errors import ConfigError, StageError
from modelgate_training.tasks import Tasks

from pytest_modelgate.records import Message
from tests.training.conftest import Project

GATES = """\
version = 1

[tasks.labels]
kind = "classification"
system = "labels.txt"
fields = ["intent"]

[tasks.summary]
kind = "text"
prompt = "summary.txt"
columns = { id = "incident", input = "timeline", expected = "summary" }

[tasks.bare]
kind = "text"

[tasks.home]
kind = "tool_call"
tools = "tools.json"

[gates.never_endless]
metric = "truncation_rate"
max = 0.0
"""
LABEL_TEXT = "Label the message as one JSON object."
SUMMARY_TEXT = "Sum up this timeline:\n{input}\nOne paragraph, please."
TOOLS = [{"name": "set_light", "parameters": {"type": "object", "properties": {"room": {"type": "string"}}}}]
CALL = [{"name": "set_light", "arguments": {"room": "kitchen"}}]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Tasks:
    """Return four tasks: labels, a text with a prompt, a text without anything, tool calls."""
    folder = tmp_path_factory.mktemp("gates")
    (folder / "gates.toml").write_text(GATES, encoding="utf-8")
    (folder / "labels.txt").write_text(f"{LABEL_TEXT}\n", encoding="utf-8")
    (folder / "summary.txt").write_text(f"{SUMMARY_TEXT}\n", encoding="utf-8")
    (folder / "tools.json").write_text(json.dumps(TOOLS), encoding="utf-8")
    return Tasks([folder / "gates.toml"])


class Reader:
    """Write lines into a file, and read them back as a source."""

    def __init__(self, tasks: Tasks, folder: Path) -> None:
        self.tasks, self.folder = tasks, folder

    def lines(self, *records: Any, **source: Any) -> list[Draft | Unreadable]:
        """Read objects, or lines of text, as JSONL."""
        texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in records]
        return self.file("rows.jsonl", "\n".join(texts).encode(), **source)

    def file(self, name: str, content: bytes, **source: Any) -> list[Draft | Unreadable]:
        """Read a file with this content."""
        (self.folder / name).write_bytes(content)
        reader = SourceReader(Source(path=name, **source), self.tasks)
        return [row for _, row in reader.read(self.folder / name, name)]

    def draft(self, record: Any, **source: Any) -> Draft:
        """Read one object that is a row."""
        (row,) = self.lines(record, **source)
        assert isinstance(row, Draft), row
        return row

    def reason(self, record: Any, **source: Any) -> str:
        """Read one line that is no row, and say why."""
        (row,) = self.lines(record, **source)
        assert isinstance(row, Unreadable), row
        assert row.source == "rows.jsonl:1"
        return str(row.reason)


@pytest.fixture
def read(tasks: Tasks, tmp_path: Path) -> Reader:
    """Return what reads rows of the four tasks."""
    return Reader(tasks, tmp_path)


# --- The forms ---------------------------------------------------------------------------------------------------

USER = {"role": "user", "content": "Where is my card?"}
ANSWER = '{"intent": "card"}'
SAME_ROW: dict[str, dict[str, Any]] = {
    "case": {"input": "Where is my card?", "expected": {"intent": "card"}},
    "case with an answer in JSON text": {"input": "Where is my card?", "expected": ANSWER},
    "case of messages": {"messages": [USER], "expected": {"intent": "card"}},
    "instruction": {"instruction": LABEL_TEXT, "input": "Where is my card?", "output": ANSWER},
    "chat": {"messages": [USER, {"role": "assistant", "content": ANSWER}]},
    "chat with the task's system text": {
        "messages": [{"role": "system", "content": f" {LABEL_TEXT}\n"}, USER, {"role": "assistant", "content": ANSWER}]
    },
    "preference": {"prompt": "Where is my card?", "chosen": ANSWER, "rejected": '{"intent": "?"}'},
    "preference of messages": {
        "prompt": [USER],
        "chosen": [{"role": "assistant", "content": ANSWER}],
        "rejected": [{"role": "assistant", "content": "no"}],
    },
    "preference with the prompt in both": {
        "chosen": [USER, {"role": "assistant", "content": ANSWER}],
        "rejected": [USER, {"role": "assistant", "content": "no"}],
    },
}


@pytest.mark.parametrize("form", SAME_ROW)
def test_one_row_means_the_same_in_every_form(read: Reader, form: str) -> None:
    """The form is told by the keys, and what comes out is what a case of the task says."""
    draft = read.draft(SAME_ROW[form], task="labels")
    assert (draft.task, draft.prompt, draft.expected) == ("labels", "Where is my card?", {"intent": "card"})
    assert not draft.own_instruction
    assert not draft.same


@pytest.mark.parametrize(
    ("record", "format_"),
    [
        (SAME_ROW["case"], "case"),
        (SAME_ROW["instruction"], "instruction"),
        (SAME_ROW["chat"], "chat"),
        (SAME_ROW["preference"], "preference"),
    ],
)
def test_a_form_can_be_said(read: Reader, record: dict[str, Any], format_: str) -> None:
    """What the source says and what the keys say agree."""
    assert read.draft(record, task="labels", format=format_) == read.draft(record, task="labels")


def test_columns_of_the_task_and_of_the_source_are_read(read: Reader) -> None:
    """A timeline with its summary needs no rewriting; the source's own names go before the task's."""
    record = {"incident": "i-1", "timeline": "09:00 down", "summary": "It was down.", "who": "Ada", "customer": "acme"}
    draft = read.draft(record, task="summary", columns={"person": "who", "group": "customer"})
    assert (draft.prompt, draft.expected) == ("09:00 down", "It was down.")
    assert (draft.names.id, draft.names.group, draft.names.person) == ("i-1", "acme", "Ada")
    renamed = read.draft(
        {"log": "09:00", "note": "Down."}, task="summary", columns={"input": "log", "expected": "note"}
    )
    assert (renamed.prompt, renamed.expected) == ("09:00", "Down.")


def test_our_own_names_are_read_where_the_task_has_others(read: Reader) -> None:
    """A row that says input and expected is a row, whatever the suites call them."""
    assert read.draft({"id": "7", "input": "09:00", "expected": "Down."}, task="summary").prompt == "09:00"


def test_an_instruction_of_its_own_is_told(read: Reader) -> None:
    """The task's own instruction is used; a row that was written for another says so."""
    draft = read.draft({"instruction": "Write a poem.", "input": "09:00", "output": "Down."}, task="summary")
    assert (draft.prompt, draft.own_instruction) == ("09:00", True)
    same = {"instruction": "Sum up this timeline", "input": "09:00", "output": "Down."}
    assert not read.draft(same, task="summary").own_instruction


@pytest.mark.parametrize(("given", "shown"), [("09:00", "Sum up.\n\n09:00"), ("", "Sum up."), (None, "Sum up.")])
def test_a_task_without_words_is_shown_the_instruction(read: Reader, given: str | None, shown: str) -> None:
    """Where the task says nothing, the row's instruction is what the model is told."""
    record = {"instruction": "Sum up.", "output": "Down."} | ({} if given is None else {"input": given})
    assert read.draft(record, task="bare").prompt == shown


def test_an_instruction_without_input_is_the_message(read: Reader) -> None:
    """Of a row that has an instruction alone, that is what the user says."""
    record = {"instruction": "Where is my card?", "input": "", "output": ANSWER}
    assert read.draft(record, task="labels").prompt == "Where is my card?"


def test_a_prompt_around_the_input_is_taken_off(read: Reader) -> None:
    """A chat that holds the task's own prompt is the row with the bare input, so that both are compared alike."""
    whole = [{"role": "user", "content": SUMMARY_TEXT.replace("{input}", "09:00 down")}]
    answered = [*whole, {"role": "assistant", "content": "It was down."}]
    assert read.draft({"messages": answered}, task="summary").prompt == "09:00 down"
    other = [{"role": "user", "content": "What of 09:00?"}, {"role": "assistant", "content": "It was down."}]
    draft = read.draft({"messages": other}, task="summary")
    assert (draft.prompt, draft.own_instruction) == ((Message("user", "What of 09:00?"),), True)


def test_a_chat_keeps_its_turns(read: Reader) -> None:
    """Turns before the last answer stay, and a system text that is not the task's."""
    turns = [
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "assistant", "content": "Which one?"},
        {"role": "user", "content": "The blue one."},
        {"role": "assistant", "content": ANSWER},
    ]
    draft = read.draft({"messages": turns}, task="labels")
    assert [turn.role for turn in draft.prompt if isinstance(turn, Message)] == ["system", "user", "assistant", "user"]
    assert (draft.expected, draft.own_instruction) == ({"intent": "card"}, True)


@pytest.mark.parametrize("arguments", ['{"room": "kitchen"}', {"room": "kitchen"}])
def test_tool_calls_become_what_is_expected(read: Reader, arguments: Any) -> None:
    """Calls as OpenAI writes them, arguments as JSON text or as an object, become name and arguments."""
    call = {"id": "c1", "type": "function", "function": {"name": "set_light", "arguments": arguments}}
    turns = [{"role": "user", "content": "Light!"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    assert read.draft({"messages": turns}, task="home").expected == CALL


def test_an_earlier_call_stands_in_the_chat_as_the_model_writes_it(read: Reader) -> None:
    """A call before the last answer becomes text in the form of an answer."""
    call = {"function": {"name": "set_light", "arguments": '{"room": "kitchen"}'}}
    turns = [
        {"role": "user", "content": "Light!"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "ok", "tool_call_id": "c1"},
        {"role": "user", "content": "And in the kitchen again"},
        {"role": "assistant", "tool_calls": [call]},
    ]
    draft = read.draft({"messages": turns}, task="home")
    assert isinstance(draft.prompt, tuple)
    assert json.loads(draft.prompt[1].content) == CALL


@pytest.mark.parametrize("expected", [None, []])
def test_nothing_to_call_is_an_answer(read: Reader, expected: Any) -> None:
    """A row that expects no call is a row."""
    assert read.draft({"input": "Tell me a joke", "expected": expected}, task="home").expected == []


def test_a_preference_between_equals_is_told(read: Reader) -> None:
    """Chosen and rejected answers that are one teach nothing; the draft says so."""
    assert read.draft({"prompt": "Why?", "chosen": "So.", "rejected": "So."}, task="bare").same


def test_a_plain_label_becomes_an_object(read: Reader) -> None:
    """label_key makes an answer of a label, also of one that is a number."""
    rows = read.lines(
        {"input": "a", "expected": "card"}, {"input": "b", "expected": 3}, task="labels", label_key="intent"
    )
    assert [row.expected for row in rows if isinstance(row, Draft)] == [{"intent": "card"}, {"intent": 3}]


def test_what_rows_say_of_themselves_is_kept(read: Reader) -> None:
    """Kind, licence, consent, origin and scores are read; the source's own stand in where a row is silent."""
    said = {
        "kind": "Near_miss",
        "license": "CC0-1.0",
        "consent": True,
        "source": "forum",
        "scores": {"safety": 5},
        "id": 7,
    }
    row = SAME_ROW["case"]
    draft = read.draft(row | said, task="labels", licence="MIT", origin="tickets")
    assert (draft.kind, draft.licence, draft.consent, draft.origin) == ("near-miss", "CC0-1.0", "yes", "forum")
    assert (draft.scores, draft.names.id) == ({"safety": 5}, "7")
    silent = read.draft(row, task="labels", licence="MIT", origin="tickets")
    assert (silent.licence, silent.origin, silent.consent) == ("MIT", "tickets", None)


def test_a_row_names_its_task(read: Reader) -> None:
    """Rows of several tasks stand in one file; one that names none has the source's."""
    rows = read.lines({"task": "bare", "input": "a b", "expected": "c"}, SAME_ROW["case"], task="labels")
    assert [row.task for row in rows if isinstance(row, Draft)] == ["bare", "labels"]


# --- Lines that are no rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"input": "a"', "the line is not JSON: not JSON: Expecting … delimiter at character 13"),
        ('{"input": "a"} trailing', "the line is not JSON: text after the JSON value at character 15: …"),
        ('{"input": "a", "input": "b"}', "the line is not JSON: the key … appears twice in one object"),
        ('["a"]', "a row is a JSON object, got a list"),
        ('{"input": 3, "expected": {"intent": "a"}}', "key 'input' must be a text, got a number"),
        ('{"input": "a"}', "key 'expected' is missing; the row has input"),
        ('{"input": "a", "expcted": {}}', "key 'expected' is missing (did you mean 'expcted'?)"),
        ('{"input": "a", "expected": "card"}', "the answer is not JSON: does not begin with a JSON value: …"),
        ('{"input": "a", "expected": null}', "the answer is null"),
        ('{"input": "a", "expected": {}, "group": ["a"]}', "key 'group' must be a text, got a list"),
        ('{"input": "a", "expected": {}, "id": 3.0}', "key 'id' must be a text, got a number"),
        ('{"input": "a", "expected": {}, "person": {"name": "b"}}', "key 'person' must be a text, got an object"),
        (
            '{"task": "lables", "input": "a", "expected": {}}',
            "the row names an unknown task; known are labels, summary",
        ),
        ('{"messages": "hi", "expected": {}}', "a chat is a list of at least one turn before the answer"),
        ('{"messages": [{"role": "bot", "content": "a"}], "expected": {}}', "each turn is"),
        ('{"messages": [{"role": "system", "content": "a"}], "expected": {}}', "no turn is the user's"),
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "a chat is a list of at least one turn before"),
        ('{"prompt": 1, "chosen": "a", "rejected": "b"}', "key 'prompt' must be a text or a list of turns"),
        ('{"prompt": "a", "chosen": [], "rejected": "b"}', "key 'chosen' must be a text, or a list of turns"),
        ('{"input": "a", "expected": {"intent": "b"}, "kind": {"a": 1}}', "key 'kind' must be a text, got an object"),
    ],
)
def test_a_bad_line_is_rejected_with_its_reason(read: Reader, line: str, expected: str) -> None:
    """One bad line does not end the reading; a name that is no text would be lost, and with it who belongs together."""
    assert expected in read.reason(line, task="labels")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"name": 3}, "a tool call is"),
        ({"function": {"name": "x", "arguments": "{"}}, "the arguments of a tool call are not JSON"),
        ({"function": {"name": "x", "arguments": [1]}}, "the arguments of a tool call are an object, got a list"),
    ],
)
def test_a_bad_tool_call_is_rejected(read: Reader, call: Any, expected: str) -> None:
    """A call that cannot be read is no answer."""
    turns = [{"role": "user", "content": "Light!"}, {"role": "assistant", "tool_calls": [call]}]
    assert expected in read.reason({"messages": turns}, task="home")


@given(secret=st.text(alphabet="abcdefghij0123456789", min_size=12, max_size=20))
def test_no_reason_quotes_a_value(tasks: Tasks, tmp_path_factory: pytest.TempPathFactory, secret: str) -> None:
    """What is wrong with a line is said without what stands in it, which has not been masked yet."""
    read = Reader(tasks, tmp_path_factory.mktemp("rows"))
    rows = read.lines(
        f'{secret} {{"input": "{secret}"',
        f'{{"input": "{secret}"}} {secret}',
        f'{{"{secret}{secret}": 1, "{secret}{secret}": 2}}',
        {"input": 1, "expected": secret},
        {"input": "a", "expected": secret},
        {"input": secret, f"{secret}{secret}": secret},
        {"messages": [{"role": secret, "content": secret}], "expected": {}},
        task="labels",
    )
    assert len(rows) == 7
    for row in rows:
        assert isinstance(row, Unreadable)
        assert secret not in row.reason


# --- Tables ------------------------------------------------------------------------------------------------------


def test_a_table_is_read_by_its_columns(read: Reader) -> None:
    """A CSV's label column becomes an answer; blanks around a message go; a record is named by its first line."""
    table = b'\xef\xbb\xbftext,category,who\n"Where,\nis it?",card,Ada\n\n Why? ,fee,\n'
    columns = {"input": "text", "expected": "category", "person": "who"}
    first, second = read.file("rows.csv", table, task="labels", columns=columns, label_key="intent")
    assert isinstance(first, Draft)
    assert isinstance(second, Draft)
    assert (first.prompt, first.expected, first.names.person) == ("Where,\nis it?", {"intent": "card"}, "Ada")
    assert (second.prompt, second.names.person, first.source, second.source) == (
        "Why?",
        None,
        "rows.csv:2",
        "rows.csv:5",
    )


def test_instructions_fit_into_a_table(read: Reader) -> None:
    """The header tells the form of a table as the keys tell that of an object."""
    table = f'instruction,input,output\n{LABEL_TEXT},Where is my card?,"{{""intent"": ""card""}}"\n'.encode()
    (row,) = read.file("rows.csv", table, task="labels")
    assert isinstance(row, Draft)
    assert (row.prompt, row.expected) == ("Where is my card?", {"intent": "card"})


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(lambda text: f"a{text}z"))
def test_a_message_stays_whole(tasks: Tasks, tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """No character that some programs break lines at ends a message, neither in a table nor in JSONL."""
    read = Reader(tasks, tmp_path_factory.mktemp("rows"))
    written = io.StringIO(newline="")
    csv.writer(written).writerows([["input", "expected"], [text, "b"]])
    table = read.file("rows.csv", written.getvalue().encode(), task="bare")
    lines = read.lines({"input": text, "expected": "b"}, task="bare")
    assert [row.prompt for row in (*table, *lines) if isinstance(row, Draft)] == [text, text]


@pytest.mark.parametrize("cut", ["\u2028", "\x85", "\f", "\n", "\r\n"])
def test_line_breaks_inside_a_cell_stay(read: Reader, cut: str) -> None:
    """A quoted cell may hold any line break."""
    (row,) = read.file("rows.csv", f'input,expected\n"One{cut}two",b\n'.encode(), task="bare")
    assert isinstance(row, Draft)
    assert row.prompt == f"One{cut}two"


def test_a_short_record_is_rejected(read: Reader) -> None:
    """A record with a cell too few is no row, the others are."""
    rows = read.file("rows.csv", b"input,expected\na b,c\nalone\n", task="bare")
    assert [type(row) for row in rows] == [Draft, Unreadable]
    assert isinstance(rows[1], Unreadable)
    assert (rows[1].source, rows[1].reason) == ("rows.csv:3", "has 1 cells, the header names 2 columns")


# --- Files that cannot be read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "source", "expected"),
    [
        ("rows.txt", b"a", {}, "rows.txt: rows are read from .jsonl or .csv files, got '.txt'"),
        (
            "rows.csv",
            b"inptu,expected\na,b\n",
            {},
            "rows.csv:1: no column 'input' (did you mean 'inptu'?); it has inptu",
        ),
        (
            "rows.csv",
            b"Where is my card, number 4000?,card\na,b\n",
            {},
            "rows.csv:1: no column 'input'; it has …, …, card",
        ),
        ("rows.csv", b"", {}, "rows.csv:1: no column 'input'; it has none"),
        (
            "rows.csv",
            b"input,input,expected\na,b,c\n",
            {},
            "rows.csv:1: two columns have one name; the header is input, input, expected",
        ),
        ("rows.csv", b"prompt,chosen\na,b\n", {"format": "preference"}, "rows.csv:1: no column 'rejected'"),
        ("rows.csv", b"messages\na\n", {"format": "chat"}, "rows.csv: a chat does not fit into a table"),
        ("rows.jsonl", b"{}", {"format": "csv"}, "rows.jsonl: format csv is for .csv files"),
    ],
)
def test_a_source_that_cannot_be_right_is_a_mistake(
    read: Reader, name: str, content: bytes, source: dict[str, Any], expected: str
) -> None:
    """What is wrong with a whole file is a mistake of the configuration, which names it."""
    with pytest.raises(ConfigError) as error:
        read.file(name, content, task="bare", **source)
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("rows.jsonl", b'{"input": "a"}\n{"input": "\xff"}\n', "rows.jsonl:2: not UTF-8: byte 0xff"),
        ("rows.csv", b'input,expected\n"a,b\n', "rows.csv:2: not a table of comma-separated values"),
    ],
)
def test_a_broken_file_is_named_with_its_line(read: Reader, name: str, content: bytes, expected: str) -> None:
    """A file that cannot be cut into lines ends the stage."""
    with pytest.raises(StageError) as error:
        read.file(name, content, task="bare")
    assert expected in str(error.value)


def test_an_unknown_task_of_a_source_is_a_mistake(read: Reader) -> None:
    """The nearest name is suggested."""
    with pytest.raises(ConfigError, match=r"task 'lables' is unknown \(did you mean 'labels'\?\)"):
        read.lines({"input": "a"}, task="lables")


def test_a_harvested_candidate_is_no_training_row(project: Project) -> None:
    """What was harvested from production is for the suites first, and is rejected with that reason."""
    rows = project.read_source("train.jsonl")
    project.write_rows("train.jsonl", [rows[0] | {"tags": ["harvested", "contract"]}, *rows[1:]])
    assert project.run("prepare") == 0
    (rejected,) = project.read_rows("rejected/json.jsonl")
    assert "is first measured" in rejected["reason"]

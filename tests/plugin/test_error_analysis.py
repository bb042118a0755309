"""What went wrong is grouped by its cause, with the rows that would repair it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelgate.records import Generation, Mistake, Record
from pytest_modelgate.report.causes import ROWS, find_causes
from pytest_modelgate.report.error_analysis import analyse_errors
from tests.outcomes import judged

if TYPE_CHECKING:
    from tests.conftest import Project

RIGHT = json.dumps({"intent": "billing", "urgency": "low"})
TOOLS = [
    {
        "name": name,
        "parameters": {
            "type": "object",
            "properties": {"room": {"type": "string"}, "level": {"type": "integer"}},
            "required": ["room"],
        },
    }
    for name in ("set_light", "set_heat")
]
LIGHT = {"name": "set_light", "arguments": {"room": "kitchen", "level": 3}}
KINDS = """\
version = 1
[suites]
golden = "golden/*.jsonl"
[tasks.label]
kind = "classification"
system = "golden/system.txt"
schema = "golden/schema.json"
fields = ["intent", "urgency"]
[tasks.call]
kind = "tool_call"
tools = "tools.json"
[tasks.record]
kind = "extraction"
[tasks.free]
kind = "text"
[tasks.note]
kind = "sections"
sections = [{title = "Risk", one_of = ["high", "low"]}, {title = "Why", words = [1, 5]}]
[gates.any]
metric = "case_pass_rate"
min = 0.1
"""
EXPECTED: dict[str, Any] = {
    "label": {"intent": "billing", "urgency": "low"},
    "call": [LIGHT],
    "nocall": None,
    "record": {"total": "10", "due": "2026-01-01"},
    "free": {"text": "Your invoice is in the mail.", "contains": ["invoice"], "refusal": False},
    "decline": {"refusal": True},
    "plain": "Your invoice is in the mail.",
    "note": "Risk: low\nWhy: nothing happened",
}


def call(name: str = "set_light", **arguments: Any) -> str:
    """Return the text of one call."""
    return json.dumps({"name": name, "arguments": arguments})


@pytest.fixture
def kinds(project: Project) -> Path:
    """Return a project with a case of every kind of task."""
    project.write("tools.json", json.dumps(TOOLS))
    project.write(
        "golden/system.txt", "Label the message with exactly one intent and one urgency, both from the list below."
    )
    project.write("gates.toml", KINDS)
    task_of = {"nocall": "call", "decline": "free", "plain": "free"}
    project.write_cases(
        "golden",
        *(
            {"id": name, "task": task_of.get(name, name), "input": f"About {name}.", "expected": expected}
            for name, expected in EXPECTED.items()
        ),
    )
    return project.path


@pytest.mark.parametrize(
    ("case", "answer", "cause", "what"),
    [
        (
            "label",
            "<|im_start|>assistant",
            "leaked_instructions",
            "the output holds '<|im_start|>', a token of a chat template",
        ),
        ("label", "billing, billing, " * 30, "repetition", "the answer runs in circles"),
        ("label", Generation('{"intent": "bil', "length"), "truncated", "cut off at max_tokens"),
        ("label", "I'm sorry, I cannot help with that.", "wrong_refusal", "declined what must be answered"),
        ("label", f"Sure! {RIGHT}", "verbose", "text before the answer"),
        ("label", f"{RIGHT} Anything else?", "verbose", "text after the answer"),
        ("label", f"```json\n{RIGHT}\n```", "verbose", "a code fence around the answer"),
        ("label", "billing", "not_json", "does not begin with a JSON value"),
        ("label", '{"intent": billing}', "not_json", "not JSON: Expecting value"),
        ("label", '{"urgency": "low"}', "missing_category", "intent"),
        (
            "label",
            '{"intent": "spam", "urgency": "low"}',
            "wrong_schema",
            "$.intent: 'spam' is none of those allowed",
        ),
        ("label", '{"intent": "bug", "urgency": "low"}', "wrong_label", "intent: bug given for billing"),
        ("call", "[]", "wrong_tool", "nothing was called, expected set_light"),
        ("call", call("set_heat", room="kitchen"), "wrong_tool", "set_heat was called instead of set_light"),
        ("call", call("dim", room="kitchen"), "wrong_tool", "no tool is called 'dim'"),
        (
            "call",
            f"[{call(room='kitchen', level=3)}, {call(room='hall')}]",
            "wrong_tool",
            "2 calls (set_light, set_light), expected 1",
        ),
        ("call", call(level=3), "wrong_argument", "set_light: 'room'"),
        ("call", call(room="hall", level=3), "wrong_argument", "set_light: 'room'"),
        ("call", call(room="kitchen", level=3, tone=1), "wrong_argument", "set_light: 'tone'"),
        ("call", call(room="kitchen", level="3"), "wrong_argument", "set_light: level"),
        ("call", '{"tool": "set_light"}', "wrong_schema", None),
        ("call", "I am unable to do that.", "wrong_refusal", "declined what must be answered"),
        ("nocall", call(room="kitchen"), "missed_refusal", "nothing may be called, got set_light"),
        ("record", '{"total": "11", "due": "2026-01-01"}', "wrong_value", "total"),
        ("record", '{"total": "10"}', "missing_field", "due"),
        ("record", '{"total": "10", "due": "2026-01-01", "tax": "1"}', "hallucinated_field", "tax"),
        ("free", "All is well.", "broken_rule", "must contain 'invoice'"),
        ("free", "I'm sorry, I cannot send an invoice.", "wrong_refusal", "must not decline"),
        ("decline", "Here you are.", "missed_refusal", "must decline"),
        ("plain", "No.", "wrong_text", "differs from the expected text"),
        ("note", "Hello.\nRisk: low\nWhy: nothing", "verbose", "text before the answer"),
        ("note", "Risk: low\nWhy: one two three four five six", "verbose", "section 'Why' must have 1 to 5 words"),
        ("note", "Risk: low", "wrong_schema", "section 'Why' is missing"),
        ("note", "Why: nothing", "missing_category", "risk"),
        ("note", "Risk: high\nWhy: nothing", "wrong_label", "risk: high given for low"),
    ],
)
def test_main_cause(kinds: Path, case: str, answer: str | Generation, cause: str, what: str | None) -> None:
    """A miss has one main cause, and is told in words that like misses share."""
    outcome = judged(kinds, {"cand": {f"golden/{case}": answer}})

    (record,) = outcome.records
    found = find_causes(record, outcome.release.tasks[record.task].kind)
    assert record.outcome == "missed"
    assert next(iter(found)) == cause
    assert what is None or found[cause][0] == what
    (errors,) = analyse_errors(outcome)
    assert [(cluster.cause, cluster.count) for cluster in errors.clusters] == [(cause, 1)]


def test_rubric_is_told_by_criterion() -> None:
    """What a rubric misses is its criterion."""
    record = Record("cand", "golden", "t", "c", "missed", mistakes=(Mistake("rubric", "names_owner: not found"),))

    assert find_causes(record, "rubric") == {"rubric": ["names_owner"]}


def test_unknown_cause_is_told_as_such() -> None:
    """A miss that nothing explains is not lost."""
    assert find_causes(Record("cand", "golden", "t", "c", "missed"), "text") == {
        "other": ["differs from what is expected"]
    }


def test_every_cause_has_advice() -> None:
    """Each cause says which rows would repair it, whatever braces a model wrote."""
    assert all(advice.format(what="{x}") for advice in ROWS.values())


def write_ten(project: Project) -> dict[str, str]:
    """Write ten golden cases that expect refund, one adversarial one and a long one; return wrong answers."""
    project.write_cases(
        "golden", *(project.case(f"c{i}", "refund", input="x" * (50 if i == 9 else 5)) for i in range(10))
    )
    project.write_cases("adversarial", project.case("odd", "refund", input="xxxxx"))
    project.write_cases("heldout", project.case("held", "refund", input="xxxxx"))
    project.write_gates(form='metric = "schema_validity"\nmin = 0.1')
    wrong = json.dumps({"intent": "billing", "urgency": "low"})
    return {
        "golden/c1": wrong,
        "golden/c9": wrong,
        "adversarial/odd": wrong,
        "golden/c3": json.dumps({"intent": "bug", "urgency": "low"}),
        "golden/c4": json.dumps({"intent": "refund", "urgency": "high"}),
        "golden/c5": "no",
    }


def test_clusters_in_the_report(project: Project) -> None:
    """report.json has the clusters of each judged target, the largest first, with confusions, slices and advice."""
    project.record(write_ten(project), target="off")

    project.run(target="off")

    (errors,) = project.report["errors"]
    assert (errors["target"], errors["cases"], errors["missed"]) == ("off", 12, 6)
    assert errors["slices"] == {"adversarial": {"cases": 1, "missed": 1}, "long_input": {"cases": 1, "missed": 1}}
    assert [(c["cause"], c["subject"], c["count"]) for c in errors["clusters"]] == [
        ("wrong_label", "intent", 4),
        ("not_json", "", 1),
        ("wrong_label", "urgency", 1),
    ]
    first = errors["clusters"][0]
    assert first["share"] == 0.6667
    assert first["most"] == [{"what": "billing given for refund", "n": 3}, {"what": "bug given for refund", "n": 1}]
    assert first["slices"] == {"adversarial": 1, "long_input": 1}
    assert first["advice"] == "20-100 rows of intent refund that read like billing; never the failing cases themselves"
    assert {"suite": "golden", "case": "c1", "location": "golden/support.jsonl:2"} in first["examples"]


def test_clusters_on_the_terminal(project: Project) -> None:
    """The largest clusters, three at most, stand below the target's line."""
    project.record(write_ten(project) | {"golden/c6": f"{RIGHT}."}, target="off")

    lines = project.gate_lines(project.run(target="off"))

    start = lines.index("off: 12 of 12 cases run: 5 passed, 7 missed")
    assert lines[start + 1 : start + 5] == [
        "    4 wrong_label of intent: billing given for refund (3), bug given for refund (1); see golden/support.jsonl:2 c1",
        "    1 verbose: text after the answer (1); see golden/support.jsonl:7 c6",
        "    1 not_json: does not begin with a JSON value (1); see golden/support.jsonl:6 c5",
        "12 of 12 generations were taken from a journal",
    ]


def test_errors_file(project: Project) -> None:
    """errors.jsonl has a row for each miss, in the order of the suites."""
    project.record(write_ten(project), target="off")

    project.run(target="off")

    text = (project.out / "errors.jsonl").read_bytes().decode("ascii")
    rows = [json.loads(line) for line in text.splitlines()]
    assert [(row["suite"], row["case"], row["cause"], row["slices"]) for row in rows] == [
        ("golden", "c1", "wrong_label", []),
        ("golden", "c3", "wrong_label", []),
        ("golden", "c4", "wrong_label", []),
        ("golden", "c5", "not_json", []),
        ("golden", "c9", "wrong_label", ["long_input"]),
        ("adversarial", "odd", "wrong_label", ["adversarial"]),
    ]
    assert rows[3]["violations"] == [{"contract": "json", "message": "does not begin with a JSON value: 'no'"}]
    assert (rows[3]["input"], rows[3]["output"], rows[3]["expected"]["intent"]) == ("xxxxx", "no", "refund")


def test_errors_file_of_an_earlier_run_is_gone(project: Project) -> None:
    """A run without a miss leaves no errors.jsonl."""
    project.record({"heldout/other": "no"}, target="off")
    project.run(target="off")
    assert (project.out / "errors.jsonl").exists()

    project.run()

    assert not (project.out / "errors.jsonl").exists()


def test_controls_are_not_analysed(project: Project) -> None:
    """What a control gets wrong is no error of the release."""
    project.record({"heldout/other": "no"}, target="base")

    result = project.run("--control", "replay:journal.jsonl#base")

    assert result.ret == 0
    assert [(errors["target"], errors["missed"]) for errors in project.report["errors"]] == [("cand", 0)]
    assert not (project.out / "errors.jsonl").exists()
    result.stdout.no_fnmatch_line("*worth looking at*")

"""[tasks.NAME.long_input]: a long input is shortened by rule, and every report says how often."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from pytest_modelgate.journal import read_rows
from pytest_modelgate.regate import regate
from pytest_modelgate.report.document import build_document
from tests.conftest import HEAD
from tests.plugin.test_baseline_report import accept

if TYPE_CHECKING:
    from tests.conftest import Project

USAGE_ERROR = pytest.ExitCode.USAGE_ERROR
FAILED = pytest.ExitCode.TESTS_FAILED
ROOT = Path(__file__).parents[2]
BASE = f"{ROOT / 'examples' / 'support' / 'base-f16.gguf'},id=base"
SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text(encoding="utf-8"))
GATES = {"form": 'metric = "schema_validity"\nmin = 0.01'}
LONG = "\n".join(f"14:{i:02} - event {i} on payment-service" for i in range(60))


def rule(project: Project, text: str | None = 'tokens = 100\nhow = "cut"', generation: str = "max_tokens = 8") -> None:
    """Write gates with a rule for long inputs; None for none."""
    table = "" if text is None else f"[tasks.support.long_input]\n{text}\n"
    project.write_gates(head=f"{HEAD}{table}[generation]\n{generation}\n", **GATES)


def cut(project: Project) -> dict[str, int]:
    """Return which cases report.json marks as shortened, and by how many tokens."""
    jsonschema.Draft202012Validator(SCHEMA).validate(project.report)
    return {
        f"{row['suite']}/{row['id']}": row["input_tokens_dropped"]
        for row in project.report["cases"]
        if row.get("input_cut")
    }


@pytest.fixture
def long_cases(project: Project) -> Project:
    """Give a project with two long inputs in golden, one in held-out, and four short ones."""
    project.write_cases(
        "golden", {"id": "short", "input": "Hello"}, {"id": "long", "input": LONG}, {"id": "longer", "input": LONG * 3}
    )
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    project.write_cases(
        "heldout",
        {"id": "chat", "messages": [*chat, {"role": "user", "content": LONG}]},
        {"id": "brief", "messages": [*chat, {"role": "user", "content": "Bye"}]},
    )
    return project


@pytest.mark.model
def test_shortened_inputs_are_counted_everywhere(long_cases: Project, mode: tuple[str, ...]) -> None:
    """Terminal, summary.md and report.json say which inputs no model was shown whole."""
    rule(long_cases)

    result = long_cases.run(*mode, models=[BASE])

    assert set(cut(long_cases)) == {"golden/long", "golden/longer", "heldout/chat"}
    assert cut(long_cases)["golden/longer"] > cut(long_cases)["golden/long"] > 100
    result.stdout.fnmatch_lines(["base: 7 of 7 cases run*", "  inputs cut: 2 of 3 (golden), 1 of 2 (heldout)"])
    summary = (long_cases.out / "summary.md").read_text(encoding="utf-8")
    assert "- inputs cut for `base`: 2 of 3 (golden), 1 of 2 (heldout)\n" in summary
    assert max(row["prompt_tokens"] for row in long_cases.report["cases"]) < 150


@pytest.mark.model
def test_a_case_that_is_looked_at_says_what_was_left_out(long_cases: Project) -> None:
    """A miss whose input was shortened is told as such."""
    rule(long_cases)
    long_cases.write_cases("golden", {"id": "long", "input": LONG, "critical": True})

    result = long_cases.run(models=[BASE])

    dropped = cut(long_cases)["golden/long"]
    result.stdout.fnmatch_lines([f"  cut       {dropped} tokens of the input were left out"])


@pytest.mark.model
def test_without_a_rule_nothing_is_shortened(long_cases: Project) -> None:
    """Where no task has a rule, a prompt that is longer than the context stays an error, and no report says a word."""
    rule(long_cases, None, "max_tokens = 8\nn_ctx = 512")

    result = long_cases.run(models=[BASE])

    assert result.ret == FAILED
    errors = {row["id"]: row["error"] for row in long_cases.report["cases"] if row["error"]}
    assert set(errors) == {"long", "longer", "chat"}
    assert errors["long"].startswith("refused: prompt is ")
    assert errors["long"].endswith("together more than n_ctx 512: raise n_ctx or shorten the case")
    assert not any("input_cut" in row or "input_tokens_dropped" in row for row in long_cases.report["cases"])
    result.stdout.no_fnmatch_line("*inputs cut*")
    assert "inputs cut" not in (long_cases.out / "summary.md").read_text(encoding="utf-8")


@pytest.mark.model
def test_a_refused_input_is_an_error_of_its_case(long_cases: Project) -> None:
    """With how = "refuse" a long input is no miss of the model, and blocks."""
    rule(long_cases, 'tokens = 100\nhow = "refuse"')

    result = long_cases.run(models=[BASE])

    assert result.ret == FAILED
    assert {name for name, outcome in long_cases.outcomes.items() if outcome == "error"} == {
        "golden/long[base]",
        "golden/longer[base]",
        "heldout/chat[base]",
    }
    (error,) = (row["error"] for row in long_cases.report["cases"] if row["id"] == "longer")
    assert error.endswith("tokens, and its task refuses more than 100: shorten it")


@pytest.mark.model
def test_journal_is_of_one_rule(long_cases: Project) -> None:
    """A second run takes everything, and what was shortened, from the journal; under another rule nothing."""
    rule(long_cases)
    long_cases.run(models=[BASE])
    first = cut(long_cases)

    again = long_cases.run(models=[BASE])

    assert cut(long_cases) == first
    again.stdout.fnmatch_lines(["7 of 7 generations were taken from a journal"])

    for other in (
        'tokens = 99\nhow = "cut"',
        'tokens = 100\nhow = "condense"',
        'tokens = 100\nhow = "cut"\nmarker = "…"',
    ):
        rule(long_cases, other)
        long_cases.run(models=[BASE]).stdout.no_fnmatch_line("*taken from a journal")
    rule(long_cases, None)
    long_cases.run(models=[BASE]).stdout.no_fnmatch_line("*taken from a journal")
    assert cut(long_cases) == {}


@pytest.mark.model
def test_journal_tells_replay_and_regate(long_cases: Project) -> None:
    """Who judges recorded answers again reports the same inputs as shortened."""
    rule(long_cases)
    long_cases.run(models=[BASE])
    first, journal = cut(long_cases), long_cases.out / "journal.jsonl"

    document = build_document(regate(journal, long_cases.path / "gates.toml"))
    long_cases.run("--modelgate-out", "replayed", models=[f"replay:{journal}#base"])

    long_cases.out = long_cases.path / "replayed"
    assert {f"{row['suite']}/{row['id']}" for row in document["cases"] if row.get("input_cut")} == first.keys()
    assert cut(long_cases) == first
    assert {answer.input_tokens_dropped for _, answer in read_rows(journal)} == {0, *first.values()}

    rule(long_cases, 'tokens = 99\nhow = "cut"')
    long_cases.run("--modelgate-out", "replayed", models=[f"replay:{journal}#base"])
    assert set(long_cases.outcomes.values()) == {"error"}


def test_a_function_sees_the_whole_input(long_cases: Project) -> None:
    """A program as a control has no tokenizer: its input is whole, and is counted as such."""
    rule(long_cases)
    long_cases.write("rules.py", "def answer(messages):\n    return str(len(messages[-1]['content']))\n")
    long_cases.record()

    result = long_cases.run("--control", "python:rules:answer,id=rules")

    outputs = {row["id"]: row["output"] for row in long_cases.report["cases"] if row["target"] == "rules"}
    assert outputs["longer"] == str(3 * len(LONG))
    result.stdout.no_fnmatch_line("*inputs cut*")


def test_hand_written_answers_may_say_what_was_shortened(project: Project) -> None:
    """A recording takes the number from its row where there is one."""
    project.record({}, target="mine", input_tokens_dropped=12)

    project.run(target="mine")

    assert set(cut(project).values()) == {12}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tokens = 100\nhow = "cu"', "[tasks.support.long_input] how: input should be 'cut', 'condense' or 'refuse', got 'cu'"),
        ("tokens = 100", "[tasks.support.long_input] key 'how' is missing"),
        ('how = "cut"', "[tasks.support.long_input] key 'tokens' is missing"),
        ('tokens = 0\nhow = "cut"', "[tasks.support.long_input] tokens: input should be greater than or equal to 1, got 0"),
        (
            'token = 9\nhow = "cut"',
            "[tasks.support.long_input] unknown key 'token' (did you mean 'tokens'?); valid are tokens, how, chunk, marker",
        ),
        ('tokens = 9\nhow = "cut"\nchunk = 3', 'chunk is only read with how = "condense", got how = "cut"'),
        ('tokens = 9\nhow = "cut"\nmarker = "a\\nb"', "[tasks.support.long_input] marker must be one line of text, got 'a\\nb'"),
        ('tokens = 9\nhow = "cut"\nmarker = " "', "[tasks.support.long_input] marker must be one line of text, got ' '"),
    ],
)  # fmt: skip
def test_a_wrong_rule_is_told(project: Project, text: str, message: str) -> None:
    """Everything in the table is checked before anything runs."""
    rule(project, text)

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: gates.toml: *{message.replace('[', '[[]')}"])


@pytest.mark.model
@pytest.mark.parametrize("n_ctx", ["2048", "4096"])
def test_a_limit_beyond_the_context_is_told(project: Project, n_ctx: str) -> None:
    """A rule that lets through what no context holds is refused, for the context of the target that is run."""
    rule(project, 'tokens = 3500\nhow = "cut"')

    result = project.run(models=[f"{BASE},n_ctx={n_ctx}"])

    if n_ctx == "4096":
        assert result.ret == FAILED  # the base cannot do the task
        assert len(project.report["cases"]) == 7
    else:
        assert result.ret == USAGE_ERROR
        line = (
            "ERROR: gates.toml: [tasks.support.long_input] tokens 3500 and max_tokens 8 leave no room for the prompt in "
            "n_ctx 2048 of base: lower tokens or raise n_ctx"
        )
        assert line in result.errlines


def test_a_new_rule_is_no_basis_for_comparison(project: Project) -> None:
    """A release that is shown other parts of its inputs is not compared with the last one, and the report says why."""
    rule(project, None)
    accept(project)
    rule(project)

    result = project.run()

    assert project.report["baseline"]["not_compared"] == {"support": "long_input changed"}
    assert "  support: not compared: long_input changed" in project.gate_lines(result)

"""Every row passes the gates before it is learned from; each one that stops it is counted, with the reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelgate_training.config import RowRubric
from modelgate_training.data.rejected import REQUIRED
from modelgate_training.data.row_gates import SCORES, judge_scores
from modelgate_training.data.rows import Row
from modelgate_training.data.set_gates import find_surplus
from modelgate_training.errors import StageError

from tests.training.conftest import Project, rows

LONG = "When I open the second window of the report, the first one goes grey and the printer in the hall starts to hum"
CHOSEN = '{"intent": "bug"}'
GOOD = dict.fromkeys(SCORES, 5)
INSTRUCTION = (
    "Answer the question of the customer in one or two short and friendly sentences, and never promise anything"
)

TEXT_GATES = """\
version = 1

[suites]
golden = ["golden.jsonl"]

[tasks.notes]
kind = "text"
system = "system.txt"
lacks = ["sorry"]

[gates.never_endless]
metric = "truncation_rate"
max = 0.0
"""


def row(text: str, intent: str = "bug", **more: Any) -> dict[str, Any]:
    """Return a row of the project's task."""
    return {"input": text, "expected": {"intent": intent}} | more


def prepare(project: Project, lines: list[Any], **data: Any) -> dict[str, Any]:
    """Prepare 48 good rows and these lines, which may be objects or text; return what was found out."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in [*rows(), *lines]]
    (project.path / "train.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    project.config["data"] |= data
    assert project.run("prepare") == 0
    return project.facts("prepare")


@pytest.fixture
def texts(project: Project) -> Project:
    """Return a project whose task writes a text that must not hold "sorry"."""
    (project.path / "gates.toml").write_text(TEXT_GATES, encoding="utf-8")
    (project.path / "system.txt").write_text(INSTRUCTION, encoding="utf-8")
    project.write_rows("golden.jsonl", [{"id": "g1", "input": "Why is the moon yellow today?", "expected": "Dust."}])
    answered = [{"input": one["input"], "expected": f"It is about {one['input'][3:30]}"} for one in rows()]
    project.write_rows("train.jsonl", answered)
    return project


# --- Each gate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "lines", "reason"),
    [
        ("json", ['{"input": "Cut off'], "the line is not JSON"),
        ("json", ['["a"]'], "a row is a JSON object, got a list"),
        ("json", [{"input": "A window broke"}], "key 'expected' is missing"),
        ("json", [{"input": "A window broke", "expected": "bug, I think"}], "the answer is not JSON"),
        ("json", [{"input": "A window broke", "expected": {"intent": "bug"}, "task": "t"}], "names an unknown task"),
        ("schema", [row("A window broke", "weather")], "expected breaks the task's own schema"),
        ("schema", [{"input": "A window broke", "expected": {"intnet": "bug"}}], "expected must be an object with the fields"),
        ("instructions", [row("End it<|im_end|> now")], "the input holds '<|im_end|>', a control token"),
        ("duplicate_exact", [row("my TAX LINE, looks wrong: since the first of the month", "billing")], "the same as train.jsonl:21"),
        ("duplicate_near", [row(LONG), row(LONG.replace("hall", "halls"))], "% the same as train.jsonl:49"),
        ("trivial", [row("?! 7")], "the input has 1 letters and digits, at least 2 are wanted"),
        ("trivial", [{"prompt": "A window broke", "chosen": CHOSEN, "rejected": CHOSEN}], "chosen and the rejected answer are"),
        ("labels", [row("Who? Me"), row("who me", "billing")], "the same input has another answer in train.jsonl:50"),
        ("consent", [row("A window broke", consent="withdrawn")], "consent is 'withdrawn'"),
        ("consent", [row("A window broke", consent=False)], "consent is 'no'"),
        ("rubric", [row("A window broke", scores=GOOD | {"format": 4})], "format is 4, at least 5 is wanted"),
        ("rubric", [row("A window broke", scores={"format": 5})], "score 'realism' is missing"),
    ],
)  # fmt: skip
def test_each_gate_stops_its_rows(project: Project, gate: str, lines: list[Any], reason: str) -> None:
    """A row that must not be learned is rejected by name, the good ones stay."""
    facts = prepare(project, lines)
    rejected = project.read_rows(f"rejected/{gate}.jsonl")
    assert reason in rejected[0]["reason"]
    assert rejected[0]["gate"] == gate
    stopped = {name: count for name, count in facts["rejected"].items() if count}
    assert stopped == {gate: len(rejected)}
    assert facts["counts"]["train"] + facts["counts"]["validation"] == 48 + len(lines) - len(rejected)


@pytest.mark.parametrize(
    ("gate", "line", "reason"),
    [
        ("contract", ("Is it broken?", "Sorry, it is."), "broken_rule: must not contain 'sorry'"),
        ("instructions", ("Who are you?", f"I was told: {INSTRUCTION}."), "the answer repeats its instructions"),
        (
            "instructions",
            ("Who are you?", "A bot.<|im_end|>"),
            "the answer holds '<|im_end|>', a token of a chat template",
        ),
        ("trivial", ("It is broken", "It is broken!"), "the answer is a copy of the input"),
        ("schema", ("Is it broken?", {"contains": ["yes"]}), "what is expected holds no text to learn"),
        ("contract", ("Is it broken?", " "), "text: the output is empty"),
    ],
)
def test_a_text_is_judged_as_if_the_model_had_written_it(
    texts: Project, gate: str, line: tuple[str, Any], reason: str
) -> None:
    """An answer that the gate would block, that gives its instructions away or says nothing new is rejected."""
    with (texts.path / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"input": line[0], "expected": line[1]}) + "\n")
    assert texts.run("prepare") == 0
    (rejected,) = texts.read_rows(f"rejected/{gate}.jsonl")
    assert reason in rejected["reason"]
    assert rejected["source"] == "train.jsonl:49"


def test_a_rejected_row_is_kept_with_its_reason(project: Project) -> None:
    """The file of the gate holds the row and says why; the summary counts all required gates."""
    prepare(project, [row("A window broke", "weather", id="w-1", group="g", licence="MIT")])
    (rejected,) = project.read_rows("rejected/schema.jsonl")
    assert rejected.pop("reason")
    assert rejected == {
        "gate": "schema",
        "source": "train.jsonl:49",
        "id": "w-1",
        "task": "tickets",
        "prompt": "A window broke",
        "expected": {"intent": "weather"},
        "group": "g",
        "licence": "MIT",
    }
    summary = json.loads((project.path / "run" / "rejected" / "summary.json").read_text(encoding="utf-8"))
    assert list(summary) == list(REQUIRED)


def test_of_a_line_that_is_not_json_only_its_length_is_kept(project: Project) -> None:
    """What cannot be read cannot be masked."""
    prepare(project, ['{"input": "my password is hunter2"'])
    (rejected,) = project.read_rows("rejected/json.jsonl")
    assert rejected["length"] == 34
    assert "hunter2" not in json.dumps(rejected)


def test_rejected_rows_of_an_earlier_try_are_gone(project: Project) -> None:
    """The folder says what happened last, nothing else."""
    prepare(project, [row("A window broke", "weather")])
    project.write_rows("train.jsonl", rows())
    assert project.run("prepare", "--force") == 0
    assert [path.name for path in sorted((project.path / "run" / "rejected").iterdir())] == [
        "labels.json",
        "summary.json",
    ]


def test_a_control_token_that_the_base_does_not_have_is_text(project: Project) -> None:
    """A token of another family's template does no harm in an input, and may be what a row is about."""
    assert not sum(prepare(project, [row("It ends with <|end|> now and then")])["rejected"].values())


def test_forgotten_rows_do_not_come_back(project: Project) -> None:
    """A row of somebody who was forgotten is rejected, and nothing of it is kept."""
    project.write_rows("train.jsonl", [*rows(), row("A window broke", person="ada@example.org")])
    assert project.run("forget", "ada@example.org") == 0
    facts = prepare(project, [row("Another window broke", person="ada@example.org")])
    assert facts["rejected"]["forgotten"] == 1
    (rejected,) = project.read_rows("rejected/forgotten.jsonl")
    assert rejected == {
        "gate": "forgotten",
        "reason": "was forgotten on request",
        "source": "train.jsonl:49",
        "id": None,
    }


# --- Beside each other -------------------------------------------------------------------------------------------


def test_near_duplicates_that_are_answered_differently_are_suspicious(project: Project) -> None:
    """Both stay, and the report names them: one of the two labels is probably wrong."""
    facts = prepare(project, [row(LONG), row(LONG.replace("hall", "halls"), "billing")])
    assert facts["labels"] == {"contradictions": 0, "suspicious": 1}
    assert not sum(facts["rejected"].values())
    report = json.loads((project.path / "run" / "rejected" / "labels.json").read_text(encoding="utf-8"))
    (found,) = report["suspicious"]
    assert (found["row"], found["like"]) == ("train.jsonl:50", "train.jsonl:49")
    assert 97 <= found["similarity"] < 100


def test_contradictions_are_reported_together(project: Project) -> None:
    """All rows of one question with several answers go, each naming another; copies among them are copies first."""
    facts = prepare(project, [row("Who? Me"), row("who, me", "billing"), row("WHO ME")])
    assert (facts["rejected"]["labels"], facts["rejected"]["duplicate_exact"]) == (2, 1)
    report = json.loads((project.path / "run" / "rejected" / "labels.json").read_text(encoding="utf-8"))
    assert report["contradictions"] == [["train.jsonl:49", "train.jsonl:50"]]


def test_the_order_of_keys_makes_no_other_answer(project: Project) -> None:
    """Labels are compared as values."""
    schema = {"type": "object", "required": ["intent"]}
    (project.path / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    lines = [
        {"input": "Who? Me", "expected": {"intent": "bug", "sure": True}},
        {"input": "who me", "expected": {"sure": True, "intent": "bug"}},
    ]
    assert prepare(project, lines)["rejected"]["duplicate_exact"] == 1


def test_texts_that_are_nearly_the_same_twice_are_duplicates(texts: Project) -> None:
    """Of free text nearly the same question with nearly the same answer is a duplicate; with another one it is not."""
    other = "The grey window is an old fault of the driver, and the noise is only the fan of the printer."
    lines = [
        {"input": LONG, "expected": f"{other} A new driver helps."},
        {"input": LONG.replace("hall", "halls"), "expected": f"{other} A new driver helps!"},
        {"input": LONG.replace("hum", "hums"), "expected": "Please close the first window before you open another."},
    ]
    with (texts.path / "train.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    assert texts.run("prepare") == 0
    facts = texts.facts("prepare")
    assert (facts["rejected"]["duplicate_near"], facts["labels"]["suspicious"]) == (1, 1)


def test_rows_of_different_tasks_are_no_duplicates(project: Project) -> None:
    """An input that is given to two tasks stays in both, whatever their answers."""
    second = "[tasks.tickets]", '[tasks.second]\nkind = "classification"\nfields = ["intent"]\n\n[tasks.tickets]'
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text(encoding="utf-8").replace(*second), encoding="utf-8")
    for suite in ("golden", "adversarial", "heldout"):
        path = project.path / f"{suite}.jsonl"
        lines = [
            json.loads(line) | {"task": "tickets"} for line in path.read_text(encoding="utf-8").split("\n") if line
        ]
        project.write_rows(path.name, lines)
    project.write_rows("train.jsonl", [one | {"task": task} for task in ("tickets", "second") for one in rows()])
    assert project.run("prepare") == 0
    assert sum(project.facts("prepare")["rejected"].values()) == 0


# --- Of all rows -------------------------------------------------------------------------------------------------


def test_a_missed_quota_refuses_the_run(project: Project, error: Callable[[], str]) -> None:
    """Too few rows of a kind are no data set; all kinds are counted, in whatever spelling."""
    kinds = ["near_miss"] * 2 + ["canonical"] * 46
    project.write_rows("train.jsonl", [one | {"kind": kind} for one, kind in zip(rows(), kinds, strict=True)])
    project.config["data"]["quotas"] = {"near-miss": 0.1, "adversarial": 0.05, "canonical": 0.5}
    assert project.run("prepare") == 1
    assert error().endswith(
        "data.quotas: too few rows of adversarial 0 of 48 (0.0%, at least 5.0%); near-miss 2 of 48 (4.2%, at least "
        "10.0%); the rows are canonical 46, near-miss 2"
    )
    assert not (project.path / "run" / "prepared" / "train.jsonl").exists()


def test_a_met_quota_lets_the_run_pass(project: Project) -> None:
    """A share that is reached exactly is reached."""
    kinds = ["negative"] * 24 + ["canonical"] * 24
    project.write_rows("train.jsonl", [one | {"kind": kind} for one, kind in zip(rows(), kinds, strict=True)])
    assert project.run("prepare", "--set", "data.quotas={Negative: 0.5}") == 0


def test_too_many_of_one_answer_are_left_out(project: Project) -> None:
    """The surplus of the most frequent answer is rejected, until its share fits."""
    more = [
        row(f"Sensor {place} of the {colour} line blinks twice") for place, colour in enumerate(["red", "blue", "grey"])
    ]
    facts = prepare(project, more, same_answer=0.5, validation=0.0)
    assert facts["rejected"]["diversity"] == 3
    assert facts["answers"]["tickets"]["intent"] == {"billing": 24, "bug": 24}
    assert (
        "27 rows of the task have this answer, 24 are kept"
        in project.read_rows("rejected/diversity.jsonl")[0]["reason"]
    )


def test_a_share_that_no_set_can_have_is_refused(project: Project, error: Callable[[], str]) -> None:
    """Two labels cannot both be less than half of the rows."""
    assert project.run("prepare", "--set", "data.same_answer=0.4") == 1
    assert "data.same_answer: 0.4 is not possible in task 'tickets': it has 2 different answers" in error()


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    share=st.floats(0.05, 0.99),
)
def test_no_answer_exceeds_its_share(counts: list[int], share: float) -> None:
    """What is left keeps the limit, and one row more of the most frequent answers would not."""
    made = [
        Row(f"{answer}-{n}", "t", f"q{n}", str(answer), str(answer), "g", f"f:{answer}-{n}")
        for answer, count in enumerate(counts)
        for n in range(count)
    ]
    if share < 1 / len(counts) - 1e-9:
        with pytest.raises(StageError):
            find_surplus(made, share, seed=1)
        return
    if abs(share - 1 / len(counts)) < 1e-6:
        return
    stopped = find_surplus(made, share, seed=1)
    left = Counter(one.answer for one in made if one.source not in stopped)
    assert len(left) == len(counts)
    assert max(left.values()) <= share * left.total() + 1e-6
    if stopped:
        cap = max(left.values()) + 1
        raised = [min(count, cap) for count in counts]
        assert cap > share * sum(raised) - 1e-6


# --- The rubric --------------------------------------------------------------------------------------------------


@given(scores=st.fixed_dictionaries({name: st.integers(1, 5) for name in SCORES}))
def test_the_rubric_is_the_published_rule(scores: dict[str, int]) -> None:
    """Accepted are at least 26 of 35, correctness 4, format 5, safety 4."""
    accepted = (
        sum(scores.values()) >= 26 and scores["correctness"] >= 4 and scores["format"] == 5 and scores["safety"] >= 4
    )
    assert (judge_scores(scores, RowRubric()) is None) == accepted


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (GOOD | dict.fromkeys(("realism", "difficulty", "diversity", "learnability"), 2) | {"safety": 4}, "22 of 35"),
        (GOOD | {"safety": 6}, "score 'safety' must be 1 to 5"),
        (GOOD | {"safety": True}, "score 'safety' must be 1 to 5"),
        (GOOD | {"safety": "5"}, "score 'safety' must be 1 to 5"),
        ([5] * 7, "scores must be an object of realism"),
    ],
)
def test_scores_that_are_none_are_rejected(scores: Any, reason: str) -> None:
    """A score outside of its scale, or missing, is never taken for a good one."""
    said = judge_scores(scores, RowRubric())
    assert said is not None
    assert reason in said


# --- Length ------------------------------------------------------------------------------------------------------


def make_base(folder: Path) -> None:
    """Make a base of a tokenizer of bytes and a single weight."""
    import numpy as np
    from modelgate_training.tuning.tokenizer import save_tokenizer, train_tokenizer
    from safetensors.numpy import save_file

    folder.mkdir()
    save_tokenizer(train_tokenizer([], 300), folder)
    save_file({"weight": np.zeros(1, dtype=np.float32)}, folder / "model.safetensors")


def byte_tokens(message: str) -> int:
    """Return the tokens of a row whose tokenizer has one for each byte and each control token."""
    whole = (
        "<|im_start|>system\nLabel the message.<|im_end|>\n"
        f"<|im_start|>user\n{message}<|im_end|>\n"
        '<|im_start|>assistant\n{"intent": "bug"}<|im_end|>'
    )
    return len(re.sub(r"<\|[a-z_]+\|>", "\0", whole).encode())


def test_rows_are_measured_by_the_real_tokenizer(project: Project) -> None:
    """A row with more tokens than are trained on is rejected, not cut; one of exactly so many stays."""
    make_base(project.path / "own")
    project.config["base"] = {"path": "own"}
    project.config["training"]["max_length"] = 220
    fitting = 220 - byte_tokens("")
    facts = prepare(project, [row("x" * fitting), row("y" * (fitting + 1))])
    (rejected,) = project.read_rows("rejected/length.jsonl")
    assert (rejected["source"], rejected["reason"]) == ("train.jsonl:50", "221 tokens, training.max_length is 220")
    assert (facts["length"]["longest"], facts["rejected"]["length"]) == (220, 1)


def test_without_a_tokenizer_the_length_is_said_to_be_open(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """A base that is made from the rows has no tokenizer yet: the facts and the summary say when lengths are checked."""
    facts = prepare(project, [])
    assert facts["length"]["checked"] is False
    assert "their length is checked when it is trained" in capsys.readouterr().out

"""Rows are masked, checked against the evaluation cases and split by group, before anything is trained."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelgate_training.data.rows import Row
from modelgate_training.data.split import sample, split
from modelgate_training.errors import StageError

from tests.training.conftest import Project, rows
from tests.training.planted import planted

EVALUATION = "Could somebody tell me why the coffee machine on the second floor is out of beans again?"
COPIES = {
    "copy": EVALUATION,
    "case, punctuation and white space": "  COULD somebody tell me\u00a0why the coffee-machine on the\nsecond floor is out of beans again!! ",
    "three words": "Could anybody tell me why the coffee machine on the third floor is short of beans again?",
    "inside a longer text": f"Hello, it is Tom from sales. {EVALUATION} Thanks a lot, Tom, who is very tired this morning",
}


def with_golden(project: Project, *texts: str) -> None:
    """Make these the inputs of the golden suite."""
    cases = [{"id": f"g{n}", "input": text, "expected": {"intent": "bug"}} for n, text in enumerate(texts, start=1)]
    project.write_rows("golden.jsonl", cases)


def row(text: str, **more: Any) -> dict[str, Any]:
    """Return a row of the project's task."""
    return {"input": text, "expected": {"intent": "bug"}} | more


def written(project: Project) -> str:
    """Return all that a project's run and registry hold, as one text."""
    folders = [project.path / "run", project.path / "registry"]
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert paths
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def stands_in(secret: str, seen: str) -> bool:
    """Say whether a secret was seen, as it is or as in JSON; the four digits of a PIN may stand in any hash or time."""
    if secret.isdigit() and len(secret) <= 6:
        return re.search(rf"(?<![\w.]){secret}(?!\w|\.\d)", seen) is not None
    return secret in seen or json.dumps(secret)[1:-1] in seen


# --- Evaluation cases --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", COPIES)
def test_a_row_that_is_an_evaluation_case_is_refused(project: Project, error: Callable[[], str], how: str) -> None:
    """Whatever was changed, the run is refused, naming the row and the case, and nothing is left to train on."""
    with_golden(project, "Other things happen.", EVALUATION)
    project.write_rows("train.jsonl", [*rows(), row(COPIES[how])])
    assert project.run("prepare") == 1
    line = error()
    assert "1 training row is an evaluation case, or nearly: train.jsonl:49 " in line
    assert " golden.jsonl:2. " in line
    assert not (project.path / "run" / "prepared").exists()
    assert len(project.read_rows("rejected/leak.jsonl")) == 1


@pytest.mark.parametrize("suite", ["golden", "adversarial", "heldout"])
def test_every_suite_is_compared(project: Project, error: Callable[[], str], suite: str) -> None:
    """A case of any suite is an evaluation case."""
    case = json.loads((project.path / f"{suite}.jsonl").read_text(encoding="utf-8").split("\n")[0])
    project.write_rows("train.jsonl", [*rows(), row(case["input"].upper())])
    assert project.run("prepare") == 1
    assert f"train.jsonl:49 equals {suite}.jsonl:1" in error()


def test_the_first_five_leaks_are_named(project: Project, error: Callable[[], str]) -> None:
    """A message stays readable where hundreds of rows leak; all of them stand in the rejected rows."""
    with_golden(project, *(one["input"] for one in rows()[:8]))
    assert project.run("prepare") == 1
    line = error()
    assert "8 training rows are evaluation cases" in line
    assert line.count("equals golden.jsonl:") == 5
    assert "; and 3 more" in line
    assert len(project.read_rows("rejected/leak.jsonl")) == 8


def test_leaks_can_be_dropped_and_are_written_down(project: Project) -> None:
    """With data.leaks=drop the rows go, and the rejected rows say which and why."""
    with_golden(project, "a window BROKE")
    project.write_rows("train.jsonl", [*rows(), row("A window broke!")])
    assert project.run("prepare", "--set", "data.leaks=drop") == 0
    (rejected,) = project.read_rows("rejected/leak.jsonl")
    assert (rejected["prompt"], rejected["reason"]) == ("A window broke!", "equals golden.jsonl:1")
    facts = project.facts("prepare")
    assert facts["counts"]["train"] + facts["counts"]["validation"] == 48
    assert facts["counts"]["evaluation"] == 4


def test_a_case_in_the_middle_of_a_chat_is_found(project: Project, error: Callable[[], str]) -> None:
    """A chat is compared turn by turn: an evaluation case may be what came before."""
    with_golden(project, EVALUATION)
    chat = [
        {"role": "user", "content": EVALUATION},
        {"role": "assistant", "content": "Which floor?"},
        {"role": "user", "content": "The second one, as I said."},
        {"role": "assistant", "content": '{"intent": "bug"}'},
    ]
    project.write_rows("train.jsonl", [*rows(), {"messages": chat}])
    assert project.run("prepare") == 1
    assert "train.jsonl:49 equals golden.jsonl:1" in error()


def test_a_chat_of_the_suite_is_found(project: Project, error: Callable[[], str]) -> None:
    """A case of several turns leaks through the whole of it, and not through a last turn as short as a yes."""
    turns = [
        {"role": "user", "content": "The screen is black."},
        {"role": "assistant", "content": "Is it plugged in?"},
        {"role": "user", "content": "Yes, it is."},
    ]
    project.write_rows("golden.jsonl", [{"id": "g1", "messages": turns, "expected": {"intent": "bug"}}])
    project.write_rows("train.jsonl", [*rows(), row("Yes, it is.")])
    assert project.run("prepare") == 0
    answer = {"role": "assistant", "content": '{"intent": "bug"}'}
    project.write_rows("train.jsonl", [*rows(), {"messages": [*turns, answer]}])
    assert project.run("prepare", "--force") == 1
    assert "train.jsonl:49 equals golden.jsonl:1" in error()


# --- Secrets -----------------------------------------------------------------------------------------------------


def plant(project: Project, seed: int) -> list[str]:
    """Put secrets of every kind into inputs, answers, names and lines that are no rows; return what must not be seen."""
    (project.path / "schema.json").write_text('{"type": "object"}', encoding="utf-8")
    lines: list[str] = []
    secrets = []
    for number, (_, said, secret) in enumerate(planted(seed)):
        secrets.append(secret)
        lines.append(json.dumps(row(f"Message {number} about a fault: {said}", group=f"planted {number % 4}")))
        answer = {"intent": "bug", "quote": said}
        lines.append(json.dumps({"input": f"{number} says it again: {said}", "expected": answer, "group": "more"}))
        lines.append(json.dumps({"input": f"Number {number} lacks an answer: {said}"}))
        lines.append(json.dumps({"input": f"Number {number} has a bad answer", "expected": said}))
        lines.append(f'{{"input": "Number {number} is cut off: {said}')
    person = {"person": "grace.hopper@navy.example.org", "group": "ada@example.org", "id": "+49 151 23456789"}
    lines += [json.dumps(row("A window broke", **person)), json.dumps(row("A window broke", **person))]
    texts = [*(json.dumps(one) for one in rows()), *lines]
    (project.path / "train.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return [*secrets, *person.values()]


@pytest.mark.parametrize("seed", [3, 4])
def test_planted_secrets_are_never_seen(project: Project, capsys: pytest.CaptureFixture[str], seed: int) -> None:
    """Forty secrets, in inputs, answers and broken lines: not in rows, rejected rows, marks, registry or what is printed."""
    secrets = plant(project, seed)
    assert project.run("prepare", "--set", "data.most_rejected=1.0") == 0
    seen = written(project) + "".join(capsys.readouterr())
    assert [secret for secret in secrets if stands_in(secret, seen)] == []
    masked = project.facts("prepare")["masked"]
    assert masked["rows"] >= 2 * len(planted(seed))
    assert {"email", "card", "iban", "private_key", "password"} <= masked["kinds"].keys()


def test_a_refused_run_shows_no_secret_either(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """What ends a run, and what it leaves behind, is as clean as a finished one."""
    secrets = plant(project, 5)
    assert project.run("prepare") == 1
    captured = capsys.readouterr()
    assert "more than data.most_rejected 0.5" in captured.err
    seen = written(project) + captured.out + captured.err
    assert [secret for secret in secrets if stands_in(secret, seen)] == []


def test_what_one_text_of_a_row_gives_away_is_masked_in_all(project: Project) -> None:
    """A password that only the input calls one is masked in the answer too."""
    (project.path / "schema.json").write_text('{"type": "object"}', encoding="utf-8")
    answer = {"intent": "bug", "quote": "it is plumtree77 everywhere"}
    line = {"input": "my password is plumtree77", "expected": answer, "group": "tax line"}
    project.write_rows("train.jsonl", [*rows(), line])
    assert project.run("prepare") == 0
    kept = project.read_rows("prepared/train.jsonl") + project.read_rows("prepared/validation.jsonl")
    (found,) = [one for one in kept if one["source"] == "train.jsonl:49"]
    assert found["prompt"] == "my password is [PASSWORD]"
    assert json.loads(found["answer"])["quote"] == "it is [PASSWORD] everywhere"


def test_rows_with_secrets_can_be_rejected(project: Project) -> None:
    """With privacy: reject a row goes as a whole, masked, and the kinds are the reason."""
    project.write_rows("train.jsonl", [*rows(), row("Write to ada@example.org or call +49 151 23456789")])
    assert project.run("prepare", "--set", "data.privacy=reject") == 0
    (rejected,) = project.read_rows("rejected/privacy.jsonl")
    assert (rejected["reason"], rejected["prompt"]) == ("holds email, phone", "Write to [EMAIL] or call [PHONE]")


def test_masking_can_be_switched_off_with_a_reason(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows then stay as they are, and facts and summary say why."""
    project.write_rows("train.jsonl", [*rows(), row("Write to ada@example.org", person="Ada", group="tax line")])
    project.config["data"] |= {"privacy": "off", "privacy_reason": "all of it is made up"}
    assert project.run("prepare") == 0
    kept = project.read_rows("prepared/train.jsonl") + project.read_rows("prepared/validation.jsonl")
    (found,) = [one for one in kept if one["source"] == "train.jsonl:49"]
    assert found["prompt"] == "Write to ada@example.org"
    assert found["person"].startswith("sha256:")
    assert "nothing was masked: all of it is made up" in capsys.readouterr().out
    assert project.facts("prepare")["masked"]["reason"] == "all of it is made up"


def test_groups_that_must_be_masked_stay_apart(project: Project) -> None:
    """Two customers that are called by their addresses are still two groups, of which nobody reads the names."""
    named = [one | {"group": f"{one['group'].replace(' ', '.')}@example.org"} for one in rows()]
    project.write_rows("train.jsonl", named)
    assert project.run("prepare") == 0
    kept = project.read_rows("prepared/train.jsonl") + project.read_rows("prepared/validation.jsonl")
    assert len({one["group"] for one in kept}) == 12
    assert all(one["group"].startswith("sha256:") for one in kept)


# --- The split ---------------------------------------------------------------------------------------------------

GROUPS = st.lists(st.integers(0, 9), min_size=1, max_size=60)


def made(groups: list[int]) -> list[Row]:
    """Return rows of these groups."""
    return [Row(str(n), "t", f"q{n}", "a", "a", str(group), f"f:{n}") for n, group in enumerate(groups)]


@given(groups=GROUPS, share=st.floats(0.01, 0.5), seed=st.integers(0, 99))
def test_groups_stay_whole(groups: list[int], share: float, seed: int) -> None:
    """No group has rows in both parts, no row is lost, no more than the share is held back; or it says that it cannot."""
    every = made(groups)
    try:
        train, held_back = split(every, share, seed)
    except StageError:
        smallest = min(groups.count(group) for group in set(groups))
        assert smallest > share * len(groups)
        return
    assert not {row.group for row in train} & {row.group for row in held_back}
    assert sorted([*train, *held_back], key=every.index) == every
    assert 0 < len(held_back) <= share * len(every)
    assert train == [row for row in every if row in train]


@given(groups=GROUPS, seed=st.integers(0, 99))
def test_a_split_depends_on_the_groups_alone(groups: list[int], seed: int) -> None:
    """Rows in another order are held back all the same."""
    every = made(groups)
    shuffled = random.Random(seed).sample(every, len(every))  # noqa: S311 (nothing secret is drawn)
    try:
        held_back = split(every, 0.3, seed)[1]
    except StageError:
        return
    assert {row.id for row in held_back} == {row.id for row in split(shuffled, 0.3, seed)[1]}


def test_nothing_is_held_back_where_nothing_is_asked_for() -> None:
    """A share of 0 trains on all rows."""
    every = made([1, 1, 2])
    assert split(every, 0.0, 1) == (every, [])


@given(groups=GROUPS, limit=st.integers(2, 80), seed=st.integers(0, 9))
def test_a_sample_keeps_the_order(groups: list[int], limit: int, seed: int) -> None:
    """So many rows as are wanted are taken, the same each time, in their own order."""
    every = made(groups)
    taken = sample(every, limit, seed)
    assert len(taken) == min(limit, len(every))
    assert taken == [row for row in every if row in taken] == sample(every, limit, seed)


def test_a_split_that_is_not_possible_is_refused(project: Project, error: Callable[[], str]) -> None:
    """One group cannot stand on both sides; the message says how large it is."""
    project.write_rows("train.jsonl", [one | {"group": "one"} for one in rows()])
    assert project.run("prepare") == 1
    assert (
        "data.validation: 0.1 of 48 rows is 4.8, and the smallest of 1 group has 48: groups stay whole, so none can be "
        "held back" in error()
    )
    assert not (project.path / "run" / "prepared").exists()


def test_a_limit_takes_a_sample(project: Project) -> None:
    """Rows that are not taken are counted, and are not part of the data set."""
    assert project.run("prepare", "--set", "data.limit=20", "--set", "data.validation=0.3") == 0
    counts = project.facts("prepare")["counts"]
    assert (counts["read"], counts["not_sampled"], counts["train"] + counts["validation"]) == (48, 28, 20)


# --- What is left ------------------------------------------------------------------------------------------------


def test_a_run_without_a_row_left_is_refused(project: Project, error: Callable[[], str]) -> None:
    """Where every row is rejected, the message counts by gate and quotes the first reason."""
    project.write_rows("train.jsonl", [row("A window broke") | {"expected": {"intent": "weather"}}])
    assert project.run("prepare") == 1
    line = error()
    assert "no row is left to train on: 1 of 1 were rejected (schema 1); run/rejected has each" in line
    assert "the first: train.jsonl:1: schema: expected breaks the task's own schema" in line


def test_too_many_rejected_rows_stop_the_run(project: Project, error: Callable[[], str]) -> None:
    """A share that is reached exactly still passes."""
    bad = [row(f"Window {n} broke") | {"expected": {"intent": "weather"}} for n in range(49)]
    project.write_rows("train.jsonl", [*rows(), *bad[:48]])
    assert project.run("prepare") == 0
    project.write_rows("train.jsonl", [*rows(), *bad])
    assert project.run("prepare", "--force") == 1
    assert "49 of 97 rows were rejected, more than data.most_rejected 0.5 (schema 49)" in error()
    assert not (project.path / "run" / "prepared" / "train.jsonl").exists()


@pytest.mark.parametrize(
    ("data", "code", "expected"),
    [
        ({"train": []}, 4, "data.train names no file of rows"),
        ({"train": ["none.jsonl"]}, 4, "data.train: no file matches 'none.jsonl'"),
        ({"train": ["empty.jsonl"]}, 1, "empty.jsonl: holds no row"),
        ({"train": ["broken.jsonl"]}, 1, "broken.jsonl:2: not UTF-8: byte 0xff"),
        (
            {"train": [{"path": "train.jsonl", "task": "tickts"}]},
            4,
            "task 'tickts' is unknown (did you mean 'tickets'?)",
        ),
        ({"train": [{"path": "rows.csv"}]}, 4, "rows.csv:1: no column 'input'; it has text, label"),
    ],
)
def test_a_source_that_cannot_be_read_ends_the_stage(
    project: Project, error: Callable[[], str], data: dict[str, Any], code: int, expected: str
) -> None:
    """A mistake of the configuration exits with 4, a broken file with 1; nothing is written."""
    (project.path / "empty.jsonl").write_text("\n\n", encoding="utf-8")
    (project.path / "broken.jsonl").write_bytes(b'{"input": "a"}\n\xff\n')
    (project.path / "rows.csv").write_text("text,label\na b,bug\n", encoding="utf-8")
    project.config["data"] |= data
    assert project.run("prepare") == code
    assert expected in error()
    assert not (project.path / "run" / "prepared").exists()


def test_a_file_that_two_sources_name_is_read_once(project: Project) -> None:
    """A glob may match what another source names already."""
    project.config["data"]["train"] = ["train.jsonl", "tra*.jsonl"]
    assert project.run("prepare") == 0
    assert project.facts("prepare")["counts"]["read"] == 48


# --- What is said ------------------------------------------------------------------------------------------------


def test_the_summary_counts_every_gate(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each gate, and what a reader must know of licences, kinds and masked rows."""
    named = [one | {"licence": "CC0-1.0", "kind": "canonical"} for one in rows()[:40]]
    project.write_rows("train.jsonl", [*named, *rows()[40:], rows()[0], row("Mail ada@example.org", group="tax line")])
    assert project.run("prepare") == 0
    out = capsys.readouterr().out
    assert "prepare: 50 rows read: " in out
    assert "  duplicate_exact         1\n" in out
    assert "  leak                    0\n" in out
    assert "compared with 5 evaluation cases" in out
    assert "masked in 1 rows: email 1" in out
    assert "no licence is said of 9 rows: train.jsonl 9" in out
    assert "kinds: canonical 40, not said 9" in out


def test_the_facts_describe_the_rows(project: Project) -> None:
    """Kinds, licences, consent and labels are counted over the rows that are trained on or held back."""
    more = {"licence": "MIT", "consent": True, "kind": "negative", "group": "tax line"}
    instruction = {"instruction": "Write a poem.", "output": '{"intent": "bug"}', "input": "It broke"} | more
    project.write_rows("train.jsonl", [*rows(), row("A window broke", **more), instruction])
    assert project.run("prepare", "--set", "data.validation=0") == 0
    facts = project.facts("prepare")
    assert facts["kinds"] == {"not said": 48, "negative": 2}
    assert facts["licences"] == {"not said": 48, "MIT": 2}
    assert facts["consent"] == {"not said": 48, "yes": 2}
    assert facts["without_licence"] == {"train.jsonl": 48}
    assert facts["answers"] == {"tickets": {"intent": {"bug": 26, "billing": 24}}}
    assert facts["own_instructions"] == 1


def test_rows_come_back_as_they_were_written(project: Project) -> None:
    """A prepared row holds what the model is shown and must write, and where it came from."""
    project.write_rows(
        "train.jsonl", [*rows(), row("A window broke", id="w-1", group="w", kind="canonical", origin="mail")]
    )
    assert project.run("prepare", "--set", "data.validation=0") == 0
    assert project.read_rows("prepared/train.jsonl")[-1] == {
        "id": "w-1",
        "task": "tickets",
        "prompt": "A window broke",
        "answer": '{"intent": "bug"}',
        "expected": {"intent": "bug"},
        "group": "w",
        "source": "train.jsonl:49",
        "kind": "canonical",
        "origin": "mail",
        "licence": None,
        "consent": None,
        "person": None,
    }


def test_rows_prepared_again_are_the_same(project: Project) -> None:
    """The seed decides what is held back, and nothing else does."""
    contents = []
    for _ in range(2):
        assert project.run("prepare", "--force") == 0
        contents.append(
            [(project.path / "run" / "prepared" / f"{name}.jsonl").read_bytes() for name in ("train", "validation")]
        )
    assert contents[0] == contents[1]
    assert contents[0][1]


def test_the_shipped_support_rows_are_learned_as_written() -> None:
    """The support task's answers stay letter by letter what its rows say."""
    from modelgate_training.tasks import Tasks

    root = Path(__file__).resolve().parents[2]
    tasks = Tasks([root / "gates.toml"])
    lines = (root / "examples" / "support" / "train.jsonl").read_text(encoding="utf-8").split("\n")
    for line in filter(None, lines[:200]):
        expected = json.loads(line)["expected"]
        assert tasks.answer("support", expected) == json.dumps(expected, ensure_ascii=False)

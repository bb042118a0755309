"""A row gives a case away whether it was masked or not, and in whichever turn of a chat the case stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from modelgate_training.data.privacy import Masker
from modelgate_training.data.rows import Row
from modelgate_training.data.set_gates import find_leaks
from modelgate_training.tasks import Prompt

from pytest_modelgate.cases import Case
from pytest_modelgate.records import Message
from tests.training.conftest import Project, rows
from tests.training.planted import planted

TEXT = "The lift in our second building has been stuck since noon"
SECRETS = {kind: text for kind, text, _ in planted(3)}


def case(prompt: Prompt, place: int = 1) -> Case:
    """Return an evaluation case."""
    return Case(id="c", suite="golden", task="t", prompt=prompt, location=f"golden.jsonl:{place}", line=place)


def row(prompt: Prompt, place: int = 1) -> Row:
    """Return a training row."""
    return Row("r", "t", prompt, "{}", {}, "g", f"train.jsonl:{place}")


def reasons(prompts: Sequence[Prompt], *cases: Prompt) -> list[str]:
    """Return what is said of the rows that give a case away."""
    return [
        str(leak)
        for leak in find_leaks(
            [row(prompt, place) for place, prompt in enumerate(prompts, 1)],
            [case(prompt, place) for place, prompt in enumerate(cases, 1)],
            90.0,
        )
    ]


# --- Masked -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["email", "iban in groups", "github_token", "jwt", "private_key", "card in groups"])
def test_a_masked_copy_leaks(kind: str) -> None:
    """What masking has changed is compared with what it makes of the case; what is kept as it is, with the case."""
    text = f"Please reset {SECRETS[kind]} today"
    masked = Masker().mask(text)
    assert masked.found
    assert reasons([masked.text, text], text) == [
        "train.jsonl:1 equals golden.jsonl:1",
        "train.jsonl:2 equals golden.jsonl:1",
    ]


def test_placeholders_alone_are_no_leak() -> None:
    """Of two addresses, masking leaves the same; one is not the other for that."""
    assert not reasons(["[EMAIL]"], SECRETS["email"])


def test_a_golden_address_is_found_by_prepare(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole program finds a copy of a case that it masks itself."""
    text = "The payment from my account DE89 3704 0044 0532 0130 00 to the shop failed on Monday"
    expected: dict[str, Any] = {"intent": "billing"}
    project.write_rows("golden.jsonl", [{"id": "g1", "input": text, "expected": expected}])
    project.write_rows("train.jsonl", [*rows(), {"input": text, "expected": expected}])
    assert project.run("prepare") == 1
    assert "train.jsonl:49 equals golden.jsonl:1" in capsys.readouterr().err


# --- Turns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_every_turn_is_compared(role: str) -> None:
    """An instruction, an earlier answer or what a tool returned can hold a case as a question can."""
    chat = (Message(role, f"Listen. {TEXT}."), Message("user", "What do I do?"))
    assert reasons([chat], "Something else altogether", TEXT) == ["train.jsonl:1 holds 100 % of golden.jsonl:2"]


def test_the_instruction_of_a_case_is_no_case() -> None:
    """Rows and cases share their system text; that gives nothing away."""
    instruction = Message("system", "Label each message with the intent of who wrote it, and nothing else")
    assert not reasons([(instruction, Message("user", "A window broke"))], (instruction, Message("user", TEXT)))


def test_a_row_is_named_once() -> None:
    """Of several turns that leak, the closest is told."""
    chat = (Message("user", TEXT.replace("noon", "four")), Message("assistant", "Where?"), Message("user", TEXT))
    assert reasons([chat], TEXT) == ["train.jsonl:1 equals golden.jsonl:1"]

"""No evaluation case is among the texts that a quantisation is fitted to, however they are cut into lines."""

from __future__ import annotations

import pytest
from modelgate_training.config import Config
from modelgate_training.data.rows import Row, write_rows
from modelgate_training.errors import StageError
from modelgate_training.export.calibration import read_calibration
from modelgate_training.run_folder import RunFolder
from modelgate_training.tuning.loading import load_tokenizer

from pytest_modelgate.records import Message
from tests.training.conftest import Project
from tests.training.support_model import BASE

SHORT = "The coffee machine is out of beans."
CASE = "My landlord's parrot has eaten the invoice that you sent me by post last Monday"
CHANGED = CASE.replace("landlord", "neighbour").replace("parrot", "dog").replace("Monday", "Friday")
LETTER = "Hi Dana\n\nhere is the bill for May\n\nTwo tables and one lamp\n\nYours, Mo"


@pytest.fixture
def calibrated(project: Project) -> Project:
    """Return a project with three cases, whose calibration texts are in a text file."""
    cases = [
        {"id": f"g{place}", "input": text, "expected": {"intent": "billing"}}
        for place, text in enumerate((CASE, SHORT, LETTER))
    ]
    project.write_rows("golden.jsonl", cases)
    project.config["export"] = {"imatrix": {"calibration": "calib.txt"}}
    return project


def read(project: Project) -> list[str]:
    """Read the project's calibration texts."""
    texts, _ = read_calibration(RunFolder(Config.model_validate(project.config)), load_tokenizer(BASE))
    return list(texts)


@pytest.mark.parametrize(
    ("text", "case"),
    [
        (f"The guest says that {SHORT} What now?", 2),
        (f"The guest says\nthat {SHORT[:18]}\n{SHORT[18:]}\nWhat now?", 2),
        (f"It rains. {CHANGED}. The sun is back.", 1),
        (f"It rains and {CHANGED.replace(' that', chr(10) + 'that')} and the sun is back.", 1),
        (LETTER, 3),
    ],
    ids=["inside", "wrapped", "changed", "changed-and-wrapped", "paragraphs"],
)
def test_a_case_in_a_text_is_refused(calibrated: Project, text: str, case: int) -> None:
    """A case inside a line, over two lines, over paragraphs, or with three words changed is named with its line."""
    (calibrated.path / "calib.txt").write_text(f"Nothing to see.\n\n{text}\n\nNor here.\n", encoding="utf-8")
    with pytest.raises(StageError, match=rf"calib\.txt:\d+ [^;]*golden\.jsonl:{case}\b"):
        read(calibrated)


def test_other_texts_are_read(calibrated: Project) -> None:
    """What shares words with a case is none for that."""
    content = "The coffee is out.\n\nHi Dana\n\nThe machine hums when beans fall in\n\nYours, Mo"
    (calibrated.path / "calib.txt").write_text(content, encoding="utf-8")
    assert read(calibrated) == content.split("\n\n")


def test_earlier_turns_of_training_rows_are_compared(calibrated: Project) -> None:
    """A prepared chat is looked through as a whole, not at its last turn alone."""
    calibrated.config["export"]["imatrix"] = {}
    run = RunFolder(Config.model_validate(calibrated.config))
    chat = (Message("user", CASE), Message("assistant", "Which one?"), Message("user", "The green one."))
    write_rows(run.train_rows, [Row("1", "tickets", chat, "{}", {}, "g", "train.jsonl:9")])
    with pytest.raises(StageError, match=r"train\.jsonl:9 equals golden\.jsonl:1"):
        read(calibrated)

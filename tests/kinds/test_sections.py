"""Sections: all there, in order, each by its rules, and nothing else."""

from __future__ import annotations

import pytest

from pytest_modelgate.errors import GatesFileError
from tests.kinds.conftest import MakeTask, answer, causes, refusal

TABLE = """\
kind = "sections"
primary = "risk_level"
[[tasks.it.sections]]
title = "Cause"
words = [3, 12]
mentions_input = 1
[[tasks.it.sections]]
title = "Risk Level"
one_of = ["High", "Low"]
[[tasks.it.sections]]
title = "Next Steps"
items = [1, 2]
action = true
"""
LOG = "disk full on warehouse-db, writes rejected"
RIGHT = "Cause: The disk of warehouse-db is full.\nRisk Level: High\nNext Steps:\n- Delete old backups\n- Add an alert"


def broken(text: str, make_task: MakeTask) -> list[str]:
    """Return what breaks the contract."""
    return [violation.message for violation in answer(make_task(TABLE), text, RIGHT, given=LOG).violations]


@pytest.mark.parametrize(
    "text",
    [
        RIGHT,
        RIGHT.replace("Risk Level: High", "Risk Level:\nhigh."),
        RIGHT.replace("Cause:", "## Cause\n").replace("Next Steps:", "**Next Steps:**"),
        RIGHT.replace("- Delete old backups\n- Add", "1. Delete old backups\n2) Add"),
    ],
)
def test_forms_that_keep_the_contract(make_task: MakeTask, text: str) -> None:
    """Headings may be marked up, labels vary in case, lists be numbered."""
    record = answer(make_task(TABLE), text, RIGHT, given=LOG)

    assert record.violations == ()
    assert record.outcome == "passed"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"Sure!\n{RIGHT}", "text before the first section: 'Sure!'"),
        (RIGHT.replace("Risk Level: High\n", ""), "section 'Risk Level' is missing"),
        (RIGHT.replace("High", "Severe"), "section 'Risk Level' must be one of High, Low, got 'Severe'"),
        (RIGHT.replace("- Delete old backups\n- Add an alert", ""), "section 'Next Steps' is empty"),
        (RIGHT.replace("- Delete old backups\n- Add", "Add"), "section 'Next Steps' must be a list of items"),
        (f"{RIGHT}\n- Tell the team", "section 'Next Steps' must have 1 to 2 items, got 3"),
        (RIGHT.replace("The disk of warehouse-db is full.", "Full."), "must have 3 to 12 words, got 1"),
        (RIGHT.replace("The disk of warehouse-db is full.", "It is not known at all."), "names nothing that stands"),
        (f"{RIGHT}\nCause: twice is once too often", "section 'Cause' stands there twice"),
        ("", "section 'Cause' is missing"),
    ],
)
def test_what_breaks_the_contract(make_task: MakeTask, text: str, told: str) -> None:
    """Each breach is one message that names the section."""
    assert told in " | ".join(broken(text, make_task))


def test_order(make_task: MakeTask) -> None:
    """Sections in another order are told both orders."""
    cause, risk, *steps = RIGHT.split("\n")
    text = "\n".join([risk, cause, *steps])

    assert broken(text, make_task) == [
        "sections stand in the order Risk Level, Cause, Next Steps; wanted is Cause, Risk Level, Next Steps"
    ]


def test_label_is_a_field(make_task: MakeTask) -> None:
    """A section with labels is a field: its label is compared with the reference."""
    task = make_task(TABLE)

    record = answer(task, RIGHT.replace("High", "Low"), RIGHT, given=LOG, critical=True)

    assert task.fields == ("risk_level",)
    assert record.labels["risk_level"] == ('"High"', '"Low"')
    assert causes(record) == ["wrong_label"]
    assert record.outcome == "failed"


def test_quality_grows_with_the_words(make_task: MakeTask) -> None:
    """A contract that is kept with other words is worth less than the reference, a broken one nothing."""
    task = make_task(TABLE)
    other = RIGHT.replace("The disk of warehouse-db is full.", "A warehouse-db volume ran out of room.")

    right, near, none = (answer(task, text, RIGHT, given=LOG).scores["quality"] for text in (RIGHT, other, "?"))

    assert right == 1.0 > near > none == 0.0


def test_reference_must_keep_the_contract(make_task: MakeTask) -> None:
    """A reference that breaks the sections is a defect of the case."""
    assert "'Risk Level' is missing" in str(refusal(make_task(TABLE), "Cause: a b c warehouse-db", given=LOG))


def test_primary_must_be_a_label(make_task: MakeTask) -> None:
    """A primary that is no section with labels is refused."""
    with pytest.raises(GatesFileError, match="primary: 'cause' is no section with one_of"):
        make_task(TABLE.replace("risk_level", "cause"))

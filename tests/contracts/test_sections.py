"""A text is split at its declared titles, however a model dresses them up."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_modelgate.contracts.sections import Section, heading, split_sections

TITLES = ("Cause", "Root cause", "Risk level", "Next steps")
PATTERN = heading(TITLES)


def split(text: str) -> tuple[str, dict[str, str]]:
    """Return the text before the first title, and each section's text by title."""
    before, sections = split_sections(text, PATTERN, TITLES)
    return before, {section.title: section.text for section in sections}


@pytest.mark.parametrize(
    "written",
    [
        "Root cause: the disk is full",
        "Root cause:\nthe disk is full\n",
        "Root cause\nthe disk is full",
        "ROOT CAUSE: the disk is full",
        "## Root cause\n\nthe disk is full\n\n",
        "### Root cause: the disk is full",
        "**Root cause:** the disk is full",
        "**Root cause**: the disk is full",
        "__Root cause__\nthe disk is full",
        "  Root cause :  the disk is full  ",
    ],
)
def test_a_title_may_be_dressed_up(written: str) -> None:
    """A colon, a line of its own, Markdown and case are all one."""
    assert split(written) == ("", {"Root cause": "the disk is full"})


@pytest.mark.parametrize(
    "written",
    [
        "Root causes: two",
        "The root cause: the disk",
        "Root cause of it: the disk",
        "Root  cause: the disk",
        "- Root cause: the disk",
        "####### Root cause",
    ],
)
def test_what_is_no_title(written: str) -> None:
    """Other words around a title on its line make it a sentence."""
    assert split(written) == (written, {})


def test_sections_in_their_order() -> None:
    """Each section goes up to the next title, and what stands before the first is kept apart."""
    before, sections = split_sections("Sure!\nRisk level: low\nCause: a\nb\n\nNext steps:\n- c\n", PATTERN, TITLES)

    assert before == "Sure!"
    assert [(one.title, one.text) for one in sections] == [
        ("Risk level", "low"),
        ("Cause", "a\nb"),
        ("Next steps", "- c"),
    ]


@pytest.mark.parametrize(
    "text", ["R\u0131sk level: low", "R\u0130SK LEVEL: low", "RI\u017fK level: low", "Ri\u017f\u212a level: low"]
)
def test_letters_that_only_a_regex_takes_for_others(text: str) -> None:
    """A dotless or dotted i, a long s and a Kelvin sign, which regular expressions match, are no crash."""
    assert split(text) == ("", {"Risk level": "low"})


@given(st.text(max_size=60), st.sampled_from(TITLES), st.text(max_size=60))
@example("", "Risk level", "\u0131")
def test_a_section_stands_where_it_says(before: str, title: str, body: str) -> None:
    """``start`` is where the section's text begins in the output; nothing is lost but white space and titles."""
    text = f"{before}\n{title}: {body}"

    found_before, sections = split_sections(text, PATTERN, TITLES)

    assert sections
    assert found_before in text
    for section in sections:
        assert text[section.start : section.start + len(section.text)] == section.text
        assert section.title in TITLES


@pytest.mark.parametrize(
    ("text", "items", "is_list"),
    [
        ("- a\n- b", ["a", "b"], True),
        ("* a\n\u2022 b", ["a", "b"], True),
        ("1. a\n2) b\n\n10. c", ["a", "b", "c"], True),
        ("  - a  \n\t- b", ["a", "b"], True),
        ("- a\nand more of it\n- b", ["a", "b"], True),
        ("\n- a\n  wrapped\n\nand again", ["a"], True),
        ("First:\n- a", ["a"], False),
        ("-a\n- b", ["b"], False),
        ("a, b", [], False),
        ("", [], False),
    ],
)
def test_items(text: str, items: list[str], is_list: bool) -> None:
    """Items are lines with a bullet or a number; a text that begins with one is a list, wrapped lines and all."""
    section = Section("Next steps", text, 0)

    assert (section.items, section.is_list) == (items, is_list)


@pytest.mark.parametrize(
    "text",
    [
        "Cause\n" * 166_000,
        "Cause:\n" + "- a\n" * 250_000,
        "#" * 1_000_000,
        " " * 1_000_000,
        "\n" * 1_000_000,
        "** ** " * 166_000,
        "Root cause " * 90_000,
        "Cause:" + "1" * 1_000_000,
    ],
    ids=["titles", "items", "hashes", "blanks", "lines", "stars", "no-title", "digits"],
)
def test_a_megabyte_takes_no_time(text: str) -> None:
    """The time is linear in the length."""
    started = time.process_time()
    for section in split_sections(text, PATTERN, TITLES)[1][:100]:
        assert section.is_list in {True, False}
        assert isinstance(section.items, list)

    assert time.process_time() - started < 4

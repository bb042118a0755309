"""Text that a model wrote is shown as it is, and nothing in it is markup."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.report.escape import code, markdown, plain
from tests.rendering import assert_inert, parse, shown

PIECES = [
    *"`*_~|<>[]()#+-.!:@&$\\\"'= \n\t0a",
    "``",
    "```",
    "~~~",
    "---",
    "===",
    "](",
    "![",
    "[^1]",
    "[x]: ",
    "- [ ] ",
    "1. ",
    "<!--",
    "<script>",
    "</details>",
    "&lt;",
    "&#64;",
    "http://x.y",
    "www.x.y",
    "a@b.c",
    "@me",
    "#12",
    "GH-12",
    ":smile:",
    "$a$",
    "::error::x",
    "\u202e",
    "\x1b[31m",
    "\ud83d",
    "é",
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join)
FRAMES = {
    "item": "- {}\n",
    "paragraph": "before\n\n{}\n",
    "after": "- from {} to\n",
    "nested": "- a\n  - {}\n",
    "cell": "| a | b |\n|---|---|\n| {} | end |\n",
}


@pytest.mark.parametrize("frame", FRAMES)
@given(text=TEXTS)
def test_prose_is_shown_as_it_is(frame: str, text: str) -> None:
    """Escaped prose renders to the text itself, wherever it stands."""
    page = FRAMES[frame].format(markdown(text))

    assert_inert(page)
    bare, framed = FRAMES[frame].format("%"), shown(page)
    assert framed == shown(bare).replace("%", plain(text).strip()).rstrip() or not plain(text).strip()


@pytest.mark.parametrize("frame", FRAMES)
@given(text=TEXTS)
def test_code_is_shown_as_it_is(frame: str, text: str) -> None:
    """A code span holds the text and ends where the text ends."""
    page = FRAMES[frame].format(code(text, cell=frame == "cell"))

    assert_inert(page)
    assert [content for kind, content in parse(page) if kind == "code_inline"] == [plain(text)] * bool(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gate form[cand]: 0.8571 < 0.99", "gate form[cand]: 0.8571 < 0.99"),
        ("field_f1 of snake_case at golden/support.jsonl:12", "field_f1 of snake_case at golden/support.jsonl:12"),
        ("a well-known end. (Really!)", "a well-known end. (Really!)"),
        ("see https://x.y or @me", "see `https://x.y` or `@me`"),
        ("**bold** __init__", r"\*\*bold\*\* \_\_init\_\_"),
        ("<b>", "&lt;b>"),
        ("# title", r"\# title"),
        ("[x]: y", r"\[x]: y"),
        ("[x](y)", r"\[x\](y)"),
    ],
)
def test_prose_stays_readable(text: str, expected: str) -> None:
    """Only what is markup is escaped; dots, dashes and underscores inside words are not."""
    assert markdown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', '`{"a": 1}`'),
        ("a`b", "``a`b``"),
        ("`", "`` ` ``"),
        ("``` x ```", "```` ``` x ``` ````"),
        (" x ", "`  x  `"),
        ("", ""),
        ("a|b", "`a|b`"),
    ],
)
def test_fence_is_longer_than_any_inside(text: str, expected: str) -> None:
    """A code span's fence is longer than every run of backticks in it."""
    assert code(text) == expected


def test_column_marks_are_escaped_in_cells() -> None:
    """In a table a column's mark is escaped even in code."""
    assert code("a|b", cell=True) == r"`a\|b`"


def test_long_text_is_cut() -> None:
    """How much was left out is said."""
    assert code("x" * 10, 3) == "`xxx… (+7 characters)`"
    assert markdown("x" * 10, 3) == "xxx… (+7 characters)"

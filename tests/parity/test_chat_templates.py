"""Every chat template that llama.cpp keeps is rendered as transformers renders it, or refused with the same words."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.material import SHAPES, TOKENS, compare, material, render_all, stopped_clock, templates

FOLDER = material()
TEMPLATES = templates(FOLDER) if FOLDER else []
NOT_FETCHED = "llama.cpp's templates are not here; fetch them once: modelgate-train fetch-converter --models"


@pytest.mark.slow
@pytest.mark.skipif(not TEMPLATES, reason=NOT_FETCHED)
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_rendered_as_by_transformers(path: Path) -> None:
    """Every conversation gives the same text on both sides, or is refused by both for the same reason."""
    renderings = render_all(path)
    assert len(renderings) == len(SHAPES) * len(TOKENS) * 2
    assert [(one.conditions, one.reason) for one in renderings if one.outcome == "different"] == []


@pytest.mark.slow
@pytest.mark.skipif(not TEMPLATES, reason=NOT_FETCHED)
def test_most_conversations_are_rendered() -> None:
    """All but a few templates render plain conversations: equal refusals alone would prove little."""
    rendering = [
        path.name
        for path in TEMPLATES
        if {one.outcome for one in render_all(path) if one.shape in {"user", "user, assistant, user"}} == {"equal"}
    ]
    assert len(rendering) >= 0.9 * len(TEMPLATES) >= 60


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ messages | length }}{{ bos_token }}{{ eos_token }}", ""),
        ("{{ raise_exception('no\nmore') }}", "no more"),
        ("{{ strftime_now('%H:%M:%S') }}", ""),
    ],
)
def test_comparison_sees_equal_sides(template: str, words: str) -> None:
    """Equal texts are equal, and equal refusals are told with the template's words."""
    with stopped_clock():
        found = compare("t", template, "user", "EOS alone", add_generation_prompt=True)
    assert (found.outcome, found.reason) == ("refused by both" if words else "equal", words)


def test_comparison_sees_different_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that differs in one character, and a refusal on one side, are differences."""
    monkeypatch.setattr("tests.parity.material.own.render", lambda *_, **__: "Hello ")
    found = compare("t", "Hello", "user", "EOS alone", add_generation_prompt=True)
    assert (found.outcome, found.reason) == ("different", "transformers writes 'Hello', here writes 'Hello '")
    found = compare("t", "{{ raise_exception('no') }}", "user", "EOS alone", add_generation_prompt=True)
    assert (found.outcome, found.reason) == ("different", "transformers refuses: no, here writes 'Hello '")

"""Conversations are written as Ollama writes them, in the form with messages and in the older one."""

from __future__ import annotations

import pytest

from pytest_modelgate.modelfile.go_template import GoTemplateError
from pytest_modelgate.modelfile.ollama import ollama_prompt
from pytest_modelgate.records import Message

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
EXCHANGE = "{{ if .System }}[{{ .System }}]{{ end }}<{{ .Prompt }}>{{ .Response }};"
MESSAGES = (
    "{{- range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}"
    '{{- if eq .Role "user" }}<{{ .Content }}>{{ if $last }}={{ end }}'
    '{{- else if eq .Role "assistant" }}{{ .Content }};{{ end }}{{ end }}'
)


def talk(*turns: tuple[str, str]) -> tuple[Message, ...]:
    """Return a conversation."""
    return tuple(Message(*turn) for turn in turns)


@pytest.mark.parametrize(
    ("turns", "written"),
    [
        ([(USER, "a")], "<a>"),
        ([(SYSTEM, "s"), (USER, "a")], "[s]<a>"),
        ([(USER, "a"), (ASSISTANT, "b"), (USER, "c")], "<a>b;<c>"),
        ([(SYSTEM, "s"), (USER, "a"), (ASSISTANT, "b"), (USER, "c")], "[s]<a>b;<c>"),
        ([(USER, "a"), (SYSTEM, "s"), (USER, "c")], "<a>;[s]<c>"),
        ([(USER, "a"), (USER, "b")], "<a\n\nb>"),
        ([(USER, "a"), (ASSISTANT, "b"), (USER, "c"), (ASSISTANT, "d"), (USER, "e")], "<a>b;<c>d;<e>"),
    ],
)
def test_the_older_form_is_filled_once_for_each_exchange(turns: list[tuple[str, str]], written: str) -> None:
    """The last exchange ends where the answer begins: what stands behind .Response is left out."""
    assert ollama_prompt(EXCHANGE, talk(*turns)) == written


def test_a_template_without_an_answer_gets_one_at_its_end() -> None:
    """The bare prompt, Ollama's default, writes answers right behind the prompts."""
    assert ollama_prompt("{{ .Prompt }}", talk((USER, "a"), (ASSISTANT, "b"), (USER, "c"))) == "abc"


def test_the_newer_form_is_filled_once() -> None:
    """All messages are given, joined where one role speaks twice, and helpers such as slice and len are known."""
    assert ollama_prompt(MESSAGES, talk((USER, "a"), (ASSISTANT, "b"), (USER, "c"), (USER, "d"))) == "<a>b;<c\n\nd>="


def test_both_forms_in_one_template() -> None:
    """A template that has both takes the messages."""
    both = (
        "{{ if .Messages }}{{ range .Messages }}{{ .Content }}{{ end }}{{ else }}{{ .Prompt }}{{ end }}{{ .Response }}"
    )
    assert ollama_prompt(both, talk((USER, "a"))) == "a"


def test_an_answer_inside_a_condition_ends_the_template_there() -> None:
    """All that comes behind it, within the condition and after it, is left out."""
    assert ollama_prompt("<{{ .Prompt }}>{{ if true }}={{ .Response }}no{{ end }}no", talk((USER, "a"))) == "<a>="
    with pytest.raises(GoTemplateError, match="before an else"):
        ollama_prompt("{{ if .System }}{{ .Response }}{{ else }}x{{ end }}", talk((USER, "a")))


@pytest.mark.parametrize(
    "template", ["{{ .Suffix }}", "{{ json .Messages }}", "{{ .Messages }}", "{{ range .Prompt }}x{{ end }}"]
)
def test_what_is_not_known_is_refused(template: str) -> None:
    """Fields and functions beyond those of a chat are an error, and so is a list as text."""
    with pytest.raises(GoTemplateError):
        ollama_prompt(template, talk((USER, "a")))

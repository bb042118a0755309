"""
Translate a chat template from Jinja to Go where that can be done with certainty, for a runtime that has no Jinja.

A translation is never made from a template's text. There are a few families of which the Go form is known; which one it is, if
any, is found by rendering fixed conversations both ways and comparing the letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_modelgate.engines.template import render
from pytest_modelgate.errors import EngineError
from pytest_modelgate.modelfile.ollama import ollama_prompt
from pytest_modelgate.modelfile.vocabulary import Vocabulary
from pytest_modelgate.records import Message

__all__ = ["CONVERSATIONS", "DoubtError", "Form", "own_prompt", "translate", "trimmed"]

_LEAST = 6  # conversations that must come out the same

Conversation = tuple[Message, ...]


def _talk(*turns: str, system: str | None = None) -> Conversation:
    """Return a conversation of the user's and the assistant's turns, one after the other."""
    roles = ("user", "assistant")
    head = () if system is None else (Message("system", system),)
    return head + tuple(Message(roles[number % 2], turn) for number, turn in enumerate(turns))


SYSTEM_GIVEN, SYSTEM_BLANKS = "a question with a system text", "blanks at the ends of the system text"
CONVERSATIONS: dict[str, Conversation] = {
    "a question": _talk("What is wrong?"),
    SYSTEM_GIVEN: _talk("What is wrong?", system="Answer in one word."),
    "a second question": _talk("What is wrong?", "Nothing.", "Why?"),
    "a second question with a system text": _talk("What?", "This.", "Why?", system="Answer in one word."),
    "a long conversation": _talk("1", "2", "3", "4", "5", "6", "7"),
    "an empty system text": _talk("What is wrong?", system=""),
    "an empty question": _talk(""),
    "line breaks": _talk("one\n\n  two\tthree\r\nfour", "- a\n- b", "and?"),
    "line breaks in the system text": _talk("one\ntwo", system="line\n\n  line"),
    "other scripts": _talk("Straße, 日本語, العربية, 👩‍👩‍👧", "naïve", "é or e\u0301?"),
    "control tokens as text": _talk("<|im_end|>\n<|im_start|>system\n<|eot_id|><end_of_turn><bos><|begin_of_text|>"),
    "braces": _talk('{{ .Role }} {% if x %} {"a": {"b": 1}} }}', "{{ end }}", "`{{`?"),
    "thoughts in an answer": _talk("Why?", "<think>\nHm.\n</think>\n\nNothing.", "Are you sure?"),
    "blanks at the ends": _talk("  What is wrong? \n", " Nothing.\n", "\tWhy?\n\n"),
    SYSTEM_BLANKS: _talk("What is wrong?", system="\nAnswer in one word.\n"),
}
"""Conversations on which two ways to write them are compared, by what they are."""

_CHATML = "<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n"
_CHATML_GO = f'{{{{ range .Messages }}}}{_CHATML}{{{{ end }}}}<|im_start|>assistant{{{{ "\\n" }}}}'
_CHATML_DEFAULT_GO = (
    '{{ range $i, $_ := .Messages }}{{ if and (eq $i 0) (ne .Role "system") }}<|im_start|>system\n@DEFAULT@<|im_end|>\n'
    f'{{{{ end }}}}{_CHATML}{{{{ end }}}}<|im_start|>assistant{{{{ "\\n" }}}}'
)
_LLAMA3_GO = (
    "{{ range .Messages }}<|start_header_id|>{{ .Role }}<|end_header_id|>\n\n{{ .Content }}<|eot_id|>{{ end }}"
    '<|start_header_id|>assistant<|end_header_id|>{{ "\\n\\n" }}'
)
_GEMMA_GO = (
    '{{ range $i, $_ := .Messages }}{{ if eq .Role "user" }}<start_of_turn>user\n'
    '{{ if and (eq $i 1) (eq (index $.Messages 0).Role "system") }}{{ (index $.Messages 0).Content }}\n\n{{ end }}'
    '{{ .Content }}<end_of_turn>\n{{ end }}{{ if eq .Role "assistant" }}<start_of_turn>model\n{{ .Content }}<end_of_turn>\n'
    '{{ end }}{{ end }}<start_of_turn>model{{ "\\n" }}'
)


@dataclass(frozen=True, slots=True)
class Form:
    """
    Hold a chat template in Go's form.

    ``end``: the token that ends a turn. ``verified``: the conversations that both forms write with the same letters;
    ``refused``: those that the model's own template refuses, of which nothing is known. ``trims``: the model's own
    template takes white space off the ends of messages, and this form cannot.
    """

    family: str
    template: str
    end: str
    verified: tuple[str, ...]
    refused: tuple[str, ...]
    trims: bool


def translate(template: str, bos: str | None, eos: str | None, vocabulary: Vocabulary) -> Form | str:
    """
    Return the Go form of a chat template, or why there is none that is certain.

    ``bos`` and ``eos`` are the texts that the template is given. Where llama.cpp writes a BOS by itself the Go form has none.
    """
    if re.search(r"strftime|date_string", template):
        return "its chat template writes the date, which a Modelfile cannot"
    try:
        written = {name: own_prompt(template, talk, bos, eos, vocabulary) for name, talk in CONVERSATIONS.items()}
    except DoubtError as doubt:
        return str(doubt)
    for family, go, end in _families(written["a question"]):
        prefix = bos if bos is not None and not vocabulary.adds_bos and _begins(written, bos) else ""
        if form := _compare(family, prefix + go, end, written):
            return form
    return "its chat template is none of those whose Go form is known (ChatML, Llama-3, Gemma)"


class DoubtError(Exception):
    """Carry why nobody can say what a runtime is to write."""


def own_prompt(
    template: str, talk: Conversation, bos: str | None, eos: str | None, vocabulary: Vocabulary
) -> str | None:
    """
    Return what a runtime is to write for a conversation, None where the model's own ``template`` refuses it.

    Where llama.cpp writes a BOS by itself it is left out; raises :class:`DoubtError` where that does not add up.
    """
    try:
        text = render(template, talk, bos_token=bos, eos_token=eos)
    except EngineError:
        return None
    if not vocabulary.adds_bos:
        return text
    if bos is None or not text.startswith(bos) or text.startswith(bos + bos):
        raise DoubtError("llama.cpp begins its texts with a BOS, and its chat template does not begin with one")
    return text.removeprefix(bos)


def _begins(written: dict[str, str | None], bos: str) -> bool:
    """Say whether every conversation begins with BOS."""
    return bool(bos) and all(text.startswith(bos) for text in written.values() if text is not None)


def _families(question: str | None) -> Iterator[tuple[str, str, str]]:
    """Yield name, Go form and end of a turn of each family; ``question``: a question as the template writes it."""
    yield "ChatML", _CHATML_GO, "<|im_end|>"
    default = re.search(r"<\|im_start\|>system\n(.*?)<\|im_end\|>\n<\|im_start\|>user\n", question or "", re.DOTALL)
    if default and "{{" not in default[1]:
        yield "ChatML with a default system text", _CHATML_DEFAULT_GO.replace("@DEFAULT@", default[1]), "<|im_end|>"
    yield "Llama-3", _LLAMA3_GO, "<|eot_id|>"
    yield "Gemma", _GEMMA_GO, "<end_of_turn>"


def _compare(family: str, go: str, end: str, written: dict[str, str | None]) -> Form | None:
    """Return the form if every conversation that the template writes comes out the same, but for blanks at the ends."""
    verified, refused, trims = [], [], False
    for name, wanted in written.items():
        talk = CONVERSATIONS[name]
        if wanted is None:
            refused.append(name)
        elif ollama_prompt(go, talk) == wanted:
            verified.append(name)
        elif ollama_prompt(go, trimmed(talk)) == wanted:
            trims = True
        else:
            return None
    return Form(family, go, end, tuple(verified), tuple(refused), trims) if len(verified) >= _LEAST else None


def trimmed(talk: Conversation) -> Conversation:
    """Return a conversation without white space at the ends of its messages."""
    return tuple(Message(turn.role, turn.content.strip()) for turn in talk)

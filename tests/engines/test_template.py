"""Rendering chat templates: as transformers does, in bounded time, with one-line errors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import jinja2
import pytest

from pytest_modelgate.engines.template import render
from pytest_modelgate.errors import EngineError
from pytest_modelgate.records import Message

Turns: TypeAlias = Sequence[tuple[str, str]]

CHATML = """\
{%- if messages[0].role != 'system' %}
    {{- '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}
{%- endif %}
{% for message in messages %}
    {%- if loop.first and false %}{% continue %}{% endif %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content | trim + '<|im_end|>' + '\\n' }}
{% endfor %}
{% if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{% endif %}
"""
TEMPLATES = {
    "chatml": CHATML,
    "tokens": "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{{ eos_token }}{% endfor %}",
    "undefined": "{% if pad_token is defined %}P{% endif %}{% if tools %}T{% endif %}{{ documents is none }}",
    "tojson": "{{ messages | tojson }} {{ messages | tojson(indent=2) }}",
    "generation": (
        "{% set ns = namespace(n=0) %}{% for m in messages %}\n"
        "    {% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}\n"
        "    {% else %}{{ m.content }}{% endif %}{% set ns.n = ns.n + 1 %}\n{% endfor %}{{ ns.n }}"
    ),
    "macro": (
        "{% macro turn(m) %}<{{ m.role }}>{{ m.content }}{% endmacro %}"
        "{% for m in messages if m.role != 'system' recursive %}{{ turn(m) }}{% else %}none{% endfor %}"
    ),
    "loopcontrols": "{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "whitespace": "a\n  {% if true %}\n  b\n  {% endif %}\n\n c {#- comment #}\n",
}
CONVERSATIONS = {
    "user": [("user", "Hello")],
    "system": [("system", "Be brief."), ("user", "Hello")],
    "turns": [("user", "a"), ("assistant", "b"), ("user", "c")],
    "empty": [("system", ""), ("user", "")],
    "odd": [("user", " <b>\"&' é 😀 {{ x }} {% if %}\r\n\t\u2028 ")],
}


END = "<|im_end|>"
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def messages_of(turns: Turns) -> tuple[Message, ...]:
    """Make messages from pairs."""
    return tuple(Message(role, content) for role, content in turns)


def rendered(template: str, turns: Turns = CONVERSATIONS["user"], **options: Any) -> str:
    """Render with an end-of-turn token alone."""
    return render(template, messages_of(turns), bos_token=None, eos_token=END, **options)


@pytest.mark.parametrize("turns", CONVERSATIONS.values(), ids=CONVERSATIONS)
@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_same_as_transformers(template: str, turns: Turns) -> None:
    """The rendered text equals transformers' byte for byte."""
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    conversation = [{"role": role, "content": content} for role, content in turns]
    (expected,), _ = utils.render_jinja_template(
        [conversation], chat_template=template, add_generation_prompt=True, **TOKENS
    )
    assert expected == render(
        template, messages_of(turns), bos_token=TOKENS["bos_token"], eos_token=TOKENS["eos_token"]
    )


NAMESPACES = {
    "kept": "{% set ns = namespace({'a': 1}, self=2, b=3) %}{% set ns.c = 4 %}{{ ns.a }}{{ ns.self }}{{ ns.b }}{{ ns.c }}",
    "made": "{% set ns = namespace(_a=1) %}{{ ns._a }}",
    "set": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}x",
}


@pytest.mark.parametrize("template", NAMESPACES.values(), ids=NAMESPACES)
def test_namespaces_hold_what_they_hold_in_transformers(template: str) -> None:
    """What transformers lets a template keep in a namespace is kept, and what it refuses is refused."""
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    conversation = [{"role": "user", "content": "Hello"}]
    try:
        (expected,), _ = utils.render_jinja_template([conversation], chat_template=template)
    except jinja2.TemplateError:
        with pytest.raises(EngineError, match="refused the messages: a namespace holds no attribute '_"):
            rendered(template)
    else:
        assert rendered(template) == expected


def test_no_messages() -> None:
    """Of no messages nothing is rendered, whatever the template."""
    with pytest.raises(EngineError, match="a conversation has at least one message"):
        rendered("always the same", [])


def test_absent_token_is_undefined() -> None:
    """A token that the model does not have is undefined, as in transformers."""
    assert rendered("{{ 'bos' if bos_token is defined else 'no' }}|{{ eos_token }}") == "no|<|im_end|>"


def test_without_generation_prompt() -> None:
    """The generation prompt can be left out."""
    assert rendered("{{ add_generation_prompt }}", add_generation_prompt=False) == "False"


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% continue %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    ],
    ids=["silent", "writing", "continue", "macros"],
)
def test_endless_template_is_stopped(template: str) -> None:
    """Loops and macros that would run for hours end at the time limit."""
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"the chat template was stopped: it is not done after 0.2 s"):
        rendered(template, timeout_s=0.2)
    assert time.monotonic() - started < 2


def test_huge_output_is_stopped() -> None:
    """The output's size is bounded."""
    with pytest.raises(EngineError, match="writes more than 8000000 characters"):
        rendered("{% for a in range(9000) %}{{ 'a' * 10000 }}{% endfor %}")


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("{% if %}", "is wrong at line 1: "),
        ("{{ raise_exception('roles must\nalternate') }}", "refused the messages: roles must alternate"),
        ("{{ messages[0].content + 1 }}", "failed: TypeError: "),
        ("{{ nothing.at_all }}", "refused the messages: 'nothing' is undefined"),
        ("{{ ''.__class__.__mro__ }}", "refused the messages: access to attribute '__class__'"),
        ("{% include 'x' %}", "failed: TypeError: no loader"),
        ("{{ range(999999999) | list }}", "failed: OverflowError: "),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "failed: RecursionError: "),
    ],
)
def test_errors_are_one_line(template: str, part: str) -> None:
    """What goes wrong in a template is an EngineError of one line."""
    with pytest.raises(EngineError) as caught:
        rendered(template)
    assert str(caught.value).startswith("the chat template " + part)
    assert "\n" not in str(caught.value)

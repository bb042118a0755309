"""
Render chat templates as transformers does, in a sandbox and in bounded time.

A template comes with a model, so it is foreign code: every loop and macro checks a deadline, and the output's size
is bounded. A single huge expression (``"a" * 10 ** 12``) is not; only the engine's watchdog ends that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
import jinja2.utils
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pytest_modelgate.errors import EngineError
from pytest_modelgate.records import Message

MAX_CHARS = 8_000_000
"""Length of a rendered prompt beyond which rendering is given up: far more than any context holds."""

_deadline: ContextVar[float] = ContextVar("_deadline")


class _OutOfBoundsError(Exception):
    """Report a template that takes too long or writes too much."""


def render(
    template: str,
    messages: Sequence[Message],
    *,
    bos_token: str | None,
    eos_token: str | None,
    add_generation_prompt: bool = True,
    timeout_s: float = 2.0,
) -> str:
    """
    Render ``messages`` with a chat template.

    A token that is None is undefined in the template, as with transformers. Raises
    :class:`~pytest_modelgate.errors.EngineError`, one line, for a template that is wrong, refuses the messages, or is
    not done within ``timeout_s`` seconds, and for no messages at all, of which transformers makes nothing either.
    """
    if not messages:
        raise EngineError("the chat template has nothing to render: a conversation has at least one message")
    tokens = {"bos_token": bos_token, "eos_token": eos_token}
    token = _deadline.set(time.monotonic() + timeout_s)
    try:
        chunks = _compile(template).generate(
            messages=[{"role": message.role, "content": message.content} for message in messages],
            tools=None,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **{name: text for name, text in tokens.items() if text is not None},
        )
        parts: list[str] = []
        n_chars = 0
        for chunk in chunks:
            _check_deadline()
            parts.append(chunk)
            n_chars += len(chunk)
            if n_chars > MAX_CHARS:
                raise _OutOfBoundsError(f"it writes more than {MAX_CHARS} characters")
    except _OutOfBoundsError as error:
        limit = str(error) or f"it is not done after {timeout_s:g} s"
        raise EngineError(f"the chat template was stopped: {limit}") from None
    except jinja2.TemplateSyntaxError as error:
        raise EngineError(f"the chat template is wrong at line {error.lineno}: {_one_line(error)}") from error
    except jinja2.TemplateError as error:
        raise EngineError(f"the chat template refused the messages: {_one_line(error)}") from error
    except Exception as error:  # a template's expressions can raise anything
        raise EngineError(f"the chat template failed: {type(error).__name__}: {_one_line(error)}") from error
    finally:
        _deadline.reset(token)
    return "".join(parts)


def _one_line(error: Exception) -> str:
    """Return an error's text on one line."""
    return " ".join(str(error).split())


def _check_deadline() -> None:
    """Raise when the time is up; called by every turn of a loop and every call of a macro."""
    if time.monotonic() > _deadline.get():
        raise _OutOfBoundsError


class _Generation(jinja2.ext.Extension):
    """Know ``{% generation %}``, which marks what an assistant wrote and changes nothing here."""

    tags = {"generation"}  # noqa: RUF012  # jinja's own declaration

    def parse(self, parser: Parser) -> nodes.Node:
        """Make the block's body the body of a call, as transformers does, so that scopes are the same."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_write"), [], [], body).set_lineno(line)

    @staticmethod
    def _write(caller: Callable[[], str]) -> str:
        return caller()


class _Namespace(jinja2.utils.Namespace):
    """Refuse attributes that begin with an underscore, as transformers does."""

    def __init__(*args: Any, **values: Any) -> None:  # a template may name an attribute "self"
        self, *given = args
        attributes = dict(*given, **values)
        for name in attributes:
            _refuse_underscore(name)
        jinja2.utils.Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscore(name)
        super().__setitem__(name, value)


def _refuse_underscore(name: object) -> None:
    """Raise for a name that could reach into Python itself."""
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace holds no attribute {name!r}: it begins with an underscore")


@lru_cache(maxsize=8)
def _compile(template: str) -> jinja2.Template:
    """Compile a template with transformers' settings and with a check in every body that can run more than once."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    environment.globals["namespace"] = _Namespace
    environment.extend(check_deadline=_check_deadline)
    tree = environment.parse(template)
    for node in tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
        check = nodes.Call(nodes.EnvironmentAttribute("check_deadline"), [], [], None, None)
        node.body.insert(0, nodes.ExprStmt(check).set_lineno(node.lineno))  # type: ignore[attr-defined]  # all three have
    return environment.from_string(tree)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Write JSON; jinja's own filter escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    """Let a template refuse its messages."""
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    """Return the local time, as transformers does."""
    return datetime.now().strftime(form)  # noqa: DTZ005  # local time is what templates are given everywhere

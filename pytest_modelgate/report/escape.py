"""Make text that a model wrote harmless wherever it is shown."""

from __future__ import annotations

import html
import re
import unicodedata

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Runners of CI systems act on these wherever they stand in a line (GitHub's ::name:: and ##[name], Azure's ##vso[).
_CI_COMMANDS = re.compile(r"::(?=[A-Za-z])|##(?=\[|vso)")
_MARKDOWN = re.compile(r"[\\`*_{}\[\]()#+\-.!|~>@:/]")


def plain(text: str, limit: int | None = None) -> str:
    """
    Return ``text`` as one inert line, at most ``limit`` characters of it.

    Control and formatting characters (ANSI sequences, bidirectional overrides, zero-width characters), lone surrogates
    and line ends become visible escapes; CI commands are broken up.
    """
    cut = len(text) if limit is None else limit
    shown = "".join(_NAMED.get(character) or _visible(character) for character in text[:cut])
    shown = _CI_COMMANDS.sub(lambda match: f"{match[0][0]}\\{match[0][1]}", shown)
    return shown if len(text) <= cut else f"{shown}… (+{len(text) - cut} characters)"


def markdown(text: str, limit: int | None = None) -> str:
    """Return ``text`` as one inert line for Markdown and HTML: nothing in it is markup."""
    escaped = html.escape(plain(text, limit))
    # html.escape wrote entities such as &amp;, whose characters (& ; letters #digits) must survive this step.
    return re.sub(
        r"&(?:#x?[0-9a-f]+|[a-z]+);|" + _MARKDOWN.pattern,
        lambda match: match[0] if match[0].startswith("&") else f"&#{ord(match[0])};",
        escaped,
    )


def _visible(character: str) -> str:
    """Return a character, or its escape where it would not be seen as itself."""
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        # What Python itself would write: \\x1b, \\u202e, \\U000e0041.
        return character.encode("unicode_escape").decode("ascii")
    return character

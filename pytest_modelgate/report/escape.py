"""Make text that a model wrote harmless wherever it is shown."""

from __future__ import annotations

import re
import unicodedata

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Runners of CI systems act on these wherever they stand in a line (GitHub's ::name:: and ##[name], Azure's ##vso[).
_CI_COMMANDS = re.compile(r"::(?=[A-Za-z])|##(?=\[|vso)")

# What GitHub makes something of after Markdown is done, where no backslash helps, but never inside a code span:
# addresses, mentions, references to issues, emoji, formulas.
_LIVE = re.compile(r"://|www\.|mailto:|xmpp:|@|#\d|\bgh-\d|:[\w+-]+:|\$", re.IGNORECASE)
# What is markup wherever it stands in a line: code, emphasis, strikethrough, columns, tags, entities, links, and an
# underscore that is not inside a word.
_MARKUP = re.compile(r"[\\`*~|]|<(?=[A-Za-z/!?])|&(?=#|\w)|\](?=[(\[])|(?<![^\W_])_|_(?![^\W_])")
# What is markup at the beginning of a block: numbered lists; headings, quotes, lists, rules, definitions of links.
_BLOCK = re.compile(r"\d{1,9}(?=[.)](?: |$))|(?=#{1,6}(?: |$)|>|[-+](?: |$)|[-=:][- =:]*$|\[)")


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
    """
    Return ``text`` as one inert line of prose for GitHub's Markdown, also inside a table.

    Only what is markup is escaped; a word that would become a link, a mention or an emoji is shown as code.
    """
    shown = plain(text, limit).strip()
    parts = re.split(r"([ |]+)", shown)
    prose = "".join(code(part) if _LIVE.search(part) else _MARKUP.sub(_escape, part) for part in parts)
    # What was escaped above begins with a backslash or an ampersand, and is no beginning of a block any more.
    return _BLOCK.sub(lambda match: f"{match[0]}\\", prose, count=1) if _BLOCK.match(prose) else prose


def code(text: str, limit: int | None = None, *, cell: bool = False) -> str:
    """
    Return ``text`` as one inert line in a code span, in which Markdown takes nothing for markup; empty for no text.

    ``cell``: it stands in a table, where a column's mark counts even in code.
    """
    shown = plain(text, limit)
    if not shown:
        return ""
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    # Markdown takes one space off each end if there is one at both, and more than spaces between; a backtick at an end
    # would lengthen the fence.
    is_bare = "`" not in {shown[0], shown[-1]} and not (shown[0] == shown[-1] == " " and shown.strip(" "))
    shown = shown.replace("|", "\\|") if cell else shown
    return f"{fence}{shown}{fence}" if is_bare else f"{fence} {shown} {fence}"


def _escape(match: re.Match[str]) -> str:
    return {"<": "&lt;", "&": "&amp;"}.get(match[0], f"\\{match[0]}")


def _visible(character: str) -> str:
    """Return a character, or its escape where it would not be seen as itself."""
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        # What Python itself would write: \\x1b, \\u202e, \\U000e0041.
        return character.encode("unicode_escape").decode("ascii")
    return character

"""Split a text into its titled sections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ITEM = re.compile(r"^[ \t]*(?:[-*\u2022]|\d{1,3}[.)])[ \t]+(\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Section:
    """Hold one section: its title as declared, its text without white space around it, and where that stands."""

    title: str
    text: str
    start: int

    @property
    def items(self) -> list[str]:
        """Return the list items of the text, without their marks."""
        return [item.strip() for item in _ITEM.findall(self.text)]

    @property
    def is_list(self) -> bool:
        """Say whether the text is a list: it begins with an item; lines between items belong to the one before."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        return bool(lines) and _ITEM.match(lines[0]) is not None


def heading(titles: Sequence[str]) -> re.Pattern[str]:
    """
    Return the pattern of a heading: a title at the beginning of a line, with a colon or alone on it.

    Markdown around it (``## Fix``, ``**Fix:**``) is allowed; case does not matter.
    """
    named = "|".join(re.escape(title) for title in sorted(titles, key=len, reverse=True))
    return re.compile(
        rf"^[ \t]*(?:#{{1,6}}[ \t]+)?(?:\*\*|__)?(?P<title>{named})(?:\*\*|__)?[ \t]*(?::[ \t]*(?:\*\*|__)?|$)",
        re.MULTILINE | re.IGNORECASE,
    )


def split_sections(text: str, pattern: re.Pattern[str], titles: Sequence[str]) -> tuple[str, list[Section]]:
    """Return the text before the first heading, and the sections in the order in which they stand."""
    declared = {title.casefold(): title for title in titles}
    found = list(pattern.finditer(text))
    if not found:
        return text.strip(), []
    ends = [match.start() for match in found[1:]] + [len(text)]
    sections = []
    for match, end in zip(found, ends, strict=True):
        body = text[match.end() : end]
        start = match.end() + len(body) - len(body.lstrip())
        title = declared.get(match["title"].casefold()) or _declared(match["title"], titles)
        sections.append(Section(title, body.strip(), start))
    return text[: found[0].start()].strip(), sections


def _declared(written: str, titles: Sequence[str]) -> str:
    """Return the title that ``written`` matches where case folding tells them apart: a dotless i is an i to a regex."""
    return next(title for title in titles if re.fullmatch(re.escape(title), written, re.IGNORECASE))

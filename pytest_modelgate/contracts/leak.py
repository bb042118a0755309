"""Find outputs that give away their instructions, or the template's own tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator

_WORDS = 12
_MARKS = re.compile(
    r"<\|[A-Za-z0-9_]{1,40}\|>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|<\uff5c[^\uff5c>]{1,40}\uff5c>"
)
_WORD = re.compile(r"\w+")


class LeakFinder:
    """Find runs of twelve words of the instructions, and special tokens of chat templates."""

    def __init__(self, instructions: str) -> None:
        # What the instructions quote is there to be said.
        instructions = re.sub(r'"[^"\n]{1,400}"|\u201c[^\u201d\n]{1,400}\u201d', " ", instructions)
        self._runs = set(_runs(instructions))

    def find(self, text: str, allowed: str) -> str | None:
        """Say what leaks into ``text``, or return None; what stands in ``allowed`` (input, right answer) may."""
        for mark in _MARKS.finditer(text):
            if mark[0] not in allowed:
                return f"the output holds {mark[0]!r}, a token of a chat template"
        found = self._runs and self._runs.intersection(_runs(text))
        if found and (found := found.difference(_runs(allowed))):
            return f"the output repeats its instructions: {' '.join(min(found))!r}"
        return None


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    """Yield every run of twelve words, without case."""
    words = [word.casefold() for word in _WORD.findall(text)]
    return (tuple(words[start : start + _WORDS]) for start in range(len(words) - _WORDS + 1))

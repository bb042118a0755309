"""Hold where a text says something that is to be masked, and put placeholders there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

_LOOK_BACK = 48  # letters before a number in which its name is looked for


class Span(NamedTuple):
    """Hold a part of a text, from ``start`` to before ``end``, and the kind of what stands there."""

    start: int
    end: int
    kind: str


def joined(spans: Iterable[Span]) -> list[Span]:
    """
    Return the spans in order, those that overlap as one, so that no end of a secret is left standing.

    A joined span has the kind of its longest part, of the first that was given among equals.
    """
    found: list[Span] = []
    longest = 0
    for span in sorted(spans, key=lambda span: span.start):
        length = span.end - span.start
        if not found or span.start >= found[-1].end:
            found.append(span)
            longest = length
            continue
        last = found[-1]
        found[-1] = Span(last.start, max(last.end, span.end), span.kind if length > longest else last.kind)
        longest = max(longest, length)
    return found


def replaced(text: str, spans: Iterable[Span], placeholder: Callable[[Span, str], str]) -> str:
    """Return ``text`` with each span, which must be joined, replaced by what ``placeholder`` makes of it and its text."""
    parts, end = [], 0
    for span in spans:
        parts += [text[end : span.start], placeholder(span, text[span.start : span.end])]
        end = span.end
    return "".join([*parts, text[end:]])


def called(name: re.Pattern[str], text: str, start: int) -> bool:
    """Say whether the text before ``start`` ends in a name of what stands there."""
    return name.search(text, max(0, start - _LOOK_BACK), start) is not None

"""Compare two texts by their words."""

from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"[^\W_]+(?:[.:'\u2019-][^\W_]+)*")


def normalised(text: str) -> str:
    """Return the words of ``text`` without case, punctuation and white space between them."""
    return " ".join(word.casefold() for word in _WORD.findall(text))


def word_f1(text: str, reference: str) -> float:
    """Return F1 over the words of two texts, each as often as it occurs; 1 for two texts without words."""
    ours, theirs = Counter(normalised(text).split()), Counter(normalised(reference).split())
    shared = sum((ours & theirs).values())
    whole = sum(ours.values()) + sum(theirs.values())
    return 2 * shared / whole if whole else 1.0

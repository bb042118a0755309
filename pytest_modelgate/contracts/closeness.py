"""Compare two texts by their words."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

_JOINERS = "'\u2019.:-"


def normalised(text: str) -> str:
    """
    Return the words of ``text`` without case, punctuation and white space between them.

    Letters with their marks, digits and symbols belong to words (``€5``, ``<``, an emoji), and so does a sign before a
    digit and what joins two characters of a word (``3.5``, ``re-run``).
    """
    return " ".join(_words(unicodedata.normalize("NFKC", text[:_LONGEST]).casefold()))


_LONGEST = 200_000


def word_f1(text: str, reference: str) -> float:
    """Return F1 over the words of two texts, each as often as it occurs; texts without words must be equal."""
    ours, theirs = Counter(normalised(text).split()), Counter(normalised(reference).split())
    shared = sum((ours & theirs).values())
    whole = sum(ours.values()) + sum(theirs.values())
    return 2 * shared / whole if whole else float(text.strip() == reference.strip())


def same_words(text: str, reference: str) -> bool:
    """Say whether two texts are equal but for case, punctuation and white space; without words, as they stand."""
    ours, theirs = normalised(text), normalised(reference)
    return ours == theirs if ours and theirs else text.strip() == reference.strip()


def _words(text: str) -> Iterator[str]:
    """Yield the words of a text, in order."""
    word = ""
    for place, character in enumerate(text):
        following = text[place + 1 : place + 2]
        if unicodedata.category(character)[0] in "LNMS" or (
            character in _JOINERS
            and following.isalnum()
            and (word[-1:].isalnum() or (character == "-" and following.isdigit()))
        ):
            word += character
        elif word:
            yield word
            word = ""
    if word:
        yield word

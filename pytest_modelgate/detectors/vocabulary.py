"""Write long lists of words and phrases down as text."""

from __future__ import annotations

import re


def vocabulary(text: str) -> frozenset[str]:
    """Return the words of ``text``, parted by white space."""
    return frozenset(text.split())


def phrases(text: str) -> re.Pattern[str]:
    """
    Return the pattern that matches any line of ``text``, in any case.

    A line is a pattern of its own, in which a space is a space: sentences hold no other white space. A line that begins
    and ends with a letter or a group stands for whole words.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    bare = [line for line in lines if line[0] in "^,;[" or line.startswith(r"\W")]
    whole = [line for line in lines if line not in bare]
    parts = [rf"\b(?:{'|'.join(whole)})(?!\w)"] if whole else []
    return re.compile("|".join(parts + bare), re.IGNORECASE)

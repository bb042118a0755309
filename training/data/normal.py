"""Bring a text into the form in which texts are compared."""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = str.maketrans("", "", "'\u2019")


def normalise(text: str) -> str:
    """Return ``text`` without what does not change its meaning: case, punctuation, white space, Unicode forms."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = " ".join(_WORD.findall(plain.translate(_APOSTROPHES)))
    return words or " ".join(plain.split())

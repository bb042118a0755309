"""
Alter inputs in ways that leave their labels as they are.

A few thousand rows are few for a model without a past: altered copies keep it from learning rows by heart, and show it
what customers really type.
"""

from __future__ import annotations

import random
import re

from ..config import Augment

_GREETINGS = (
    "Hi,", "Hello,", "Hi there,", "Hello team,", "Hey,", "Good morning,", "Dear support,", "Dear team,",
    "Good afternoon,", "hi", "hello", "Hi all -", "Hey guys,", "To whom it may concern,", "Quick one:",
)  # fmt: skip
_CLOSINGS = (
    "Regards", "Best regards,", "Kind regards", "Best,", "Cheers", "Sent from my phone", "BR", "Let me know.",
    "Sincerely,", "Yours,", "- A customer", "Thx",
)  # fmt: skip
_NOISE = (
    "<p>", "</p>", "<br>", "&nbsp;", "{}", "[]", '{"a": 1}', "```", "---", "####", "****", "http://a.example/x?id=12",
    "ID 48213", "#1029", "v2.3.1", "0x1F", "\u00e9\u00e8\u00fc", "\u4f60\u597d", "\u0441\u043f\u0430\u0441\u0438\u0431\u043e",
    "\U0001f600", "\U0001f621\U0001f621", "\U0001f44d", "\u2705", "\u2026", "\u2014", "\u201c\u201d", "SELECT * FROM x;",
    "lorem ipsum", "\\n\\n", "|", "~~", "%%", "$$", "FWD:", "RE: RE:", "[EXTERNAL]", "null", "undefined",
)  # fmt: skip


def alter(text: str, how: Augment, rng: random.Random) -> str:
    """Return ``text`` as somebody else might have typed it."""
    if how.drop_words and rng.random() < 0.5:  # noqa: PLR2004 (half of the rows keep all their words)
        text = _drop_words(text, how.drop_words, rng)
    if rng.random() < how.typos:
        text = _mistype(text, rng)
    if rng.random() < how.punctuation:
        text = _repunctuate(text, rng)
    if rng.random() < how.case:
        text = rng.choice((str.lower, str.lower, str.upper, _lower_first))(text)
    if rng.random() < how.greeting:
        text = f"{rng.choice(_GREETINGS)} {text}" if rng.random() < 0.5 else f"{text} {rng.choice(_CLOSINGS)}"  # noqa: PLR2004 (one of two)
    if rng.random() < how.noise:
        text = _surround(text, rng)
    if rng.random() < how.repeat:
        text = rng.choice((" ", "\n", "\n\n")).join([text] * rng.randint(2, 6))
    if rng.random() < how.space:
        text = _respace(text, rng)
    return text


def _drop_words(text: str, share: float, rng: random.Random) -> str:
    """Leave words out, never all of them."""
    words = text.split(" ")
    kept = [word for word in words if rng.random() >= share]
    return " ".join(kept) if len(kept) * 2 >= len(words) else text


def _mistype(text: str, rng: random.Random) -> str:
    """Make one mistake in about every twenty letters."""
    letters = list(text)
    for _ in range(max(1, len(letters) // 20)):
        at = rng.randrange(len(letters))
        if not letters[at].isalpha():
            continue
        kind = rng.randrange(3)
        if kind == 0 and at + 1 < len(letters):
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        elif kind == 1:
            letters[at] = ""
        else:
            letters[at] *= 2
        letters = [letter for letter in letters if letter] or list(text)
    return "".join(letters)


def _repunctuate(text: str, rng: random.Random) -> str:
    """Take marks out, or repeat the last one."""
    kind = rng.randrange(3)
    if kind == 0:
        return re.sub(r"[.,;:!?'\u2019-]", "", text)
    if kind == 1:
        return text.rstrip(".!?")
    return text + (text[-1] if text[-1] in "?." else rng.choice((".", " .", "..")))


def _surround(text: str, rng: random.Random) -> str:
    """Put something that does not belong to it before, after or inside a message."""
    words = text.split(" ")
    for _ in range(rng.randint(1, 3)):
        words.insert(rng.randint(0, len(words)), rng.choice(_NOISE))
    return " ".join(words)


def _respace(text: str, rng: random.Random) -> str:
    """Add blanks and line breaks."""
    blank = rng.choice(("  ", "\n", "\t", "   ", "\n\n"))
    words = text.split(" ")
    if len(words) > 1:
        at = rng.randrange(1, len(words))
        text = f"{' '.join(words[:at])}{blank}{' '.join(words[at:])}"
    return rng.choice((text, f" {text}", f"{text}\n", f"\n{text}  "))


def _lower_first(text: str) -> str:
    """Begin with a small letter."""
    return text[:1].lower() + text[1:]

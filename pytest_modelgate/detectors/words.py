"""Take words out of a text and bring their forms together, as far as comparing texts needs it."""

from __future__ import annotations

import re
from functools import lru_cache

from pytest_modelgate.detectors.everyday import EVERYDAY

_TYPOGRAPHY = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u00a0": " ",
        "\u202f": " ",
        "\u2009": " ",
        "\u2010": "-",
        "\u2011": "-",
        "\u2012": "-",
    }
)
WORD = re.compile(r"[^\W_]++(?:'[^\W_]++)?")
"""One word; hyphens, underscores, dots and slashes stand between words."""

_IRREGULAR = {
    form: base
    for base, forms in {
        "begin": "began begun",
        "break": "broke broken breakage",
        "bring": "brought",
        "build": "built",
        "catch": "caught",
        "clear": "clearance",
        "close": "closure",
        "come": "came",
        "drain": "drainage",
        "drive": "drove driven",
        "expire": "expiry expiration",
        "fail": "failure",
        "fall": "fell fallen",
        "feed": "fed",
        "find": "found",
        "freeze": "froze frozen",
        "fill": "full",
        "get": "got gotten",
        "give": "gave given",
        "go": "went gone",
        "grow": "grew grown growth",
        "hold": "held",
        "issue": "issuance",
        "keep": "kept",
        "know": "knew known",
        "leave": "left",
        "lose": "lost loss",
        "make": "made",
        "open": "opening",
        "order": "order",
        "recover": "recovery",
        "remove": "removal",
        "renew": "renewal",
        "rise": "rose risen",
        "run": "ran",
        "see": "saw seen",
        "send": "sent",
        "shrink": "shrank shrunk",
        "sink": "sank sunk",
        "speak": "spoke spoken",
        "spill": "spilt spillage",
        "stand": "stood",
        "steal": "stole stolen",
        "stick": "stuck",
        "switch": "switchover",
        "take": "took taken",
        "tell": "told",
        "throw": "threw thrown",
        "write": "wrote written",
    }.items()
    for form in forms.split()
}
_MIN_STEM = 3
# Endings of stems, which have lost their last "e".
_BRITISH = {"logu": "log", "lour": "lor", "bour": "bor", "viour": "vior", "vour": "vor", "ntr": "nter", "fibr": "fiber"}
_BRITISH |= {"isat": "iz", "izat": "iz", "nis": "niz", "lis": "liz", "mis": "miz", "ris": "riz", "defenc": "defens"}


def plain(text: str) -> str:
    """Return ``text`` with typographic quotes, hyphens and spaces written as on a keyboard, character by character."""
    return text.translate(_TYPOGRAPHY)


def words(text: str) -> list[str]:
    """Return the words of ``text``, in lower case."""
    return WORD.findall(plain(text).lower())


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """
    Return what ``word`` shares with its other forms: plurals, tenses, and nouns made of verbs.

    Light on purpose: ``deployed``, ``deploys`` and ``deployment`` meet, ``serve`` and ``server`` do not. The result
    need not be a word.
    """
    word = word.removesuffix("'s").removesuffix("'")
    word = _IRREGULAR.get(word, word)
    if word.endswith("ies") and len(word) > _MIN_STEM + 1:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "xes", "ches", "shes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > _MIN_STEM:
        word = word[:-1]
    word = _IRREGULAR.get(word, word)
    for ending in ("ing", "ed", "ment", "ion", "ly"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= _MIN_STEM + (ending == "ly") and (ending != "ion" or rest[-1] in "ts"):
            word = rest
            break
    if word.endswith("i") and len(word) > _MIN_STEM:
        word = word[:-1] + "y"
    if len(word) > _MIN_STEM:
        word = word.removesuffix("e")
    # Doubled for the ending, or by nature: "stopped", "add"; British writers double more of them.
    if len(word) >= _MIN_STEM and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    return _american(word)


def _american(word: str) -> str:
    """Return a stem in American spelling: centre, colour, catalogue, organise."""
    for british, american in _BRITISH.items():
        rest = word.removesuffix(british)
        if rest != word and len(rest) > 1:
            return rest + american
    return word


_EVERYDAY_STEMS = frozenset(stem(word) for word in EVERYDAY)


def content(text: str) -> list[str]:
    """Return the stems of the words of ``text`` that say what it is about: no everyday words, no bare numbers."""
    found = (stem(word) for word in words(text) if not word.isdigit())
    return [word for word in found if len(word) > 1 and word not in _EVERYDAY_STEMS]

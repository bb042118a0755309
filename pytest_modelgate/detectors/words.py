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
    for base, _, forms in (
        line.strip().partition(":")
        for line in """
        bear:bore borne, beat:beaten, become:became, begin:began begun, bend:bent, bind:bound, bite:bit bitten, blow:blew blown,
        break:broke broken breakage, breed:bred, bring:brought, build:built, burn:burnt, buy:bought, catch:caught,
        choose:chose chosen, clear:clearance, cling:clung, close:closure, come:came, creep:crept, deal:dealt, dig:dug,
        drain:drainage, draw:drew drawn, drive:drove driven, eat:ate eaten, expire:expiry expiration, fail:failure,
        fall:fell fallen, feed:fed, feel:felt, fight:fought, fill:full, find:found, flee:fled, fly:flew flown,
        forget:forgot forgotten, freeze:froze frozen, get:got gotten, give:gave given, go:went gone, grow:grew grown growth,
        hang:hung, hear:heard, hide:hid hidden, hold:held, issue:issuance, keep:kept, know:knew known, lay:laid, lead:led,
        leave:left, lend:lent, lose:lost loss, make:made, mean:meant, meet:met, open:opening, pay:paid, recover:recovery,
        remove:removal, renew:renewal, ring:rang rung, rise:rose risen, run:ran, say:said, see:saw seen, seek:sought, sell:sold,
        send:sent, shake:shook shaken, shoot:shot, shrink:shrank shrunk, sink:sank sunk, sit:sat, sleep:slept, slide:slid,
        speak:spoke spoken, spend:spent, spill:spilt spillage, spin:spun, spring:sprang sprung, stand:stood, steal:stole stolen,
        stick:stuck, strike:struck, sweep:swept, swing:swung, switch:switchover, take:took taken, teach:taught, tear:tore torn,
        tell:told, think:thought, throw:threw thrown, undo:undid undone, wake:woke woken, wear:wore worn, win:won, wind:wound,
        withdraw:withdrew withdrawn, write:wrote written
        """.replace("\n", " ").split(", ")
    )
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
    found = (word for word in words(text) if not word.isdigit() and word not in EVERYDAY)
    # "hearing" and "opening" are nouns of their own, whatever "hear" and "open" are.
    kept = (stem(word) for word in found if word.endswith("ing") or stem(word) not in _EVERYDAY_STEMS)
    return [word for word in kept if len(word) > 1]

"""Bring a text into the form in which texts are compared."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHES = str.maketrans("", "", "'\u2019")
# Han, kana and what else is written without blanks between words: each letter of it is a word of its own.
_IDEOGRAPHS = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_TOKEN = re.compile(rf"[{_IDEOGRAPHS}]|[^\s{_IDEOGRAPHS}]+")
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_SENTENCE_END = re.compile(r"[!?\u2026\u3002\uff01\uff1f]+|\.+(?=\s|$)")
_MARK = re.compile(
    r"[!?\u2026\u3002\uff01\uff1f:;|<>\"()\u201c\u201d\u201e\u2013\u2014\uff1a\uff1b\t\n]+|\.+(?=\s|$)|\s-+\s"
)
_FILLERS = "\u115f\u1160\u3164\uffa0"  # letters of Hangul that nobody sees
_COMBINING = (
    (0x300, 0x36F),
    (0x1AB0, 0x1AFF),
    (0x1DC0, 0x1DFF),
    (0x20D0, 0x20FF),
    (0xFE00, 0xFE2F),
    (0xE0100, 0xE01EF),
)
# Small letters of Cyrillic, Greek, Armenian and phonetic writing beside the Latin ones that they, or their capitals, pass for.
_ALIKE = (
    ("\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455", "abekmhopctyxijs"),
    ("\u04bb\u051b\u051d\u0501\u04cf\u04af\u0475\u044c\u0433", "hqwdlyvbr"),
    ("\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03c9", "abezniKuvoptuxw"),
    ("\u0585\u057d\u0578\u0570\u0563\u0566", "ounhqq"),
    ("\u0131\u0251\u0261\u0269\u028b\u0142\u0111\u00f8\u0127\u0268\u01c0", "iagivldohil"),
)


class _Folding(dict[int, str | None]):
    """Map code points to what is compared: look-alikes to Latin letters, what is not seen to nothing."""

    def __missing__(self, code: int) -> str | None:
        letter = chr(code)
        hidden = unicodedata.category(letter) == "Cf" or letter in _FILLERS
        hidden = hidden or any(first <= code <= last for first, last in _COMBINING)
        self[code] = None if hidden else letter
        return self[code]


_FOLDING = _Folding(
    {ord(one): other.casefold() for letters, latin in _ALIKE for one, other in zip(letters, latin, strict=True)}
)


def normalise(text: str) -> str:
    """Return ``text`` without what does not change its meaning: case, punctuation, white space, Unicode forms."""
    return _words(unicodedata.normalize("NFKC", text).casefold())


def fold(text: str) -> str:
    """
    Return ``text`` normalised, and without what is done to letters to hide them.

    Letters that are not seen and marks above and below letters are left out, and letters of other writings that pass
    for Latin ones become them; so do HTML's names of letters. What comes out is to be compared, not to be read.
    """
    if "&" in text:
        text = html.unescape(text)
    if text.isascii():
        return _words(text.lower())
    seen = unicodedata.normalize("NFKD", text).casefold().translate(_FOLDING)
    return _words(unicodedata.normalize("NFC", seen))


def squeeze(folded: str) -> str:
    """Return a folded text without its blanks."""
    return folded.replace(" ", "")


def tokens(folded: str) -> list[str]:
    """Return the words of a folded text; of writing without blanks each letter."""
    return folded.split() if folded.isascii() else _TOKEN.findall(folded)


def ideographs(folded: str) -> int:
    """Return how many letters of a text are of writing without blanks: about two of them make a word."""
    return 0 if folded.isascii() else len(_IDEOGRAPH.findall(folded))


def parts(text: str) -> Iterator[str]:
    """Yield the sentences of a text (a line's end ends none), its lines, and what stands between stronger marks."""
    yield from _SENTENCE_END.split(text)
    if "\n" in text:
        yield from text.split("\n")
    yield from _MARK.split(text)


def _words(plain: str) -> str:
    """Return the words of a text alone, or where there are none its other signs."""
    return " ".join(_WORD.findall(plain.translate(_APOSTROPHES))) or " ".join(plain.split())

"""Find outputs that run in circles."""

from __future__ import annotations

import zlib

_TAIL = 2000
_TIMES = 4
_LEAST = 40
_MANY_TIMES = 20
_MUCH = 200
_LONG = 400
_RATIO = 0.1


def find_loop(text: str, reference: str | None = None, *, was_cut: bool = False) -> str | None:
    """
    Say how ``text`` repeats itself, or return None.

    A loop is an end that is one piece, with a letter or digit in it, at least twenty times over and of 200 characters or
    more: tables and lists repeat less. Of an answer that had to be cut off (``was_cut``), four times and 40 characters
    are enough, and so is a text of 400 characters or more that compresses to a tenth. ``reference``: a right answer;
    what repeats in it may repeat in the output.
    """
    if len(text) < _LEAST:
        return None
    found = _loop(text, was_cut=was_cut)
    excused = reference is not None and _loop(reference, was_cut=True) is not None
    return None if excused else found


def _loop(text: str, *, was_cut: bool) -> str | None:
    tail = text.rstrip()[-_TAIL:]
    period, length = _period_of_end(tail)
    times, least = (_TIMES, _LEAST) if was_cut else (_MANY_TIMES, _MUCH)
    if length >= max(least, times * period) and any(map(str.isalnum, tail[-period:])):
        return f"the output ends in {tail[-period:][:40]!r}, {length // period} times over"
    if was_cut and len(text) >= _LONG:
        ratio = len(zlib.compress(text.encode("utf-8", "surrogatepass"))) / len(text.encode("utf-8", "surrogatepass"))
        if ratio < _RATIO:
            return f"the output compresses to {ratio:.0%} of its size"
    return None


def _period_of_end(tail: str) -> tuple[int, int]:
    """
    Return the period of the longest periodic end that holds at least four periods, and the end's length.

    The failure function of Knuth, Morris and Pratt, read backwards: linear in the length.
    """
    backwards = tail[::-1]
    failure = [0] * len(backwards)
    best = (1, 0)
    k = 0
    for place in range(1, len(backwards)):
        while k and backwards[place] != backwards[k]:
            k = failure[k - 1]
        k += backwards[place] == backwards[k]
        failure[place] = k
        length = place + 1
        period = length - k
        if length >= _TIMES * period and length > best[1]:
            best = (period, length)
    return best

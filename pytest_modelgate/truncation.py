"""
Make a long input fit a number of tokens: one code for training and for serving.

A text within the limit stays as it is. Of a longer one whole lines are kept, in a fixed order of importance, as many as
fit; the first and the last that are not blank come before all others, and every gap holds a marker that says how much
was left out. The ways differ only in that order:

``cut``
    The lines nearest to either end first, so that the gap lies in the middle.
``condense``
    Of each run of alike lines (equal but for clock times, numbers and ids) only the first and the last. If that is still
    too long, the rest is cut in the same way. With ``chunk`` it is chosen piece by piece instead: the first and the last line
    of every piece of about so many tokens, then the lines of which there are the fewest alike in the whole text, so that
    no part of a long timeline is lost as a whole.
``refuse``
    None: a longer input is an error.

Where the first line, a marker and the last line are already too much, words are kept instead, nearest to either end first.

What a larger limit keeps includes what a smaller one keeps, as long as both keep whole lines. A tokenizer is asked a
number of times that grows with the logarithm of the number of lines. A change of what is kept must raise
:data:`pytest_modelgate.targets.DECODING_VERSION`.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Literal, TypeAlias

from pytest_modelgate.errors import InputTooLongError
from pytest_modelgate.records import MARKER, LongInput, LongInputWay, Message, Request

__all__ = ["CountTokens", "Fitted", "alike_key", "fit", "fit_input", "fit_request"]

CountTokens: TypeAlias = Callable[[str], int]
"""From a text to the number of its tokens, special tokens that a model adds left out."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
# What is longer than any word (a hash, a text without spaces) may be cut inside.
_WORD = re.compile(r"\S{1,40}\s{0,40}|\s{1,40}")
_UUID = re.compile(r"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b")
_LETTERS_OR_DIGITS = re.compile(r"[^\W_]+")
_NUMBERS = re.compile(r"#(?:[.,:-]#)+")
_LEAST_RUN = 4
"""Lines of the shortest run that is folded: of three alike ones the marker would save nothing."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """
    Hold a text that fits, and what it cost.

    ``lines_dropped``: lines of which nothing is left. ``how``: ``whole`` where nothing was left out; ``words`` where lines
    had to be cut inside; else the way that was asked for.
    """

    text: str
    original_tokens: int
    tokens: int
    lines_dropped: int = 0
    how: Literal["whole", "cut", "condense", "words"] = "whole"

    @property
    def tokens_dropped(self) -> int:
        """Return by how many tokens the text became shorter: 0 only where nothing was left out."""
        return self.original_tokens - self.tokens


def fit(
    text: str,
    limit: int,
    count_tokens: CountTokens,
    how: LongInputWay = "cut",
    marker: str = MARKER,
    chunk: int | None = None,
) -> Fitted:
    """
    Return ``text`` with at most ``limit`` tokens, as ``count_tokens`` counts them.

    ``marker``: one line, whose ``{count}`` becomes ``37 lines``. ``chunk``: tokens of a piece, for ``condense``. Raises
    :class:`~pytest_modelgate.errors.InputTooLongError` where a longer text is refused, or where not even a first word, a
    marker and a last word fit.
    """
    total = count_tokens(text)
    if total <= limit:
        return Fitted(text, total, total)
    if how == "refuse":
        raise InputTooLongError(f"the input is {total} tokens, and its task refuses more than {limit}: shorten it")
    lines = _LINE.findall(text)
    keys = [alike_key(line) for line in lines] if how == "condense" else []
    folded = _inside_runs(keys)
    candidates = [place for place in range(len(lines)) if place not in folded]
    if chunk is None or not keys:
        order = _from_both_ends(lines, candidates)
    else:
        order = _piece_by_piece(lines, candidates, keys, n_pieces=-(-total // chunk))

    def mark(gap: Sequence[int]) -> str:
        what = "alike line" if folded.issuperset(gap) else "line"
        return f"{_marked(marker, len(gap), what)}\n"

    found = _keep_most(lines, order, mark, limit, count_tokens)
    if found is None:
        return _fit_words(text, total, limit, count_tokens, marker)
    shortened, tokens, kept = found
    return Fitted(shortened, total, tokens, len(lines) - len(kept), how)


def fit_input(text: str, rule: LongInput, count_tokens: CountTokens) -> Fitted:
    """Return a case's or a training row's input, made to fit ``rule``; raises as :func:`fit` does."""
    return fit(text, rule.tokens, count_tokens, rule.how, rule.marker, rule.chunk)


def fit_request(request: Request, count_tokens: CountTokens) -> tuple[tuple[Message, ...], int]:
    """Return the messages of ``request`` with its input made to fit, and by how many tokens that became shorter."""
    messages, span = request.messages or (), request.input_span
    if span is None:
        return messages, 0
    turn = messages[span.turn]
    fitted = fit_input(turn.content[span.start : span.end], span.rule, count_tokens)
    content = f"{turn.content[: span.start]}{fitted.text}{turn.content[span.end :]}"
    return (*messages[: span.turn], Message(turn.role, content), *messages[span.turn + 1 :]), fitted.tokens_dropped


def alike_key(line: str) -> str:
    """
    Return what alike lines have in common.

    A word with a digit in it (a number, a clock time, an id) counts as ``#``, and so does a row of them that is joined by
    one of ``.,:-``.
    """
    words = _LETTERS_OR_DIGITS.sub(lambda word: word[0] if word[0].isalpha() else "#", _UUID.sub("0", line))
    return " ".join(_NUMBERS.sub("#", words).split())


def _fit_words(text: str, total: int, limit: int, count_tokens: CountTokens, marker: str) -> Fitted:
    """Keep words instead of lines."""
    words = _WORD.findall(text)

    def mark(gap: Sequence[int]) -> str:
        return f"{_marked(marker, len(gap), 'word')} "

    found = _keep_most(words, _from_both_ends(words, range(len(words))), mark, limit, count_tokens)
    if found is None:
        raise InputTooLongError(
            f"the input is {total} tokens, and its first word, a marker and its last word are more than {limit}: "
            f"raise the limit"
        )
    shortened, tokens, kept = found
    return Fitted(shortened, total, tokens, _lines_lost(words, kept), "words")


def _lines_lost(words: Sequence[str], kept: Collection[int]) -> int:
    """Return how many lines have none of their words among ``kept``; a word holds the white space that follows it."""
    ends = [word.count("\n") for word in words]
    lines = [before - end for before, end in zip(accumulate(ends), ends, strict=True)]
    touched = {lines[place] + more for place in kept for more in range(max(1, ends[place]))}
    return lines[-1] + max(1, ends[-1]) - len(touched)


def _keep_most(
    units: Sequence[str],
    order: Iterable[int],
    mark: Callable[[Sequence[int]], str],
    limit: int,
    count_tokens: CountTokens,
) -> tuple[str, int, frozenset[int]] | None:
    """
    Return the longest beginning of ``order`` that fits: as text, its tokens, and which units it holds.

    The first and the last unit that are not blank go before ``order``; None where they alone are too much. Bisected: where
    a unit more happens to be fewer tokens, because it takes a marker's place, less may be kept than could be, but never
    less for a larger limit.
    """
    telling = [place for place, unit in enumerate(units) if not unit.isspace()] or range(len(units))
    ends = dict.fromkeys((telling[0], telling[-1]))
    order = list(dict.fromkeys((*ends, *order)))
    found = None
    low, high = len(ends), len(order)
    while low <= high:
        middle = (low + high) // 2
        kept = frozenset(order[:middle])
        text = _excerpt(units, kept, mark)
        tokens = count_tokens(text)
        if tokens <= limit:
            found = (text, tokens, kept)
            low = middle + 1
        else:
            high = middle - 1
    return found


def _excerpt(units: Sequence[str], kept: Collection[int], mark: Callable[[Sequence[int]], str]) -> str:
    """Return the units that are kept, in their own order, with a marker in every gap."""
    parts: list[str] = []
    for is_kept, places in groupby(range(len(units)), key=kept.__contains__):
        if is_kept:
            parts.extend(units[place] for place in places)
        else:
            parts.append(mark(list(places)))
    return "".join(parts)


def _marked(marker: str, count: int, what: str) -> str:
    """Return the marker of a gap."""
    return marker.replace("{count}", f"{count} {what}{'' if count == 1 else 's'}")


def _inside_runs(keys: Sequence[str]) -> frozenset[int]:
    """Return the places inside runs of equal keys: all but the first and the last of each run."""
    inside: list[int] = []
    for _, places in groupby(range(len(keys)), key=keys.__getitem__):
        run = list(places)
        inside.extend(run[1:-1] if len(run) >= _LEAST_RUN else ())
    return frozenset(inside)


def _from_both_ends(units: Sequence[str], candidates: Sequence[int]) -> list[int]:
    """Order ``candidates`` by how many characters of them lie up to the nearer end, their own included."""
    lengths = [len(units[place]) for place in candidates]
    upto = list(accumulate(lengths))
    far = [min(end, upto[-1] - end + length) for end, length in zip(upto, lengths, strict=True)]
    return [place for _, place in sorted(zip(far, candidates, strict=True))]


def _piece_by_piece(lines: Sequence[str], candidates: Sequence[int], keys: Sequence[str], n_pieces: int) -> list[int]:
    """
    Order ``candidates`` in rounds, one line of each piece in each: its first, its last, then its rarest.

    Pieces are equal shares of the text's characters, cut at line ends: nobody has to tokenise them one by one.
    """
    starts = [end - len(line) for end, line in zip(accumulate(map(len, lines)), lines, strict=True)]
    common = Counter(keys)
    pieces: defaultdict[int, list[int]] = defaultdict(list)
    for place in candidates:
        pieces[starts[place] * n_pieces // (starts[-1] + len(lines[-1]))].append(place)
    ranked: list[tuple[int, int, int]] = []
    for number, places in pieces.items():
        first, *middle = places
        last = [middle.pop()] if middle else []
        rarest = sorted(middle, key=lambda place: (common[keys[place]], place))
        ranked += [(turn, _spread(number, n_pieces), place) for turn, place in enumerate((first, *last, *rarest))]
    return [place for _, _, place in sorted(ranked)]


def _spread(number: int, count: int) -> int:
    """
    Return the turn of one of ``count`` pieces: its bits in reverse.

    So that a budget which is too small for all pieces still reaches some everywhere.
    """
    return int(f"{number:0{count.bit_length()}b}"[::-1], 2)

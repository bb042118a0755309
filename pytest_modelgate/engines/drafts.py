"""
Guess what comes next in an answer from texts that it may be like: the expected answer, another model's output.

A guess costs little where it is wrong and saves a step where it is right; whether it is right, the model decides. After
a word that is not in the text, reading goes on where the text and the answer meet again: at first it is supposed that one
token stands for another; if that proves wrong, a place is looked for that follows the same tokens as the answer's end.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["DraftReader"]

_FIRST, _AGAIN, _FACTOR, _MOST = 4, 2, 3, 32
# Tokens that are guessed at first, and after a mismatch; right ones triple it, up to the most. What passes cost is the
# tokens in them, from about 32 on, and hardly that they are more: so a wrong word should waste few tokens.
_LONGEST_TAIL = 8


class DraftReader:
    """
    Read ``drafts``, token ids of texts in the order of trust, along an answer that comes in token by token.

    :meth:`propose` guesses, :meth:`accept` tells what really came.
    """

    def __init__(self, drafts: Sequence[Sequence[int]]) -> None:
        self._drafts = [_Draft(list(tokens)) for tokens in drafts if len(tokens)]
        self._said: list[int] = []
        self._length = _FIRST

    def propose(self, limit: int) -> list[int]:
        """Return at most ``limit`` tokens that may come next, none where nothing is known."""
        best = max(self._drafts, key=lambda draft: draft.agreed, default=None)  # of equal ones the first
        if best is None or best.place is None or limit <= 0:
            return []
        return best.tokens[best.place : best.place + min(limit, self._length)]

    def accept(self, token: int) -> None:
        """Go on after ``token``."""
        self._said.append(token)
        for draft in self._drafts:
            draft.follow(self._said)

    def judge(self, proposed: int, accepted: int) -> None:
        """Guess more, or less, the next time: of ``proposed`` tokens ``accepted`` were right."""
        if proposed:
            self._length = min(self._length * _FACTOR, _MOST) if accepted == proposed else _AGAIN


class _Draft:
    """
    Hold one text and the place in it that should come next, None where that is not known.

    ``agreed``: for how many tokens text and answer have agreed up to here; below zero while it is not known.
    """

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens
        self.place: int | None = 0
        self.agreed = 0
        self._last = 0  # where they were together
        self._is_supposed = False

    def follow(self, said: Sequence[int]) -> None:
        """Find the place after the last token of ``said``."""
        place = self.place
        if place is not None and place < len(self.tokens) and self.tokens[place] == said[-1]:
            self.place = self._last = place + 1
            self.agreed += 1
            self._is_supposed = False
            return
        if place is not None and not self._is_supposed and place + 1 < len(self.tokens):
            found = rejoin(self.tokens, said, self._last, shortest=2)
            self.place = place + 1 if found is None else found  # one token in place of another
            self._is_supposed = found is None
        else:
            self.place = rejoin(self.tokens, said, self._last)
            self._is_supposed = False
        self.agreed = 0 if self.place is not None else -1
        if self.place is not None and not self._is_supposed:
            self._last = self.place


def rejoin(draft: Sequence[int], said: Sequence[int], after: int, shortest: int = 1) -> int | None:
    """
    Return the place in ``draft`` at which the end of ``said`` was seen, right behind it; None where it was not.

    The longest common end counts, of up to eight tokens and of at least ``shortest``; of equal ones the next place from
    ``after`` on, else the first one.
    """
    best: tuple[int, bool, int] | None = None
    for end, token in enumerate(draft, 1):
        if token != said[-1]:
            continue
        length = 1
        most = min(_LONGEST_TAIL, end, len(said))
        while length < most and draft[end - 1 - length] == said[-1 - length]:
            length += 1
        rank = (length, end > after, -end)
        if length >= shortest and (best is None or rank > best):
            best = rank
    if best is None or -best[2] == len(draft):
        return None
    return -best[2]

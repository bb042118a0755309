"""Give the Trainer its rows: encoded, altered anew in each pass, and packed where that is wanted."""

from __future__ import annotations

import random
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any

from ..config import Augment
from ..data.augment import alter
from ..data.rows import Row
from ..tasks import MessagesOf
from .batches import collate, collate_packed
from .chat import Encoded, Example, encode_rows


class RowDataset:
    """
    Hold rows; each pass alters the messages, never the answers.

    How a row is altered depends on seed, pass and row alone: a training that was interrupted meets the same rows as one
    that was not.
    """

    def __init__(
        self, tokenizer: Any, messages_of: MessagesOf, rows: Sequence[Row], eot: str, how: Augment, seed: int
    ) -> None:
        self._tokenizer, self._messages_of, self._rows = tokenizer, messages_of, rows
        self._eot, self._how, self._seed = eot, how, seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Encoded:
        return encode_rows(self._tokenizer, [self._example(index)], self._eot)[0]

    def examples(self) -> list[Example]:
        """Return all rows as they are written in the files."""
        return [Example(self._messages_of(row.task, row.prompt), row.answer, row.source) for row in self._rows]

    def _example(self, index: int) -> Example:
        """Return a row as this pass shows it."""
        row = self._rows[index]
        rng = random.Random(f"{self._seed} {self.epoch} {index}")  # noqa: S311 (nothing secret is drawn)
        prompt = alter(row.prompt, self._how, rng) if isinstance(row.prompt, str) else row.prompt
        return Example(self._messages_of(row.task, prompt), row.answer, row.source)


class PackedDataset:
    """
    Hold sequences of several rows, each filled up to ``max_length`` tokens; no row is cut.

    Rows are packed by the lengths that they have unaltered.
    """

    def __init__(self, rows: RowDataset, lengths: Sequence[int], max_length: int) -> None:
        self.rows = rows
        self.packs = pack(lengths, max_length)

    def __len__(self) -> int:
        return len(self.packs)

    def __getitem__(self, index: int) -> list[Encoded]:
        return [self.rows[row] for row in self.packs[index]]


def pack(lengths: Sequence[int], room: int) -> list[list[int]]:
    """
    Return groups of indexes whose lengths add up to at most ``room`` (or one that is longer by itself).

    Best-fit decreasing: each row, longest first, goes where it leaves the least room.
    """
    packs: list[list[int]] = []
    free: list[tuple[int, int]] = []  # room left, number of the pack; sorted
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        at = bisect_left(free, (lengths[index], -1))
        left, number = free.pop(at) if at < len(free) else (room, len(packs))
        if number == len(packs):
            packs.append([])
        packs[number].append(index)
        insort(free, (left - lengths[index], number))
    return [sorted(one) for one in packs]


def collator(pad: int, *, packed: bool) -> Any:
    """Return what makes a batch of encoded rows, or of packs of them; labels cover the answers alone."""
    if packed:
        return lambda batch: collate_packed(batch, pad)
    return lambda batch: collate(batch, pad, learn_prompt=False)

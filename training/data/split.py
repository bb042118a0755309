"""Choose rows with a seed: which are used, and which are held back."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from ..errors import StageError
from .rows import Row


def sample(rows: Sequence[Row], limit: int | None, seed: int) -> list[Row]:
    """Take as many rows as wanted, at random, in their own order."""
    if limit is None or len(rows) <= limit:
        return list(rows)
    taken = sorted(random.Random(seed).sample(range(len(rows)), limit))  # noqa: S311 (nothing secret is drawn)
    return [rows[index] for index in taken]


def split(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """
    Return the rows to train on and those held back: whole groups, at most ``share`` of the rows.

    Raises StageError where rows are to be held back and no group is small enough.
    """
    groups = Counter(row.group for row in rows)
    order = sorted(groups)
    random.Random(seed).shuffle(order)  # noqa: S311 (nothing secret is drawn)
    wanted, held_back, taken = share * len(rows), set(), 0
    for group in order:
        if taken + groups[group] <= wanted:
            held_back.add(group)
            taken += groups[group]
    if share > 0 and not held_back:
        smallest = min(groups.values(), default=0)
        raise StageError(
            f"data.validation: {share:g} of {len(rows)} rows is {wanted:.1f}, and the smallest of {len(groups)} "
            f"group{'s' if len(groups) != 1 else ''} has {smallest}: groups stay whole, so none can be held back. "
            f"Give finer groups, a larger share, or 0"
        )
    return [row for row in rows if row.group not in held_back], [row for row in rows if row.group in held_back]

"""Put rows of like length together, so that little time goes into padding."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from .chat import Encoded

IGNORED = -100
_STEP = 16  # lengths are rounded up to this: each new shape costs a compiled kernel, which is then kept for good


def length_sorted(rows: Sequence[Encoded], size: int, rng: random.Random) -> Iterator[list[Encoded]]:
    """Yield batches of neighbours in length, in random order; each row once."""
    shuffled = sorted(rows, key=lambda row: (len(row.ids), rng.random()))
    batches = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
    rng.shuffle(batches)
    yield from batches


def collate(rows: Sequence[Encoded], pad: int, *, learn_prompt: bool) -> dict[str, Any]:
    """Return a padded batch; labels cover the answer, and the prompt too where ``learn_prompt`` is set."""
    import torch

    longest = -(-max(len(row.ids) for row in rows) // _STEP) * _STEP
    shape = (len(rows), longest)
    ids = torch.full(shape, pad, dtype=torch.long)
    mask = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORED, dtype=torch.long)
    for index, row in enumerate(rows):
        length = len(row.ids)
        ids[index, :length] = torch.tensor(row.ids)
        mask[index, :length] = 1
        first = 0 if learn_prompt else row.prompt
        labels[index, first:length] = torch.tensor(row.ids[first:])
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}

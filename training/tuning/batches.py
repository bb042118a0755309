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


def collate_packed(packs: Sequence[Sequence[Encoded]], pad: int) -> dict[str, Any]:
    """
    Return a batch of sequences that hold several rows each; positions begin anew with each row.

    No attention mask is given: from positions that begin anew, transformers (5: ``masking_utils``) makes the mask in which no
    row sees another. What is left of a sequence is one more row of padding, of which nothing is learned.
    """
    import torch

    longest = -(-max(sum(len(row.ids) for row in rows) for rows in packs) // _STEP) * _STEP
    shape = (len(packs), longest)
    ids = torch.full(shape, pad, dtype=torch.long)
    labels = torch.full(shape, IGNORED, dtype=torch.long)
    positions = torch.zeros(shape, dtype=torch.long)
    for index, rows in enumerate(packs):
        start = 0
        for row in rows:
            end = start + len(row.ids)
            ids[index, start:end] = torch.tensor(row.ids)
            labels[index, start + row.prompt : end] = torch.tensor(row.ids[row.prompt :])
            positions[index, start:end] = torch.arange(len(row.ids))
            start = end
        positions[index, start:] = torch.arange(longest - start)
    # With a cache, transformers 5.23 makes no such mask, and rows would see each other without a word.
    return {"input_ids": ids, "position_ids": positions, "labels": labels, "use_cache": False}

"""
Find out how near two choices may be before batched and deployed decoding can differ in them.

Sums of floating-point numbers depend on their order, and that depends on how many tokens are computed at once. So the
logits of a batch are not exactly those of deployment. Where the best two are nearer than twice the largest difference,
either may win; such an answer is given again in deployment shape, and only that one counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.engines.batching import Memory
from pytest_modelgate.engines.llama import Entry, LlamaModel
from pytest_modelgate.engines.llama_batch import Cell

__all__ = ["NearTies", "largest_difference"]

_TEXTS = (
    "Hello! How can I help you today?",
    "Hello, the last payment was 49.90 EUR, please check.",
    'Hello {"intent": "billing", "urgency": "high"}',
)
_FORCED = 4  # tokens of each that are computed one by one


@dataclass(slots=True)
class NearTies:
    """
    Hold the tolerance, and raise it where an answer that was given again shows that it was too small.

    ``difference``: the largest difference of logits that was seen. ``tolerance``: margins below it are near-ties.
    """

    difference: float = 0.0
    tolerance: float = 0.0

    def learn(self, difference: float) -> None:
        """Take a difference of logits into account."""
        self.difference = max(self.difference, difference)
        self.tolerance = max(self.tolerance, 2 * difference)

    def compare(self, batched: Sequence[float], deployed: Sequence[float]) -> None:
        """Learn from the margins of the same tokens, batched and as deployed: each differs by two logits' differences."""
        for one, other in zip(batched, deployed, strict=False):
            self.learn(abs(one - other) / 2)


def largest_difference(model: LlamaModel, memory: Memory, prompts: Sequence[Sequence[int]] = ()) -> float:
    """
    Return the largest difference between a batch's logits and deployment's, on fixed texts and on ``prompts``.

    Of each the last tokens are computed one by one in deployment's context, and all at once, with what the others begin
    with, in ``memory``. Infinite where logits are not numbers. Clears both.
    """
    rows = [list(prompt) for prompt in prompts]
    rows += [model.tokenize(text.encode()) for text in _TEXTS]
    largest = 0.0
    for row in rows:
        row = row[-memory.n_batch :]  # noqa: PLW2901  # what does not fit in one pass is not needed to compare
        forced = max(1, min(_FORCED, len(row) - 1))
        difference = np.abs(_deployed(model, row, forced) - _batched(memory, row, forced))
        found = float(np.max(difference))
        largest = max(largest, found if np.isfinite(found) else np.inf)
    model.clear()
    memory.clear()
    return largest


def _deployed(model: LlamaModel, row: Sequence[int], forced: int) -> NDArray[np.float32]:
    """Return the logits of the last ``forced`` tokens, the prompt at once and then one by one."""
    model.clear()
    start = len(row) - forced
    first = [Entry(token, place, wants_logits=place == start) for place, token in enumerate(row[: start + 1])]
    found = [model.decode(first)]
    found += [model.decode([Entry(row[place], place, wants_logits=True)]) for place in range(start + 1, len(row))]
    return np.concatenate(found)


def _batched(memory: Memory, row: Sequence[int], forced: int) -> NDArray[np.float32]:
    """Return the logits of the last ``forced`` tokens, all at once."""
    memory.clear()
    cells = [Cell(token, place, [1], place >= len(row) - forced) for place, token in enumerate(row)]
    return memory.decode(cells).copy()

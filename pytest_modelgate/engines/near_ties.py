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

from pytest_modelgate.engines.batching import Batcher, Job, Memory
from pytest_modelgate.engines.llama import Entry, LlamaModel

__all__ = ["NearTies", "largest_difference"]

_TEXTS = (
    "Hello! How can I help you today? Please tell me the number of your order, and what happened since it was placed.",
    "Hello, the last payment was 49.90 EUR, but the invoice of 2 May says 39.90 EUR. Please check which of them is right.",
    'Hello {"intent": "billing", "urgency": "high", "summary": "The customer was charged twice and wants a refund."}',
    "def total(prices, rate=0.19):\n    return sum(price * (1 + rate) for price in prices)  # with VAT",
)
# More than 64 tokens together: from there on llama.cpp's flash attention sums up otherwise than for a single token.
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

    The last tokens of each are taken as the answer to what is before them: as in deployment, one by one, and as in a run
    in which all of them are drafts. What is computed, and how, depends on how many tokens there are and on what lies
    between them in memory. Infinite where logits are not numbers. Clears both.
    """
    rows = [list(prompt) for prompt in prompts]
    rows += [model.tokenize(text.encode()) for text in _TEXTS]
    rows = [row for row in rows if len(row) > 1]
    batched = _batched(memory, rows)
    largest = 0.0
    for row, logits in zip(rows, batched, strict=True):
        difference = float(np.max(np.abs(_deployed(model, row) - logits)))
        largest = max(largest, difference if np.isfinite(difference) else np.inf)
    model.clear()
    memory.clear()
    return largest


def _start(row: Sequence[int]) -> int:
    """Return where the answer of a row begins."""
    return max(1, len(row) - _FORCED)


def _deployed(model: LlamaModel, row: Sequence[int]) -> NDArray[np.float32]:
    """Return the logits from which each token of a row's answer would be chosen."""
    model.clear()
    start = _start(row)
    found = [
        model.decode([Entry(token, place, wants_logits=place == start - 1) for place, token in enumerate(row[:start])])
    ]
    found += [model.decode([Entry(row[place], place, wants_logits=True)]) for place in range(start, len(row) - 1)]
    return np.concatenate(found)


def _batched(memory: Memory, rows: Sequence[Sequence[int]]) -> list[NDArray[np.float32]]:
    """Return the same of each row, from one run."""
    forced = [_Forced(row[_start(row) :]) for row in rows]
    jobs = [
        Job(str(number), row[: _start(row)], len(choices.answer), choices, [choices.answer])
        for number, (row, choices) in enumerate(zip(rows, forced, strict=True))
    ]
    for _ in Batcher(memory, _never, NearTies(), lambda _key: None).run(jobs):
        pass
    return [np.stack(choices.seen) for choices in forced]


class _Forced:
    """Choose what ``answer`` says, and remember the logits it was chosen from."""

    def __init__(self, answer: Sequence[int]) -> None:
        self.answer = answer
        self.seen: list[NDArray[np.float32]] = []

    def choose(self, logits: NDArray[np.float32]) -> tuple[int, float, float]:
        """Return the next token of the answer."""
        self.seen.append(logits.copy())
        return self.answer[len(self.seen) - 1], 0.0, np.inf

    def accept(self, token: int) -> None:
        """Do nothing: what comes next is known."""


def _never(_token: int) -> bool:
    """Say that no token ends an answer."""
    return False

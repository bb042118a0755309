"""Hold an answer while it grows, and what its next token may be."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_modelgate.records import FinishReason

if TYPE_CHECKING:
    import torch

    from pytest_modelgate.engines.sampling import Chooser

__all__ = ["Best", "Row", "best_choices"]


@dataclass(slots=True)
class Row:
    """
    Hold one case's answer while it grows; ``finish_reason`` is None until it is complete.

    ``chooser``: chooses its tokens, None for greedily. ``is_doubtful``: a choice was too near to another, so the answer
    counts for nothing and must be given alone. ``logits``: what each token was chosen by, None where nobody asks.
    ``started``: when it was taken up, by :func:`time.perf_counter`.
    """

    max_tokens: int
    chooser: Chooser | None = None
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    is_degenerate: bool = False
    is_doubtful: bool = False
    ttft_s: float = 0.0
    total_s: float = 0.0
    logits: list[torch.Tensor] | None = None
    started: float = field(default_factory=time.perf_counter)

    @property
    def is_open(self) -> bool:
        """Say whether a further token is wanted."""
        return self.finish_reason is None and not self.is_degenerate and not self.is_doubtful

    def take(self, token: int, logprob: float, margin: float, *, is_stop: bool) -> None:
        """Append a token and see whether it is the last."""
        self.token_ids.append(token)
        self.logprobs.append(logprob)
        self.margins.append(margin)
        self.total_s = time.perf_counter() - self.started
        if len(self.token_ids) == 1:
            self.ttft_s = self.total_s
        if is_stop:
            self.finish_reason = "stop"
        elif len(self.token_ids) == self.max_tokens:
            self.finish_reason = "length"


@dataclass(frozen=True, slots=True)
class Best:
    """
    Hold the most probable token after some place, its log-probability and its lead over the second best logit.

    ``logits``: of shape (n_vocab,), all that it was chosen from.
    """

    token: int
    logprob: float
    margin: float
    is_finite: bool
    logits: torch.Tensor


def best_choices(logits: torch.Tensor) -> list[list[Best]]:
    """Return the greedy choice of every row at every column; ``logits`` has shape (rows, columns, n_vocab)."""
    best, second = logits.topk(2).values.unbind(-1)
    numbers = zip(
        logits.argmax(-1).tolist(),
        (best - logits.logsumexp(-1)).tolist(),
        (best - second).tolist(),
        best.isfinite().tolist(),
        logits,
        strict=True,
    )
    return [[Best(*choice) for choice in zip(*row, strict=True)] for row in numbers]

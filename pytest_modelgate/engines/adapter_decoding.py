"""
Decode many prompts together with transformers: what they begin with once, drafts verified in one pass.

A pass takes new rows, with all that no other row has of their prompts, or goes on with those that are under way; behind
what is known of a row stand the tokens that its draft supposes. What they are followed by says how many of them are
right. Rows that are done leave, and new ones take their places.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pytest_modelgate.engines.adapter_cache import RowCache
from pytest_modelgate.engines.adapter_model import LoadedModel
from pytest_modelgate.engines.adapter_prefix import Group, prefix_groups
from pytest_modelgate.engines.adapter_row import Best, Row, best_choices
from pytest_modelgate.engines.drafts import DraftReader

if TYPE_CHECKING:
    from pytest_modelgate.engines.sampling import Chooser

__all__ = ["Counts", "Decoder", "Job", "PaddedDecoder", "SharedDecoder", "Tolerance"]

_LEAST_GAIN = 64  # tokens not computed again that are worth a further pass
_LOGIT_BYTES = {"cpu": 1 << 27, "cuda": 1 << 30}  # of one pass, in float32


@dataclass(slots=True)
class Job:
    """Hold a prompt, how many tokens it may be answered with, token ids of drafts, and who chooses, None for greedily."""

    key: str
    prompt: Sequence[int]
    max_tokens: int
    drafts: Sequence[Sequence[int]] = ()
    chooser: Chooser | None = None
    keeps_logits: bool = False

    def row(self) -> Row:
        """Return an empty answer, taken up now."""
        return Row(self.max_tokens, self.chooser, logits=[] if self.keeps_logits else None)


class Tolerance(Protocol):
    """Say how near choices may be (see :class:`~pytest_modelgate.engines.near_ties.NearTies`); it may grow."""

    tolerance: float


@dataclass(slots=True)
class Counts:
    """Count tokens: those that went through the network, of drafts that were tried, and of those that were right."""

    passes: int = 0
    computed: int = 0
    proposed: int = 0
    accepted: int = 0


@dataclass
class PaddedDecoder:
    """
    Answer jobs in batches of equal steps, for networks whose cache cannot be shared or cut.

    A choice whose margin is not above ``ties.tolerance`` makes its row doubtful.
    """

    model: LoadedModel
    batch_size: int
    ties: Tolerance
    on_started: Callable[[str], None]
    counts: Counts = field(default_factory=Counts)

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Row]]:
        """Yield every job with its row, batch after batch, shortest prompts first."""
        waiting = sorted(jobs, key=lambda job: (len(job.prompt), job.max_tokens))
        for start in range(0, len(waiting), self.batch_size):
            batch = waiting[start : start + self.batch_size]
            for job in batch:
                self.on_started(job.key)
            rows = self.model.decode(
                [job.prompt for job in batch],
                [job.max_tokens for job in batch],
                [job.chooser for job in batch],
                keeps_logits=any(job.keeps_logits for job in batch),
            )
            for job, row in zip(batch, rows, strict=True):
                row.is_doubtful = min(row.margins, default=0.0) <= self.ties.tolerance
                yield job, row


@dataclass
class SharedDecoder:
    """
    Answer jobs with what their prompts begin with computed once, and drafts verified.

    At most ``batch_size`` rows are under way. ``least_gain``: tokens that must be saved for a group of prompts to be run
    by itself (see :func:`~pytest_modelgate.engines.adapter_prefix.prefix_groups`). A choice whose margin is not above
    ``ties.tolerance`` ends its row as doubtful.
    """

    model: LoadedModel
    batch_size: int
    ties: Tolerance
    on_started: Callable[[str], None]
    least_gain: int = _LEAST_GAIN
    counts: Counts = field(default_factory=Counts)

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Row]]:
        """Yield every job with its row, as they are ready, shortest rests of prompts first."""
        active = _Batch([], None)
        for group in prefix_groups([job.prompt for job in jobs], self.least_gain):
            members = [jobs[place] for place in group.places]
            members.sort(key=lambda job: (len(job.prompt), job.max_tokens))
            waiting = deque(members)
            prefix = self._prefix(members[0].prompt, group)
            while waiting:
                free = self.batch_size - len(active.rows)
                # Few new rows would cost as much as many do; so places are filled when half of them are free.
                if active.rows and free < min(len(waiting), (self.batch_size + 1) // 2):
                    yield from self._pass(active)
                    continue
                new = self._begin([waiting.popleft() for _ in range(min(free, len(waiting)))], prefix, group.length)
                yield from self._pass(new)
                active.join(new)
        while active.rows:
            yield from self._pass(active)

    def _prefix(self, prompt: Sequence[int], group: Group) -> RowCache:
        """Return one row that holds what a group's prompts begin with."""
        import torch

        held = RowCache.empty(1, self.model.device)
        if group.length:
            ids = self.model.tensor([list(prompt[: group.length])])
            held.mask = torch.ones_like(ids)
            positions = torch.arange(group.length, device=ids.device)[None]
            _, held.cache = self.model.forward(ids, held.mask, positions, held.cache)
            self._count(ids.numel())
        return held

    def _begin(self, jobs: Sequence[Job], prefix: RowCache, length: int) -> _Batch:
        """Take jobs up, behind the ``length`` tokens that are held of their prompts."""
        for job in jobs:
            self.on_started(job.key)
        rows = [_Active(job, job.row(), list(job.prompt[length:]), length) for job in jobs]
        return _Batch(rows, prefix.repeated(len(rows)))

    def _pass(self, batch: _Batch) -> Iterator[tuple[Job, Row]]:
        """Run the network once on a batch; yield the rows that are done and keep the others."""
        import torch

        assert batch.held is not None  # noqa: S101  # it has rows
        rows, held = batch.rows, batch.held
        drafts = self._drafts(rows)
        before, behind = max(len(row.fed) for row in rows), max(map(len, drafts))
        cells = [_Cells.of(row, draft, before, behind) for row, draft in zip(rows, drafts, strict=True)]
        ids = self.model.tensor([one.ids for one in cells])
        positions = self.model.tensor([one.positions for one in cells]).clamp(max=self.model.limit - 1)
        mask = torch.cat([held.mask, self.model.tensor([one.mask for one in cells])], dim=1)
        logits, held.cache = self.model.forward(ids, mask, positions, held.cache, behind + 1)
        self._count(ids.numel())
        used = []
        for row, draft, choices in zip(rows, drafts, best_choices(logits), strict=True):
            accepted = self._read(row, draft, choices)
            used.append([0] * (before - len(row.fed)) + [1] * (len(row.fed) + accepted) + [0] * (behind - accepted))
            row.held += len(row.fed) + accepted
            row.fed = row.row.token_ids[-1:]
        held.mask = torch.cat([held.mask, self.model.tensor(used)], dim=1)
        batch.keep([place for place, row in enumerate(rows) if row.row.is_open])
        yield from ((row.job, row.row) for row in rows if not row.row.is_open)

    def _drafts(self, rows: Sequence[_Active]) -> list[list[int]]:
        """Return what to suppose of each row: no more than memory holds, nor so much of few rows that most is padding."""
        most = _LOGIT_BYTES.get(self.model.device, _LOGIT_BYTES["cpu"]) // (4 * self.model.n_vocab * len(rows)) - 1
        drafts = [row.propose(most) for row in rows]
        for width in sorted({len(draft) for draft in drafts}, reverse=True):
            if len(rows) * (1 + width) <= 2 * sum(1 + min(len(draft), width) for draft in drafts):
                return [draft[:width] for draft in drafts]
        return drafts

    def _read(self, row: _Active, draft: Sequence[int], choices: Sequence[Best]) -> int:
        """Take choices for as long as they are as supposed; return how many were."""
        accepted = 0
        for place, choice in enumerate(choices[: len(draft) + 1]):
            self.model.extend(row.row, choice, self.ties.tolerance)
            if not row.row.is_open:
                break
            row.reader.accept(row.row.token_ids[-1])
            if place == len(draft) or row.row.token_ids[-1] != draft[place]:
                break
            accepted += 1
        row.reader.judge(len(draft), accepted)
        self.counts.proposed += len(draft)
        self.counts.accepted += accepted
        return accepted

    def _count(self, computed: int) -> None:
        """Count a pass."""
        self.counts.passes += 1
        self.counts.computed += computed


Decoder: TypeAlias = PaddedDecoder | SharedDecoder


class _Active:
    """
    Hold a job that is under way.

    ``fed``: its known tokens that are not in the cache yet, the next pass's; ``held``: how many are.
    """

    def __init__(self, job: Job, row: Row, fed: list[int], held: int) -> None:
        self.job = job
        self.row = row
        self.fed = fed
        self.held = held
        is_plain = job.chooser is None or job.chooser.is_plain
        self.reader = DraftReader(job.drafts if is_plain else ())

    def propose(self, limit: int) -> list[int]:
        """Return what may come next; the token after it is had as well."""
        return self.reader.propose(min(limit, self.row.max_tokens - len(self.row.token_ids) - 1))


@dataclass(slots=True)
class _Batch:
    """Hold rows that are under way, and their keys and values, None before there were any."""

    rows: list[_Active]
    held: RowCache | None

    def keep(self, places: Sequence[int]) -> None:
        """Drop all rows but ``places``."""
        if self.held is not None and places:
            self.held.keep(places)
        self.rows = [self.rows[place] for place in places]

    def join(self, other: _Batch) -> None:
        """Append the rows of ``other``."""
        if not self.rows or self.held is None:
            self.held = other.held
        elif other.rows and other.held is not None:
            self.held.join(other.held)
        self.rows = self.rows + other.rows


@dataclass(frozen=True, slots=True)
class _Cells:
    """Hold what one row has in a pass: known tokens at the end of ``before`` columns, supposed ones in ``behind`` more."""

    ids: list[int]
    positions: list[int]
    mask: list[int]

    @classmethod
    def of(cls, row: _Active, draft: Sequence[int], before: int, behind: int) -> _Cells:
        """Lay a row out."""
        left, right = before - len(row.fed), behind - len(draft)
        n = len(row.fed) + len(draft)
        return cls(
            ids=[0] * left + row.fed + list(draft) + [0] * right,
            positions=[0] * left + list(range(row.held, row.held + n)) + [0] * right,
            mask=[0] * left + [1] * n + [0] * right,
        )

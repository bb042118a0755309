"""
Decode many prompts together: what they begin with once, finished ones replaced at once, drafts verified in one pass.

Knows tokens only. A pass through the model takes as many tokens as fit: of each sequence the ones it has not computed
yet, and behind them those that a draft supposes; then of new prompts what no other one computed before them, in the same
pass or earlier. An answer whose draft is right is there after one pass or two.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.engines.drafts import DraftReader
from pytest_modelgate.engines.llama_batch import Cell
from pytest_modelgate.engines.prefix_tree import shared_length, walk
from pytest_modelgate.errors import EngineDiedError, EngineError

__all__ = ["Answer", "Batcher", "Choices", "Job", "Memory", "Tolerance"]

_TRUNK = 0
"""The sequence that keeps what the next prompt shares with the last one."""

_LEAST_PART = 32  # a new prompt is begun where at least so many of its tokens fit in


class Memory(Protocol):
    """Run the model on tokens of several sequences (see :class:`~pytest_modelgate.engines.llama_batch.SharedContext`)."""

    n_batch: int
    n_sequences: int
    n_cells: int

    def decode(self, cells: Sequence[Cell]) -> NDArray[np.float32]:
        """Return the logits of the cells that want them."""

    def share(self, source: int, target: int, end: int) -> None:
        """Let ``target`` begin with the first ``end`` tokens of ``source``."""

    def cut(self, sequence: int, start: int) -> None:
        """Forget a sequence from position ``start`` on."""

    def clear(self) -> None:
        """Forget everything."""


class Tolerance(Protocol):
    """Say how near choices may be (see :class:`~pytest_modelgate.engines.near_ties.NearTies`); it may grow."""

    tolerance: float


class Choices(Protocol):
    """Choose the tokens of one answer (see :class:`~pytest_modelgate.engines.sampling.Chooser`)."""

    def choose(self, logits: NDArray[np.float32]) -> tuple[int, float, float]:
        """Return a token, its log-probability, and by how much logits would have to differ for another choice."""

    def accept(self, token: int) -> None:
        """Go on after ``token``, an end of generation excepted."""


@dataclass(slots=True)
class Job:
    """Hold a prompt, how many tokens it may be answered with, token ids of drafts, and who chooses."""

    key: str
    prompt: Sequence[int]
    max_tokens: int
    choices: Choices
    drafts: Sequence[Sequence[int]] = ()


@dataclass(slots=True)
class Answer:
    """
    Hold what was generated for a job: tokens, the end of generation included, log-probabilities, margins, seconds.

    ``is_doubtful``: a choice was too near to another, or could not be made; then the answer is not complete and must be
    given by decoding alone.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    ttft_s: float = 0.0
    total_s: float = 0.0
    is_doubtful: bool = False


@dataclass
class Batcher:
    """
    Answer jobs in ``memory``.

    ``is_end``: says whether a token ends an answer. ``ties``: a choice with a margin below its tolerance is doubtful.
    ``on_started``: called with a job's key when its first token is about to be computed. ``proposed``, ``accepted``,
    ``computed`` and ``generated`` count tokens: of drafts that were tried, of those that were right, all that went through
    the model, and those of answers that are not doubtful.
    """

    memory: Memory
    is_end: Callable[[int], bool]
    ties: Tolerance
    on_started: Callable[[str], None]
    proposed: int = 0
    accepted: int = 0
    computed: int = 0
    generated: int = 0

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        """
        Yield every job with its answer, in the order in which they are ready.

        A job's prompt and ``max_tokens`` must fit into ``memory.n_cells`` beside the longest prompt.
        """
        yield from _Run(self, jobs).answers()


class _Run:
    """
    Hold what is under way.

    ``trunk``: what the memory keeps of the prompt that was begun last, because the next one shares it.
    """

    def __init__(self, batcher: Batcher, jobs: Sequence[Job]) -> None:
        self._batcher = batcher
        self._memory = batcher.memory
        self._waiting = deque(jobs[place] for place in walk([job.prompt for job in jobs]))
        self._active: list[_Sequence] = []
        self._free = list(range(self._memory.n_sequences - 1, _TRUNK, -1))
        self._trunk: Sequence[int] = ()
        self._longest = max((len(job.prompt) for job in jobs), default=0)

    def answers(self) -> Iterator[tuple[Job, Answer]]:
        """Yield every job with its answer."""
        self._memory.clear()
        while self._waiting or self._active:
            try:
                finished = self._pass()
            except EngineDiedError:
                raise
            except EngineError:
                finished = self._give_up()
            for sequence in finished:
                yield sequence.job, sequence.answer

    def _pass(self) -> list[_Sequence]:
        """Run the model once; return the sequences that are done."""
        batch = _Pass(self._memory.n_batch)
        for number, sequence in enumerate(self._active):
            sequence.feed(batch, left_for_others=len(self._active) - number - 1)
        # Of the prompts that are computed in this pass, only the one before it can share more than the trunk with a new one.
        last = self._active[-1] if self._active and self._active[-1].path else None
        while self._waiting and self._free and (last is None or last.is_prompt_fed):
            begun = self._begin(batch, last)
            if begun is None:
                break
            last = begun
        rows = self._memory.decode(batch.cells)
        self._batcher.computed += len(batch.cells)
        if last is not None and self._waiting:
            self._keep(last)  # before any sequence that holds it ends
        finished = [sequence for sequence in self._active if sequence.read(rows, self._batcher)]
        for sequence in finished:
            self._memory.cut(sequence.number, 0)
            self._free.append(sequence.number)
            self._active.remove(sequence)
            self._batcher.generated += 0 if sequence.answer.is_doubtful else len(sequence.answer.tokens)
        return finished

    def _begin(self, batch: _Pass, last: _Sequence | None) -> _Sequence | None:
        """Take the next job up, if memory and this pass have room for it."""
        job = self._waiting[0]
        own = job.prompt[:-1]  # the logits after the last token are its own
        held = shared_length(own, self._trunk)
        shared = held if last is None else max(held, shared_length(own, last.job.prompt))
        used = self._longest + sum(len(one.job.prompt) + one.job.max_tokens for one in self._active)
        if self._active and used + len(job.prompt) + job.max_tokens > self._memory.n_cells:
            return None
        if batch.cells and batch.room < min(len(job.prompt) - shared, _LEAST_PART):
            return None
        self._waiting.popleft()
        self._batcher.on_started(job.key)
        begun = _Sequence(job, self._free.pop())
        self._memory.share(_TRUNK, begun.number, held)
        begun.begin(held, shared, last)
        begun.feed(batch, left_for_others=0)
        self._active.append(begun)
        return begun

    def _keep(self, last: _Sequence) -> None:
        """Keep what the next prompt shares with the last one."""
        computed = last.job.prompt[: last.held]
        kept = shared_length(self._waiting[0].prompt[:-1], computed)
        self._memory.share(last.number, _TRUNK, kept)
        self._trunk = computed[:kept]

    def _give_up(self) -> list[_Sequence]:
        """Forget all that is under way: what is no number reaches every sequence through the memory that they share."""
        self._memory.clear()
        self._trunk = ()
        given_up, self._active = self._active, []
        for sequence in given_up:
            self._free.append(sequence.number)
            sequence.answer.is_doubtful = True
        return given_up


class _Pass:
    """Gather the cells of one pass through the model, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self.cells: list[Cell] = []
        self.rows = 0
        self._limit = limit

    @property
    def room(self) -> int:
        """Return how many cells are left."""
        return self._limit - len(self.cells)

    def add(self, token: int, position: int, sequence: int, *, wants_logits: bool) -> Cell:
        """Add a token of one sequence."""
        cell = Cell(token, position, [sequence], wants_logits)
        self.cells.append(cell)
        self.rows += wants_logits
        return cell


class _Sequence:
    """
    Follow one job through the passes.

    ``number``: of its sequence. ``held``: how many of its tokens are computed, or will be by this pass.
    """

    def __init__(self, job: Job, number: int) -> None:
        self.job = job
        self.number = number
        self.held = 0
        self.answer = Answer()
        self.path: list[Cell] = []  # of its prompt, in this pass
        self._drafts = DraftReader(job.drafts)
        self._supposed: list[int] = []
        self._first_row: int | None = None
        self._started = time.perf_counter()

    @property
    def is_prompt_fed(self) -> bool:
        """Say whether all of the prompt is computed, or will be by this pass."""
        return self.held >= len(self.job.prompt)

    def begin(self, held: int, end: int, other: _Sequence | None) -> None:
        """Begin with ``held`` tokens that memory holds, and up to ``end`` as ``other`` does in this pass."""
        self.held = held
        if other is None or end <= held:
            return
        for cell in other.path:
            if held <= cell.position < end:
                cell.sequences.append(self.number)
                self.path.append(cell)
        self.held = end

    def feed(self, batch: _Pass, *, left_for_others: int) -> None:
        """Add to the pass what is known and not computed yet, and what the drafts suppose after it."""
        prompt, tokens = self.job.prompt, self.answer.tokens
        known = len(prompt) + len(tokens)
        self._first_row, self._supposed = None, []
        room = batch.room - left_for_others
        end = min(known, self.held + max(room, 0))
        for position in range(self.held, end):
            token = prompt[position] if position < len(prompt) else tokens[position - len(prompt)]
            if position == known - 1:
                self._first_row = batch.rows
            cell = batch.add(token, position, self.number, wants_logits=position == known - 1)
            if position < len(prompt):
                self.path.append(cell)
        self.held = end
        if self._first_row is None:
            return
        room = batch.room - left_for_others
        self._supposed = self._drafts.propose(min(room, self.job.max_tokens - len(tokens) - 1))
        for place, token in enumerate(self._supposed):
            batch.add(token, known + place, self.number, wants_logits=True)

    def read(self, rows: NDArray[np.float32], batcher: Batcher) -> bool:
        """Choose tokens from the logits of this pass for as long as they are as supposed; return whether it is done."""
        self.path = []
        if self._first_row is None:
            return False
        answer, supposed = self.answer, self._supposed
        accepted = 0
        done = False
        for place in range(len(supposed) + 1):
            token, logprob, margin = self.job.choices.choose(rows[self._first_row + place])
            if not answer.tokens:
                answer.ttft_s = time.perf_counter() - self._started
            if margin < batcher.ties.tolerance:
                answer.is_doubtful = done = True
                break
            answer.tokens.append(token)
            answer.logprobs.append(logprob)
            answer.margins.append(margin)
            is_right = place < len(supposed) and token == supposed[place]
            accepted += is_right
            if batcher.is_end(token) or len(answer.tokens) == self.job.max_tokens:
                done = True
                break
            self.job.choices.accept(token)
            self._drafts.accept(token)
            if not is_right:
                break
        self._drafts.judge(len(supposed), accepted)
        batcher.proposed += len(supposed)
        batcher.accepted += accepted
        answer.total_s = time.perf_counter() - self._started
        self.held += accepted
        if not done and accepted < len(supposed):
            batcher.memory.cut(self.number, self.held)
        return done

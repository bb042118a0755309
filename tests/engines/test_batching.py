"""Batches give the answers of one-by-one decoding, compute shared beginnings once, and stay within their memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pytest_modelgate.engines.batching import Answer, Batcher, Job
from pytest_modelgate.engines.llama_batch import Cell
from pytest_modelgate.engines.near_ties import NearTies
from pytest_modelgate.engines.prefix_tree import distinct_tokens
from pytest_modelgate.errors import EngineError

N_VOCAB, END = 11, 10


def following(tokens: Sequence[int]) -> int:
    """Return what the pretended model says after ``tokens``: it depends on all of them."""
    return (sum((place + 1) * token for place, token in enumerate(tokens)) * 7 + len(tokens)) % N_VOCAB


class Pretended:
    """Pretend a model with a memory: it knows what each sequence holds, and refuses what llama.cpp would."""

    def __init__(self, n_batch: int, n_sequences: int, n_cells: int) -> None:
        self.n_batch, self.n_sequences, self.n_cells = n_batch, n_sequences, n_cells
        self.held: dict[int, list[Cell]] = {number: [] for number in range(n_sequences)}
        self.most = 0
        self.spoil: int | None = None

    def decode(self, cells: Sequence[Cell]) -> NDArray[np.float32]:
        """Check the cells as llama.cpp does, and return the wanted rows."""
        assert 0 < len(cells) <= self.n_batch
        rows = []
        for cell in cells:
            for sequence in cell.sequences:
                assert len(self.held[sequence]) == cell.position
                self.held[sequence].append(cell)
            tokens = [one.token for one in self.held[cell.sequences[0]]]
            assert all([one.token for one in self.held[other]] == tokens for other in cell.sequences)
            if cell.wants_logits:
                row = np.zeros(N_VOCAB, np.float32)
                row[following(tokens)] = 1.0
                rows.append(row * (np.nan if self.spoil in tokens else 1))
        self.most = max(self.most, len({id(cell) for held in self.held.values() for cell in held}))
        assert self.most <= self.n_cells
        return np.array(rows, np.float32)

    def share(self, source: int, target: int, end: int) -> None:
        """Copy."""
        assert len(self.held[source]) >= end
        self.held[target] = self.held[source][:end]

    def cut(self, sequence: int, start: int) -> None:
        """Forget the end."""
        self.held[sequence] = self.held[sequence][:start]

    def clear(self) -> None:
        """Forget everything."""
        self.held = {number: [] for number in self.held}


class Best:
    """Take the best token."""

    def choose(self, logits: NDArray[np.float32]) -> tuple[int, float, float]:
        """Choose."""
        if np.isnan(logits).any():
            raise EngineError("logits are not numbers")
        return int(logits.argmax()), 0.0, 1.0

    def accept(self, token: int) -> None:
        """Do nothing."""


def alone(prompt: Sequence[int], max_tokens: int) -> list[int]:
    """Return the answer of one-by-one decoding."""
    answer: list[int] = []
    while len(answer) < max_tokens and END not in answer:
        answer.append(following([*prompt, *answer]))
    return answer


def run(memory: Pretended, jobs: list[Job]) -> tuple[dict[str, Answer], Batcher]:
    """Run jobs."""
    batcher = Batcher(memory, lambda token: token == END, NearTies(), lambda _key: None)
    found = [(job.key, answer) for job, answer in batcher.run(jobs)]
    assert sorted(key for key, _ in found) == sorted(job.key for job in jobs)
    return dict(found), batcher


@given(
    prompts=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=30), min_size=1, max_size=12),
    n_batch=st.integers(8, 64),
    n_sequences=st.integers(2, 8),
    spare=st.integers(0, 100),
    max_tokens=st.integers(1, 20),
    wrong=st.sampled_from(["none", "right", "shifted", "one", "nonsense"]),
)
def test_as_one_by_one(
    prompts: list[list[int]], n_batch: int, n_sequences: int, spare: int, max_tokens: int, wrong: str
) -> None:
    """Whatever is shared, drafted and in flight, answers are those of one-by-one decoding, in bounded memory."""
    longest = max(map(len, prompts))
    memory = Pretended(n_batch, n_sequences, 2 * longest + max_tokens + spare)
    jobs, expected = [], {}
    for number, prompt in enumerate(prompts):
        answer = expected[str(number)] = alone(prompt, max_tokens)
        draft = {
            "none": [],
            "right": answer,
            "shifted": [5, *answer],
            "one": [*answer[:2], 5, *answer[3:]],
            "nonsense": [5] * 40,
        }[wrong]
        jobs.append(Job(str(number), prompt, max_tokens, Best(), [draft]))
    found, _ = run(memory, jobs)
    assert {key: answer.tokens for key, answer in found.items()} == expected


@pytest.mark.parametrize("n_sequences", [2, 5, 33])
def test_shared_beginnings_are_computed_once(n_sequences: int) -> None:
    """With room for every prompt in a pass, no token of the tree is computed twice."""
    random = np.random.default_rng(5)
    prompts = [[1] * 20 + [int(n) for n in random.integers(0, 3, 12)] for _ in range(30)]
    jobs = [Job(str(n), prompt, 1, Best()) for n, prompt in enumerate(prompts)]
    _, batcher = run(Pretended(64, n_sequences, 4000), jobs)
    # An answer takes the logits of its prompt's last token, which are never another's.
    assert batcher.computed == distinct_tokens([[*prompt[:-1], 100 + n] for n, prompt in enumerate(prompts)])


def test_right_drafts_save_passes() -> None:
    """With right drafts far fewer passes are needed."""

    class Counting(Pretended):
        passes = 0

        def decode(self, cells: Sequence[Cell]) -> NDArray[np.float32]:
            """Count a pass."""
            self.passes += 1
            return super().decode(cells)

    prompts = [[n % 3, n // 3 % 3, n // 9, 1, 2] for n in range(20)]
    slow, fast = Counting(64, 5, 400), Counting(64, 5, 400)
    run(slow, [Job(str(n), prompt, 20, Best()) for n, prompt in enumerate(prompts)])
    _, batcher = run(fast, [Job(str(n), p, 20, Best(), [alone(p, 20)]) for n, p in enumerate(prompts)])
    assert fast.passes * 2 < slow.passes
    assert batcher.accepted == batcher.proposed > 0


def test_what_is_no_number_spoils_nothing() -> None:
    """A prompt whose logits are no numbers, and what was in flight with it, is doubtful; the others are answered."""
    memory = Pretended(16, 3, 400)
    memory.spoil = 50  # no answer has it
    prompts = [[0, n, 1, n, 2, 1, 0, 1] for n in range(8)]
    prompts[4][3] = 50
    found, _ = run(memory, [Job(str(n), prompt, 6, Best()) for n, prompt in enumerate(prompts)])
    assert found["4"].is_doubtful
    sure = [key for key, answer in found.items() if not answer.is_doubtful]
    assert len(sure) >= 6  # two were in flight
    assert all(found[key].tokens == alone(prompts[int(key)], 6) for key in sure)


def test_near_ties_are_doubtful() -> None:
    """A choice whose lead is below the tolerance is not decided."""
    ties = NearTies()
    ties.learn(0.6)
    batcher = Batcher(Pretended(16, 3, 100), lambda token: token == END, ties, lambda _key: None)
    ((_, answer),) = batcher.run([Job("a", [1, 2], 4, Best())])
    assert answer.is_doubtful
    assert answer.tokens == []

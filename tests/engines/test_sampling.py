"""How a token is chosen from logits: penalty, top_p, temperature, seed, and what a grammar changes of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

from pytest_modelgate.engines.llama import Entry, LlamaModel
from pytest_modelgate.engines.sampling import PENALTY_WINDOW, Chooser, greedy, nucleus, penalise
from pytest_modelgate.errors import EngineError
from pytest_modelgate.records import GenerationSettings

Floats = NDArray[np.float32]
LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=40).map(lambda row: np.array(row, np.float32))


class Only:
    """Allow some tokens, whatever came before."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = tokens
        self.said: list[int] = []

    def allowed(self, tokens: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Say which are among them."""
        return np.isin(tokens, self.tokens)

    def accept(self, token: int) -> None:
        """Remember what was said."""
        self.said.append(token)

    def clone(self) -> Only:
        """Return another."""
        twin = Only(*self.tokens)
        twin.said = list(self.said)
        return twin

    def close(self) -> None:
        """Do nothing."""


def drawn(logits: Floats, n: int, constraint: Only | None = None, **how: float) -> NDArray[np.float64]:
    """Return how often each token was chosen first, by so many cases."""
    how_decoded = GenerationSettings(**how)  # type: ignore[arg-type]
    counts = np.zeros(len(logits))
    for number in range(n):
        counts[Chooser(how_decoded, f"suite/{number}", constraint).choose(logits).token] += 1
    return counts / n


def softmax(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return probabilities."""
    weights = np.exp(values.astype(float) - float(values.max()))
    return np.asarray(weights / weights.sum())


# One step


def test_greedy() -> None:
    """The best token comes with its log-probability and its lead; of equal ones the first is taken."""
    choice = greedy(np.log(np.array([0.2, 0.5, 0.3], np.float32)))
    assert choice.token == 1
    assert choice[1:] == pytest.approx((math.log(0.5), math.log(0.5 / 0.3)), abs=1e-6)
    assert greedy(np.array([0, 3, 3], np.float32))[::2] == (1, 0.0)


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_logits_that_are_no_numbers(value: float, name: str) -> None:
    """One logit that is no number makes the whole position worthless, however it is decoded."""
    for how in (None, GenerationSettings(temperature=1.0), GenerationSettings(repeat_penalty=1.2)):
        with pytest.raises(EngineError, match=f"logits are not numbers .{name}."):
            Chooser(how).choose(np.array([0, value, 1], np.float32))


@given(LOGITS, st.lists(st.integers(0, 1), max_size=6), st.floats(0.25, 4))
def test_penalty_is_that_of_transformers(logits: Floats, recent: list[int], penalty: float) -> None:
    """The penalty on what was said is RepetitionPenaltyLogitsProcessor's."""
    before = logits.copy()
    found = penalise(logits, recent, penalty)

    wanted = RepetitionPenaltyLogitsProcessor(penalty)(
        torch.tensor([recent], dtype=torch.long), torch.from_numpy(logits.copy())[None]
    )
    np.testing.assert_allclose(found, wanted[0].numpy(), rtol=1e-6)
    np.testing.assert_array_equal(logits, before)


@given(LOGITS.filter(lambda row: len(np.unique(row)) == len(row)), st.floats(0.05, 0.95))
def test_top_p_is_that_of_transformers(logits: Floats, top_p: float) -> None:
    """What top_p keeps is what TopPLogitsWarper keeps, but for rounding of a sum that meets the limit."""
    kept, order, before = nucleus(logits.astype(float), top_p)

    left = TopPLogitsWarper(top_p)(None, torch.from_numpy(logits.copy())[None])[0].isfinite().numpy()
    if np.min(np.abs(before - top_p)) > 1e-5:
        assert set(order[:kept]) == set(np.flatnonzero(left))


def test_logprob_is_the_models_own() -> None:
    """However a token was chosen, its probability is what the model gave it."""
    logits = np.array([2, 1, 0.5, -1], np.float32)
    for how in (GenerationSettings(temperature=3.0, top_p=0.9), GenerationSettings(repeat_penalty=2.0)):
        chooser = Chooser(how, "a", said=[0])
        choice = chooser.choose(logits)
        assert choice.logprob == pytest.approx(math.log(softmax(logits)[choice.token]), abs=1e-5)


def test_only_the_last_tokens_are_penalised() -> None:
    """A token that was said longer ago than the window counts no more."""
    logits = np.array([1.1, 1.0, 0.0], np.float32)
    how = GenerationSettings(repeat_penalty=1.5)
    assert Chooser(how, said=[0, *[2] * (PENALTY_WINDOW - 1)]).choose(logits).token == 1
    assert Chooser(how, said=[0, *[2] * PENALTY_WINDOW]).choose(logits).token == 0


# Drawing


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 1.0), (1.0, 0.7), (1.5, 0.8)])
def test_drawn_as_often_as_probable(temperature: float, top_p: float) -> None:
    """Over many cases each token comes as often as softmax says, after top_p of the untempered probabilities."""
    logits = np.array([1.0, 0.3, -0.5, 0.8, -2.0], np.float32)
    order = np.argsort(-logits)
    kept = order[: int(np.searchsorted(np.cumsum(softmax(logits)[order]), top_p)) + 1]
    wanted = np.zeros(len(logits))
    wanted[kept] = softmax(logits[kept] / temperature)

    found = drawn(logits, 4000, temperature=temperature, top_p=top_p)

    assert np.abs(found - wanted).max() < 4 * 0.5 / math.sqrt(4000)
    assert (found[wanted == 0] == 0).all()


def test_drawn_among_what_is_allowed() -> None:
    """Under a grammar the allowed tokens keep their proportions, and top_p counts among them."""
    logits = np.array([3.0, 1.0, 0.5, 0.0], np.float32)
    found = drawn(logits, 3000, Only(1, 2, 3), temperature=1.0, top_p=0.8)
    wanted = softmax(logits[1:3])
    assert found[0] == found[3] == 0
    assert np.abs(found[1:3] - wanted).max() < 4 * 0.5 / math.sqrt(3000)


def test_seed_case_and_place_decide() -> None:
    """The same seed, case and place give the same token; another of any of them gives others."""
    logits = np.zeros(1000, np.float32)
    how = GenerationSettings(temperature=1.0, seed=5)

    def token(seed: int = 5, key: str = "golden/a", said: int = 3) -> int:
        return Chooser(GenerationSettings(temperature=1.0, seed=seed), key, said=[0] * said).choose(logits).token

    assert token() == Chooser(how, "golden/a", said=[7, 8, 9]).choose(logits).token
    assert len({token(), token(seed=6), token(key="golden/a#1"), token(key="golden/b"), token(said=4)}) == 5


def test_drawn_numbers_stay_what_they_are() -> None:
    """What a seed draws is the same on every machine and with every release."""
    logits = np.linspace(0, 1, 50, dtype=np.float32)
    chooser = Chooser(GenerationSettings(temperature=1.0, seed=1), "golden/a")
    tokens = []
    for _ in range(6):
        tokens.append(chooser.choose(logits).token)
        chooser.accept(tokens[-1])
    assert tokens == [37, 34, 18, 31, 39, 17]


@given(LOGITS, st.integers(0, 50), st.sampled_from([1.0, 0.8]), st.floats(0.3, 2), st.data())
@settings(max_examples=60, deadline=None)
def test_margin_is_what_a_choice_withstands(
    logits: Floats, seed: int, top_p: float, temperature: float, data: st.DataObject
) -> None:
    """Noise on the logits that is smaller than half the margin changes no choice."""
    chooser = Chooser(GenerationSettings(temperature=temperature, top_p=top_p, seed=seed), "a/b")
    choice = chooser.choose(logits)
    size = min(choice.margin, 1.0) * 0.49
    noise = data.draw(st.lists(st.floats(-size, size), min_size=len(logits), max_size=len(logits)))
    if top_p == 1 and size > 1e-4:
        assert chooser.choose((logits + np.array(noise)).astype(np.float32)).token == choice.token


# Under a constraint


@given(LOGITS, st.data())
def test_best_of_what_is_allowed(logits: Floats, data: st.DataObject) -> None:
    """Under a constraint the best allowed token is taken, and it says whether that was the best of all."""
    tokens = data.draw(st.sets(st.integers(0, len(logits) - 1), min_size=1))
    chooser = Chooser(GenerationSettings(grammar="any"), constraint=Only(*tokens))
    choice = chooser.choose(logits)
    masked = np.full_like(logits, -np.inf)
    masked[list(tokens)] = logits[list(tokens)]
    assert choice.token == int(masked.argmax())
    assert chooser.overridden == (choice.token != int(logits.argmax()))
    assert 0 <= choice.margin < math.inf


def test_far_down_the_vocabulary() -> None:
    """An allowed token is found also where thousands are more probable."""
    logits = np.linspace(5, 0, 5000, dtype=np.float32)
    for temperature in (0.0, 1.0):
        chooser = Chooser(GenerationSettings(temperature=temperature, grammar="any"), constraint=Only(3000, 4000))
        assert chooser.choose(logits).token in ({3000} if temperature == 0 else {3000, 4000})
        assert chooser.overridden


def test_nothing_is_allowed() -> None:
    """A grammar that allows no token is an error of the case, not an arbitrary token."""
    with pytest.raises(EngineError, match="allows no token"):
        Chooser(GenerationSettings(grammar="any"), constraint=Only()).choose(np.zeros(9, np.float32))


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.7]), st.sampled_from([1.0, 0.9]), st.integers(1, 63))
@settings(max_examples=60, deadline=None)
def test_without_override_the_text_is_the_same(seed: int, temperature: float, top_p: float, allowed: int) -> None:
    """Where the constraint never changed a choice, the answer without it is the same."""
    rows = np.random.default_rng(seed).normal(size=(5, 6)).astype(np.float32)
    how = GenerationSettings(temperature, top_p, 1.2, seed, "any")
    held = Chooser(how, "a", Only(*(place for place in range(6) if allowed >> place & 1)))
    free = Chooser(how.without_grammar(), "a")
    same = True
    for row in rows:
        tokens = held.choose(row).token, free.choose(row).token
        held.accept(tokens[0])
        free.accept(tokens[1])
        same &= tokens[0] == tokens[1]
        if same:
            assert not held.overridden
    assert same or held.overridden


def test_clone_goes_its_own_way() -> None:
    """A clone goes on from where it was made, and neither hears what the other says."""
    logits = np.zeros(100, np.float32)
    chooser = Chooser(GenerationSettings(temperature=1.0, repeat_penalty=1.5, grammar="any"), "a", Only(*range(100)))
    chooser.accept(3)
    twin = chooser.clone()
    assert twin.choose(logits) == chooser.choose(logits)
    twin.accept(5)
    assert twin.choose(logits) != chooser.choose(logits)
    constraint, other = chooser._constraint, twin._constraint
    assert isinstance(constraint, Only)
    assert isinstance(other, Only)
    assert (constraint.said, other.said) == ([3], [3, 5])


# Against llama-cpp-python


@pytest.fixture(scope="module")
def peer(random_gguf: Path) -> Callable[..., list[int]]:
    """Give llama-cpp-python's own way from a prompt to tokens."""
    from llama_cpp import Llama

    llama = Llama(str(random_gguf), n_ctx=1024, n_threads=1, verbose=False)

    def run(prompt: list[int], n: int, seed: int = 0, **how: float) -> list[int]:
        llama.reset()
        llama.set_seed(seed)
        stream = llama.generate(prompt, top_k=0, min_p=0.0, typical_p=1.0, **how)
        return [token for _, token in zip(range(n), stream, strict=False)]

    return run


@pytest.mark.parametrize("penalty", [1.0, 1.1, 1.5, 3.0])
def test_penalised_answers_are_llama_cpp_pythons(
    random_gguf: Path, peer: Callable[..., list[int]], penalty: float
) -> None:
    """Every token of greedy answers with a penalty is llama-cpp-python's, beyond the window too, but for near-ties."""
    model = LlamaModel(random_gguf, n_ctx=1024, n_threads=1)
    choices, differing = [], []
    for prompt in ([104, 105], [33] * 70, list(range(60, 90))):
        model.clear()
        chooser = Chooser(GenerationSettings(repeat_penalty=penalty))
        entries = [Entry(token, place, wants_logits=place == len(prompt) - 1) for place, token in enumerate(prompt)]
        for number, token in enumerate(peer(prompt, 150, temp=0.0, repeat_penalty=penalty, top_p=1.0)):
            choices.append(chooser.choose(model.decode(entries)[0]))
            differing += [] if choices[-1].token == token else [choices[-1].margin]
            chooser.accept(token)
            entries = [Entry(token, len(prompt) + number, wants_logits=True)]
    model.close()
    assert len(choices) == 450
    assert len(differing) <= 3
    assert max(differing, default=0.0) < 0.1  # the caches hold f16, and are filled in other portions


def test_first_tokens_are_distributed_as_llama_cpp_pythons(random_gguf: Path, peer: Callable[..., list[int]]) -> None:
    """With temperature and top_p the same tokens come as often as from llama-cpp-python."""
    model = LlamaModel(random_gguf, n_ctx=1024, n_threads=1)
    logits = model.decode([Entry(104, 0), Entry(105, 1, wants_logits=True)])[0]
    model.close()
    temperature, top_p, n = 5.0, 0.99999, 500
    kept, order, _ = nucleus(logits.astype(float), top_p)
    ours = drawn(logits, n, temperature=temperature, top_p=top_p)
    theirs = [peer([104, 105], 1, seed, temp=temperature, top_p=top_p)[0] for seed in range(n)]
    counted = np.bincount(theirs, minlength=len(logits)) / n
    assert kept > 2
    assert set(np.flatnonzero(ours)) | set(theirs) <= set(order[:kept].tolist())
    assert np.abs(ours - counted).max() < 4 * math.sqrt(2 * 0.25 / n)

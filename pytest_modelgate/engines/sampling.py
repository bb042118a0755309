"""
Choose the next token from logits: penalty, grammar, top_p, temperature, seed; pure numpy, one :class:`Chooser` a sequence.

The order is llama.cpp's: what was said lately is penalised, what the grammar forbids is taken out, ``top_p`` keeps the
most probable of the rest, ``temperature`` flattens them, and one is drawn. (transformers applies the temperature before
``top_p``.) A temperature of 0 takes the best instead.

A token is drawn by the Gumbel-max trick: to each candidate's logit, divided by the temperature, noise is added, and the
largest sum wins, which draws from the softmax exactly (Gumbel 1954; Maddison, Tarlow and Minka 2014). The noise depends on
nothing but the seed, the case's key, the number of the token in the answer and the token's id. So neither the order of
cases nor what is decoded beside them changes an answer, a draft can be verified as under greedy decoding, and how near a
choice was to another is a difference of logits here too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.errors import EngineError
from pytest_modelgate.records import GenerationSettings

__all__ = ["PENALTY_WINDOW", "Choice", "Chooser", "Constraint", "greedy", "nucleus", "penalise"]

PENALTY_WINDOW = 64
"""How many of the last generated tokens ``repeat_penalty`` counts, as in llama.cpp."""

Floats = NDArray[np.floating[Any]]
Tokens = NDArray[np.intp]

_LEADING = (64, 1024)
# How many of the best candidates a grammar is asked about before it is asked about all: of 150,000 tokens that takes tens
# of milliseconds, and nearly always one of the first few is allowed.
_ALONE = 40.0
"""The lead of a choice without a rival, larger than what logits differ by between two ways to compute them."""
_NOTHING_ALLOWED = "the grammar allows no token of the vocabulary here"


class Choice(NamedTuple):
    """
    Hold a token that was chosen.

    ``logprob``: natural logarithm of the probability that the model itself gave it, before penalty, grammar, top_p and
    temperature. ``margin``: by how much logits would have to differ for another choice; at most what is known.
    """

    token: int
    logprob: float
    margin: float


class Constraint(Protocol):
    """Say which tokens may come next; one for each sequence."""

    def allowed(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Say of each of ``tokens`` whether it may come next; an end of generation may where the text is complete."""

    def accept(self, token: int) -> None:
        """Go on after ``token``, which was allowed."""

    def clone(self) -> Constraint:
        """Return one that goes on from here by itself."""

    def close(self) -> None:
        """Free what it holds; calling it twice is harmless."""


class Chooser:
    """
    Choose the tokens of one sequence.

    ``settings``: None for greedy decoding. ``key``: of the request, for its own random numbers; a repeat has another.
    ``constraint``: what ``settings.grammar`` makes of it, None without one. ``overridden`` says whether the constraint
    ever changed the choice: while it did not, the text is what it would be without a grammar. ``said``: tokens of the
    answer so far; the prompt's do not count for the penalty, as in llama-cpp-python (in llama-server they do).

    ``choose`` and ``accept`` are called in turns; to try a draft, choose at each of its positions and accept what was
    chosen, until that is not what the draft has.
    """

    def __init__(
        self,
        settings: GenerationSettings | None = None,
        key: str = "",
        constraint: Constraint | None = None,
        said: Sequence[int] = (),
    ) -> None:
        self.overridden = False
        self._settings = settings or GenerationSettings()
        self._key = key
        self._constraint = constraint
        self._said = list(said)

    @property
    def is_plain(self) -> bool:
        """Say whether the choice is that of :func:`greedy`, whatever came before."""
        settings = self._settings
        return self._constraint is None and settings.temperature == 0 and settings.repeat_penalty == 1

    def choose(self, logits: Floats) -> Choice:
        """
        Choose from logits of shape (n_vocab,), which are not changed.

        Raises EngineError where they are not numbers, and where the grammar allows no token of the vocabulary.
        """
        plain = greedy(logits)
        if self.is_plain:
            return plain
        penalty = self._settings.repeat_penalty
        scores = penalise(logits, self._said[-PENALTY_WINDOW:], penalty)
        choose = self._best if self._settings.temperature == 0 else self._drawn
        token, margin = choose(scores)
        logprob = plain.logprob + float(logits[token]) - float(logits[plain.token])
        # A penalty multiplies what logits differ by as well.
        return Choice(token, logprob, margin / max(penalty, 1 / penalty))

    def accept(self, token: int) -> None:
        """Go on after ``token``, an end of generation excepted."""
        self._said.append(token)
        if self._constraint is not None:
            self._constraint.accept(token)

    def clone(self) -> Self:
        """Return one that goes on from here by itself."""
        constraint = None if self._constraint is None else self._constraint.clone()
        twin = type(self)(self._settings, self._key, constraint, self._said)
        twin.overridden = self.overridden
        return twin

    def close(self) -> None:
        """Free what the constraint holds."""
        if self._constraint is not None:
            self._constraint.close()

    def _best(self, scores: Floats) -> tuple[int, float]:
        """Return the best allowed token and its lead."""
        if self._constraint is None:
            best = int(np.argmax(scores))
            return best, _lead(scores, best)
        tokens, allowed = self._first_allowed(scores)
        values = scores[tokens].astype(float)
        best, *others = np.flatnonzero(allowed).tolist()
        self.overridden |= best > 0
        # Of those that were not looked at, none is better than the last that was.
        margin = values[best] - values[others[0] if others else -1]
        if not allowed.all():
            # A tie with a forbidden token leaves the choice as it is, but decides whether it was overridden.
            margin = min(margin, abs(values[best] - values[np.argmin(allowed)]))
        return int(tokens[best]), float(margin)

    def _drawn(self, scores: Floats) -> tuple[int, float]:
        """Return a token that was drawn, and how near it was to another."""
        temperature, top_p = self._settings.temperature, self._settings.top_p
        values = scores.astype(float)
        sums = values / temperature + self._noise(len(scores))
        if top_p >= 1:
            token, margin = self._best(sums)
            return token, temperature * margin
        free, margin = _draw(values, sums, self._settings)
        if self._constraint is None:
            return free, margin
        # What top_p keeps of the allowed tokens depends on all of them: here none can be left unasked.
        places = np.flatnonzero(self._constraint.allowed(np.arange(len(scores))))
        if not len(places):
            raise EngineError(_NOTHING_ALLOWED)
        drawn, allowed_margin = _draw(values[places], sums[places], self._settings)
        token = int(places[drawn])
        self.overridden |= token != free
        return token, min(margin, allowed_margin)

    def _first_allowed(self, scores: Floats) -> tuple[Tokens, NDArray[np.bool_]]:
        """Return the best tokens in order, as many as it takes to have an allowed one, and which of them are allowed."""
        assert self._constraint is not None  # noqa: S101  # asked for where there is one
        for count in (*_LEADING, len(scores)):
            tokens = _leading(scores, count)
            allowed = self._constraint.allowed(tokens)
            if allowed.any():
                return tokens, allowed
        raise EngineError(_NOTHING_ALLOWED)

    def _noise(self, n_vocab: int) -> NDArray[np.float64]:
        """Return standard Gumbel noise for each token, for this case and this token of its answer."""
        hashed = hashlib.sha256(f"{self._settings.seed}\n{self._key}".encode("utf-8", "surrogatepass")).digest()
        key = np.frombuffer(hashed[:16], "<u8")
        uniform = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, len(self._said)])).random(n_vocab)
        exponential = np.maximum(-np.log1p(-uniform), 2.0**-54)
        return np.asarray(-np.log(exponential))


def greedy(logits: Floats) -> Choice:
    """
    Choose the most probable token from logits of shape (n_vocab,).

    Of equal ones the first is chosen, as by llama.cpp. The margin is its lead over the second best logit. Raises
    EngineError where the logits are not numbers.
    """
    best = int(np.argmax(logits))  # of an array with a NaN: the NaN
    highest = float(logits[best])
    if not math.isfinite(highest):
        what = "NaN" if math.isnan(highest) else "infinite"
        raise EngineError(
            f"logits are not numbers ({what}): weights of this file, or what is computed from them, overflow"
        )
    # Done for every token, of a vocabulary of 150,000: nothing is copied but what the exponentials need, in half of the
    # precision and a fifth of the time that doubles take; their sum is pairwise, its logarithm right to 1e-6.
    exponentials = np.subtract(logits, logits[best])
    logprob = -math.log(float(np.sum(np.exp(exponentials, out=exponentials))))
    return Choice(best, logprob, _lead(logits, best))


def penalise(logits: Floats, recent: Sequence[int], penalty: float) -> Floats:
    """
    Make tokens among ``recent`` less probable: a positive logit is divided by ``penalty``, another multiplied.

    Once, however often a token was said (Keskar et al. 2019, with the sign as everyone has it since). Returns ``logits``
    itself where there is nothing to do.
    """
    if penalty == 1 or not recent:
        return logits
    tokens = np.unique(np.asarray(recent, np.intp))
    changed = logits.copy()
    values, factor = logits[tokens], np.float32(penalty)
    changed[tokens] = np.where(values <= 0, values * factor, values / factor)
    return changed


def nucleus(values: NDArray[np.float64], top_p: float) -> tuple[int, Tokens, NDArray[np.float64]]:
    """
    Return how many of ``values``, logits, ``top_p`` keeps, the best of them in order, and the probability before each.

    Kept are the fewest whose probabilities sum up to ``top_p`` (Holtzman et al. 2020), always one. Of the order only as
    much is returned as has them all, and one more where there is one.
    """
    weights = np.exp(values - values.max())
    weights /= weights.sum()
    for count in (*_LEADING, len(values)):
        order = _leading(values, count)
        until = np.cumsum(weights[order])
        if until[-1] >= top_p and len(order) > np.count_nonzero(until < top_p) + 1:
            break
    before = np.concatenate(([0.0], until[:-1]))
    return max(1, int(np.count_nonzero(before < top_p))), order, before


def _draw(values: NDArray[np.float64], sums: NDArray[np.float64], settings: GenerationSettings) -> tuple[int, float]:
    """
    Return which of ``values``, logits, wins by ``sums`` among those that top_p keeps, and how near it was to another.

    Near is also who would win if ``top_p`` kept one more, or not the winner: a cumulated probability changes by about as
    many parts of itself as logits change.
    """
    temperature, top_p = settings.temperature, settings.top_p
    kept, order, before = nucleus(values, top_p)
    inside = sums[order[:kept]]
    place = int(np.argmax(inside))
    winner = int(order[place])
    # Alone it stays as far ahead as logits tell anything of.
    margin = temperature * _lead(inside, place) if kept > 1 else _ALONE
    doubtful = [before[place], *before[kept:][sums[order[kept:]] > sums[winner]]]
    margin = min([margin, *(abs(math.log(part / top_p)) for part in doubtful if part > 0)])
    return winner, margin


def _leading(scores: Floats, count: int) -> Tokens:
    """Return the ``count`` best tokens and those equal to the last of them, best first, of equal ones the first id."""
    if count >= len(scores):
        return _sorted(scores, np.arange(len(scores)))
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    return _sorted(scores, np.flatnonzero(scores >= least))


def _sorted(scores: Floats, tokens: Tokens) -> Tokens:
    """Return ``tokens``, given by id, best first."""
    return tokens[np.argsort(-scores[tokens], kind="stable")]


def _lead(scores: Floats, best: int) -> float:
    """Return by how much the best is better than the second best."""
    others = [float(np.max(part)) for part in (scores[:best], scores[best + 1 :]) if len(part)]
    return float(scores[best]) - max(others, default=-math.inf)

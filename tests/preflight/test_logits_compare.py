"""Distributions are compared as scipy and torch compare them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from pytest_modelgate.preflight.logits_compare import compare, decision_places, kl_divergence, log_softmax, probability

logits = arrays(np.float32, (3, 5), elements=st.floats(-40, 40, width=32))


@given(logits)
def test_log_probabilities_are_torch_s(found: np.ndarray) -> None:
    """They are what torch gives in double precision."""
    wanted = torch.log_softmax(torch.tensor(found, dtype=torch.float64), -1).numpy()
    np.testing.assert_allclose(log_softmax(found), wanted, atol=1e-9)


@given(logits, logits)
def test_divergences_are_scipy_s(one: np.ndarray, other: np.ndarray) -> None:
    """KL is scipy's relative entropy of the two softmaxes."""
    p, q = (torch.softmax(torch.tensor(values, dtype=torch.float64), -1).numpy() for values in (one, other))
    np.testing.assert_allclose(kl_divergence(one, other), entropy(p, q, axis=-1), rtol=1e-6, atol=1e-9)


@given(logits, st.floats(-5, 5))
def test_a_model_agrees_with_itself(found: np.ndarray, shift: float) -> None:
    """Nothing differs, also where all logits are moved by the same."""
    result = compare([(found, (found + np.float32(shift)).astype(np.float32))])
    assert result.kl_mean < 1e-6
    assert result.nmse < 1e-6 or not found.std(axis=-1).any()


@given(logits, logits)
def test_rows_are_put_together(one: np.ndarray, other: np.ndarray) -> None:
    """Positions count alike, however they are spread over rows."""
    whole = compare([(one, other)])
    parts = compare([(one[:1], other[:1]), (one[1:], other[1:])])
    assert (whole.kl_mean, whole.top1, whole.n_positions) == pytest.approx((parts.kl_mean, parts.top1, 3))
    assert whole.kl_p99 <= kl_divergence(one, other).max() + 1e-12


def test_a_token_that_cannot_be_costs_no_divergence() -> None:
    """A reference's probability of zero adds nothing, the other's makes it infinite."""
    never = np.array([[0.0, 0.0, -np.inf]], np.float32)
    always = np.zeros((1, 3), np.float32)
    assert kl_divergence(never, always) == pytest.approx(math.log(1.5))
    assert kl_divergence(always, never) == math.inf


def test_padding_of_the_vocabulary_is_left_out() -> None:
    """A file whose embedding has more rows than there are tokens is compared as far as both go."""
    one = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)
    padded = np.concatenate([one, np.zeros((4, 2), np.float32)], axis=1)
    assert compare([(one, padded)]).kl_mean == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_the_worst(bad: float) -> None:
    """One logit that is no number makes the comparison fail, whatever the others are."""
    one = np.zeros((2, 3), np.float32)
    other = one.copy()
    other[1, 1] = bad
    result = compare([(one, other)])
    assert (result.kl_mean, result.nmse, result.top1) == (math.inf, math.inf, 0.0)


def test_nothing_to_compare_is_not_green() -> None:
    """Without a position the figures are the worst."""
    assert compare([]).kl_mean == math.inf


def test_agreement_is_counted_where_answers_part() -> None:
    """The tokens that choose a label are counted on their own too."""
    one = np.eye(4, dtype=np.float32)
    other = one[[0, 1, 3, 3]]
    result = compare([(one, other)], [[2]])
    assert (result.top1, result.decisions, result.n_decisions) == (0.75, 0.0, 1)


def test_answers_part_at_their_labels() -> None:
    """Of answers of one form, the positions are those of the labels."""
    answers = [(9, 8, 1, 7, 6, 5, 2), (9, 8, 3, 7, 6, 5, 4), (9, 8, 1, 7, 6, 5, 4)]
    assert decision_places(answers) == [[2, 6]] * 3


@given(st.lists(st.lists(st.integers(0, 3), max_size=8), max_size=5))
def test_places_lie_within_their_answers(answers: list[list[int]]) -> None:
    """There is a list for each answer, ordered, of positions that it has; one answer alone parts from nothing new."""
    found = decision_places(answers)
    assert len(found) == len(answers)
    for places, answer in zip(found, answers, strict=True):
        assert places == sorted(set(places))
        assert all(0 <= place < len(answer) for place in places)
    assert decision_places([[1, 2, 3]]) == [[]]


@given(logits)
def test_a_token_s_probability_is_its_softmax(found: np.ndarray) -> None:
    """It is read off for each position."""
    wanted = torch.softmax(torch.tensor(found, dtype=torch.float64), -1)[:, 2].numpy()
    np.testing.assert_allclose(probability(found, 2), wanted, atol=1e-12)

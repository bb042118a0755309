"""Costs are the published formulas of measured times and given prices; what nobody gave is never taken for zero."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelgate_training.documents.cost import (
    Prices,
    cost_table,
    experiment_cost,
    monthly_cost,
    request_cost,
    worthwhile,
)
from pydantic import ValidationError

from pytest_modelgate.records import Performance, Sample
from tests.rendering import assert_inert

# A small model on a machine of 2 an hour in place of one that takes 1.50 for 1,000 requests.
ALL: dict[str, Any] = {
    "teacher": 120.0,
    "validation": 80.0,
    "machine_per_hour": 2.0,
    "evaluation": 15.0,
    "requests_per_month": 400_000,
    "tokens_per_request": 500,
    "price_per_million_tokens": 0.25,
    "hosting_per_month": 90.0,
    "alternative_per_1k_requests": 1.5,
    "upkeep_per_month": 300.0,
}
SAVED = "savings of 460.00 USD against an upkeep of 300.00 USD a month"
amounts = st.floats(min_value=0, max_value=1e9)


def test_an_experiment_is_teacher_validation_machine_and_evaluation() -> None:
    """120 + 80 + 1.5 h at 2 + 15 = 218."""
    cost = experiment_cost(Prices(**ALL), 1.5)
    assert [(term.name, term.amount) for term in cost.terms] == [
        ("teacher", 120.0),
        ("validation", 80.0),
        ("machine", 3.0),
        ("evaluation", 15.0),
    ]
    assert (cost.total, cost.missing) == (218.0, ())


def test_a_month_is_requests_times_tokens_times_price_and_hosting() -> None:
    """400,000 requests of 500 tokens are 200 million tokens: 50 at 0.25 a million, and 90 of hosting."""
    cost = monthly_cost(Prices(**ALL))
    assert [term.amount for term in cost.terms] == [50.0, 90.0]
    assert cost.total == 140.0


def test_a_thousand_requests_are_their_time_on_the_machine() -> None:
    """1,000 requests of 0.18 s are 180 s, a twentieth of an hour: 0.10 at 2 an hour."""
    assert request_cost(Prices(**ALL), 0.18).total == pytest.approx(0.10)


@given(amounts, st.lists(st.floats(min_value=0, max_value=1e4), min_size=1))
def test_it_is_the_gates_own_figure(price: float, seconds: list[float]) -> None:
    """The card and the gate's metric cost_per_1k_requests agree."""
    samples = tuple(Sample(str(n), 0.0, one, 1) for n, one in enumerate(seconds))
    ours = request_cost(Prices(machine_per_hour=price), sum(seconds) / len(seconds)).total
    assert ours == pytest.approx(Performance("t", samples, price_per_hour=price).cost_per_1k_requests)


def test_it_is_worthwhile_if_savings_exceed_upkeep() -> None:
    """The alternative takes 600 a month, ours 140: 460 saved, 300 of upkeep, so 218 are back after 218 / 160 months."""
    prices = Prices(**ALL)
    worth = worthwhile(prices, experiment_cost(prices, 1.5))
    assert (worth.alternative, worth.month, worth.savings, worth.upkeep) == (600.0, 140.0, 460.0, 300.0)
    assert worth.is_worthwhile is True
    assert worth.months == pytest.approx(1.3625)


@pytest.mark.parametrize("upkeep", [460.0, 500.0])
def test_savings_that_do_not_exceed_upkeep_are_not_worthwhile(upkeep: float) -> None:
    """Savings that equal the upkeep pay for nothing."""
    prices = Prices(**ALL | {"upkeep_per_month": upkeep})
    worth = worthwhile(prices, experiment_cost(prices, 1.5))
    assert worth.is_worthwhile is False
    assert worth.months is None


@given(st.dictionaries(st.sampled_from(sorted(ALL)), amounts), amounts)
def test_sums_are_those_of_exact_arithmetic(given_: dict[str, float], hours: float) -> None:
    """Fractions give the same sums; where a term is missing, there is no sum."""
    prices = Prices(**given_)
    exact = {name: Fraction(value) for name, value in given_.items()}
    cost = experiment_cost(prices, hours)
    sums = [exact.get(name) for name in ("teacher", "validation", "evaluation")]
    rate = exact.get("machine_per_hour", Fraction(0) if hours == 0 else None)
    sums.append(None if rate is None else rate * Fraction(hours))
    known = [term for term in sums if term is not None]
    assert cost.at_least == pytest.approx(float(sum(known)))
    assert (cost.total is None) == (len(known) < len(sums))


@pytest.mark.parametrize("left_out", sorted(ALL))
def test_a_price_that_is_left_out_is_not_zero(left_out: str) -> None:
    """Each sum that needs it has no value and names it; the others stay."""
    prices = Prices(**{name: value for name, value in ALL.items() if name != left_out})
    experiment, month, worth = experiment_cost(prices, 1.5), monthly_cost(prices), worthwhile(prices)
    needed = {"teacher", "validation", "machine_per_hour", "evaluation"}
    assert (experiment.total is None) == (left_out in needed)
    assert (month.total is None) == (left_out in {*list(ALL)[4:7], "hosting_per_month"})
    assert (worth.is_worthwhile is None) == (left_out not in needed)
    told = {*experiment.missing, *month.missing, *worth.missing}
    assert told == {left_out}
    rows = cost_table(prices, 1.5, 0.2)
    assert any(f"not given: {left_out.replace('_', ' ')}" in value for _, value in rows)


def test_what_was_not_measured_says_so() -> None:
    """Times that no run measured are no zero either, and are told from prices."""
    rows = dict(cost_table(Prices(**ALL)))
    assert rows["experiment: machine"] == "not measured: machine hours"
    assert rows["experiment"] == "at least 215.00 USD; not measured: machine hours"
    assert rows["1,000 requests, one at a time"] == "not measured: seconds per request"
    assert rows["worthwhile"].startswith("yes: ")
    assert "paid back" not in rows["worthwhile"]


def test_nothing_times_the_unknown_is_nothing() -> None:
    """On a machine of your own tokens cost nothing, however many there are."""
    cost = monthly_cost(Prices(price_per_million_tokens=0, hosting_per_month=40))
    assert (cost.total, cost.missing) == (40.0, ())


def test_the_table_shows_how_each_figure_came_about() -> None:
    """Terms with their factors, sums, and the answer with what it compares."""
    assert cost_table(Prices(**ALL), 1.5, 0.18) == [
        ("experiment: teacher", "120.00 USD"),
        ("experiment: validation", "80.00 USD"),
        ("experiment: machine", "3.00 USD (1.5 h x 2 USD/h)"),
        ("experiment: evaluation", "15.00 USD"),
        ("experiment", "218.00 USD"),
        ("1,000 requests, one at a time", "0.10 USD (0.18 s x 2 USD/h)"),
        ("month: tokens", "50.00 USD (400,000 requests x 500 tokens x 0.25 USD per million tokens)"),
        ("month: hosting", "90.00 USD"),
        ("month", "140.00 USD"),
        ("savings against the alternative in a month", "460.00 USD (600.00 USD less 140.00 USD)"),
        ("worthwhile", f"yes: {SAVED}; the experiment is paid back after 1.363 months"),
    ]


def test_without_prices_nothing_looks_like_a_figure() -> None:
    """A table of unknowns holds no amount, and no answer."""
    rows = dict(cost_table(Prices(), 1.5, 0.18))
    assert not any("USD" in value for value in rows.values())
    assert rows["worthwhile"].startswith("cannot be told; not given: ")


def test_small_amounts_keep_two_digits() -> None:
    """A published 0.00001 a call is not 0.00."""
    rows = dict(cost_table(Prices(machine_per_hour=0.0001), None, 0.36))
    assert rows["1,000 requests, one at a time"].startswith("0.00001 USD ")


@given(
    st.dictionaries(st.sampled_from(sorted(ALL)), st.floats(min_value=0, max_value=1e300)),
    st.one_of(st.none(), amounts),
    st.one_of(st.none(), amounts),
)
def test_a_table_is_plain_text(given_: dict[str, float], hours: float | None, seconds: float | None) -> None:
    """Whatever the prices are, each cell is one line of text in which nothing is markup."""
    for name, text in cost_table(Prices(**given_), hours, seconds):
        assert name
        assert text
        assert "\n" not in text
        assert "|" not in name + text
        assert_inert(text)


@pytest.mark.parametrize(
    "wrong",
    [{"teacher": -1}, {"hosting_per_month": math.nan}, {"evaluation": math.inf}, {"currency": "usd|"}, {"gpu": 2.0}],
)
def test_a_price_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    """Negative and infinite amounts, unknown keys and currencies that are no code are mistakes."""
    with pytest.raises(ValidationError):
        Prices(**wrong)


@pytest.mark.parametrize("hours", [-1.0, math.nan, math.inf])
def test_a_time_that_no_clock_shows_is_refused(hours: float) -> None:
    """A negative or infinite time is a fault of whoever measured it, not a cost."""
    with pytest.raises(ValueError, match="machine hours: must be finite and not negative"):
        experiment_cost(Prices(**ALL), hours)


def test_every_price_is_described() -> None:
    """A key without a description would be a key nobody can use; none is changed afterwards."""
    assert all(field.description for field in Prices.model_fields.values())
    with pytest.raises(ValidationError):
        Prices().teacher = 1.0

"""
Work out what an experiment costs, what using its model costs, and whether that is worth it.

The formulas are those of the eval-first workflow::

    experiment = teacher + validation + machine hours x rate + evaluation
    month      = requests x tokens x price + hosting
    worthwhile   if savings > upkeep, where savings = the alternative's month - ours

Hours and seconds are measured, prices are given. A price that nobody gave is not zero: the sum then has no value, only what
it is at least, and what is missing is named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

NOT_GIVEN, NOT_MEASURED = "not given", "not measured"
_HOURS, _SECONDS = "machine hours", "seconds per request"
_MEASURED = (_HOURS, _SECONDS)

_UNITS = {
    _HOURS: "h",
    _SECONDS: "s",
    "machine_per_hour": "{}/h",
    "requests_per_month": "requests",
    "tokens_per_request": "tokens",
    "price_per_million_tokens": "{} per million tokens",
    "alternative_per_1k_requests": "{} per 1,000 requests",
}
_CENT = 0.01


# Not a config.Section, so that config can hold it: whatever config imports must not import config.
class Prices(BaseModel):
    """Say what things cost; a price that is left out is unknown, not zero."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    teacher: float | None = Field(
        default=None, ge=0.0, description="what making the training rows cost in all: a larger model, or people"
    )
    validation: float | None = Field(default=None, ge=0.0, description="what checking the training rows cost in all")
    machine_per_hour: float | None = Field(
        default=None, ge=0.0, description="the machine that trains and answers, for an hour"
    )
    evaluation: float | None = Field(
        default=None, ge=0.0, description="what judging cost in all beside machine time, such as a judging model"
    )
    requests_per_month: float | None = Field(default=None, ge=0.0, description="expected number of requests in a month")
    tokens_per_request: float | None = Field(default=None, ge=0.0, description="of prompt and answer together")
    price_per_million_tokens: float | None = Field(
        default=None, ge=0.0, description="where the model's answers are paid by token; 0 on a machine of your own"
    )
    hosting_per_month: float | None = Field(default=None, ge=0.0, description="the machine that answers, for a month")
    alternative_per_1k_requests: float | None = Field(
        default=None, ge=0.0, description="what 1,000 requests cost with what this model replaces"
    )
    upkeep_per_month: float | None = Field(
        default=None, ge=0.0, description="people's work on data, suites and releases, for a month"
    )
    currency: str = Field(
        default="USD", pattern=r"^[A-Z]{3}$", description="of all prices, as three capitals (ISO 4217)"
    )


@dataclass(frozen=True, slots=True)
class Term:
    """Hold a part of a sum: its amount, None where it cannot be told, how it was worked out, and what is missing for it."""

    name: str
    amount: float | None
    how: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """Hold a sum of terms, in the currency of the prices."""

    terms: tuple[Term, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """Return what was not given or measured, in order."""
        return tuple(dict.fromkeys(name for term in self.terms for name in term.missing))

    @property
    def at_least(self) -> float:
        """Return the sum of what can be told."""
        return sum(term.amount for term in self.terms if term.amount is not None)

    @property
    def total(self) -> float | None:
        """Return the sum; None where anything is missing."""
        return None if self.missing else self.at_least


@dataclass(frozen=True, slots=True)
class Worth:
    """
    Hold whether a month's savings exceed its upkeep.

    ``savings``: what the alternative costs in a month, less what this model does; None where one of them is unknown.
    ``is_worthwhile``: None where that cannot be told. ``months``: until the experiment is paid back; None where it never
    is, or where that cannot be told. ``missing``: what was not given, but for the months.
    """

    alternative: float | None
    month: float | None
    savings: float | None
    upkeep: float | None
    is_worthwhile: bool | None
    months: float | None
    missing: tuple[str, ...]


def experiment_cost(prices: Prices, machine_hours: float | None) -> Cost:
    """Return what an experiment cost; ``machine_hours``: of all stages together, None where they were not measured."""
    machine = _product("machine", prices, ("machine_per_hour",), {_HOURS: machine_hours})
    return Cost((_given(prices, "teacher"), _given(prices, "validation"), machine, _given(prices, "evaluation")))


def monthly_cost(prices: Prices) -> Cost:
    """Return what a month of requests costs."""
    factors = ("requests_per_month", "tokens_per_request", "price_per_million_tokens")
    return Cost((_product("tokens", prices, factors, per=1e6), _given(prices, "hosting_per_month", "hosting")))


def request_cost(prices: Prices, seconds: float | None) -> Cost:
    """
    Return what a thousand requests cost, one at a time; ``seconds``: the mean time of one, None where it was not measured.

    The gate's metric ``cost_per_1k_requests`` is the same.
    """
    return Cost((_product("1,000 requests", prices, ("machine_per_hour",), {_SECONDS: seconds}, per=3600 / 1000),))


def worthwhile(prices: Prices, experiment: Cost | None = None) -> Worth:
    """Say whether the model saves more in a month than its upkeep costs; ``experiment``: what has to be paid back."""
    replaced = _product("alternative", prices, ("requests_per_month", "alternative_per_1k_requests"), per=1e3)
    month, upkeep = monthly_cost(prices), _given(prices, "upkeep_per_month", "upkeep")
    missing = tuple(dict.fromkeys((*replaced.missing, *month.missing, *upkeep.missing)))
    alternative, ours = replaced.amount, month.total
    savings = None if alternative is None or ours is None else alternative - ours
    gain = None if savings is None or upkeep.amount is None else savings - upkeep.amount
    paid = None if experiment is None else experiment.total
    return Worth(
        alternative=alternative,
        month=ours,
        savings=savings,
        upkeep=upkeep.amount,
        is_worthwhile=None if gain is None else gain > 0,
        months=paid / gain if paid is not None and gain is not None and gain > 0 else None,
        missing=missing,
    )


def cost_table(
    prices: Prices, machine_hours: float | None = None, seconds_per_request: float | None = None
) -> list[tuple[str, str]]:
    """Return the rows of the card's table: each term with how it was worked out, each sum with what is missing for it."""
    experiment, month = experiment_cost(prices, machine_hours), monthly_cost(prices)
    requests, worth = request_cost(prices, seconds_per_request), worthwhile(prices, experiment)
    unit = prices.currency
    return [
        *((f"experiment: {term.name}", _term_text(term, unit)) for term in experiment.terms),
        ("experiment", _sum_text(experiment, unit)),
        ("1,000 requests, one at a time", _term_text(requests.terms[0], unit)),
        *((f"month: {term.name}", _term_text(term, unit)) for term in month.terms),
        ("month", _sum_text(month, unit)),
        ("savings against the alternative in a month", _savings_text(worth, unit)),
        ("worthwhile", _worth_text(worth, unit)),
    ]


# --- Terms -------------------------------------------------------------------------------------------------------


def _given(prices: Prices, field: str, name: str | None = None) -> Term:
    """Return a term that is a price itself."""
    amount: float | None = getattr(prices, field)
    return Term(name or field, amount, missing=() if amount is not None else (field,))


def _product(
    name: str,
    prices: Prices,
    fields: Sequence[str],
    measured: Mapping[str, float | None] | None = None,
    *,
    per: float = 1.0,
) -> Term:
    """Return a term that is a product of measurements and prices, over ``per``; whatever is missing, nothing times it is 0."""
    for what, value in (measured or {}).items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{what}: must be finite and not negative, got {value!r}")
    factors: dict[str, float | None] = {**(measured or {}), **{field: getattr(prices, field) for field in fields}}
    given = {field: value for field, value in factors.items() if value is not None}
    if len(given) < len(factors) and 0 not in given.values():
        return Term(name, None, missing=tuple(field for field in factors if field not in given))
    units = {field: _UNITS[field].format(prices.currency) for field in given}
    how = " x ".join(f"{_plain(value)} {units[field]}" for field, value in given.items())
    return Term(name, math.prod(given.values()) / per, how)


# --- Words -------------------------------------------------------------------------------------------------------


def _term_text(term: Term, unit: str) -> str:
    if term.amount is None:
        return _missing_text(term.missing)
    return f"{_money(term.amount, unit)}{f' ({term.how})' if term.how else ''}"


def _sum_text(cost: Cost, unit: str) -> str:
    if cost.total is not None:
        return _money(cost.total, unit)
    is_known = any(term.amount is not None for term in cost.terms)
    least = f"at least {_money(cost.at_least, unit)}; " if is_known else ""
    return f"{least}{_missing_text(cost.missing)}"


def _savings_text(worth: Worth, unit: str) -> str:
    if worth.savings is None or worth.alternative is None or worth.month is None:
        return _missing_text([name for name in worth.missing if name != "upkeep_per_month"])
    return f"{_money(worth.savings, unit)} ({_money(worth.alternative, unit)} less {_money(worth.month, unit)})"


def _worth_text(worth: Worth, unit: str) -> str:
    if worth.is_worthwhile is None or worth.savings is None or worth.upkeep is None:
        return f"cannot be told; {_missing_text(worth.missing)}"
    compared = f"savings of {_money(worth.savings, unit)} against an upkeep of {_money(worth.upkeep, unit)} a month"
    paid = "" if worth.months is None else f"; the experiment is paid back after {_plain(worth.months)} months"
    return f"{'yes' if worth.is_worthwhile else 'no'}: {compared}{paid}"


def _missing_text(missing: Sequence[str]) -> str:
    """Say what was not given, and what was not measured."""
    given = [name.replace("_", " ") for name in missing if name not in _MEASURED]
    measured = [name for name in missing if name in _MEASURED]
    told = ((NOT_GIVEN, given), (NOT_MEASURED, measured))
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in told if names)


def _money(amount: float, unit: str) -> str:
    """Return an amount to the cent, a smaller one to two digits."""
    is_small = 0 < abs(amount) < _CENT
    return f"{Decimal(f'{amount:.2g}'):f} {unit}" if is_small else f"{amount:,.2f} {unit}"


def _plain(value: float) -> str:
    """Return a factor to four digits, a whole number in full."""
    return f"{value:,.0f}" if value.is_integer() else f"{Decimal(f'{value:.4g}'):f}"

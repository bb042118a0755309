"""
Draw many releases of which the truth is known, and count how often each kind of gate is wrong about them.

The decisions are the product's own. *A/A*: nothing has changed, and what differs is chance. The naive gate beside it
asks for no confidence: the observed value decides. Prints tables and writes docs/benchmarks/aa_simulation.json.

    python -m benchmarks.aa_simulation --draws 10000
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pytest_modelgate import statistics
from pytest_modelgate.gates import Gate, GateOutcome
from pytest_modelgate.imagined import decide
from pytest_modelgate.metrics import Measurement, Pool, find_metric
from pytest_modelgate.metrics.measurement import share
from pytest_modelgate.tables import GateTable

SEED = 20261121
MARGIN, CONFIDENCE = 0.02, 0.95
SIZES, DISCORDANCES = (60, 120, 300, 1000), (0.02, 0.05, 0.10)
GROUP, CORRELATIONS = 5, (0.3, 0.6, 1.0)
TRUE_SHARES = (0.90, 0.97)
WRONG = 0.05
"""How often a gate may be wrong in each direction."""

OUTCOMES = ("failed", "inconclusive", "passed")
DESIGNED_AT, DESIGNED = 0.05, {60: 0.76, 120: 0.72, 300: 0.53}
"""A discordance, and the inconclusive A/A pairs that were expected there when the gates were designed."""

OUT = Path(__file__).parents[1] / "docs" / "benchmarks" / "aa_simulation.json"
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all scenarios."""
    parser = argparse.ArgumentParser(description="Count how often gates are wrong about releases of known truth.")
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where it is written, default {OUT.name}")
    options = parser.parse_args(arguments)
    found = simulate(options.draws)
    text = json.dumps(found, indent=1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(text if options.json else "\n".join(_lines(found)))
    return 0


def simulate(draws: int) -> Row:
    """Return all tables and whether the requirements hold."""
    rng = np.random.default_rng(SEED)
    few = max(1, draws // 2)  # answers that are alike in part make every draw another one, which takes its time
    tables: dict[str, list[Row]] = {
        "paired": [_compare(rng, draws, n, changed) for n in SIZES for changed in DISCORDANCES],
        "paired in groups": [_compare(rng, draws, n, changed, GROUP) for n in SIZES[:3] for changed in DISCORDANCES],
        "min": [_reach(rng, draws, n, true) for true in TRUE_SHARES for n in SIZES],
        "min in groups": [
            _reach(rng, few, n, true, GROUP, alike) for true in TRUE_SHARES for n in SIZES[:3] for alike in CORRELATIONS
        ],
    }
    needed = []
    for changed in DISCORDANCES:
        n = statistics.pairs_needed(MARGIN, CONFIDENCE, changed, 0.8) or 0
        drawn = rng.multinomial(n, _chances(changed, 0.0), size=draws)[:, :2]
        needed.append({"discordance": changed, "n": n, "drawn": _outcomes(drawn, n, 1, CONFIDENCE)})
    return {
        "command": f"python -m benchmarks.aa_simulation --draws {draws}",
        "seed": SEED,
        "draws": draws,
        "margin": MARGIN,
        "confidence": CONFIDENCE,
        "requirements": list(_requirements(tables)),
        "inconclusive_under_20_percent": needed,
        **tables,
    }


# Gates that compare with a baseline


def _compare(rng: np.random.Generator, draws: int, n: int, discordance: float, size: int = 1) -> Row:
    """
    Return the outcomes without a true change, with a drop of just the margin, and with one of twice the margin.

    Where ``size`` is not 1, cases come in groups that change together; ``ungrouped`` are the outcomes of a gate that is
    not told so.
    """
    row: Row = {"n": n, "discordance": discordance, "draws": draws}
    for name, drop in (("same", 0.0), ("limit", MARGIN), ("worse", 2 * MARGIN)):
        chances = _chances(discordance, drop)
        drawn = rng.multinomial(n // size, chances, size=draws)[:, :2]
        row[name] = _outcomes(drawn, n, size, CONFIDENCE)
        row[f"naive_{name}"] = _outcomes(size * drawn, n, 1, None)
        if size > 1:
            row["groups_of"] = size
            row[f"ungrouped_{name}"] = _outcomes(size * drawn, n, 1, CONFIDENCE)
        else:
            exact = statistics.paired_chances(n, MARGIN, CONFIDENCE, drop, chances[0] + chances[1])
            row[f"exact_{name}"] = dict(zip(OUTCOMES, exact, strict=True))
            row[f"wald_{name}"] = _wald(drawn, n)
    return row


def _chances(discordance: float, drop: float) -> tuple[float, float, float]:
    """Return how probably a case is lost, won, or stays; at least ``drop`` differ."""
    differ = max(discordance, drop)
    return (differ + drop) / 2, (differ - drop) / 2, 1 - differ


def _outcomes(drawn: np.ndarray[Any, Any], n: int, size: int, confidence: float | None) -> dict[str, float]:
    return _shares((_changed(int(lost), int(won), n, size, confidence), times) for (lost, won), times in _tally(drawn))


@cache
def _changed(lost: int, won: int, n: int, size: int, confidence: float | None) -> GateOutcome:
    """Return the outcome of max_regression where so many groups were lost and won."""
    groups = tuple(None if size == 1 else str(number // size) for number in range(n))
    before, now = np.ones((n, 1)), np.ones((n, 1))
    now[: lost * size] = 0
    before[lost * size : (lost + won) * size] = 0
    return decide(_gate(confidence), {"max_regression": MARGIN}, _pooled(now, groups), _pooled(before, groups))


def _pooled(flags: np.ndarray[Any, Any], groups: tuple[str | None, ...]) -> Measurement:
    """Return a share without bounds of its own, which a comparison does not ask for."""
    n = len(flags)
    pool = Pool(flags, groups, lambda sums: sums[..., 0] / n, is_share=True)
    return Measurement(pool.value, n, pool=pool)


def _wald(drawn: np.ndarray[Any, Any], n: int) -> dict[str, float]:
    """Return the outcomes by the normal approximation that the design reckoned with, instead of Tango's bounds."""
    change = (drawn[:, 1] - drawn[:, 0]) / n
    half = 1.6448536269514722 * np.sqrt((drawn.sum(axis=1) / n - change**2) / n)
    passed, failed = float((change - half >= -MARGIN).mean()), float((change + half < -MARGIN).mean())
    return dict(zip(OUTCOMES, (failed, 1 - passed - failed, passed), strict=True))


# Gates on a share


def _reach(rng: np.random.Generator, draws: int, n: int, true: float, size: int = 1, alike: float = 0.0) -> Row:
    """Return the outcomes of ``min``, which is 0.02 below ``true``: of that share, on the limit, and 0.04 below it."""
    limit = round(true - MARGIN, 4)
    row: Row = {"n": n, "true_share": true, "min": limit, "draws": draws}
    for name, share_now in (("same", true), ("limit", limit), ("worse", limit - MARGIN)):
        hits = _hits(rng, (draws, n // size), size, share_now, alike)
        # Which group is which does not matter: only how many groups have so many right answers.
        patterns = np.stack([(hits == right).sum(axis=1) for right in range(size + 1)], axis=1)
        right = hits.sum(axis=1)
        apart = np.stack([n - right, right], axis=1)
        row[name] = _reached(patterns, limit, CONFIDENCE)
        row[f"naive_{name}"] = _reached(apart, limit, None)
        if size > 1:
            row |= {"groups_of": size, "correlation": alike}
            row[f"ungrouped_{name}"] = _reached(apart, limit, CONFIDENCE)
    return row


def _hits(rng: np.random.Generator, shape: tuple[int, int], size: int, true: float, alike: float) -> Any:
    """Return right answers per draw and group; ``alike``: correlation of two answers of a group."""
    if size == 1 or alike == 1:
        return size * rng.binomial(1, true, size=shape)
    strength = 1 / alike - 1
    return rng.binomial(size, rng.beta(true * strength, (1 - true) * strength, size=shape))


def _reached(patterns: np.ndarray[Any, Any], limit: float, confidence: float | None) -> dict[str, float]:
    found = ((_outcome(tuple(pattern.tolist()), limit, confidence), times) for pattern, times in _tally(patterns))
    return _shares(found)


@cache
def _outcome(pattern: tuple[int, ...], limit: float, confidence: float | None) -> GateOutcome:
    """Return the outcome of min where ``pattern[k]`` groups have k right answers."""
    size = len(pattern) - 1
    rights = [right for right, times in enumerate(pattern) for _ in range(times)]
    flags = [number < right for right in rights for number in range(size)]
    groups = [str(number // size) if size > 1 else None for number in range(len(flags))]
    return decide(_gate(confidence), {"min": limit}, share(flags, groups))


# What both need


@cache
def _gate(confidence: float | None) -> Gate:
    found = find_metric("exact_match", ())
    if isinstance(found, str):
        raise TypeError(found)
    return Gate("simulated", GateTable(metric="exact_match", min=0.5, confidence=confidence), found[0])


def _tally(drawn: np.ndarray[Any, Any]) -> Iterator[tuple[np.ndarray[Any, Any], int]]:
    """Yield each different draw and how often it came."""
    yield from zip(*np.unique(drawn, axis=0, return_counts=True), strict=True)


def _shares(outcomes: Iterable[tuple[str, int]]) -> dict[str, float]:
    """Return how often each outcome came."""
    counts: Counter[str] = Counter()
    for outcome, times in outcomes:
        counts[outcome] += int(times)
    return {name: counts[name] / counts.total() for name in OUTCOMES}


def _requirements(tables: dict[str, list[Row]]) -> Iterator[Row]:
    """Yield what must hold, the worst that was seen, and where."""
    promises = (
        ("same", "failed", "without a change it fails"),
        ("worse", "passed", "a model worse by twice the margin passes"),
        ("limit", "passed", "a model just on the limit passes"),
    )
    for scenario, outcome, what in promises:
        for name, rows in tables.items():
            worst = max(rows, key=lambda row: row[scenario][outcome])
            seen = worst[scenario][outcome]
            at = {key: worst[key] for key in ("n", "discordance", "true_share", "correlation") if key in worst}
            yield {"what": f"{name}: {what}", "most": WRONG, "worst": seen, "at": at, "holds": seen <= WRONG}


def _lines(found: Row) -> Iterator[str]:
    """Yield the tables."""
    yield f"{found['draws']} draws each, seed {found['seed']}; failed / inconclusive / passed, in percent of draws"
    for title, table, columns in (
        ("max_regression 0.02 at 95 %", "paired", ("same", "naive_same", "worse", "naive_worse")),
        ("in groups of 5 alike", "paired in groups", ("same", "ungrouped_same", "worse", "ungrouped_worse")),
        ("min at 95 %, true share - 0.02", "min", ("same", "naive_same", "limit", "worse")),
        ("in groups of 5", "min in groups", ("same", "ungrouped_same", "limit", "ungrouped_limit")),
    ):
        yield from _table(title, found[table], columns)
    yield from ("", "inconclusive A/A pairs at 5 % discordance")
    for row in found["paired"]:
        if row["discordance"] == DESIGNED_AT and (expected := DESIGNED.get(row["n"])):
            ours, wald = row["same"]["inconclusive"], row["wald_same"]["inconclusive"]
            yield f"   n = {row['n']:<4} {ours:.0%}; by the normal approximation {wald:.0%}; expected {expected:.0%}"
    yield from ("", "pairs from which fewer than 20 % of A/A pairs are inconclusive")
    for row in found["inconclusive_under_20_percent"]:
        drawn = row["drawn"]["inconclusive"]
        yield f"   discordance {row['discordance']:.0%}: about {row['n']} ({drawn:.1%} of draws)"
    yield from ("", f"requirements: at most {WRONG:.0%}")
    for one in found["requirements"]:
        at = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in one["at"].items())
        yield f"{'  ' if one['holds'] else '!!'} {one['what']}: {one['worst']:.1%} ({at})"


def _table(title: str, rows: list[Row], columns: Sequence[str]) -> Iterator[str]:
    yield ""
    yield f"{title:<34}" + "".join(f"{column.replace('_', ' '):>22}" for column in columns)
    for row in rows:
        about = f"   n = {row['n']:<5}"
        about += f"discordance {row['discordance']:.0%}" if "discordance" in row else f"min {row['min']:g}"
        about += f", correlation {row['correlation']:g}" if "correlation" in row else ""
        cells = (" / ".join(f"{100 * value:.1f}" for value in row[column].values()) for column in columns)
        yield f"{about:<34}" + "".join(f"{cell:>22}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())

"""Measure how far a target is from its reference: case by case in what they answered, and in what preflight measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pytest_modelgate import statistics
from pytest_modelgate.metrics.measurement import NOTHING, Measurement, share
from pytest_modelgate.metrics.registry import metric
from pytest_modelgate.records import Record

Pairs = Sequence[tuple[Record, Record]]
"""Each case on the target (first) and on the reference."""

Figures = Mapping[str, float]
"""What preflight measured of a target, by name."""


def is_harmful(ours: Record, theirs: Record) -> bool:
    """Say whether the reference is right and the target is not."""
    return theirs.outcome == "passed" and ours.outcome != "passed"


def is_other_answer(ours: Record, theirs: Record) -> bool:
    """Say whether two answers differ in what they say: in a label where the task has labels, else in their text."""
    if ours.labels or theirs.labels:
        return {name: got for name, (_, got) in ours.labels.items()} != {
            name: got for name, (_, got) in theirs.labels.items()
        }
    return ours.output != theirs.output


@metric("harmful_flips", source="reference", bounded=False, is_ratio=False, better="lower")
def harmful_flips(pairs: Pairs) -> Measurement:
    """Return how many cases the reference gets right and the target does not."""
    return _count([is_harmful(ours, theirs) for ours, theirs in pairs])


@metric("critical_flips", source="reference", needs="critical", bounded=False, is_ratio=False, better="lower")
def critical_flips(pairs: Pairs) -> Measurement:
    """Return how many critical cases the reference gets right and the target does not."""
    return _count([ours.outcome == "failed" and theirs.outcome in {"passed", "missed"} for ours, theirs in pairs])


@metric("beneficial_flips", source="reference", bounded=False, is_ratio=False)
def beneficial_flips(pairs: Pairs) -> Measurement:
    """Return how many cases the target gets right and the reference does not."""
    return _count([is_harmful(theirs, ours) for ours, theirs in pairs])


@metric("harmful_flip_rate", source="reference", better="lower")
def harmful_flip_rate(pairs: Pairs) -> Measurement:
    """Return the share of cases that the reference gets right and the target does not."""
    return _share(pairs, is_harmful)


@metric("reference_loss", source="reference", better="lower")
def reference_loss(pairs: Pairs) -> Measurement:
    """
    Return how many more cases the reference gets right than the target, as a share of all; below 0: fewer.

    Flips that go both ways are churn, not harm. The bounds are Tango's on the discordant pairs, by groups.
    """
    if not pairs:
        return NOTHING
    harmed = sum(is_harmful(ours, theirs) for ours, theirs in pairs)
    helped = sum(is_harmful(theirs, ours) for ours, theirs in pairs)
    n = len(pairs)
    worth = min(1.0, statistics.effective_n([ours.group for ours, _ in pairs]) / n)

    def bounds(confidence: float) -> tuple[float, float]:
        low, high = statistics.paired_bounds(harmed * worth, helped * worth, n * worth, confidence)
        return -high, -low

    return Measurement((harmed - helped) / n, n, bounds(0.975), bounds)


@metric("output_agreement", source="reference")
def output_agreement(pairs: Pairs) -> Measurement:
    """Return the share of cases that both answer with the same text, character by character."""
    return _share(pairs, lambda ours, theirs: ours.output == theirs.output)


@metric("answer_churn", source="reference", better="lower")
def answer_churn(pairs: Pairs) -> Measurement:
    """Return the share of cases that the target answers otherwise than the reference, be it better or worse."""
    return _share(pairs, is_other_answer)


def _count(flags: Sequence[bool]) -> Measurement:
    return Measurement(float(sum(flags)), len(flags)) if flags else NOTHING


def _share(pairs: Pairs, flag: Callable[[Record, Record], bool]) -> Measurement:
    return share([flag(ours, theirs) for ours, theirs in pairs], [ours.group for ours, _ in pairs])


def _figure(name: str, what: str, **about: Any) -> None:
    """Register a figure of preflight as a metric."""

    def function(figures: Figures, *statistic: str) -> Measurement:
        written = ".".join((name, *statistic))
        n = int(figures.get(f"{written}.n", figures.get("rows", 1)))
        return Measurement(figures[written], n) if written in figures else NOTHING

    function.__doc__ = what
    metric(name, source="preflight", bounded=False, **about)(function)


_figure("token_parity", "Return the share of prompts and texts that target and reference turn into the same token ids.")
_figure("top1_agreement", "Return the share of answer tokens of which both find the same one the most probable.")
_figure("label_top1_agreement", "Return the same as top1_agreement for the tokens of labels alone.")
_figure("nmse", "Return the normalised mean squared error of the logits.", is_ratio=False, better="lower")
_figure(
    "kl",
    "Return the Kullback-Leibler divergence of the target's next-token distributions from the reference's, in nats.",
    suffix="statistic",
    statistics=("mean", "p99"),
    is_ratio=False,
    better="lower",
)

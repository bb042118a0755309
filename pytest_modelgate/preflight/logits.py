"""
Give every link, from the untuned base to the file that ships, the same right answers, and compare their logits.

Nothing is generated: the answers are given, so that one wrong token does not hide what comes after it. Neighbours are
compared, and the first pair that differs by more than its types explain is named as the place where it went wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pytest_modelgate.engines.probe_process import open_probe
from pytest_modelgate.preflight.check import Artifact, Check, Finding, Subject
from pytest_modelgate.preflight.logits_compare import Comparison
from pytest_modelgate.preflight.logits_links import Edge, Links, bits_of

__all__ = ["CHECKS", "Limits", "limits_for", "open_stage"]

_CLOSE, _NEARER = 0.5, 1.0
_EFFECT = 1e-3
_WILL_STOP = 0.5
_DROP = 0.2


@dataclass(frozen=True, slots=True)
class Limits:
    """
    Hold from where on two links differ by more than the second one's bits explain.

    ``kl``: mean KL in nats, ``top1``: share of equal likeliest tokens. ``warn_kl``, ``warn_top1``: where it is told.
    """

    kl: float
    top1: float
    warn_kl: float
    warn_top1: float

    def is_beyond(self, found: Comparison) -> bool:
        """Say whether a comparison fails: too few equal tokens count where the distributions differ too."""
        return found.kl_mean > self.kl or (found.top1 < self.top1 and found.kl_mean > self.warn_kl / 10)

    def is_near(self, found: Comparison) -> bool:
        """Say whether a comparison is worth a warning."""
        return found.kl_mean > self.warn_kl or (found.top1 < self.warn_top1 and found.kl_mean > self.warn_kl / 10)


_FULL_BITS = 12.0
_FULL_NMSE = 1e-2
_LIMITS: tuple[tuple[float, Limits], ...] = (
    (_FULL_BITS, Limits(0.01, 0.99, 0.003, 0.995)),
    (7.5, Limits(0.05, 0.95, 0.01, 0.97)),
    (6.0, Limits(0.1, 0.92, 0.03, 0.95)),
    (4.5, Limits(0.3, 0.85, 0.08, 0.90)),
    (3.5, Limits(0.6, 0.75, 0.25, 0.85)),
    (0.0, Limits(2.0, 0.5, 0.8, 0.7)),
)
"""
Limits by bits per weight, from that many on.

Sources: the warnings for Q8_0 and Q4_K_M are those that were suggested for fine-tuned models of 0.5B weights; llama.cpp's own table
for Llama-3-8B has a mean KL of 0.0014 for Q8_0, 0.0055 for Q6_K, 0.031 for Q4_K_M and 0.45 for Q2_K.
"""


def limits_for(bits: float) -> Limits:
    """Return the limits for a file of so many bits per weight."""
    return next(limits for least, limits in _LIMITS if bits >= least)


@contextmanager
def open_stage(subject: Subject) -> Iterator[Links]:
    """Give the checks a folder for logits, for as long as they run."""
    with TemporaryDirectory(prefix="modelgate-logits-") as folder:
        links = Links(subject, Path(folder), open_probe)
        try:
            yield links
        finally:
            links.close()


def _closer_to_adapter(subject: Subject, links: Links) -> Finding:
    """Say whether the target is nearer to the adapter than to the base that it was trained on."""
    reference = subject.chain[0]
    base = links.base
    if base is None:
        return Finding("not checked", f"where the base of {reference.id} lies is not known")
    if (reason := _why_not(links, reference, base)) is not None:
        return reason
    effect = links.between(base, reference)
    to_adapter, to_base = links.between(reference, subject.target), links.between(base, subject.target)
    figures = {"kl.adapter": to_adapter.kl_mean, "kl.base": to_base.kl_mean, "kl.effect": effect.kl_mean}
    if effect.kl_mean < _EFFECT:
        reason_text = f"the adapter hardly changes its base on these answers (KL {effect.kl_mean:.2g})"
        return Finding("not checked", reason_text, figures=figures)
    told = f"KL to the adapter {to_adapter.kl_mean:.2g}, to its base {to_base.kl_mean:.2g}"
    ratio = to_adapter.kl_mean / max(to_base.kl_mean, 1e-12)
    if not ratio <= _NEARER:
        nearer = "base than to the adapter"
        return Finding("failed", f"the file is nearer to the untuned {nearer}: {told}", figures=figures)
    if ratio > _CLOSE:
        return Finding("warned", f"the file is hardly nearer to the adapter than to its base: {told}", figures=figures)
    return Finding("passed", f"the file is the adapter's: {told}", figures=figures)


def _logits_parity(subject: Subject, links: Links) -> Finding:
    """Compare the target with the reference, and name the pair of links where it went wrong."""
    reference = subject.chain[0]
    if (reason := _why_not(links, reference)) is not None:
        return reason
    whole = Edge(reference.id, subject.target.id, links.between(reference, subject.target), bits_of(subject.target))
    figures = whole.comparison.figures()
    edges = list(links.edges())
    details = tuple(str(edge) for edge in edges)
    outcome = _outcome(whole)
    if outcome == "passed":
        told = f"{whole.comparison} on {whole.comparison.n_positions} tokens of right answers"
        return Finding("passed", f"{whole.before} and {whole.after} agree: {told}", details, figures=figures)
    bad = next((edge for edge in edges if _outcome(edge) == outcome), None)
    place = f"; it goes wrong at {bad}" if bad is not None and len(edges) > 1 else ""
    likely = _likely(bad or whole)
    reason_text = f"{whole.before} and {whole.after} differ: {whole.comparison}{place}; likely {likely[1]}"
    return Finding("failed" if outcome == "failed" else "warned", reason_text, details, likely[0], figures)


def _end_of_turn_probability(subject: Subject, links: Links) -> Finding:
    """Say how sure the target is to end its turn after a right answer."""
    if links.rows.reason is None and links.rows.end_id is None:
        return Finding("not checked", "the chat template writes no token of its own after an answer")
    if (reason := _why_not(links)) is not None:
        return reason
    ends = links.ends(subject.target)
    if not ends:
        return Finding("not checked", "no answer was scored up to its end")
    median, least = float(np.median(ends)), min(ends)
    figures = {"end.median": median, "end.min": least}
    told = (
        f"after a right answer the turn ends with probability {median:.2f} (median of {len(ends)}, least {least:.2f})"
    )
    reference = subject.reference
    before = links.ends(reference) if reference is not None and links.why_not(reference) is None else []
    if before:
        figures["end.reference"] = float(np.median(before))
        told += f", in {reference.id if reference else ''} {figures['end.reference']:.2f}"
    if median < _WILL_STOP:
        learned = before and figures["end.reference"] < _WILL_STOP
        why = "it was not learned: was the end of turn left out of the labels?" if learned else "it will not stop"
        return Finding("failed", f"{told}: {why}", figures=figures)
    if before and figures["end.reference"] - median > _DROP:
        return Finding("warned", told, figures=figures)
    return Finding("passed", told, figures=figures)


def _long_prompt(subject: Subject, links: Links) -> Finding:
    """Compare target and reference behind a prompt that fills the context."""
    reference = subject.chain[0]
    if (reason := _why_not(links, reference)) is not None:
        return reason
    found = links.long_between(reference, subject.target)
    if found is None or links.long is None:
        return Finding("not checked", "there are not enough prompts, or too short a context, to make a long one")
    figures = {f"long.{name}": value for name, value in found.figures().items()}
    told = f"behind {len(links.long.prompt_ids)} tokens: {found}"
    bits = bits_of(subject.target)
    if found.kl_mean > limits_for(bits).kl:  # too few tokens to count those that are the same
        short = Edge(reference.id, subject.target.id, links.between(reference, subject.target), bits)
        if _outcome(short) == "failed":
            return Finding(
                "not checked", f"{told}, but they differ without it too ({short.comparison})", figures=figures
            )
        return Finding("failed", f"positions far into the context are computed otherwise: {told}", figures=figures)
    return Finding("passed", told, figures=figures)


def _why_not(links: Links, *others: Artifact) -> Finding | None:
    """
    Return why links cannot be compared, None where they can; the target is always among them.

    A target that gives no logits has failed, as damaged; what else is missing is not checked.
    """
    if links.rows.reason is not None:
        return Finding("not checked", links.rows.reason)
    for link in (*others, links.subject.target):
        if (reason := links.why_not(link)) is not None:
            if link is links.subject.target:
                return Finding("failed", reason, mode="F16")
            return Finding("not checked", reason)
    return None


def _outcome(edge: Edge) -> str:
    """Say whether a pair of links passes, is worth a warning, or fails."""
    limits, found = limits_for(edge.bits), edge.comparison
    if limits.is_beyond(found) or (edge.bits >= _FULL_BITS and found.nmse > _FULL_NMSE):
        return "failed"
    return "warned" if limits.is_near(found) else "passed"


def _likely(edge: Edge) -> tuple[str, str]:
    """Return the failure mode that a bad pair of links stands for, with a word on it."""
    if not np.isfinite(edge.comparison.kl_mean):
        return "F16", "F16: logits are no numbers"
    if edge.bits < _FULL_BITS and edge.comparison.top1 > _WILL_STOP:
        return "F22", f"F22: quantising to {edge.bits:.1f} bits per weight has cost too much"
    return "F13", "F13: weights, or how they are computed with, are others"


CHECKS: tuple[Check, ...] = (
    Check(
        "closer_to_adapter",
        "F11",
        "logits",
        "the target is nearer to the adapter than to its base",
        _closer_to_adapter,
        ("base", "prompts"),
        ("gguf", "merged"),
    ),
    Check(
        "end_of_turn_probability",
        "F04",
        "logits",
        "after a right answer the target ends its turn",
        _end_of_turn_probability,
        ("prompts",),
        ("gguf", "adapter", "merged"),
    ),
    Check(
        "logits_parity",
        "F13",
        "logits",
        "on right answers the target and all that it was made from choose the same tokens",
        _logits_parity,
        ("reference", "prompts"),
        ("gguf", "adapter", "merged"),
    ),
    Check(
        "long_prompt",
        "F15",
        "logits",
        "far into the context, target and reference choose the same tokens",
        _long_prompt,
        ("reference", "prompts"),
        ("gguf", "adapter", "merged"),
    ),
)
"""The checks of the stage, those that explain the others first."""

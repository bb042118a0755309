"""Compare what two tokenizers make of the same texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.conversations import CORPUS
from pytest_modelgate.preflight.probes import SHAPE, Probes, Side

__all__ = ["token_ids"]

_NORMAL = 1
"""Ordinary text, among the types of tokens (llama.h, ``llama_token_type``)."""

_BEFORE, _AFTER = 4, 6
_SHOWN_CHARS = 60
_FORMS: tuple[Literal["NFC", "NFKC"], ...] = ("NFC", "NFKC")


@dataclass(frozen=True, slots=True)
class _Difference:
    """Hold a text, by what names it, of which the two sides make other ids."""

    name: str
    text: str
    ours: tuple[int, ...]
    theirs: tuple[int, ...]


def token_ids(subject: Subject, probes: Probes) -> Iterator[Finding]:  # noqa: ARG001
    """
    Let both tokenizers cut the reference's prompts, a fixed corpus, and every special token as text.

    The prompts are those that the reference renders, so that another template is not held against the tokenizer.
    """
    target, reference = probes.target, probes.reference
    assert reference is not None  # noqa: S101  # the check needs one
    texts = _texts(reference)
    ours, theirs = target.probe.tokenize(list(texts)), reference.probe.tokenize(list(texts))
    found = [
        _Difference(name, text, own, other)
        for (text, name), own, other in zip(texts.items(), ours, theirs, strict=True)
        if own != other
    ]
    explained = _by_normal_form(found, target) | _by_name(found, target, reference)
    told = [one for one in found if one.text not in explained]
    figures = {"token_parity": 1 - len(told) / len(texts), "token_parity.n": float(len(texts))}
    if told:
        yield _failed(told, target, reference, figures)
    # What no case holds is only told: it is so with every file of such a family.
    cases = [one for one in found if one.text in explained and _is_case(one.name)]
    if cases:
        more = f" (and {len(cases) - 1} more)" if len(cases) > 1 else ""
        lines = tuple(_pieces(cases[0], target, reference))
        yield Finding("warned", f"{cases[0].name}{more}: {explained[cases[0].text]}", lines, figures=figures)
    but = f", but for {len(explained)}, because {next(iter(explained.values()))}" if explained else ""
    yield Finding("passed", f"{len(texts)} texts become the same token ids on both sides{but}", figures=figures)


def _texts(reference: Side) -> dict[str, str]:
    """Return what names each text that is cut, by the text."""
    named: dict[str, str] = {}
    for key, one in reference.encoded.items():
        if one.error is None:
            named.setdefault(one.text, key)
    for special in reference.facts.special:
        for text in (special, f"a{special}b", f"a {special} b", f"{special}\n{special}"):
            named.setdefault(text, f"special token {special!r}")
    for text in CORPUS:
        named.setdefault(text, f"text {text[:_SHOWN_CHARS]!r}")
    return named


def _by_normal_form(found: Sequence[_Difference], target: Side) -> dict[str, str]:
    """Return why, by text, where the target makes the reference's ids of a normal form of Unicode."""
    tried = [(one, form) for one in found for form in _FORMS if not unicodedata.is_normalized(form, one.text)]
    ids = target.probe.tokenize([unicodedata.normalize(form, one.text) for one, form in tried])
    return {
        one.text: f"the reference's tokenizer brings text into Unicode's form {form} first, llama.cpp does not"
        for (one, form), own in zip(tried, ids, strict=True)
        if own == one.theirs
    }


def _by_name(found: Sequence[_Difference], target: Side, reference: Side) -> dict[str, str]:
    """
    Return why, by text, where the sides agree once the names that llama.cpp alone takes for control tokens are left out.

    It knows other families' names and makes a control token of any entry that has one: ``</s>`` in Qwen2.5's vocabulary.
    """
    ordinary = [number for number in target.facts.controls if target.token_types[number : number + 1] == [_NORMAL]]
    names = [target.special_text(number) or "" for number in ordinary]
    own = [name for name in names if name and name not in reference.facts.special]
    if not own:
        return {}
    pattern = re.compile("|".join(map(re.escape, own)))
    tried = [one for one in found if pattern.search(one.text)]
    without = [pattern.sub("\n", one.text) for one in tried]
    both = zip(tried, target.probe.tokenize(without), reference.probe.tokenize(without), strict=True)
    return {
        one.text: f"llama.cpp takes {', '.join(map(repr, own))} for a control token because of its name, the reference for text"
        for one, ours, theirs in both
        if ours == theirs
    }


def _failed(told: Sequence[_Difference], target: Side, reference: Side, figures: dict[str, float]) -> Finding:
    """Tell of the first case, or where no case shows it, of the shortest text."""
    first = min(told, key=lambda one: (not _is_case(one.name), 0 if _is_case(one.name) else len(one.text)))
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    lost = [text for text, number in reference.facts.special.items() if target.probe.tokenize([text])[0] != (number,)]
    what = f"; {lost[0]!r} is no token of its own here" if lost else ""
    return Finding(
        "failed",
        f"{first.name}: other token ids than the reference's for the same text{more}{what}",
        tuple(_pieces(first, target, reference)),
        mode="F08" if lost else None,
        figures=figures,
    )


def _pieces(one: _Difference, target: Side, reference: Side) -> Iterator[str]:
    """Yield both lists of pieces around the first difference."""
    pairs = enumerate(zip(one.ours, one.theirs, strict=False))
    place = next((place for place, (a, b) in pairs if a != b), min(len(one.ours), len(one.theirs)))
    start = max(0, place - _BEFORE)
    for side, ids in ((target, one.ours), (reference, one.theirs)):
        shown = ids[start : place + _AFTER]
        pieces = [f"{piece!r} {number}" for piece, number in zip(side.probe.pieces(shown), shown, strict=True)]
        yield f"{side.name}, from token {start} of {len(ids)}: {', '.join(pieces)}"


def _is_case(name: str) -> bool:
    """Say whether a text is a case's prompt; their keys alone hold a suite."""
    return not name.startswith((SHAPE, "special token ", "text "))

"""Read what llama.cpp says while it loads a vocabulary, and nobody sees."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.probes import Probes, Side

__all__ = ["load_warnings"]

_BROKEN = (
    (re.compile(r"missing (or unrecognized )?pre-tokenizer|GENERATION QUALITY WILL BE DEGRADED", re.IGNORECASE), "F02"),
    (re.compile(r"bad special token|out of vocab range|EOG token id \d+ is out of range", re.IGNORECASE), "F08"),
    (re.compile(r"special tokens? definition|vocab(ulary)? (size )?mismatch", re.IGNORECASE), "F08"),
)
"""Warnings that stand for a broken export, with its failure mode (llama.cpp, ``src/llama-vocab.cpp``)."""

_HARMLESS = re.compile(r"removing '<\|end\|>' token from EOG list|is a normal token here, removing it from EOG list")
"""What llama.cpp says of every good file of some families."""

_NOT_CONTROL = re.compile(r"control-looking token:\s*(\d+)")
_NOT_EOG = re.compile(r"special_(eos|eot|eom)_id is not in special_eog_ids")


def load_warnings(subject: Subject, probes: Probes) -> Iterator[Finding]:  # noqa: ARG001
    """Judge every warning; one that is not known is told, and fails nothing."""
    for line in probes.target.facts.warnings:
        if not _HARMLESS.search(line):
            yield _judged(line, probes.target, probes.reference)
    yield Finding("passed", "llama.cpp warns of nothing when it loads the vocabulary")


def _judged(line: str, target: Side, reference: Side | None) -> Finding:
    told = f"llama.cpp says: {line}"
    for pattern, mode in _BROKEN:
        if pattern.search(line):
            return Finding("failed", told, mode=mode)
    if found := _NOT_CONTROL.search(line):
        return _unmarked(told, int(found[1]), target, reference)
    if found := _NOT_EOG.search(line):
        return _unknown_end(told, found[1], target, reference)
    return Finding("warned", told)


def _unmarked(told: str, token: int, target: Side, reference: Side | None) -> Finding:
    """
    Judge a token that llama.cpp makes a control token because of its name.

    Good vocabularies hold such names as ordinary text (``</s>`` in Qwen2.5's); what the model's own template writes, or its
    reference marks, is none.
    """
    trained = reference or target
    if token in {target.facts.turn_end_id, trained.facts.turn_end_id}:
        return Finding("failed", told, mode="F04")
    text = target.special_text(token)
    is_used = text is not None and text in (trained.facts.template or "")
    if is_used or (reference is not None and token in reference.facts.controls):
        return Finding("failed", told, mode="F08")
    return Finding("passed", f"{told}; it is ordinary text, which no prompt of this model's template holds")


def _unknown_end(told: str, name: str, target: Side, reference: Side | None) -> Finding:
    """Judge an end that llama.cpp does not know by name: right where a model has one of its own, wrong where it is text."""
    if name != "eos":
        return Finding("warned", told, mode="F04")
    text = target.special_text(target.facts.eos_id)
    if reference is None:
        return Finding("failed" if target.facts.eos_id not in target.facts.controls else "warned", told, mode="F04")
    stops = {reference.special_text(token) for token in reference.facts.stop_ids}
    if text is not None and text in stops:
        return Finding("passed", f"{told}; it is the reference's")
    return Finding("failed", told, mode="F04")

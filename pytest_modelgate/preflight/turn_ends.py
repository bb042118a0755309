"""Look at the tokens that begin a text and that end an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_modelgate.gguf_file import read_gguf_values
from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.probes import Probes, Side
from pytest_modelgate.preflight.token_ids import CONTROL

_ALARMING = {
    "F02": re.compile(r"pre-tokenizer|GENERATION QUALITY", re.IGNORECASE),
    "F04": re.compile(r"control-looking token|special_eo[sg]\w* is not in|EOG|eot", re.IGNORECASE),
    "F08": re.compile(r"mismatch|missing.*token|token.*missing", re.IGNORECASE),
}
"""Warnings of llama.cpp's loader that stand for a broken export, by failure mode."""


def load_warnings(subject: Subject, probes: Probes) -> Iterator[Finding]:  # noqa: ARG001
    """Read what llama.cpp says while it loads the vocabulary, and nobody sees."""
    for line in probes.target.facts.warnings:
        mode = next((mode for mode, pattern in _ALARMING.items() if pattern.search(line)), None)
        yield Finding("warned" if mode is None else "failed", f"llama.cpp says: {line}", mode=mode)
    yield Finding("passed", "llama.cpp warns of nothing")


def end_of_turn(subject: Subject, probes: Probes) -> Iterator[Finding]:
    """Look whether the token that ended an answer in training ends it in the target."""
    ours, reference = probes.target.facts, probes.reference
    text = _end_text(reference or probes.target)
    if text is None:
        told = "the chat template writes no special token after an answer, so that nothing marks its end"
        yield Finding("failed" if probes.target.facts.template else "not checked", told)
        return
    ids = probes.target.probe.tokenize([text])[0]
    if len(ids) != 1:
        yield Finding(
            "failed", f"{text!r}, which ended answers in training, is {len(ids)} tokens here: it ends nothing"
        )
        return
    (end,) = ids
    if end not in ours.stop_ids:
        stops = ", ".join(repr(name) for name in probes.target.probe.pieces(ours.stop_ids)) or "nothing"
        yield Finding("failed", f"{text!r}, which ends an answer, does not end a generation; what does: {stops}")
    yield from _header(subject, end, text)
    if reference is not None:
        own = _end_text(probes.target)
        if own != text:
            yield Finding("failed", f"its own template ends an answer with {own!r}, the reference's with {text!r}")
        yield from _eos(probes.target, reference)
    yield Finding("passed", f"{text!r} ends an answer, and a generation")


def bos(subject: Subject, probes: Probes) -> Iterator[Finding]:  # noqa: ARG001
    """Count the BOS in front of prompts, as this project and as other programs make them."""
    ours = _leading(probes.target)
    if ours > 1:
        yield Finding("failed", f"prompts begin with {ours} BOS tokens")
    if probes.reference is None:
        yield Finding("passed", f"prompts begin with {ours} BOS")
        return
    theirs = _leading(probes.reference)
    if ours != theirs:
        yield Finding("failed", f"prompts begin with {ours} BOS, the reference's with {theirs}")
    added, known = probes.target.facts.adds_bos, probes.reference.facts.adds_bos
    if added and not known:
        told = "add_bos is on, though the reference's tokenizer adds none"
        yield Finding("failed", f"{told}: programs that obey it put a BOS in front of every prompt")
    if known and not added and not theirs:
        yield Finding("warned", "the reference's tokenizer adds a BOS to a text, the file says that none is added")
    yield Finding("passed", f"prompts begin with {ours} BOS on both sides")


def _header(subject: Subject, end: int, text: str) -> Iterator[Finding]:
    """Look at what the file itself says: llama.cpp mends well-known names when it loads them, others do not."""
    if subject.target.kind != "gguf":
        return
    values = read_gguf_values(subject.target.path)
    types = values.get("tokenizer.ggml.token_type", [])
    if end < len(types) and types[end] != CONTROL:
        yield Finding("failed", f"{text!r} is marked as ordinary text (type {types[end]}): only its name saves it here")


def _eos(target: Side, reference: Side) -> Iterator[Finding]:
    """Compare the token that ends a text."""
    ours, theirs = _name(target, target.facts.eos_id), _name(reference, reference.facts.eos_id)
    stops = {_name(reference, token) for token in reference.facts.stop_ids}
    if ours != theirs and ours not in stops:
        yield Finding("failed", f"EOS is {ours!r}, the reference's is {theirs!r}")


def _end_text(side: Side) -> str | None:
    """Return the text of the token that its template writes after an answer."""
    return _name(side, side.facts.turn_end_id)


def _name(side: Side, token: int | None) -> str | None:
    """Return a special token's text."""
    return next((text for text, index in side.facts.special.items() if index == token), None)


def _leading(side: Side) -> int:
    """Return how many BOS the prompts begin with; the most that any has."""
    bos_id = side.facts.bos_id
    if bos_id not in side.facts.controls:
        return 0
    most = 0
    for encoded in side.encoded.values():
        count = next((i for i, token in enumerate(encoded.ids) if token != bos_id), len(encoded.ids))
        most = max(most, count)
    return most

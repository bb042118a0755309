"""Look at the tokens that begin a text and that end an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.probes import Probes, Side
from pytest_modelgate.preflight.vocabulary import CONTROL
from pytest_modelgate.records import Message

__all__ = ["bos", "end_of_turn"]

_USER_DEFINED = 4
_NAMED = re.compile(r"<[|\uff5c][^<>]{1,40}[|\uff5c]>")
"""How tokens are written that no text holds: ``<|im_end|>``."""
_ANSWER = "modelgate-7f3a-answer"
_TURNS = (Message("user", "Hello!"), Message("assistant", _ANSWER), Message("user", "And now?"))


def end_of_turn(subject: Subject, probes: Probes) -> Iterator[Finding]:  # noqa: ARG001
    """Look whether the token that ended an answer in training ends it in the target."""
    target, reference = probes.target, probes.reference
    trained = reference or target
    text = trained.special_text(trained.facts.turn_end_id)
    if text is None:
        yield from _no_end(target, reference)
    else:
        yield from _end(text, target, reference)
    if reference is not None:
        yield from _eos(target, reference)
    if text is not None:
        yield Finding("passed", f"{text!r} ends an answer, and a generation")


def _end(text: str, target: Side, reference: Side | None) -> Iterator[Finding]:
    """Look at the token that the training's template writes after an answer."""
    ids = target.probe.tokenize([text])[0]
    if len(ids) != 1:
        yield Finding("failed", f"{text!r}, which ends an answer, is {len(ids)} tokens here, so that it ends nothing")
        return
    (end,) = ids
    if end not in target.facts.stop_ids:
        stops = ", ".join(repr(piece) for piece in target.probe.pieces(target.facts.stop_ids)) or "nothing"
        yield Finding("failed", f"{text!r}, which ends an answer, does not end a generation; what does: {stops}")
    is_control = reference is None or reference.facts.special[text] in reference.facts.controls
    types = target.token_types[end : end + 1]
    if types and types[0] not in ({CONTROL} if is_control else {CONTROL, _USER_DEFINED}):
        told = f"{text!r}, which ends an answer, is not marked as a control token (type {types[0]})"
        yield Finding("failed", f"{told}: llama.cpp mends it by its name, other programs write it into the answer")
    own = target.special_text(target.facts.turn_end_id)
    if reference is not None and target.facts.template and own != text:
        yield Finding("failed", f"its own template ends an answer with {own!r}, the reference's with {text!r}")


def _no_end(target: Side, reference: Side | None) -> Iterator[Finding]:
    """Look at a template that writes no special token after the last answer: some leave it to the next turn."""
    if reference is not None:
        told = "the reference's template writes no special token after an answer"
        yield Finding("warned", f"{told}: what ends one in training could not be looked at")
        return
    if not target.facts.template:
        yield Finding("not checked", "there is no chat template, see chat_template")
        return
    last, encoded = target.render(_TURNS[:2], _TURNS, add_generation_prompt=False)
    if named := _NAMED.match(last.text.rpartition(_ANSWER)[2].strip()):
        count = len(target.probe.tokenize([named[0]])[0])
        told = (
            f"the chat template ends an answer with {named[0]!r}, which is {count} tokens here, so that it ends nothing"
        )
        yield Finding("failed", told)
        return
    rest = target.probe.tokenize([encoded.text.rpartition(_ANSWER)[2]])[0]
    following = next((token for token in rest if target.special_text(token) is not None), None)
    if following in target.facts.stop_ids:
        yield Finding("passed", f"{target.special_text(following)!r}, which follows an answer, ends a generation")
        return
    told = "the chat template writes no token after an answer that ends a generation"
    yield Finding("warned", f"{told}: only a training that added one itself has taught the model to stop")


def _eos(target: Side, reference: Side) -> Iterator[Finding]:
    """Compare what else ends a generation."""
    ours, theirs = (side.special_text(side.facts.eos_id) for side in (target, reference))
    stops = [reference.special_text(token) for token in reference.facts.stop_ids]
    if ours != theirs and (ours is None or ours not in stops):
        shown = ours if ours is not None or target.facts.eos_id is None else _piece(target, target.facts.eos_id)
        yield Finding("failed", f"EOS is {shown!r}, the reference's {theirs!r}")
    own = {target.special_text(token) for token in target.facts.stop_ids}
    if lost := [text for text in stops if text is not None and text not in own]:
        yield Finding("warned", f"the reference also stops at {', '.join(map(repr, lost))}, the file does not")


def bos(subject: Subject, probes: Probes) -> Iterator[Finding]:  # noqa: ARG001
    """Count the BOS in front of prompts: as this gate makes them, and as a program does that lets llama.cpp add one."""
    target, reference = probes.target, probes.reference
    ours = _leading(target)
    if ours > 1:
        yield Finding("failed", f"prompts begin with {_tokens(ours)}")
    if reference is None:
        if target.facts.adds_bos:
            told = "the file has a BOS put in front of every prompt (add_bos_token)"
            what = f"whose template writes {ours} already" if ours else "which its template does not write"
            yield Finding("warned", f"{told}, {what}: look how many the program that serves it makes")
        yield Finding("passed", f"prompts begin with {_tokens(ours)}")
        return
    theirs = _leading(reference)
    if ours != theirs:
        yield Finding("failed", f"prompts begin with {_tokens(ours)}, the reference's with {theirs}")
    for what, added, known in (
        ("BOS put in front of every prompt (add_bos_token)", target.facts.adds_bos, reference.facts.adds_bos),
        ("EOS put behind every prompt (add_eos_token)", target.facts.adds_eos, reference.facts.adds_eos),
    ):
        if added and not known:
            yield Finding("failed", f"the file has a {what}, the reference's tokenizer adds none")
    if reference.facts.adds_bos and not target.facts.adds_bos and not theirs:
        yield Finding("warned", "the reference's tokenizer puts a BOS in front of a text, the file says that none is")
    also = "; add_bos_token would put one more, on both sides" if ours and target.facts.adds_bos else ""
    yield Finding("passed", f"prompts begin with {_tokens(ours)} on both sides{also}")


def _leading(side: Side) -> int:
    """Return how many BOS the prompts begin with; the most that any has."""
    bos_id = side.facts.bos_id
    if side.bos_text is None:
        return 0
    counts = [0]
    for encoded in side.encoded.values():
        others = (place for place, token in enumerate(encoded.ids) if token != bos_id)
        counts.append(next(others, len(encoded.ids)))
    return max(counts)


def _piece(side: Side, token: int) -> str:
    return side.probe.pieces([token])[0]


def _tokens(count: int) -> str:
    return "no BOS" if count == 0 else "1 BOS" if count == 1 else f"{count} BOS"

"""Compare what chat templates write."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_modelgate.engines.probe import Encoded
from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.conversations import SENTINEL, SHAPES
from pytest_modelgate.preflight.probes import Probes
from pytest_modelgate.records import Message

_AROUND = 40
_WORDS = "modelgate-7f3a-user"


def chat_template(subject: Subject, probes: Probes) -> Finding:  # noqa: ARG001
    """Compare every prompt's text with the reference's, byte for byte."""
    if not probes.target.facts.template:
        return Finding("failed", "there is no chat template: every program that serves it guesses one")
    ours = probes.target.encoded
    if probes.reference is None:
        broken = {key: one.error for key, one in ours.items() if one.error and not key.startswith("shape: ")}
        if broken:
            key, error = next(iter(broken.items()))
            return Finding("failed", f"{len(broken)} prompts cannot be rendered, the first {key}: {error}")
        return Finding("passed", f"the file's own template renders {len(ours)} prompts; nothing to compare them with")
    theirs = probes.reference.encoded
    differing = [key for key in ours if _text(ours[key]) != _text(theirs[key])]
    if not differing:
        return Finding("passed", f"{len(ours)} prompts are the same text on both sides")
    first = min(differing, key=lambda key: len(theirs[key].text))
    details = tuple(difference(ours[first], theirs[first], probes.target.artifact.id, probes.reference.artifact.id))
    is_system = all(_adds_or_drops_a_system_turn(ours[key], theirs[key]) for key in differing)
    reason = f"{len(differing)} of {len(ours)} prompts are another text than the reference's, the first {first}"
    return Finding("failed", reason, details, "F05" if is_system else None)


def system_prompt(subject: Subject, probes: Probes) -> Finding:  # noqa: ARG001
    """Look for a system text that is dropped, doubled or added."""
    asked = [
        (Message("system", SENTINEL), Message("user", _WORDS)),
        (Message("user", _WORDS),),
    ]
    with_system, without = probes.target.probe.encode(asked)
    theirs = None if probes.reference is None else probes.reference.probe.encode(asked)
    if with_system.error is not None:
        same = theirs is not None and theirs[0].error is not None
        told = f"the template takes no system turn: {with_system.error}"
        return Finding("warned" if same else "failed", f"{told}; so does the reference's" if same else told)
    count, place = with_system.text.count(SENTINEL), with_system.text.find(SENTINEL)
    expected = 1 if theirs is None else theirs[0].text.count(SENTINEL)
    if count != 1 or place > with_system.text.find(_WORDS):
        told = (
            f"the system text stands {count} times in the prompt"
            if count != 1
            else "the system text follows the user's"
        )
        same = theirs is not None and count == expected and theirs[0].text == with_system.text
        return Finding("warned" if same else "failed", f"{told}, as the reference has it" if same else told)
    added = _added_system(without.text)
    if theirs is not None and (added or "") != (_added_system(theirs[1].text) or ""):
        return Finding(
            "failed",
            "where no system turn is given, the reference's prompt is another",
            tuple(difference(without, theirs[1], probes.target.artifact.id, "reference")),
        )
    if added and theirs is None:
        return Finding(
            "warned", f"where no system turn is given, the template adds one: {added!r}; was it trained with it?"
        )
    return Finding("passed", "the system text stands in the prompt once, before the user's, and none is added unasked")


def generation_prompt(subject: Subject, probes: Probes) -> Iterator[Finding]:  # noqa: ARG001
    """Compare how the assistant's turn is opened."""
    turns = [SHAPES["user"], SHAPES["several turns"]]
    ours = _openings(probes.target.probe.encode(turns), probes.target.probe.encode(turns, add_generation_prompt=False))
    if probes.reference is None:
        yield (
            Finding("passed", f"the prompt ends with {ours[0]!r}")
            if ours[0]
            else Finding(
                "failed", "the prompt does not open the assistant's turn: the model may go on with the user's words"
            )
        )
        return
    probe = probes.reference.probe
    theirs = _openings(probe.encode(turns), probe.encode(turns, add_generation_prompt=False))
    if ours == theirs:
        yield Finding("passed", f"on both sides the prompt ends with {ours[0]!r}")
    else:
        yield Finding("failed", f"the prompt ends with {ours[0]!r}, the reference's with {theirs[0]!r}")


def difference(ours: Encoded, theirs: Encoded, our_name: str, their_name: str) -> Iterator[str]:
    """Yield what stands around the first difference of two prompts."""
    for encoded, name in ((ours, our_name), (theirs, their_name)):
        if encoded.error is not None:
            yield f"{name}: {encoded.error}"
    if ours.error is None and theirs.error is None:
        pairs = zip(ours.text, theirs.text, strict=False)
        place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(ours.text), len(theirs.text)))
        for text, name in ((ours.text, our_name), (theirs.text, their_name)):
            start = max(0, place - _AROUND // 2)
            shown = text[start : place + _AROUND]
            yield f"{name}, at character {place}: {'...' if start else ''}{shown!r}"


def _text(encoded: Encoded) -> str | None:
    """Return the text; None where there is none, for whatever reason: both sides refuse in words of their own."""
    return encoded.text if encoded.error is None else None


def _openings(opened: list[Encoded], closed: list[Encoded]) -> list[str]:
    """Return what a generation prompt adds to each conversation."""
    return [one.text.removeprefix(other.text) for one, other in zip(opened, closed, strict=True)]


def _added_system(text: str) -> str | None:
    """Return what stands before the user's turn where it speaks of a system, else None."""
    before = text[: text.find(_WORDS)]
    return before if "system" in before.lower() else None


def _adds_or_drops_a_system_turn(ours: Encoded, theirs: Encoded) -> bool:
    """Say whether one text is the other with something about a system in front or in between."""
    if ours.error is not None or theirs.error is not None:
        return False
    longer, shorter = sorted((ours.text, theirs.text), key=len, reverse=True)
    start = next((i for i, (a, b) in enumerate(zip(longer, shorter, strict=False)) if a != b), len(shorter))
    extra = len(longer) - len(shorter)
    is_insertion = longer[start + extra :] == shorter[start:]
    # The insertion may be cut at another place of a repeated text, such as the opening of the next turn.
    return is_insertion and "system" in longer[max(0, start - _AROUND) : start + extra].lower()

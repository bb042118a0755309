"""Compare what chat templates write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_modelgate.engines.probe import Encoded
from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.conversations import SENTINEL
from pytest_modelgate.preflight.probes import SHAPE, Probes, Side
from pytest_modelgate.records import Message

__all__ = ["chat_template", "first_difference", "generation_prompt", "system_prompt"]

_AROUND = 40
_USER, _ANSWER = "modelgate-7f3a-user", "modelgate-7f3a-answer"
_ASKED = (Message("user", _USER),)
_NO_TEMPLATE = "there is no chat template, see chat_template"


def chat_template(subject: Subject, probes: Probes) -> Iterator[Finding]:  # noqa: ARG001
    """Compare every prompt's text with the reference's, character by character."""
    target, reference = probes.target, probes.reference
    if not target.facts.template:
        yield Finding("failed", "there is no chat template: every program that serves it guesses one")
        return
    refused = [key for key, one in target.encoded.items() if one.error is not None and not key.startswith(SHAPE)]
    if refused:
        told = f"{refused[0]}: the template does not render it: {target.encoded[refused[0]].error}"
        yield Finding("failed", f"{told}{_more(refused)}")
    if reference is None:
        told = f"the file's own template renders {_prompts(len(target.encoded))}"
        yield Finding("not checked", f"{told}, and there is no reference to compare them with (--reference SPEC)")
    else:
        yield _compared(target, reference, probes)


def _compared(target: Side, reference: Side, probes: Probes) -> Finding:
    """Compare all prompts' texts; both sides may refuse one, each in words of its own."""
    ours, theirs = target.encoded, reference.encoded
    differing = [key for key in ours if _text(ours[key]) != _text(theirs[key])]
    if not differing:
        return Finding("passed", f"{_prompts(len(ours))} are the same text on both sides")
    first = min(differing, key=lambda key: key.startswith(SHAPE))  # a case of the user's own says more than a shape
    modes = {_mode(probes.conversations[key], ours[key], theirs[key], target, reference) for key in differing}
    return Finding(
        "failed",
        f"{first}: the prompt is another text than the reference's{_more(differing)}",
        tuple(first_difference(ours[first], theirs[first], target.name, reference.name)),
        mode=modes.pop() if len(modes) == 1 else None,
    )


def system_prompt(subject: Subject, probes: Probes) -> Iterator[Finding]:
    """Look for a system text that is dropped, doubled, moved behind the user's or added."""
    target, reference = probes.target, probes.reference
    if not target.facts.template:
        yield Finding("not checked", _NO_TEMPLATE)
        return
    asked = ((Message("system", SENTINEL), *_ASKED), _ASKED)
    given, without = target.render(*asked)
    theirs = None if reference is None else reference.render(*asked)
    systems = [any(one.role == "system" for one in turns) for turns in subject.prompts.values()]
    yield from _given_system(given, None if theirs is None else theirs[0], is_needed=any(systems))
    added = _before_user(without, target)
    if theirs is not None:
        inserted = _inserted(_before_user(without, target), _before_user(theirs[1], reference or target))
        if inserted is not None and _is_words(inserted):
            yield Finding(
                "failed",
                "where a conversation has no system turn, the prompt has another beginning than the reference's",
                tuple(first_difference(without, theirs[1], target.name, "reference")),
            )
    elif "system" in added.lower() and not all(systems):
        told = f"where a conversation has no system turn, the template writes one: {added!r}"
        yield Finding("warned", f"{told}; was it trained with it?")
    yield Finding("passed", "a system text stands in the prompt once, before the user's, and none is added unasked")


def _given_system(ours: Encoded, theirs: Encoded | None, *, is_needed: bool) -> Iterator[Finding]:
    """Look at what became of the system text; what the reference does too, it was trained with."""
    is_same = theirs is not None and _text(theirs) == _text(ours)
    if ours.error is not None:
        told = f"the template takes no system turn: {ours.error}"
        if is_needed or not (is_same or theirs is None):
            yield Finding("failed", told)
        else:
            yield Finding("passed", f"{told}; no case has one")
        return
    count = ours.text.count(SENTINEL)
    if count == 1 and ours.text.find(SENTINEL) < ours.text.find(_USER):
        return
    told = "the system text follows the user's" if count == 1 else f"the system text stands in the prompt {count} times"
    yield Finding("warned" if is_same else "failed", f"{told}, as in the reference's" if is_same else told)


def generation_prompt(subject: Subject, probes: Probes) -> Iterator[Finding]:  # noqa: ARG001
    """Look at how the prompt opens the assistant's turn: as the reference does, and as before an answer that is given."""
    target, reference = probes.target, probes.reference
    if not target.facts.template:
        yield Finding("not checked", _NO_TEMPLATE)
        return
    (opened,) = target.render(_ASKED)
    (closed,) = target.render(_ASKED, add_generation_prompt=False)
    (answered,) = target.render((*_ASKED, Message("assistant", _ANSWER)), add_generation_prompt=False)
    if opened.error is not None:
        yield Finding("not checked", f"the template does not render a plain question: {opened.error}")
        return
    ours = _after_user(opened.text)
    if reference is not None:
        (theirs,) = reference.render(_ASKED)
        if theirs.error is None and ours != _after_user(theirs.text):
            told = f"after the user's words comes {ours!r}, in the reference's prompts {_after_user(theirs.text)!r}"
            yield Finding("failed", told)
    before_answer = answered.text.rpartition(_ANSWER)[0]
    lacking = before_answer.removeprefix(opened.text) if before_answer.startswith(opened.text) else None
    if lacking and lacking.strip() and opened.text == closed.text:
        told = f"an answer is written behind {lacking!r}, which the prompt does not end with"
        yield Finding("failed", f"{told}: nothing opens the assistant's turn")
    elif before_answer and before_answer.strip() != opened.text.strip():
        told = f"after the user's words the prompt has {ours!r}, a conversation whose answer is given has "
        yield Finding("warned", f"{told}{_after_user(before_answer)!r}: was it trained on the first?", mode="F06")
    yield Finding("passed", f"after the user's words comes {ours!r}, as before an answer that is given")


def first_difference(ours: Encoded, theirs: Encoded, our_name: str, their_name: str) -> Iterator[str]:
    """Yield what stands around the first difference of two prompts, or why there is none."""
    both = ((our_name, ours), (their_name, theirs))
    if ours.error is not None or theirs.error is not None:
        yield from (f"{name}: {'it is rendered' if one.error is None else one.error}" for name, one in both)
        return
    place = _first_place(ours.text, theirs.text)
    start = max(0, place - _AROUND // 2)
    for name, one in both:
        shown = one.text[start : place + _AROUND]
        end = "" if place + _AROUND >= len(one.text) else "..."
        yield f"{name}, at character {place}: {'...' if start else ''}{shown!r}{end}"


def _mode(turns: Sequence[Message], ours: Encoded, theirs: Encoded, target: Side, reference: Side) -> str | None:
    """Return the failure mode of two texts of which one is the other with something inserted, None for the check's own."""
    if ours.error is not None or theirs.error is not None:
        return None
    inserted = _inserted(ours.text, theirs.text)
    if inserted is None:
        return None
    longer = max(ours.text, theirs.text, key=len)
    place = _first_place(ours.text, theirs.text)
    if place + len(inserted) == len(longer):
        return None  # the end, which is where the assistant's turn is opened
    for text in (target.bos_text, reference.bos_text):
        if (
            text is not None
            and longer.startswith(text)
            and longer.removeprefix(text) == min(ours.text, theirs.text, key=len)
        ):
            return "F03"
    content = next((one.content for one in turns if one.role == "user"), "")
    is_before = place <= longer.rfind(content) if content else True
    return "F05" if is_before and _is_words(inserted) else None


def _inserted(one: str, other: str) -> str | None:
    """Return what the longer text has more than the shorter, where that is one piece."""
    longer, shorter = sorted((one, other), key=len, reverse=True)
    place, extra = _first_place(one, other), len(longer) - len(shorter)
    return longer[place : place + extra] if extra and longer[place + extra :] == shorter[place:] else None


def _is_words(text: str) -> bool:
    return any(character.isalpha() for character in text)


def _first_place(one: str, other: str) -> int:
    """Return the place of the first difference of two texts."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _text(encoded: Encoded) -> str | None:
    return encoded.text if encoded.error is None else None


def _after_user(text: str) -> str:
    return text.rpartition(_USER)[2]


def _before_user(encoded: Encoded, side: Side) -> str:
    """Return what stands before the user's words, without a BOS, which has a check of its own."""
    return encoded.text.partition(_USER)[0].removeprefix(side.bos_text or "")


def _prompts(count: int) -> str:
    return "1 prompt" if count == 1 else f"{count} prompts"


def _more(keys: Sequence[str]) -> str:
    return f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""

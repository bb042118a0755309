"""Detect that a text says what brought an incident about, or made it worse."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.agency import acting_clauses
from pytest_modelgate.detectors.causal_limits import (
    NEGATED,
    NO_FACTOR,
    PEOPLE_COULD_NOT,
    RECOVERY,
    REMEDY,
    SLOW_RECOVERY,
    SYMPTOM,
    UNKNOWN,
    VAGUE,
    VAGUE_FACTOR,
)
from pytest_modelgate.detectors.causal_signs import is_done_by_a_thing, weigh
from pytest_modelgate.detectors.causal_words import AFTER, BEFORE, EFFECT_ON, FLAW, INADEQUATE, LABEL, SO
from pytest_modelgate.detectors.clock import LENGTH, clock_times
from pytest_modelgate.detectors.grammar import finite_verb, is_human, tokens
from pytest_modelgate.detectors.instructions import is_imperative
from pytest_modelgate.detectors.prevention import prevents
from pytest_modelgate.detectors.sentences import looks_ahead, statements
from pytest_modelgate.detectors.vocabulary import vocabulary
from pytest_modelgate.detectors.words import content, words

_CLAUSE_END = re.compile(r"[,;:()] | - |\u2014|\bbut\b")
_AHEAD = re.compile(r"\b(?:will|shall|to) be (?:\w+ly )?$", re.IGNORECASE)
_ARROW = "\u2192"
_POINTER = re.compile(
    r"(?:^|[,;:]\s*|\band\s|\u2014\s*)(?:which|this|that|these|those|it|all\sof\sthis|all\sthis|what)\W*$",
    re.IGNORECASE,
)
_CLAUSE_START = re.compile(r"(?:[,;:\u2014\u2192] ?|\b(?:and|but|so|then|when|while|as|before|after|until|because) )")
_LENGTH = re.compile(rf" {LENGTH}\b", re.IGNORECASE)
_OWNER = re.compile(r"(?P<who>[\w-]+)(?:'s|s') $")
# What people say to others is a remedy: "stewards told fans to wait, so".
_TOLD = re.compile(
    r"(?<=\w) (?:told|asked|informed|advised|warned|urged|helped|waved|called|thanked) (?=\w)", re.IGNORECASE
)
_BE = vocabulary(
    """
    is are was were be been being am get gets got getting 's 're
    """
)
_MODAL = vocabulary(
    """
    will would to can could may might must should shall cannot
    """
)
_MODIFIERS = vocabulary(
    """
    not also then only further so badly quickly soon again still already therefore thus thereby
    """
)
# After one of these, a verb has no object: "the queue drained at 14:20".
_NO_OBJECT = vocabulary(
    """
    by at in on for and or to with as again after until till from when while during before within but because than
    right just shortly immediately soon once abruptly short altogether completely entirely suddenly twice somewhat
    badly
    """
)
_BLOCKERS = vocabulary(
    """
    not never didn't doesn't don't wasn't neither nor without hardly
    """
)


def contributing_factors(text: str, input_text: str) -> bool:  # noqa: ARG001 - the arguments of every detector
    """
    Detect causal language that is tied to a concrete factor.

    Met by "because the pool was capped at 20", "an expired certificate led to", "the retry storm made it worse". Not
    met by symptoms alone, by an unknown cause, by factors that say nothing ("because of issues"), by a denied cause, nor
    by what ended the incident.
    """
    previous = ""
    for sentence in statements(text):
        if not UNKNOWN.search(sentence) and _tells_cause(NEGATED.sub(" ", sentence), previous):
            return True
        previous = sentence
    return False


def _tells_cause(sentence: str, previous: str) -> bool:
    if NO_FACTOR.search(sentence):
        sentence = NO_FACTOR.sub(" ", sentence)
    labelled = LABEL.match(sentence)
    if labelled and len(_concrete(labelled["rest"])) > 1:
        return True
    if RECOVERY.search(sentence) and not SLOW_RECOVERY.search(sentence):
        return False
    if any(
        _names_factor(sentence[found.end() :])
        for found in AFTER.finditer(sentence)
        if not _AHEAD.search(sentence, 0, found.start()) and not _is_cause_of_people(sentence, found)
    ):
        return True
    if looks_ahead(sentence) or is_imperative(sentence):
        return False
    if any(_acts(sentence, found, previous) for found in BEFORE.finditer(sentence)):
        return True
    # Without a causal word, what is done about it looks like what brought it about.
    return not prevents(sentence) and (
        any(_acts_on(sentence, found, previous) for found in EFFECT_ON.finditer(sentence))
        or any(_follows(sentence, found, previous) for found in SO.finditer(sentence))
        or any(_concrete(subject) - SYMPTOM for subject in acting_clauses(sentence))
        or (bool(_concrete(sentence) - SYMPTOM) and (is_done_by_a_thing(sentence) or weigh(sentence)))
        or ((INADEQUATE.search(sentence) or FLAW.search(sentence)) is not None and len(_concrete(sentence)) > 1)
    )


def _is_cause_of_people(sentence: str, found: re.Match[str]) -> bool:
    """Say whether a cause is one that somebody stands up for: "the producer's cause is live music"."""
    if not found[0].lower().startswith("cause"):
        return False
    owner = _OWNER.search(sentence, 0, found.start())
    return owner is not None and is_human([owner["who"]])


def _concrete(text: str) -> set[str]:
    """Return the words of ``text`` that may name a factor."""
    return {word for word in content(text) if word not in VAGUE}


def _names_factor(text: str) -> bool:
    """Say whether a factor stands at the beginning of ``text``, which follows "because of" and the like."""
    clause = _first_clause(text)
    return bool(_concrete(clause)) and not VAGUE_FACTOR.match(clause)


def _first_clause(text: str) -> str:
    """Return ``text`` up to the end of its clause; a clause of one word is a parenthesis that is skipped."""
    for end in _CLAUSE_END.finditer(text):
        if len(text[: end.start()].split()) > 1:
            return text[: end.start()]
    return text


def _is_people(before: str) -> bool:
    """Say whether the subject of the verb that ``before`` leads up to is a person or a group of them."""
    *earlier, last = _CLAUSE_START.split(before)
    if last.strip() or not earlier:
        return is_human(tokens(last))
    # "and shut the door" has the subject of the clause before.
    words_before = tokens(earlier[-1])
    verb = finite_verb(words_before)
    return verb is not None and is_human(words_before[: verb.index])


def _subject(sentence: str, start: int, previous: str) -> str:
    """Return what stands before a verb; where that is "which" or "this", what it points to."""
    before = sentence[:start]
    if _POINTER.search(before) or not words(before):
        return f"{previous} {before}"
    return before


def _acts(sentence: str, found: re.Match[str], previous: str) -> bool:
    """Say whether the verb of a cause has a subject that is a factor: "an expired certificate led to"."""
    before = sentence[: found.start()]
    if words(before)[-1:] == ["to"]:
        return False
    if words(before)[-1:] and words(before)[-1] in _BE and words(found[0])[0] not in _BE:
        return False
    pointing = words(found[0])[0] in {"which", "that", "this"} or _POINTER.search(before) is not None
    return (pointing or not _is_people(before)) and bool(_concrete(_subject(sentence, found.start(), previous)))


def _acts_on(sentence: str, found: re.Match[str], previous: str) -> bool:
    """Say whether a verb that does harm is in the active voice, with a factor as subject and with an object."""
    before = sentence[: found.start()]
    leading = words(before)
    while leading and (leading[-1] in _MODIFIERS or leading[-1].endswith("ly")):
        leading.pop()
    following = words(sentence[found.end() :])[:1]
    if (
        not following
        or sentence[found.end()] != " "
        or following[0] in _NO_OBJECT
        or _is_people(before)
        or _LENGTH.match(sentence, found.end())
    ):
        return False
    if found[0].lower().startswith("stopp") and following[0].endswith("ing"):
        return False
    if leading and (leading[-1] in _BE or leading[-1] in _MODAL or leading[-1] in _BLOCKERS):
        return False
    if found[0].lower().endswith("ing") and not re.search(r"[,\u2014-]\s*(?:\w+ly\s|thus\s|thereby\s)?$", before):
        return False
    subject = _concrete(_subject(sentence, found.start(), previous))
    return bool(subject) and bool(subject - SYMPTOM)


def _follows(sentence: str, found: re.Match[str], previous: str) -> bool:
    """Say whether "so" and the like stand between a factor and what came of it, not between a symptom and a remedy."""
    before, after = sentence[: found.start()], sentence[found.end() :]
    if found[0].startswith(_ARROW) and clock_times(sentence):
        return False
    cause = before if len(words(before)) > 1 else f"{previous} {before}"
    if _TOLD.search(before) and _is_people(_TOLD.split(before)[0] + " "):
        return False
    if PEOPLE_COULD_NOT.search(cause.strip()) or REMEDY.search(" ".join(after.split()[:8])):
        return False
    return bool(_concrete(cause) - SYMPTOM)

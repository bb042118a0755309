"""Detect that a text says what is done so that an incident does not come again."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.clock import clock_times
from pytest_modelgate.detectors.grammar import PAST_FORMS
from pytest_modelgate.detectors.instructions import is_imperative
from pytest_modelgate.detectors.preventive_limits import (
    AMENDS,
    HAPPENED,
    IDLE_NOW,
    NO_PLAN,
    NO_SUBJECT,
    NOT_NEW,
    TOLD_THAT,
    WISH,
)
from pytest_modelgate.detectors.preventive_words import (
    AGAIN,
    ARRANGED,
    DID,
    FORWARD,
    FROM_NOW,
    GUARD,
    IDLE_PARTICIPLES,
    IDLE_VERBS,
    IN_FUTURE,
    LABEL,
    LIGHT_VERBS,
    NEXT_IS,
    OPENER,
    PASSIVE,
    PROPOSAL,
    STATE,
    VAGUE,
)
from pytest_modelgate.detectors.sentences import statements
from pytest_modelgate.detectors.standing_rules import assigns_action, tells_rule
from pytest_modelgate.detectors.verbs import VERB_STEMS, is_base
from pytest_modelgate.detectors.vocabulary import vocabulary
from pytest_modelgate.detectors.words import content, stem

_ENOUGH = 2
"""Words of substance that make an action a concrete one."""

_REACH = 240
"""Characters after a verb in which its object is looked for."""

# "Longer than it should have after the outage" asks for nothing.
_PERFECT = re.compile(r"[^\w\s]|$| (?:after|before|been|in|at|when|if|because|and|but)\b")
_RECURS = re.compile(
    r"\b(?:recur\w*|repeat\w*|repetition|again|reoccur\w*|future|another|next|similar)\b", re.IGNORECASE
)
_PURPOSE = re.compile(
    r"\b(?:to [a-z]{3,20}|so that|so) .{0,60}\b(?:future|again|next|recurr\w*|another)\b", re.IGNORECASE
)
_IDLE_ING = vocabulary(
    """
    causing seeing having showing getting making being using reporting facing experiencing asking following
    awaiting analysing analyzing examining studying discussing considering closing opening entering leaving
    """
)
_TO_DO = re.compile(r"\bto (?P<verb>[a-z]{2,20})\b", re.IGNORECASE)
_OBJECT = re.compile(r" (?:an?|the|its|their|each|every|all|any) ", re.IGNORECASE)
_OPENING = re.compile(r"^[^,:]{0,100}[,:] ")


def prevention_action(text: str, input_text: str) -> bool:  # noqa: ARG001 - the arguments of every detector
    """
    Detect an action that is to keep the incident from coming again, or from going unnoticed.

    Met by what will be done ("We will add an alert on replica lag"), by what is changed for good ("To prevent
    recurrence, the pool size is now validated in CI"), and by an action item. Not met by what was done during the
    incident, by vague wishes ("we should be more careful"), and where no action is planned.
    """
    return any(prevents(sentence) for sentence in statements(text))


def prevents(sentence: str) -> bool:
    """Say whether one sentence tells of such an action."""
    if NO_PLAN.search(sentence):
        return False
    labelled = LABEL.match(sentence)
    if labelled and _is_item(labelled["rest"]):
        return True
    if WISH.search(sentence) or NOT_NEW.search(sentence):
        return False
    if _is_planned(sentence) or _is_proposed(sentence) or _is_told(sentence) or _is_changed(sentence):
        return True
    return _substance(sentence) >= _ENOUGH and (tells_rule(sentence) or assigns_action(sentence))


def _substance(text: str) -> int:
    """Return how many words of ``text`` say what an action is about; figures count once."""
    return len({word for word in content(text) if word not in VAGUE}) + len(re.findall(r"\b\d+", text)[:1])


def _rest(sentence: str, start: int) -> str:
    """Return what goes on with a verb that ends at ``start``."""
    return sentence[start : start + _REACH].partition(";")[0]


def _is_item(text: str) -> bool:
    """Say whether what follows a label like "Action item:" is an action."""
    words_of_it = text.split()
    if not words_of_it or _substance(text) < _ENOUGH:
        return False
    first = words_of_it[0].lower().strip(",.")
    assigned = _TO_DO.search(text)
    return (
        is_base(first)
        or stem(first) in VERB_STEMS
        or (assigned is not None and is_base(assigned["verb"].lower()))
        or _is_planned(text)
        or _is_changed(text)
        or not GUARD.isdisjoint(content(text))
    )


def _is_planned(sentence: str) -> bool:
    """Say whether something of substance will be done, or must be."""
    for found in FORWARD.finditer(sentence):
        before = sentence[: found.start()]
        verb, rest = found["verb"].lower(), _rest(sentence, found.end())
        if NO_SUBJECT.search(before) or TOLD_THAT.search(before) or (AMENDS.search(rest) and not AGAIN.search(rest)):
            continue
        if verb == "have" and _PERFECT.match(rest):
            continue
        if verb == "be":
            passive = PASSIVE.match(rest)
            if passive and passive["pp"].lower() not in IDLE_PARTICIPLES and _substance(sentence) >= _ENOUGH:
                return True
        elif verb == "become":
            if re.match(r" (?:part of|mandatory|compulsory|standard|a fixed part)\b", rest, re.IGNORECASE):
                return True
        elif verb in LIGHT_VERBS:
            if _substance(rest) >= _ENOUGH or (_substance(rest) and _substance(sentence) > _ENOUGH + 1):
                return True
        elif verb not in IDLE_VERBS and _substance(sentence) >= _ENOUGH:
            return True
    return False


def _is_proposed(sentence: str) -> bool:
    """Say whether something of substance is proposed, or is being done."""
    for found in PROPOSAL.finditer(sentence):
        verb = found["verb"].lower()
        if IDLE_NOW.match(verb) or verb in _IDLE_ING or _substance(_rest(sentence, found.end())) < _ENOUGH:
            continue
        # "The pods are running" is a state; "we are drafting a rule" is an action.
        if _OBJECT.match(sentence, found.end()):
            return True
        proposed = found[0][:3].lower() in {"rec", "sug", "pro", "adv"}
        if stem(verb) in VERB_STEMS and (proposed or AGAIN.search(sentence) or not GUARD.isdisjoint(content(sentence))):
            return True
    return False


def _is_told(sentence: str) -> bool:
    """Say whether the sentence is an imperative, or says that the next step is to do something."""
    found = NEXT_IS.search(sentence)
    if found and is_base(found["verb"].lower()) and _substance(found["rest"]) >= _ENOUGH:
        return True
    start = _OPENING.sub("", sentence, count=1) if OPENER.match(sentence) else sentence
    first = re.match(r"\W*([a-z-]+)", start, re.IGNORECASE)
    if first is None or first[1].lower() in IDLE_VERBS - LIGHT_VERBS:
        return False
    return is_imperative(start) and _substance(start) > _ENOUGH


def _is_changed(sentence: str) -> bool:
    """Say whether something is so from now on, or was changed to keep the incident from coming again."""
    if _substance(sentence) < _ENOUGH:
        return False
    opened = OPENER.match(sentence) is not None
    lasting = opened or AGAIN.search(sentence) is not None
    guarded = not GUARD.isdisjoint(content(sentence)) and not clock_times(sentence)
    for found in STATE.finditer(sentence):
        if found["place"] or found["rule"]:
            return True
        form = (found["pp"] or found["pp2"] or found["now"]).lower()
        if found["now"] and form in PAST_FORMS:
            continue
        acts = found["now"] is not None and _OBJECT.match(sentence, found.end()) and stem(form) in VERB_STEMS
        if not acts and (IDLE_NOW.match(form) or form in IDLE_PARTICIPLES):
            continue
        if lasting or guarded or (stem(form) in VERB_STEMS and not clock_times(sentence)):
            return True
    if ARRANGED.search(sentence):
        return True
    if (FROM_NOW.match(sentence) or IN_FUTURE.search(sentence)) and not HAPPENED.search(sentence):
        return True
    # Told in the past tense, only the purpose tells it from a remedy.
    purposeful = opened or (guarded and _PURPOSE.search(sentence) is not None)
    return purposeful and bool(_RECURS.search(sentence)) and bool(DID.search(sentence)) and not clock_times(sentence)

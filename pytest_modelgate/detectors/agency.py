"""Find a clause in which a thing does something to another: "metal shavings disturbed the counter"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_modelgate.detectors.clock import LENGTH
from pytest_modelgate.detectors.grammar import PAST_FORMS, Verb, finite_verb, has_object, is_human, tokens
from pytest_modelgate.detectors.vocabulary import vocabulary
from pytest_modelgate.detectors.words import stem

_CLAUSES = re.compile(r"[,;:\u2014\u2192](?: |$)| - |\b(?:and|but|while|until|when|after|because|so|before|as)\b")
_LENGTH = re.compile(rf"{LENGTH}\b", re.IGNORECASE)

# Verbs that tell how an incident showed, was noticed, or ended; with them a thing does nothing to another.
_IDLE = frozenset(
    stem(word)
    for word in vocabulary(
        """
        reach pass show return log read climb fall see receive get have lose report display record rise need want notice
        spot find detect call page ring tell inform notify ask say complain wait miss serve answer respond recover restore
        revert fix resolve repair replace reload renew resume regain close open start restart begin finish complete end last
        take go come cancel refund apologise thank help try work remain stay stand sit lie become look seem appear sound smell
        play win lead watch hear feel experience suffer face meet join enter leave depart arrive follow carry bring move divert
        switch shift transfer direct hand pay buy sell print sign publish deliver ship load unload clear drain empty calm solve
        cure save rescue protect keep show store include number total average measure weigh contact reveal confirm
        identify indicate suggest point prove demonstrate mean say list describe mention cover await stop halt stall freeze
        exceed cross touch near double treble triple quadruple draw attract put set give raise lift affect concern
        involve hurt sleep dry cool warm heat believe think know expect warn alert wake announce post display report declare
        score fail note refuse reject deny decline trip hang crash run fill grow use consume spend burn earn cost gain add need deserve credit regret gather exist
        contain comprise spare pick deem grant visit tour book order request offer invite thank continue keep host treat
        restore re-enable reinstate revive refill refuel settle outlast survive escape avoid dodge apply fetch fit issue order
        assume bear blame admit accept acknowledge approve sign handle process sort bypass swap isolate tighten test check
        """
    )
) - {stem(word) for word in ("trip", "fill", "consume", "burn", "bear", "use", "apply")}
_MONITORS = frozenset(
    stem(word) for word in vocabulary("alert alarm monitor monitoring detector dashboard probe pager siren buzzer")
)
_MADE_NOTHING = re.compile(
    r"(?:(?:an?|the|no|any|some|its|their|his|her) )?(?:\w+ )?(?:calls?|decisions?|changes?|reports?|notes?|points?|progress"
    r"|sure|room|way|contact|use|good|headlines|sense|announcements?|rounds?|appearances?|coffee|list|choice|difference|start"
    r"|recovery|return|stop|trip|news|statement|up)\b",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"\b(?:limits?|ceiling|cap|quota|maximum|zero|bottom|peak|record|capacity|new|\d+|market|shelves|headlines)\b",
    re.IGNORECASE,
)
_RELATIVE = frozenset({"that", "which", "who"})
_NO_SECOND = frozenset(
    {"the", "a", "an", "is", "are", "was", "were", "been", "be", "had", "has", "have", "of", "by", "itself"}
)
_ADVERBS = frozenset(
    {"then", "also", "so", "thus", "soon", "again", "only", "just", "never", "in", "turn", "at", "last"}
)
_POINTERS = frozenset({"which", "that", "this", "these", "those"})


def acting_clauses(sentence: str) -> Iterator[str]:
    """
    Yield the subject of each clause in which it does something to an object, in the past tense and the active voice.

    What persons do is left out, as is what monitoring reports. The subject "which" stands for all before it.
    """
    start, latest = 0, ""
    for end in [*_CLAUSES.finditer(sentence), None]:
        clause = sentence[start : end.start() if end else len(sentence)]
        subject = _acting_subject(clause, latest)
        latest = _subject_of(clause) or latest or (clause if not start else "")
        if subject is not None:
            yield sentence[:start] if subject.lower() in _POINTERS else subject
        start = end.end() if end else len(sentence)


def _subject_of(clause: str) -> str:
    """Return what stands before the first finite verb of a clause."""
    words = tokens(clause)
    verb = finite_verb(words)
    return " ".join(words[: verb.index]) if verb else ""


def _acting_subject(clause: str, latest: str) -> str | None:
    """Return the subject of a clause if it acts; that of the clause before, ``latest``, where it has none of its own."""
    words = tokens(clause)
    while words and (words[0].lower().endswith("ly") or words[0].lower() in _ADVERBS):
        words.pop(0)
    if words and _is_past(words[0]) and latest:
        words = [*tokens(latest), *words]
    pointing = len(words) > 1 and words[0].lower() in _POINTERS and _is_past(words[1])
    verb = Verb(1, "past") if pointing else finite_verb(words)
    if verb is None or verb.tense == "present" or verb.index == 0:
        return None
    subject, index = words[: verb.index], verb.index
    relative = next((step for step in range(1, index + 1) if words[step].lower() in _RELATIVE), None)
    if relative is not None:
        # "A terminal that had worked loose dropped the supply": the verb is the second one.
        second = next((step for step in range(index + 2, len(words)) if _is_past(words[step])), None)
        if second is None or words[second - 1].lower() in _NO_SECOND:
            return None
        subject, index = words[:relative], second
    if words[index].lower() == "had" and index + 1 < len(words) and _is_past(words[index + 1]):
        if words[index + 1].lower() == "been":
            return None
        index += 1
    elif words[index].lower() in {
        "was",
        "were",
        "had",
        "did",
        "didn't",
        "could",
        "couldn't",
        "wasn't",
        "weren't",
        "hadn't",
    }:
        return None
    if stem(words[index].lower()) in _IDLE or not has_object(words, index) or is_human(subject):
        return None
    if words[index].lower() == "hit" and _LIMIT.search(" ".join(words[index + 1 : index + 6])):
        return None
    if words[index].lower() == "made" and _MADE_NOTHING.match(" ".join(words[index + 1 :])):
        return None
    if stem(subject[-1].lower()) in _MONITORS or _LENGTH.match(" ".join(words[index + 1 :])):
        return None
    return " ".join(subject)


def _is_past(word: str) -> bool:
    return word.lower().endswith("ed") or word.lower() in PAST_FORMS or word.lower().endswith("en")

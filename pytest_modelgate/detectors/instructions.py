"""Recognise a sentence that tells somebody to do something."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.verbs import NOUN_VERBS, is_base
from pytest_modelgate.detectors.vocabulary import vocabulary
from pytest_modelgate.detectors.words import plain

_TOKEN = re.compile(r"[^\W_]++(?:['_./:@+=-]{1,3}[^\W_]++)*+")
_CLAUSES = re.compile(r"[,;:()]\s|\s[-\u2013\u2014]\s?|\u2014|\b(?:then|otherwise)\b")
_LEADING = vocabulary(
    """
    please then first firstly second secondly third next finally lastly also instead simply just now so and or but
    alternatively otherwise always either afterwards kindly maybe perhaps again carefully immediately manually
    quickly do don't dont not never step fix solution remedy workaround recommendation todo action
    """
)
_DETERMINERS = vocabulary(
    """
    the a an your his her its their our this that these those all each every both any some no more less it them him us me
    yourself only another either up down off out away
    """
)
# After one of these the first word was a noun: "Update failed", "Run time is", "Use of".
_AFTER_NOUN = re.compile(
    r"(?:is|are|was|were|be|been|has|have|had|will|would|can|could|may|might|must|should|does|did|of|failed|fails"
    r"|failing|failures?|errors?|occur\w{0,3}|happen\w{0,3}|and|or|times?)\b",
    re.IGNORECASE,
)
_FINITE = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|would|can|could|may|might|must|should|does|did|failed|fails|failing"
    r"|occur\w{0,3}|happen\w{0,3}|shows?|showed|seems?)\b",
    re.IGNORECASE,
)
# In small letters only: capitals are names, such as REQUIRED.
_PAST = re.compile(
    r"\b(?:hit|fell|went|came|broke|ran|took|led|made|grew|kept|held|lost|saw|sank|rose|stood|gave|drove|threw|got|became|began"
    r"|[a-z]{2,30}ed)\b(?! (?:by|with)\b)"
)
_HEAD_END = re.compile(
    r"[,;]|\b(?:that|which|who|so|if|when|because|before|after|until|once|where|whose|to|as|unless|for|and|with)\b"
)
# These go on with a clause that has a verb of its own.
_WITH_CLAUSE = frozenset({"ensure", "check", "verify", "confirm", "guarantee", "remember", "see", "make", "assume"})
_TOLD = re.compile(
    r"\b(?:(?:you|users?|developers?|engineers?|teams?|everyone|everybody|somebody|someone|operators?|admins?|we|they"
    r"|customers?|agents?|clients?|owners?|reviewers?)(?:'ll|'d)?\s(?:\w{1,12}\s)?"
    r"(?:should|must|needs?\sto|ha(?:ve|s)\sto|can|may|might\swant\sto|could|ought\sto|want\sto|better|are\sto)"
    r"(?:\s(?:also|first|simply|just|always|then|never|not|either|now|still|either))?"
    r"|(?:could|would|can|will)\syou(?:\splease)?|please|let's|let\sus|remember\sto|be\ssure\sto|be\scareful\sto"
    r"|(?:fix|solution|remedy|workaround|next\sstep|way|way\sout|trick|answer)(?:\s\w{1,12}){0,3}\s(?:is|would\sbe)\sto"
    r"|(?:recommended|advisable|best|advised|necessary|suggested|better|required|enough|sufficient|worth)\sto"
    r"|(?:recommend|suggest|advise|encourage|propose)s?(?:\s\w{1,12}){0,2}\sto)"
    r"\s([a-z]{2,20})\b",
    re.IGNORECASE,
)
_PASSIVE = re.compile(
    r"\b(?:should|must|needs?\sto|ha(?:s|ve)\sto|ought\sto|(?:is|are)\sto)(?:\s(?:not|also|first|then|always|never))?\sbe"
    r"\s(?:\w{1,12}ly\s)?\w{1,16}(?:ed|en|pt|nt|ut|ilt|et|un|ne|wn|ld)\b",
    re.IGNORECASE,
)
_ADVICE = re.compile(
    r"\b(?:make\ssure|ensure\sthat|(?:try|consider|start\sby|avoid|recommend|suggest|advise|propose|how\sabout)"
    r"\s(?:\w{1,12}ly\s|first\s)?\w{2,16}ing"
    r"|(?:fixed|solved|resolved|avoided|cured|remedied|corrected|prevented|repaired)\sby\s\w{2,16}ing"
    r"|needs?\s\w{2,16}ing)\b",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"\b(?!(?:that|this|it|which|everything|there|things?)\s)\w{1,30}\s(?:should|must|needs?\sto|ha(?:s|ve)\sto|ought\sto)"
    r"(?:\s(?:not|also|first|then|always|never))?\s([a-z]{2,20})\b",
    re.IGNORECASE,
)


def is_instruction(sentence: str) -> bool:
    """Say whether ``sentence`` is an imperative or says what somebody should do."""
    sentence = plain(sentence)
    if _PASSIVE.search(sentence) or _ADVICE.search(sentence):
        return True
    if any(is_base(match[1].lower()) for pattern in (_TOLD, _OTHER) for match in pattern.finditer(sentence)):
        return True
    return any(is_imperative(clause) for clause in _CLAUSES.split(sentence))


def is_imperative(clause: str) -> bool:
    """Say whether ``clause`` begins with a verb by which somebody is told to do something."""
    tokens = list(_TOKEN.finditer(clause))
    index = 0
    while index < len(tokens) and (tokens[index][0].lower() in _LEADING or tokens[index][0].isdigit()):
        index += 1
    if index == len(tokens):
        return False
    verb = tokens[index][0].lower()
    rest = clause[tokens[index].end() :]
    # A verb alone is a label ("Install:"), and one that goes on with a hyphen is part of a name ("build-runner").
    if index + 1 == len(tokens) or not rest[:1].isspace():
        return False
    following = tokens[index + 1][0]
    verb = verb.rpartition("-")[2]
    if (_AFTER_NOUN.match(following) and following.lower() != "and") or not is_base(verb):
        return False
    if following.lower().endswith("ed") and tokens[index + 2 :] and tokens[index + 2][0].lower() in _DETERMINERS:
        return False
    if following.lower() in _DETERMINERS or verb in _WITH_CLAUSE:
        return True
    if following.lower().endswith("ing") and verb in NOUN_VERBS and verb not in {"start", "stop"}:
        return False
    # What was done is told of a subject that only looks like a verb: "Rate limits held", "Empty vectors degraded".
    if verb in NOUN_VERBS and " of " in rest[:40] and (_FINITE.search(rest) or _PAST.search(rest)):
        return False
    head = _HEAD_END.split(rest, maxsplit=1)[0].split(None, 1)
    return len(head) <= 1 or not (_FINITE.search(head[1]) or _PAST.search(head[1]))

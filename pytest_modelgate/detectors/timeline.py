"""Detect that a text says when things happened, in terms of the times and events of its input."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.clock import LENGTH, clock_times
from pytest_modelgate.detectors.events import Events, event_stems
from pytest_modelgate.detectors.sentences import MAX_CHARACTERS, looks_ahead, statements
from pytest_modelgate.detectors.words import words

_AFTER_CONNECTIVE = 3
"""Content words after a connective among which an event of the input must be."""
_SEQUENCE_SHARE = 3
_LABEL = 3
"""Content words that a sentence shares with the input before "then" and the like count as an order of its events."""

_CONNECTIVE = re.compile(
    r"\b(?:(?<!named\s)(?<!look\s)(?<!looks\s)(?<!looked\s)(?<!looking\s)after(?!\sall\b|-)|(?<!as\s)before(?!\slong\b|hand)"
    r"|until|till(?!-)|(?<!at\s)once(?!\s(?:per|a|an|every|each|more|again|in|at|for|or|and|on|only)\b)|as\ssoon\sas"
    r"|the\s(?:very\s)?(?:moment|minute|second|instant)\s(?:that\s|when\s|of\s)?"
    r"|the\s(?:very\s)?(?:day|night|morning|evening|hour)\s(?:that|when|of)\s"
    r"|no\ssooner\s(?:had|did|was|were)|(?:hardly|barely|scarcely)\shad|just\sas|at\sthe\ssame\stime\sas|by\sthe\stime"
    r"|(?<!the\s)following(?!\s(?:up|through)\b)|prior\sto|upon|ever\ssince|during|throughout|whilst|while|as(?=\s[^,;.]{3,60}\s(?:was|were)\sbeing\b)"
    r"|in\sthe\s(?:wake|aftermath|middle|midst|course|run-up)\s(?:of|to)|on\sthe\s(?:heels|back|eve|day|night|morning)\sof"
    r"|at\sthe\s(?:very\s)?(?:start|beginning|end|height|peak|time|moment|point|outset|onset|close)\s(?:of|that|when)"
    r"|from\sthe\s(?:very\s)?(?:start|beginning|moment|point|time|minute)\s(?:of|that|when|on)?"
    r"|from\sthe\s(?:very\s)?(?:first|second|third|fourth|fifth|\w+th)\s(?:minute|hour|second|moment)\sof"
    r"|with\sthe\s(?:start|beginning|end|onset)\sof|ahead\sof|preced(?:ed|ing)|predat(?:ed|es)"
    r"|(?:followed|came|hit|arrived|happened|began|started|struck|set\sin|collapsed|failed|kicked\sin)\s(?:\w{1,14}ly\s)?"
    r"(?:straight\s|right\s|hard\s|hot\s)?(?:on|upon)"
    r"|(?:part[\s-]?way|mid-?way|half-?way|late|early|deep|shortly|well|not\slong)\s(?:in)?to|half-?way\sthrough"
    r"|(?:mid|post|pre)[\s-])\s?",
    re.IGNORECASE,
)
_WHEN = re.compile(
    r"\bwhen\b(?=[^.;]{0,80}\b(?:was|were|had|did|\w{2,20}ed|went|began|came|fell|hit|ran|broke|took)\b)",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    rf"\b{LENGTH} (?:or so )?(?:later|earlier|afterwards?|beforehand|thereafter|(?:on|in)(?=[,;.:]|$)|after|before|into|past"
    rf"|prior to|following|from the|until|till|passed|elapsed|went by|had gone by|had passed"
    rf"|(?:lay|lie|were|passed|elapsed|went by) between)\b"
    rf"|\b(?:within|inside) (?:of )?(?:the (?:first|next) {LENGTH}|{LENGTH} of)\b",
    re.IGNORECASE,
)
# A length of time before or after something is told of what happened, also where other words name the event.
_SINCE = re.compile(
    r"(?:minute|hour|quarter|second)s?(?: of an hour)? (?:later|earlier|after|before|into|following|prior to)$",
    re.IGNORECASE,
)
_USUALLY = re.compile(
    r"^(?:every|each) (?:morning|evening|night|day|week|month|year|time)\b|\b(?:usually|always|typically)\b",
    re.IGNORECASE,
)
_SPAN = re.compile(
    r"\b(?:between\s(?P<a>[^,;.]{3,90}?)\sand\s(?P<b>[^,;.]{3,90})"
    r"|from\s(?P<c>[^,;.]{3,90}?)\s(?:to|until|till|through)\s(?P<d>[^,;.]{3,90}))",
    re.IGNORECASE,
)
_SEQUENCE = re.compile(
    r"\b(?:(?:and|,|;|only|was|were|had|it)\s?then\b|subsequently|afterwards?|thereafter|later|followed\sby|was\sfollowed"
    r"|were\sfollowed|moments?\slater|soon\safter|shortly\safter|eventually|came\sfirst|came\s(?:next|last|later|before)"
    r"|at\sthat\s(?:point|moment|time)|by\sthat\stime|by\sthen|meanwhile|in\sthe\smeantime|in\sthe\sinterim"
    r"|simultaneously|at\sthe\ssame\stime|straight\saway|right\saway)\b",
    re.IGNORECASE,
)
# What lies before the incident, or tells of no time in it.
_ELSEWHERE = re.compile(
    r"\b(?:last|previous|earlier\sthis|this|next|past)\s(?:year|month|week|quarter|spring|summer|autumn|fall|winter|sprint"
    r"|season)|\b(?:years?|months?|weeks?|quarters?|days?)\s(?:ago|earlier|before|back|later)|\bago\b|\b(?:some|several|many)\s"
    r"(?:years|months|weeks|days)\b|\bin\sthe\spast\b|\bhistorically\b|\bafter\sall(?=[,.;]|$)",
    re.IGNORECASE,
)
_HABIT = re.compile(r"\b(?:each|every|any|whenever|usually|normally|always|generally|typically)\b", re.IGNORECASE)
_RELATIVE = re.compile(r"\bT\s?[+-]\s?\d{1,4}\b", re.IGNORECASE)


def timeline_reference(text: str, input_text: str) -> bool:
    """
    Detect a reference to when things happened in the input's timeline.

    Met by a clock time of the input in any spelling ("2:02 PM" for 14:02), and by an event of the input that is tied
    to a time or to another event ("twelve minutes after the alert", "once the rollback finished"). Not met by other
    clock times, by the word "timeline", or where no event is tied to a time or an order.
    """
    input_text = input_text[:MAX_CHARACTERS]
    times = clock_times(input_text)
    marks = set(_marks(input_text))
    events = Events(input_text)
    for sentence in statements(text):
        if len(words(sentence)) > _LABEL and (
            not times.isdisjoint(clock_times(sentence)) or marks & set(_marks(sentence))
        ):
            return True
        if not looks_ahead(sentence) and _ties_events(sentence, events):
            return True
    return False


def _marks(text: str) -> list[str]:
    """Return times that are given from the start of the incident: T+5."""
    return ["".join(mark.upper().split()) for mark in _RELATIVE.findall(text)]


def _ties_events(sentence: str, events: Events) -> bool:
    """Say whether an event of the input stands with a word that orders it, or with a length of time."""
    if _ELSEWHERE.search(sentence):
        return False
    if _USUALLY.search(sentence):
        return False
    counted = _COUNTED.search(sentence)
    if counted and (events.shared(sentence) > 0 or _SINCE.search(counted[0])):
        return True
    for match in _SPAN.finditer(sentence):
        ends = match["a"] or match["c"], match["b"] or match["d"]
        if all(events.shared(end) > 0 for end in ends):
            return True
    for pattern in (_CONNECTIVE, _WHEN):
        for match in pattern.finditer(sentence):
            clause = re.split(r"[,;:()](?!\d)|\s-\s", sentence[match.end() : match.end() + 120], maxsplit=1)[0]
            named = event_stems(clause)[:_AFTER_CONNECTIVE]
            if any(word in events for word in named) and not _HABIT.match(clause):
                return True
    return _SEQUENCE.search(sentence) is not None and events.shared(sentence) >= _SEQUENCE_SHARE

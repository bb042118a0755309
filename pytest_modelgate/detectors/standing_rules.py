"""Recognise how a thing is done from now on: told in the present tense, with a date, a rule or a guard."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_modelgate.detectors.grammar import DETERMINERS, finite_verb, tokens
from pytest_modelgate.detectors.verbs import is_base
from pytest_modelgate.detectors.vocabulary import phrases, vocabulary

_DAY = r"(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH = r"(?:january|february|march|april|may|june|july|august|september|october|november|december|spring|summer|autumn|winter|fall)"

DATED = phrases(
    rf"""
    (?:from|starting|beginning|as of|as from|effective|since) (?:(?:with|on|in|from) )?(?:the )?(?:q[1-4]|now|today|tonight|tomorrow|next|this|{_DAY}|{_MONTH}|version|release|firmware|today's|immediately|v?\\d)
    with (?:immediate )?effect
    effective (?:immediately|now|today)
    (?:by|until|before|due|on|in|this|next|for|over|during) (?:the |early |mid-?|late |end of |mid |coming |\\w+'s )*(?:{_DAY}|{_MONTH}|tonight|tomorrow|month's end|year's end|the end of|quarter|sprint|term|season|shutdown|release|q[1-4])
    (?:by|before) the end of
    (?:this|next) (?:week|month|quarter|sprint|year|term|season|summer|spring|autumn|winter|release)
    (?:tonight|tomorrow)
    (?:ships?|goes|go|comes|is|are) (?:out |live |in |into )?(?:with|on|in|from|to) (?:{_DAY}|{_MONTH}|\\d|the next|next|version|v\\d|effect|force|service|production)
    (?:goes|go|is|are|went) live
    from (?:the )?(?:next|coming) [\w ]{{2,30}} on(?:wards?)?
    (?:due|eta|deadline):? (?:in|by|on|before|next|{_DAY}|{_MONTH}|\\d)
    sprint \d+
    (?:merged|shipped|rolled out|went out|goes out|deployed|signed|released|switched on|added|agreed|decided|adopted) (?:yesterday|today|tonight|last night|on (?:{_DAY})|this (?:morning|afternoon|week))
    in (?:two|three|four|six|\d+) (?:days|weeks|months)
    (?:going forward|from now on|henceforth|in future|in the future|from here on|hereafter|permanently|for good|from then on)
    """
)
"""Says when something is to be."""

HABIT = phrases(
    rf"""
    (?:before|after|at|on|with|ahead of) (?:each|every|any|anything|anyone|the start of each|the start of every|the next|first use|all)
    (?:each|every|all|any) (?:[\w-]+ ){{0,2}}(?:shift|time|week|month|months|weeks|quarter|year|day|days|night|morning|evening|hour|hours|minutes|release|deploy\w*|change|build|event|season|spring|autumn|winter|summer|flight|voyage|term|update|upload|import|run|match|show|performance|service|{_DAY}|first|second|third|new|future|drop)
    (?:monthly|weekly|daily|hourly|quarterly|yearly|annual|annually|nightly|twice a (?:day|week|month|year)|once a (?:day|week|month|year|quarter)|per (?:week|month|quarter|year))
    (?:no longer|any more|never again|automatically|by (?:itself|themselves|default)|on (?:its|their) own|at night|around the clock|instead|rather than|at all times|now)
    """
)
"""Says that something is so each time."""

INSTITUTION = phrases(
    r"""
    (?:checklists?|rulebooks?|rules?|polic(?:y|ies)|procedures?|contracts?|handbooks?|manuals?|runbooks?|playbooks?|linters?|lint|pipelines?)
    (?:rosters?|rota|sheets?|job cards?|\w+-\w+ card|service card|whiteboard|tickets?|backlog|guidelines?|standards?|templates?|curriculum|onboarding|induction)
    on (?:the|our|its|their|his|her) (?:\w+ ){0,2}?(?:list|plan|agenda|schedule)
    (?:training|trained|retrained|drills?|rehearsals?|rehearse\w*|inspections?|calendars?|definition of done|sign-?offs?|approvals?|second pair of eyes|four-eyes|dual control|sops?|protocols?)
    (?:spare|spares|redundant|redundancy|standby|backups?|watchdog|failsafe|fail-safe|interlock|safeguard|guard|canary|staging|checksum|allow-?list|whitelist|quota|gate|hook)
    """
)
"""Names what holds a rule, or what is kept for the next time."""

GUARDS = phrases(
    r"""
    (?:refuses?|rejects?|aborts?|blocks?|requires?|locks?|pages?|alerts?|compares?|bails? out|ignores?|enforces?|validates?|checks?|verif(?:y|ies)|discards?|warns?|limits?|caps?|pauses?|halts?|raises?|quarantines?|forbids?|prohibits?|rotates?|renews?|monitors?|guards?|protects?|rings?|texts?|insists?|demands?|holds? back|falls? back|fails? (?:the|any|every|all|over|open|closed|safe)|asks? (?:a|an|for)|switch(?:es)? itself|clos(?:e|es) by|needs? (?:the|an?|two|sign|approval|written)|must)
    (?:is|are|gets?) (?:now |also )?(?:refused|rejected|blocked|barred|banned|locked|required|validated|checked|capped|limited|rate-limited|throttled|verified|compared|held back|forbidden|prohibited|enforced|quarantined|monitored|alerted on|rotated|renewed|tested|reviewed|swapped|replaced|trained|given|taught|told|asked|expected|obliged|stopped|paused|allowed|restricted|moved|kept|isolated|separated|encrypted|backed up)
    gains? (?:an?|the|its|their|two|another|\w+)
    joins? (?:the|our)
    (?:gets?|receives?) (?:an?|their|its|two|another|one)
    (?:goes|go) (?:on|onto|into|to) (?:the|our) (?:\w+ ){0,3}?(?:list|plan|rota|roster|sheet|checklist|calendar|agenda|schedule)
    carr(?:y|ies) (?:an?|the|its)
    """
)
"""Tells of something that checks, stops or warns, in the present tense."""

_LEADING = re.compile(
    r"^(?:to|in order|before|after|from|by|going|beginning|starting|under|as|for|with|on|in|at|until|once|since|whenever|if|should"
    r"|when|effective|ahead|during|two|three|every|each)\b[^,]*, ",
    re.IGNORECASE,
)
_MAIN_END = re.compile(
    r"[;:\u2014]|, (?!and |or )|\b(?:that|which|who|whose|because|so that|unless|once|when|if|while|but)\b"
)
_ASSIGNED = re.compile(
    r"^(?P<who>[A-Z][\w.'-]*(?: [\w.'-]+){0,3}?) to (?:also |then )?(?P<verb>[a-z-]{2,20}) (?P<rest>.+)"
)
_PLURALS = vocabulary(
    """
    we they you people staff police crew team and children men women
    """
)
# Verbs that no instruction begins with.
_OTHER_VERBS = vocabulary(
    """
    come wipe stand sit live move belong apply text bail precede own vet fit ask hang track outlast
    """
)
_PREPOSITIONS = vocabulary(
    """
    of to in on at with for from by between under
    """
)
_NO_ASSIGNEE = re.compile(
    r"\b(?:attempts?|efforts?|failure|plans?|need|decision|request|time|way|able|unable|due|thanks|owing|access|up|down|next|prior"
    r"|according|back|close|contrary|related|subject|want|failed|tried|had|has|used|in order)$",
    re.IGNORECASE,
)
_OWNED = re.compile(
    r"\b(?:owner|assignee|responsible|deadline|eta)\b ?(?::|is|are) ?\w|\b[Dd]ue:? (?:[A-Z\d]|by|in|on|next|end)"
    r"|\([A-Z][\w.' -]{1,30}(?:, [^)]{1,30})?\)\W*$",
    re.MULTILINE,
)
_ITEM = re.compile(r"^(?P<what>[^:.]{3,70}): (?P<verb>[a-z-]{2,20}) (?P<rest>.+)", re.IGNORECASE)
_OPEN_TO = re.compile(
    r"\b(?:is|are|has been|was) (?:open|opened|filed|raised|created|logged|on the board|in the backlog) to (?P<verb>[a-z-]{2,20})\b"
)


def main_clause(sentence: str) -> str:
    """Return the main clause of ``sentence``, as far as its first words tell."""
    rest = _LEADING.sub("", sentence, count=1)
    return _MAIN_END.split(rest, maxsplit=1)[0]


def tells_rule(sentence: str) -> bool:
    """Say whether the main clause is in the present tense, and dates, rules or guards stand with it."""
    words = tokens(main_clause(sentence))
    verb = finite_verb(words)
    if verb is not None and verb.tense == "past":
        return False
    if verb is None and not any(_is_present(words, index) for index in range(1, len(words))):
        return False
    signs = sum(pattern.search(sentence) is not None for pattern in (HABIT, INSTITUTION, GUARDS))
    return DATED.search(sentence) is not None or signs > 1


def _is_present(words: Sequence[str], index: int) -> bool:
    """Say whether the word at ``index`` may be a verb in the present tense that agrees with the noun before it."""
    word, before = words[index].lower(), words[index - 1].lower()
    if before in DETERMINERS or before in _PREPOSITIONS or not word.isalpha():
        return False
    # The verb agrees with the noun before it, or with the first noun: "edits to the table require".
    head = next((words[step - 1].lower() for step in range(1, index) if words[step].lower() in _PREPOSITIONS), before)
    if is_base(word) or word in _OTHER_VERBS:
        return _is_plural(before) or _is_plural(head) or before in {"now", "also"}
    singular = (
        word.removesuffix("es") if word.endswith(("ches", "shes", "sses", "xes", "oes")) else word.removesuffix("s")
    )
    singular = f"{word[:-3]}y" if word.endswith("ies") else singular
    return singular != word and not _is_plural(before) and (is_base(singular) or singular in _OTHER_VERBS)


def _is_plural(noun: str) -> bool:
    return noun in _PLURALS or (noun.endswith("s") and not noun.endswith(("ss", "us", "is")))


def assigns_action(sentence: str) -> bool:
    """Say whether the sentence says who is to do what: "Sofia to update the list by Wednesday"."""
    assigned = _ASSIGNED.match(sentence)
    if assigned and not _NO_ASSIGNEE.search(assigned["who"]):
        clause = _MAIN_END.split(assigned["rest"], maxsplit=1)[0]
        told = finite_verb(tokens(assigned["who"])) or finite_verb(["to", assigned["verb"], *tokens(clause)])
        if told is None and is_base(assigned["verb"].rpartition("-")[2]):
            return True
    opened = _OPEN_TO.search(sentence)
    if opened and is_base(opened["verb"]):
        return True
    item = _ITEM.match(sentence)
    if item and is_base(item["verb"].lower().rpartition("-")[2]) and finite_verb(tokens(item["what"])) is None:
        return finite_verb([item["verb"], *tokens(_MAIN_END.split(item["rest"], maxsplit=1)[0])]) is None
    return _OWNED.search(sentence) is not None and any(is_base(word.lower()) for word in tokens(sentence))

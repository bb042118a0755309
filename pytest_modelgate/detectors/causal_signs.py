"""Weigh the signs that a sentence explains something although no causal word stands in it."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.clock import LENGTH, clock_times
from pytest_modelgate.detectors.grammar import has_object, is_human, tokens
from pytest_modelgate.detectors.vocabulary import phrases, vocabulary
from pytest_modelgate.detectors.words import stem

_ENOUGH = 3

_CHANGES = frozenset(
    stem(word)
    for word in vocabulary(
        """
        release update patch change edit deploy deployment push upgrade migration version firmware commit merge refactor
        refactoring rotation rollout script import export config configuration setting default template hotfix bump apply
        """
    )
)
_CHANGE_DID = re.compile(
    r"(?:^|[,;:] |\band )(?P<subject>(?:[\w'./:-]+ ){1,6}?)(?P<verb>set|put|cut|slipped in|brought|made|gave|sent|left|took|\w{3,20}ed(?: in| out| off| away)?)"
    r" (?=(?:an?|the|its|our|all|every|each|no|two|three|half|some|\w+) )",
    re.IGNORECASE,
)
_BE = frozenset({"was", "were", "been", "is", "are", "be", "being", "to", "will", "must", "should"})
_ENDED = re.compile(
    r"(?:finish|end|complet|start|launch|succeed|fail|reach|pass|contain|includ|receiv|need|arriv|introduced on|last)",
    re.IGNORECASE,
)
_BY_A_THING = re.compile(
    r"\b(?:was|were|been|got|being) (?:\w{2,14}ly )?(?P<pp>\w{2,16}(?:ed|en|wn)|hit|cut|set|held|put|shut|eaten|torn|worn|caught|bitten) "
    r"(?:up |out |off |away |down )?by (?P<agent>[^,;.]+)",
    re.IGNORECASE,
)
_NO_AGENT = re.compile(
    r"(?:hand|noon|midday|midnight|night|day|then|now|far|default|accident|chance|mistake|error|half|about|nearly|almost|up to"
    r"|the end|an hour|\d|(?:mon|tues|wednes|thurs|fri|satur|sun)day|\w+ing\b|phone|mail|email|radio|foot|bus|boat|car|name|law"
    r"|(?:one|two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety) )",
    re.IGNORECASE,
)
_NOTICED = re.compile(
    r"(?:notic|detect|found|spott|discover|see|report|identifi|solv|resolv|fix|restor|repair|replac|revert|restart|follow|caus|help"
    r"|support|provid|cover|protect|reliev|ended|guid|attend|written|made|publish|paus|stopped|switch|turned|handl)",
    re.IGNORECASE,
)
_WHICH = re.compile(
    r", which (?:in turn |then |\w+ly )?(?P<verb>put|set|cut|left|took|brought|sent|kept|made|gave|let|drove|\w{3,20}ed) (?P<object>.+)",
    re.IGNORECASE,
)

_DURATION = re.compile(rf"(?:only |about |nearly |almost |just |over |another )?{LENGTH}\b", re.IGNORECASE)
# What people did before it happened, and should not have.
_MISTAKE = re.compile(
    r"\b(?:had|has) (?:also |just |once |quietly |accidentally |mistakenly |by mistake )*(?:unplugged|forgotten|swapped|copied|pasted|typed"
    r"|entered|keyed|edited|removed|deleted|disabled|switched off|turned off|left|moved|renamed|connected|wired|misread|mixed"
    r"|skipped|ignored|muted|silenced|upgraded|changed|installed|applied|merged|lowered|raised|set|scheduled|painted|blocked"
    r"|taped|locked|closed|opened|confused|overlooked|missed|postponed|bypassed|overridden|hard-coded|reused|shared|revoked)"
    r" (?:(?:an?|the|its|their|his|her|all|every|both|some|two|it|them)\b|(?!at\b|in\b|on\b|by\b|for\b|to\b|until\b|when\b|after\b|before\b|and\b|again\b|with\b|from\b|as\b)\w+)",
    re.IGNORECASE,
)

_SIGNS = (
    phrases(
        r"had (?:just |already |once |never |not |long |quietly |accidentally )*(?:been |\w+(?:ed|en)\b|run|sent|put|left|got|gone|set|cut|let|come|lost|kept|grown|drifted|shrunk|worn|hit|fallen|crept|stuck)"
    ),
    phrases(r"(?:no longer|never|not once|nobody|no one|nothing|none of|neither|only|merely|nowhere|any more)"),
    phrases(
        r"""
        (?:without|lacking|lacks?|lacked|missing|absent|instead of|in place of|rather than|regardless|unlike|contrary)
        (?:retired|stale|old|outdated|wrong|unset|default|hard-?coded|shared|single|same|identical|swapped|mixed up|loose|broken|cracked|rusty|corroded|frayed|blocked|clogged|empty|full|dirty|worn|dead|unplugged|disabled|disconnected|misplaced|duplicate|mistyped|inverted|reversed|off by one)
        """
    ),
    phrases(
        r"""
        (?:limits?|timeouts?|rules?|config\w*|settings?|keys?|locks?|index|indexes|cap|caps|quota|threshold|buffers?|pool|retry|retries|address|addresses|certificates?|tokens?|defaults?|parameters?|flags?|schema|pointer|cursor|offset|switch|selector|valve|sensor|cable|fuse|breaker|battery|hose|seal|filter|gauge|probe|thermostat|host list|lists?|mapping|table|script|template|formula|unit|units|time zone|zone|clock|counter|path|link|route|firmware|version|permissions?|roles?|password|credentials?)
        """
    ),
    re.compile(r"[;:\u2014]|, (?:and|but|so|which|while|though|yet|as) ", re.IGNORECASE),
)
_AGAINST = (
    re.compile(
        rf"\b(?:for|after|within|lasted|took|until|till|since|from|about|nearly|almost) {LENGTH}\b", re.IGNORECASE
    ),
    re.compile(
        r"\b(?:customers?|users?|people|passengers|viewers|readers|players|patients|students|guests|visitors|shoppers|callers"
        r"|drivers|pupils|members|staff|complain\w*|tickets|hotline|apologi\w*|helpdesk)\b",
        re.IGNORECASE,
    ),
    re.compile(
        r"\b(?:fell|dropped|rose|climbed|reached|went|stood|was|were) (?:\w+ ){0,2}(?:to|at|by|from|below|above) [\d.]+",
        re.IGNORECASE,
    ),
    phrases(
        r"(?:was|were|had been) (?:\w+ly )?(?:restored|restarted|rolled|reverted|replaced|reinstalled|reset|repaired|fixed|found|noticed|paged|called|informed|told|asked|put back|switched back|cleared|removed|paused|stopped|resumed|reopened|suspended|held|diverted|cancelled|canceled)"
    ),
)


def is_done_by_a_thing(sentence: str) -> bool:
    """Say whether a change did something, or something was done by a thing: "all nodes were taken by a training job"."""
    for found in _BY_A_THING.finditer(sentence):
        agent = found["agent"]
        if not _NO_AGENT.match(agent) and not _NOTICED.match(found["pp"]) and not is_human(tokens(agent)):
            return True
    for found in _CHANGE_DID.finditer(sentence):
        subject = tokens(found["subject"])
        head = next(
            (
                index
                for index, word in enumerate(subject)
                if word.lower() in {"of", "to", "for", "on", "in", "from", "at"}
            ),
            len(subject),
        )
        heads = {stem(word.lower()) for word in subject[:head][-2:]}
        if not _BE.isdisjoint(word.lower() for word in subject):
            continue
        if heads & _CHANGES and not _ENDED.match(found["verb"]) and not is_human(subject):
            return True
    if _MISTAKE.search(sentence):
        return True
    which = _WHICH.search(sentence)
    return (
        which is not None
        and _DURATION.match(which["object"]) is None
        and has_object(["which", "did", *tokens(which["object"])], 1)
    )


def weigh(sentence: str) -> bool:
    """Say whether the signs of an explanation outweigh those of an account of what was seen and done."""
    start = re.split(r"[,;:]", sentence, maxsplit=1)[0]
    score = sum(sign.search(sentence) is not None for sign in _SIGNS)
    score -= sum(sign.search(sentence) is not None for sign in _AGAINST)
    score -= bool(clock_times(sentence))
    head = tokens(start)[:3]
    if is_human(head[:1]) and head[0].lower() not in {"nobody", "somebody", "someone"}:
        score -= 1
    return score >= _ENOUGH

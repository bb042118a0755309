"""Hold the wording that takes preventive language back: wishes, refusals, states, and what there was before."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.vocabulary import phrases

NO_PLAN = phrases(
    r"""
    no (?:[\w-]+ ){0,3}?(?:actions?|plans?|steps?|measures?|changes?|follow-?ups?|items?|decisions?|improvements?|remediation|prevention|work|fix|consequences|lessons)\b(?! (?:\w+ ){0,6}(?:without|unless|until|before|can|may|is (?:merged|deployed|applied|released)))
    nothing (?:has|have|is|was|will|more|else|further|needs?|can|could|to|about|new|specific|concrete)
    none(?: (?:is|are|was|were|has|have|planned|needed|required|so|yet|at|of)|\W*$)
    (?:no one|nobody|none of us) (?:intends|plans|wants|is going|has plans|means)
    not (?:yet )?(?:been )?(?:planned|decided|agreed|scheduled|foreseen|identified|defined|going to|plan|intend|be changed)
    (?:do|does|did)(?:n't| not) (?:plan|intend|propose|expect|foresee)
    to be (?:determined|decided|defined|discussed|agreed|confirmed)
    (?:tbd|tba|n/?a)
    (?:won't|will not) be (?:any|taking|doing|making)
    (?:had|have|has) (?:been )?(?:\w+ )?(?:dropped|shelved|rejected|declined|abandoned|postponed indefinitely)
    """
)
"""Says that nothing is planned."""

NOT_NEW = phrases(
    r"""
    (?:turned|voted) down
    (?:was|were|been) (?:considered|suggested|proposed|discussed|quoted|rejected|dropped|shelved|weighed|mooted)
    nothing (?:has|had|was|is) (?:been )?(?:decided|planned|agreed|changed)
    not on the (?:table|agenda)
    (?:was|were|had|is|are) already
    already (?:had|has|compulsory|existed|exists|knew)
    (?:has|have|had) (?:always|long|been in (?:place|the|force)|existed)
    for (?:years|decades|ages|a long time)
    this year included
    as (?:usual|ever|always|designed|intended|planned)
    (?:was|were) (?:in place|skipped|muted|found good|overlooked|ignored)
    existed
    made no difference
    never fired
    caught nothing
    only last (?:week|month|year)
    leave it at that
    (?:is|are|was|were) within the
    ^(?:the |our |its )?next [\w -]{2,40} (?:kicks? off|takes? place|begins?|starts?|opens?|is due|are due|falls? on|is on|goes on|is scheduled|arrives?|sails|departs)
    (?:in|on) the shops
    (?:cool head|commend\w*|congratulat\w*|applaud\w*|hero\w*|superb|grateful|gratitude|thankful\w*|proud|praise\w*|kudos|well done|instincts|deserves?|professionally|calmly|admirabl\w+|excellent)
    such (?:a )?things?
    (?:should|must) (?:never|not) (?:have to )?(?:happen|occur)
    should be able to
    (?:trust|count on|expect) (?:that )?(?:everyone|everybody|people)
    """
)
"""Tells of what was turned down, of what there was before, and of what only looks like an action."""

WISH = phrases(
    r"""
    hopefully
    we (?:all )?(?:hope|wish|trust|regret)
    would (?:have|be|help|like|wish|make|prefer|love)
    (?:could|might|must) have (?:been|had|known|seen|\w+ed|caught|done|run|gone|come)
    (?:should|ought to) have (?:been|had|known|seen|\w+ed|caught|done|run|gone)
    should(?:n't| not) have
    there should have
    with luck
    fingers crossed
    it is hoped
    at some (?:point|stage)
    some ?day
    one day
    if (?:possible|time permits|we can)
    (?:perhaps|maybe|ideally)
    in an ideal world
    """
)
"""Wishes for something, or says what should have been."""

NO_SUBJECT = re.compile(
    r"\b(?:nothing|nobody|no-one|no one|something|somebody|someone|anything|more|steps|measures)(?: (?:had|has|have|was|is|were))?\s*$",
    re.IGNORECASE,
)

TOLD_THAT = re.compile(
    r"\b(?:told|knew|known|assumed|thought|said|believed|warned|realised|realized|noticed|reported|knowing|aware|required)\b"
    r".{0,40}\bthat\b.{0,40}$|\b(?:than|what|whatever)\b[^,;.]{0,40}$",
    re.IGNORECASE,
)
"""Stands before what only was thought or known to have to be done."""

AMENDS = re.compile(
    r"\b(?:money back|vouchers?|refunds?|compensation|goodwill|apolog\w+|discounts?|credit notes?|reimburse\w*|thank\w*|slides|newsletter"
    r"|(?:this|the|a|an|our) (?:\w+ ){0,2}(?:document|summary|report|post-?mortem|review|write-?up|status page|invoice|salary"
    r"|bonus|meeting|retrospective|statement|investigation))\b",
    re.IGNORECASE,
)
"""Tells what people are given or told afterwards."""

IDLE_NOW = re.compile(
    r"(?:normal|healthy|stable|steady|fine|back|up|down|running|work(?:s|ing)?|respond(?:ing|s)|serving|flow(?:ing|s)|available"
    r"|reachable|open|closed|resolved|fixed|restored|recovered|completed?|correct(?:ed)?|clear(?:ed)?|empty|over|ok|okay|online"
    r"|offline|shown|showing|good|green|able|possible|receiving|resumed|resumes?|returned|gone|known|caught|succeed\w*|finished"
    r"|done|safe|operat\w+|functioning|quiet|calm|the|an?|that|we|it|they|all|in|on|at|to|of|and|is|are|was|were|has|have|had"
    r"|been|knows?|understand|believe|see|can|being|going|investigat\w+|looking|waiting|trying|happening|getting|having"
    r"|discussed|analysing|analyzing|informed|affected|apologi\w+|sorry|aware|missing|doing|reviewing the)\b",
    re.IGNORECASE,
)

HAPPENED = re.compile(
    r"\b(?:was|were|did|didn't|couldn't|could|went|came|fell|ran|took|led|grew|kept|held|hit|lost|saw|stood|began|broke|had"
    r"|became|got)\b",
    re.IGNORECASE,
)
"""Tells of the past."""

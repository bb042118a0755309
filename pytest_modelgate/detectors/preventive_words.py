"""Hold the wording by which English tells what is done so that something does not happen again."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.vocabulary import phrases, vocabulary
from pytest_modelgate.detectors.words import stem

PARTICIPLE = (
    r"(?:\w+(?:ed|en)|built|set|put|held|kept|made|done|run|sent|brought|taught|bought|cut|split|hung|wound|laid|led|found|drawn"
    r"|shown|thrown|sown|grown|redone|rerun|reset|rebuilt|rewritten|withdrawn|undone|read|bound|fed|shut|overseen|seen|gone|dealt|blown|flown|known|worn|torn|sworn|hung|strung|rung"
    r"|left|lent|spread|sought|swept|told|caught|fought|met|paid|sold|spun|hidden|begun|kept)"
)
_ADVERBS = (
    r"(?: (?:also|first|now|then|therefore|always|never|not|only|no longer|from now on|in (?:the )?future|in turn|both|each|all"
    r"|soon|henceforth|instead|again|additionally|at last|hereafter|by default|too|thus|next|\w{2,16}ly))*"
)
_PRESENTLY = r"(?: (?:now|also|currently|already|since|therefore|thus|consequently|permanently|\w{2,14}ly))*"

FORWARD = re.compile(
    r"(?:\b(?:will|shall|must|should|(?:is|are|am)(?: now| also| currently)? (?:going|due|set|scheduled|supposed|expected|required"
    r"|obliged|about|committed|ready|planning|looking|working) to|gonna|(?:is|are|am)(?: now| also)? to|needs? to|ha(?:s|ve) to"
    r"|ought to|(?<!the )(?<!a )(?<!no )(?<!any )(?<!this )(?<!old )(?<!earlier )(?<!'s )plans? to|planning to|intends? to|aims? to"
    r"|propose[sd]? to|(?:agreed|decided|committed|resolved|undertaken|promised|pledged|arranged|opted|chosen|(?:has|have) (?:begun|started)) to"
    r"|(?:want|wants|recommend|commit|undertake|suggest) to|(?:planned|intended|proposed|recommended|agreed|decided) to"
    r"|been (?:asked|told|instructed|scheduled|assigned|tasked|directed|requested|mandated|commissioned|reminded) to"
    r"|(?:responsib(?:le|ility)|task|job|ticket|action|proposal|decision) to)|'ll\b|'(?:re|m|s) going to\b)"
    rf"{_ADVERBS} (?P<verb>[a-z][a-z-]{{1,24}})\b",
    re.IGNORECASE,
)
"""Says that something will be done, or has to be."""

PASSIVE = re.compile(rf"{_ADVERBS} (?:\w+-)?(?P<pp>{PARTICIPLE})\b", re.IGNORECASE)
"""Follows "will be"."""

PROPOSAL = re.compile(
    r"\b(?:recommend|suggest|propose|advise|consider|plan|schedul|includ|involv|mean|start|begun|began|commit(?:ted)? to|are|is|am|'re"
    r"|'m|'s|looking at|working on|work on|underway on)(?:s|ed|ing|e|es)? (?:now |also |currently )?(?P<verb>[a-z-]{3,20}ing)\b",
    re.IGNORECASE,
)
"""Says that something is being done or proposed: "we are adding", "we recommend rotating"."""

IDLE_VERBS = vocabulary(
    """
    do try improve strive hope wish aim look think learn see know find wait happen become seem feel hear continue remain stay
    go come like love want need be have help work apologise apologize regret restore recover resume refund reimburse
    compensate credit return clear publish communicate inform thank meet discuss talk speak reply respond answer investigate
    analyse analyze understand determine figure endeavour endeavor attempt consider explore focus pay care strengthen enhance
    better follow take give get make keep hold share provide send tell say report suffer experience lose fail cause affect
    lead result occur appear expect receive contact wonder bring mean arrive reach last rethink reflect blame commend thank wonder
    """
)
"""Say nothing about what is done, or tell of the recovery, of who is told, or of a hope."""

LIGHT_VERBS = vocabulary(
    """
    improve strengthen take give get make keep hold share provide send have report fail follow go do enhance bring receive
    inform tell
    """
)
"""Of these, the ones that do say something once they have an object of substance."""

IDLE_PARTICIPLES = vocabulary(
    """
    restored recovered resumed refunded reimbursed compensated credited informed notified communicated discussed
    investigated analysed analyzed remembered forgotten seen needed blamed felt missed expected known resolved fixed affected
    delayed cancelled canceled continued sorry improved cleared thanked apologised contacted remedied addressed explored
    considered looked told paid shipped delivered replayed reprocessed happened concerned interested pleased delighted
    committed determined convinced expired failed stopped broken crashed died lost become been hoped feared happened begun started ended
    """
)
"""The same in the passive voice."""

"""Tells of a state, not of a change for good: "latency is now normal"."""

_VAGUE_WORDS = vocabulary(
    """
    thing matter careful care attention better best future quality situation process incident issue problem outage event step
    measure action effort improvement improve point something anything everything nothing lesson learn experience team people
    everyone everybody engineer customer user client management department service system prevent prevention preventive
    preventative recurrence recur repeat repetition happen again similar avoid ensure kind sort possible possibly hopefully
    hope nice good robust robustness reliability reliable resilient resilience stability stable stronger harder closer closely
    proactive proactively vigilant vigilance diligent diligence attentive appropriate necessary suitable relevant various
    general priority seriously serious long-term long term document summary report postmortem post mortem retrospective
    meeting communication communicate culture awareness mindful sure plan planned cause root factor follow followup monday
    tuesday wednesday thursday friday week month quarter sprint year next day tomorrow soon owner due date whole area
    redundancy keep eye pay conclusion serious further
    """
)
VAGUE = frozenset(map(stem, _VAGUE_WORDS))
"""Words that give an action no substance."""

GUARD = frozenset(
    map(
        stem,
        vocabulary(
            """
            alert alarm monitor monitoring check test validation validator runbook checklist policy dashboard drill training
            canary guardrail safeguard lint linter approval probe rehearsal watchdog interlock procedure audit reminder
            failsafe backoff breaker checksum fallback hook
            """
        ),
    )
)
"""What is put in place to catch or stop something."""

LABEL = re.compile(
    r"^\W*(?:(?:[\w'-]+ ){0,3}?(?:actions?|items?|to-?dos?|follow-?ups?|next steps?|steps?|prevention|measures?|prevent \w+"
    r"|remediations?|improvements?|recommendations?|safeguards?|fix|fixes|tickets?|tasks?|plan|commitments?|countermeasures?"
    r"|going forward|lessons?|mitigations?|agreed|decided|planned|opened|filed|raised|changes?|guardrails?|owner\w*|outlook"
    r"|proposals?|epic|story|backlog)(?: (?:for|to|by|from|of|on|is|opened|filed|raised|created|agreed|assigned|learn\w+)"
    r"(?: [\w'-]+){0,5}?)?(?: ?\(?#?[A-Z]{1,8}-?\d{1,6}\)?)?(?: ?\([^)]{1,40}\))?) ?(?::| [-\u2013\u2014]|\u2014) *(?P<rest>.+)",
    re.IGNORECASE,
)
"""Begins an action item."""

NEXT_IS = re.compile(
    r"\b(?:actions?|items?|follow-?ups?|steps?|prevention|measures?|remed(?:y|iation)|improvements?|recommendations?|safeguards?"
    r"|fix|tasks?|plan|commitments?|countermeasures?|lesson|goal|proposal|priority|intention|idea|answer|solution)"
    r"(?: [\w'-]+){0,5}? (?:is|are|will be|would be)(?: now| therefore)?(?: to)? (?P<verb>[a-z-]{2,20})\b(?P<rest>.{0,240})",
    re.IGNORECASE,
)
"""Says which action comes next: "the fix is to rotate"."""

AGAIN = phrases(
    r"""
    (?:prevent|avoid|stop|eliminat|preclud|forestall|pre-?empt|avert|exclud)\w{0,4}\b.{0,60}\b(?:recurrence|recurring|recur|repeat\w*|repetition|again|similar|future|reoccur\w*|another|next|this sort|this kind|of this|like this|such|ever)
    recurrences?
    (?:recurring|reoccur\w*|recurs?)
    (?:a|any|the) (?:repeat|recurrence|repetition)
    repetitions?
    happen(?:s|ing)? (?:again|twice)
    (?:never|not|without|cannot|can't|can no longer|won't|will not|no longer)\b.{0,80}\bagain
    (?:for|from) now on
    (?:going forward|henceforth|for good|permanently|next time|as standard|by design)
    in (?:the )?future
    (?:ahead of|before) (?:the next|each|every|any)
    impossible
    (?:cannot|can't|can no longer|can never|could not|never) \w+
    no longer (?:depends?|relies|rely|needs?|requires?|possible|able|can|goes|go|has|have)
    so that\b.{0,60}\b(?:no|not|never|cannot|can't|any|before|earlier|sooner|at once|immediately|automatically|again|next|always|can)
    rul(?:e|es|ed|ing) out
    guard(?:s|ed|ing)? against
    (?:protect|insulat|shield|isolat)(?:e|es|s|ed|ing)? \w+
    safeguard\w*
    head(?:s|ed|ing)? off
    another
    (?:catch|detect|spot|notice|see|find|flag|reveal|surface)\w{0,4}\b.{0,40}\b(?:sooner|earlier|in time|before|ahead|early)
    (?:unnoticed|unseen|undetected)
    by default
    (?:each|every) (?:time|release|deploy\w*|change|month|week|quarter|day|night|hour|morning|shift|build|run|push|year|season|minute)
    (?:stop|keep|prevent)(?:s|ping|ing)? \w+.{0,60} from \w+ing
    as a (?:preventive|preventative|precaution\w*|follow-?up|permanent|lasting|long-term|lesson|safeguard)
    (?:preventive(?:ly)?|preventative|precaution(?:ary)?|proactively|automatically|routinely|mandatory|compulsory)
    (?:monthly|weekly|daily|hourly|quarterly|annually|nightly|yearly|regularly)
    """
)
"""Says that what is told keeps the incident from coming again."""

OPENER = re.compile(
    r"^\W*(?:(?:in order )?to (?:prevent|avoid|stop|keep|rule|guard|protect|make sure|ensure|eliminate|reduce|catch|detect|lower"
    r"|minimi[sz]e|limit|forestall|head|preclude|avert|exclude|shorten|spot)|so that|as an? (?:preventive|preventative|precaution\w*"
    r"|follow-?up|permanent|lasting|long-term|additional|extra)|for the future|going forward|in future|in the future)\b",
    re.IGNORECASE,
)
"""Begins a sentence with its preventive purpose."""

STATE = re.compile(
    rf"\b(?:(?:has|have){_PRESENTLY}(?: been)?{_PRESENTLY}|(?:is|are){_PRESENTLY} being{_PRESENTLY}|(?:is|are) now{_PRESENTLY})"
    rf" (?P<pp>{PARTICIPLE})\b"
    rf"|'ve{_PRESENTLY} (?P<pp2>{PARTICIPLE})\b"
    r"|\bnow (?:also |\w{2,14}ly )?(?P<now>[a-z-]{2,20})\b"
    r"|\b(?:is|are) (?:now )?(?:also |already )?in (?P<place>place|force|effect|use|preparation|progress|the works|review)\b"
    r"|\b(?:is|are) now (?P<rule>mandatory|compulsory|required|obligatory|standard|part of|subject to|forbidden|prohibited|impossible)\b",
    re.IGNORECASE,
)
"""Says how something is now."""

ARRANGED = re.compile(
    r"\b(?:is|are|has been|have been|has just been|being)(?: now| already| also| currently)? (?:planned|scheduled|booked|budgeted|commissioned"
    r"|ordered|approved|funded|underway|under way|in the works|in progress|in preparation|on order|on the roadmap|in the backlog"
    r"|foreseen|earmarked|on its way|on the way|set for|due (?:in|by|next|for|before)|slated|agreed|under construction"
    r"|in development|in hand)\b",
    re.IGNORECASE,
)
"""Says that something has been arranged for."""

IN_FUTURE = re.compile(
    r"\b(?:from now on|in (?:the )?future|going forward|henceforth|as of (?:now|today)|from (?:today|here on)|mandatory)\b",
    re.IGNORECASE,
)
"""Turns the present tense into a rule for what is to come."""

FROM_NOW = re.compile(
    r"^\W*(?:from|since|starting|beginning|as of|as from|effective|with effect from|with immediate effect)\b"
    r"(?=[^,]{0,40}\b(?:now|today|tomorrow|next|this|the coming|january|february|march|april|may|june|july|august|september"
    r"|october|november|december|monday|tuesday|wednesday|thursday|friday|effect|version|release|q[1-4])\b)",
    re.IGNORECASE,
)
"""Begins a sentence with the time from which a rule holds."""

DID = re.compile(
    r"\b(?:we|the (?:\w+ ){0,2}team|engineers?|they|i)(?: have| has|'ve)?(?: now| also| since)? "
    r"(?:\w{2,16}ed|built|set|put|wrote|made|split|cut|bought|taught|gave)\b"
    r"|\b(?:was|were|been|is|are)(?: \w{2,14}ly)? (?:\w{2,16}ed|built|set|put|written|split|given)\b",
    re.IGNORECASE,
)
"""Says that something was done."""

"""Hold the wording that takes causal language back: vague, unknown and denied causes, and ends of incidents."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.vocabulary import phrases, vocabulary
from pytest_modelgate.detectors.words import stem

VAGUE = frozenset(
    stem(word)
    for word in vocabulary(
        """
        issue problem thing something error failure fail incident outage event reason cause root factor wrong wrongly
        circumstance situation system service backend stuff trouble matter disruption downtime impact slow slowness
        unknown various technical technically difficulty glitch unforeseen unexpected unexpectedly happen occur certain
        affect affected user customer client team company bad badly human mistake complication condition contribute
        contribution trigger result lead effect consequence explanation explain timeline application platform software
        infrastructure environment component degradation unavailable anomaly summary report document problematic
        complex challenge challenging hiccup mishap beyond control unhappy angry annoyed upset frustrated misfortune luck
        unlucky unlikely worried anxious afraid scared impatient tired bored curious fault faulty defect bug
        """
    )
)
"""What says nothing about a cause."""

SYMPTOM = frozenset(
    stem(word)
    for word in vocabulary(
        """
        latency slow timeout timed request response page unavailable unreachable down offline crash customer user people
        stall lag degrade deteriorate wait complain complaint site website lose lost revenue order shopper passenger
        patient student viewer player driver guest staff worse long longer alert fire late angry call
        """
    )
)
"""What tells how an incident showed."""

VAGUE_FACTOR = re.compile(
    r"^\W*(?:(?:some|various|several|certain|the|an?|technical|unforeseen|unexpected|internal|external|many|different|other"
    r"|multiple|unknown|human|unspecified|a number of|a variety of|all sorts of|a range of|general|serious|this|that"
    r"|these|our|such) )*(?:issues?|problems?|reasons?|errors?|difficulties|difficulty|circumstances|factors?|failures?"
    r"|things|trouble|incident|outage|events?|causes?|faults?|bugs?|defects?|glitch(?:es)?|disruptions?|situation|complications?|challenges)\b"
    r"(?! (?:with|in|of|on|at|from|where|that|when|which|between|inside|involving|around|caused|made|by|to|\w+ing)\b)",
    re.IGNORECASE,
)
"""Stands where a factor should, and names none: "due to various reasons"."""

_CAUSE = r"(?:causes?|reasons?|triggers?|origins?|sources?|factors?|why|what \w+|how|explanation|culprit)"
_FOUND = (
    r"(?:known|clear|established|determined|identified|found|understood|explained|confirmed|clarified|certain|obvious|discovered"
    r"|pinned|reproduced|agreed|settled|proven|proved|traced|located|isolated)"
)

UNKNOWN = phrases(
    rf"""
    {_CAUSE}(?: [\w'-]+){{0,14}}? (?:unknown|unclear|undetermined|unidentified|uncertain|unexplained|a mystery|mystery|a puzzle|elusive|under (?:investigation|review|analysis)|being (?:investigated|analysed|analyzed|looked|examined|studied)|still open|an open question|to be {_FOUND}|tbd|tbc|pending|anyone's guess|inconclusive)
    {_CAUSE}(?: [\w'-]+){{0,14}}? (?:not(?: yet)?(?: been| be)?|never(?: been)?|yet to be|cannot be|could not be|has yet to be|remains? to be|n't(?: yet)?(?: been| be)?)(?: \w+ly)? {_FOUND}
    {_CAUSE}(?: [\w'-]+){{0,14}}? (?:\w+n't)(?: yet)?(?: been| be)? {_FOUND}
    (?:not|\w+n't|never|yet|nobody|no-one|no one|none of us|unable|remains?|still|cannot|no idea|nor|hard|impossible|too early|difficult|trying|investigating|looking into|unclear|unknown|unsure|uncertain|wonder\w*|mystery|guess\w*|speculat\w*)(?: [\w'-]+){{0,6}}? (?:what (?:\w+ )?(?:caused|cause[ds]?|triggered|went|led|made|lies|lay|happened|is behind|was behind|brought|started|set)|why|how (?:it|this) (?:could|happened|came))
    (?:not|\w+n't|never|yet to|nobody|no-one|no one|unable to|still|cannot|nor)(?: [\w'-]+){{0,4}}? (?:know|knows|known|find|found|determine[d]?|establish(?:ed)?|identif(?:y|ied)|understand|understood|explain(?:ed)?|discover(?:ed)?|confirm(?:ed)?|name[d]?|agree[d]?|search\w*|look\w*|investigat\w*|sure|certain|clear about)(?: [\w'-]+){{0,3}}? (?:the|a|an|any|its|one|single|of) (?:[\w-]+ ){{0,2}}?(?:causes?|reasons?|explanation|origin|trigger|culprit)
    (?:do|does|did|can|could)(?: not|n't| never)(?: yet)? (?:know|say|tell|explain|understand|establish|determine) (?:whether|if|which|why|what|how|where)
    cannot (?:yet )?(?:know|say|tell|explain|understand|establish|determine) (?:whether|if|which|why|what|how|where)
    none (?:of (?:them|these|those|which) )?(?:has|have|had|was|were|is|are|could)(?: yet)?(?: be| been)? {_FOUND}
    (?<!when )(?<!if )(?:asked|asking|looking for|searching for|hunting for|seeking|wants? to know|want to learn|to find out|would like to know)(?: (?:us|them|him|her|about|for|out|exactly)){{0,2}} (?:what (?:\w+ )?(?:caused|made|triggered|led|brought|started|set|went|happened)|why|(?:the|a|an|its) (?:[\w-]+ )?(?:causes?|reasons?|explanation|origin|culprit))
    (?:causes?|reasons?|explanations?|factors?) (?:is|are|was|were|seems?|remains?) (?:\w+ )?(?:conceivable|possible|imaginable|plausible|debatable|open)
    whatever(?: the)? (?:reasons?|causes?|caused|it was|made|triggered)
    for (?:some|whatever|an? (?:unknown|unclear|unexplained)|unknown|unclear|unexplained|no (?:apparent|obvious|clear|known)|reasons)(?: unknown| as yet unknown)? ?reasons?
    for (?:a (?:number|variety|range|host) of|several|various|many|different|all sorts of|multiple|technical|internal) reasons
    something (?:was|is|went|had gone|has gone|must have gone) (?:off|wrong|amiss|awry|not)
    for reasons (?:unknown|that|which|we|not|nobody|still|yet)
    no (?:(?:clear|obvious|single|definite|root|known|likely|plausible|particular) )*(?:cause|reason|explanation|culprit)
    (?:causes?|reasons?) (?:is|are|was|were)(?: being| still| currently)* (?:sought|investigated|discussed|debated|analysed|analyzed)
    """
)
"""Says that a cause is not known."""

NEGATED = phrases(
    r"""
    (?:not|\w+n't|never|neither|nor|nothing|hardly|cannot|no|none|nobody)(?: [\w'-]+){0,4}? (?:caus(?:ed|es?|ing)|due to|because|owing to|triggered|to do with|related to|linked to|connected (?:to|with)|(?:the|a) (?:direct |root )?(?:result|cause|reason|consequence|culprit|factor|trigger)|responsible|to blame|at fault|attribut(?:ed|able)|contribut(?:e|ed|ing|or)|le(?:d|ad) to|result(?:ed)? (?:in|from)|stem(?:med)? from|trace[d]?|play(?:ed)? (?:a|any)|down to|bearing|explain(?:ed|s)?|behind|br(?:ing|ought) about|factor|involved|a part|aggravate|exacerbate|worsen|make (?:it|things|matters) worse)(?:(?! but\b| rather\b| instead\b|[,;:]).){0,200}
    (?:nothing|no (?:evidence|sign|indication|hint|proof))(?: [\w'-]+){0,8}? (?:caus(?:ed|es?|ing)|due to|triggered|responsible|to blame|at fault|contributed|the (?:cause|reason|culprit)|behind)(?:(?! but\b|[,;:]).){0,200}
    (?:unrelated to|ruled out|can be excluded|were excluded|was excluded|irrelevant|coincident\w*|(?:was|were) innocent|had no (?:part|role|bearing|influence|effect)|played no (?:part|role))(?:(?! but\b|[,;:]).){0,200}
    (?:so as (?:not )?to|in order (?:not )?to|with a view to|for the sake of|lest)[^,;]{0,120}
    (?:despite|regardless of|irrespective of|in spite of)[^,;]{0,100}
    """
)
"""Denies a cause, up to what may be the true one ("not by the deploy but by the pool")."""

NO_FACTOR = phrases(
    r"""
    contribut\w+ to (?:this|the|our|that|a) (?:[\w-]+ ){0,2}?(?:document|report|summary|review|discussion|response|fix|recovery|analysis|write-?up|investigation|post-?mortem|meeting|call|solution|effort|resolution|project)
    led by
    (?:delayed|postponed|put back|set back|held up) by (?:about |nearly |almost |over |only )?(?:an?|half an?|one|two|three|four|five|six|ten|\d+|several|some) (?:\w+ )?(?:seconds?|minutes?|hours?|days?|weeks?)
    ^after [^,]{4,80}, [^,]{2,40} took over
    ^factor in
    ^(?:many |our |special |warm )?thanks to (?:the|our|all|everyone|everybody) (?:[\w-]+ ){0,2}?(?:engineers?|teams?|staff|crew|everyone|colleagues|operators?|people|vendor|customers|night shift|technicians?)
    because [\w' -]{0,30}(?:stopped working|did not work|didn't work|was not working|wasn't working|worked badly|misbehaved|acted up|had (?:problems|issues|trouble|difficulties))
    led to (?:this|the|an?|our) (?:[\w-]+ ){0,2}?(?:document|report|summary|review|meeting|discovery|discussion|resolution|fix|recovery|restoration|solution|conclusion|call|ticket|investigation|apology)
    trigger\w* (?:the|an?|our|its|their) (?:[\w-]+ ){0,3}?(?:process|procedure|runbook|playbook|protocol|review|alerts?|alarms?|page|pager|notification|escalation|incident|response|investigation|plan|bridge|call)
    (?:alerts?|alarms?|monitors?|pages?) (?:was |were |had been )?triggered
    result\w* in (?:a|the|our) (?:review|fix|recovery|resolution|full recovery)
    as a result of (?:this|the|our) (?:review|incident|outage|meeting|discussion|report)
    caus\w+ (?:a lot of |much |some |great |no |any |us |further )*(?:inconvenience|frustration|annoyance|concern|trouble|disappointment)
    results? of (?:the|this|that|a|an|our|last) (?:[\w-]+ ){0,2}?(?:rounds?|match|matches|games?|votes?|elections?|tests?|reviews?|checks?|query|count|exams?|surveys?|polls?|study|studies|competition|audit|draw|race|trials?)
    (?:good|worthy|worthwhile|noble|just|common|lost|great|charitable|dear) causes?
    (?:took|taken|take|takes) up the cause
    (?:causes?|inconvenience|frustration|disruption|delay|trouble|damage) (?:(?:this|that|it|we) )?(?:has |have |had |may have )?caused(?= *(?:[.!,;]|$))
    kept (?:[\w-]+ ){1,5}?(?:going|alive|afloat|safe)
    kept (?:the|all|our|any) (?:[\w-]+ ){0,2}?(?:delays?|damage|loss|losses|wait|queues?|impact|downtime|harm) (?:to|under|below|within|small|short|low|down)
    (?:let|letting) (?:people|everyone|everybody|fans|guests|visitors|passengers|patients|customers|users|staff|cars|lorries) (?:in|through|pass|see|carry)(?! without)
    (?:story|article|book|talk|lecture|exhibition|film|column|feature|lesson|chapter|headline)(?: [\w'-]+){0,4}? (?:about|on|into|of) (?:the )?(?:[\w-]+ )?(?:causes?|reasons?|factors?)(?: (?:of|for|behind|in) [^,;]{1,60})?
    within reason
    (?:factor|cause) (?:of|that|for) (?:two|three|four|five|six|ten|\d+|the couriers|charity)
    (?:review|analysis|discussion|investigation|search|report|document|question) (?:of|for|into|on|about) (?:the )?(?:root )?causes?
    """
)
"""Causal words that tell of no cause of an incident."""

RECOVERY = phrases(
    r"""
    recover(?:ed|s|y)
    return(?:ed|ing)? to (?:normal|baseline|service)
    back (?:to (?:normal|baseline|life|health|its|their)|online|up|in service|under control|down)
    (?:was|were|been) restored
    restor(?:ed|ing) (?:the|service|traffic|access|normal|full|power|connectivity)
    (?:resolved|subsided|abated|resumed|normali[sz]ed|eased|cured|solved|settled|stabili[sz]ed)
    (?:normal|healthy|stable|steady|fine|available) (?:again|once more)
    br(?:ing|ought|inging) (?:[\w-]+ ){1,5}back
    (?:error|errors|latency|lag|rates?|load|queue|backlog|temperature|pressure) (?:\w+ ){0,3}(?:down|fell|dropped|shrank|drained|cleared|eased)
    relie(?:f|ved)
    let (?:[\w-]+ ){1,4}?(?:catch up|recover|carry on|continue|resume|drain|work|succeed|in again|through again)
    took (?:the )?pressure off
    made room
    bought (?:us )?(?:enough )?time
    (?:was|were) fixed
    put right
    worked again
    came back (?:up|online|to (?:normal|life|service|its|their))
    (?:let|got) (?:[\w-]+ ){1,5}?(?:mov(?:e|ing)|run(?:ning)?|flow(?:ing)?|going|working|turning|breathe|pass) again
    ^(?:deleting|removing|clearing|stopping|killing|raising|lowering|switching|rolling|reverting|restarting|restoring|replacing|rebooting|reloading|renewing|resetting|disabling|correcting|fixing|repairing|cleaning|undoing)(?: [\w'./-]+){1,8}? (?:freed|unblocked|unlocked|helped|did the trick|brought (?:[\w-]+ ){1,5}?down|[^,;]{2,60} (?:again|back)(?=\W*$))
    """
)
"""Says that the incident ended."""

SLOW_RECOVERY = phrases(
    r"""
    (?:not|\w+n't|never|no|cannot|only|late|later|delay\w*|slow\w*|long|longer|prolong\w*|hamper\w*|hinder\w*|stall\w*|took|further)
    (?:complicat\w*|extended|attempts?|fail\w*|held|block\w*|harder|until|added|adding|twice|impossible|difficult|cost|meant|worse\w*)
    """
)
"""Says that it did not end soon, which has causes too."""

REMEDY = phrases(
    r"""
    (?:we|on-call|engineers?|operators?|management|the (?:on-call|team|engineers?|crew|operators?|staff|duty|vendor))
    (?:they|people|customers|users|clients|many|some|guests|passengers|patients|players) (?:called|complained|left|gave|rang|wrote|turned|went|switched|asked|phoned|shouted|posted)
    (?:was|were|had to be) (?:\w+ly )?(?:rolled|reverted|restarted|restored|escalated|paged|declared|called|switched|moved|informed|notified|told|asked|sent|put|replaced|rebooted|stopped|paused|disabled|turned (?:on|off)|raised|opened|apologi\w+)
    """
)
"""Says what somebody did about it."""

PEOPLE_COULD_NOT = re.compile(
    r"^(?:[\w'-]+ ){0,4}?(?:users?|customers?|clients|people|players|viewers|students|passengers|patients|nurses|doctors"
    r"|clinicians|drivers|shoppers|guests|members|staff|employees|visitors|brokers|agents|desks?|teams?|travellers|buyers"
    r"|merchants|subscribers|callers|farmers|teachers|readers|citizens|residents|tenants|officers|couriers|pilots|cashiers)"
    r" (?:could not|couldn't|can't|cannot|were unable|was unable|were not able|saw|experienced|had to wait|waited|got|had no)\b",
    re.IGNORECASE,
)
"""Tells what people could not do, which is how an incident showed."""

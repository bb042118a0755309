"""Hold the wording by which English tells causes: connectives and verbs."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.vocabulary import phrases, vocabulary

# A sentence that tells what happened holds one of these; "as planned", "since March" do not.
_PAST = (
    r"(?:was|were|had|hadn't|did|didn't|has|have|is|are|could|couldn't|kept|ran|held|took|went|made|grew|lost|left|saw|knew|came"
    r"|fell|let|set|put|got|gave|sent|\w{3,20}ed|\w{3,20}[a-z]es)"
)

AFTER = phrases(
    rf"""
    because(?: of)?
    (?:due|owing|thanks)(?: \w{{2,12}}ly)?(?: in (?:large |no small |great )?(?:part|measure))? to(?! (?:be|start|begin|end|expire|finish|run|happen|arrive|open|close|launch|go|take|receive|pay|return)\b)
    (?:caused|triggered|sparked|provoked|induced|prompted|precipitated|initiated|started|set off|brought (?:about|on)|produced|created)(?: \w{{1,12}}){{0,2}}? by
    (?:exacerbated|aggravated|worsened|amplified|compounded|magnified|fuell?ed|prolonged|made (?:much |even |far |still )?(?:worse|longer|harder)|intensified|not helped)(?: \w{{1,12}}){{0,2}}? by
    (?:overloaded|overwhelmed|swamped|flooded|saturated|exhausted|starved|clogged|choked|hampered|hindered|delayed|slowed(?: down)?|set back|held up|blocked|broken|undone|brought down|driven|knocked (?:out|offline)|taken (?:down|out)|explained|masked|hidden|confused|misled|corrupted|interrupted|disrupted)(?: \w{{1,12}}){{0,2}}? by
    (?:stem|result|aris|originat|deriv|emanat|emerg|flow|proceed|ensu|spr[aiu]ng|follow|cam|com)(?:s|es|e|med|ming|ed|ing)?(?: \w{{2,14}}ly)? from
    arose from
    (?:came|comes) (?:down (?:to|as)|about (?:through|because|when)|of)
    (?:root|ground|born|found|lay|lie|ha[ds]|with)(?:ed|s)? (?:its |their )?(?:roots?|origins?|cause|source|beginnings?|in the fact that)(?: \w{{1,12}})? ?(?:in|with|that)?
    rooted in
    born of
    trac(?:ed?|eable|ing)(?: \w{{1,12}}){{0,4}}? (?:back )?to
    (?:attribut(?:ed|able)|ascribed|put down|linked|tied|chalked up|owed) (?:\w{{1,12}} )?to
    (?:pinned|blamed) on
    boil(?:s|ed) down to
    (?:buckled|buckling|collapsed|folded|sagged|broke|gave way|crumbled|crumpled|failed|strained|groaned|caved(?: in)?|bent|snapped|slowed|keeled over) (?:under|beneath|to)
    (?:choked|foundered|snagged|stumbled|tripped|faltered|got stuck|crashed) (?:on|over)(?= (?:an?|the|its|one|every|each|this|that|its own|two|three|\w+ \w+))
    (?:fell|fallen) (?:victim|foul|prey) (?:to|of)
    (?:succumb|suffer)(?:ed|s)? (?:to|from)
    (?:drown|suffocat|chok|starv)(?:ed|ing) (?:in|under|of|for)
    (?:deprived|starved|robbed|stripped|bereft) of
    but for
    by way of
    the story of
    for (?:an?|one|the) (?:simple|single|plain|good|banal|trivial|silly|obvious) reasons?(?=[:,;])
    [a-z] (?:as|since) (?=[\w'-]+(?: [\w'-]+){{0,5}}? (?:was(?! being)|were(?! being)|had|could not|did not|couldn't|didn't|hadn't|wasn't|weren't|lacked|never|only|no longer)\b)
    (?:undone|ruined|defeated|wrecked|spoiled|tripped up|caught out|thrown|fooled|misled|tricked|brought low|let down|outdone) by
    (?:originat|start|beg[aiu]n|root)(?:ed|s)? (?:in|with)
    (?:goes|go|dates?|dated|harks?) back to
    (?:lies|lay|lie) in
    ensued from
    owed (?:its|their|to)
    (?:there was|had) (?:\w+ )?to do with
    ^blame
    (?:it only took|it took only|it took just|all it took was|nothing more than|took nothing more than)
    ^it was(?! (?:not|clear|noticed|found|discovered|said|reported|thought|decided|agreed|obvious|evident|apparent|possible|likely|true|late|then|there|here|only|\w+ed|until|about|around|at|\d)\b)(?= [^,;]{{4,120}} (?:that|which|who) \w+)
    through (?:an?|the) (?:\w+ )?(?:mix-up|error|mistake|oversight|slip|typo|bug|misunderstanding|confusion|misreading|lapse|fault)(?: of| in| between)?
    (?:was|were|is|are|all|mostly|mainly|largely|partly|simply) down to
    (?:(?:root|underlying|main|primary|proximate|immediate|direct|actual|real|true|contributing|aggravating|deeper|second|other|another|single|biggest|key|chief) )*(?:causes?|reasons?|culprits?|triggers?|factors?|sources?|origins?|roots?|crux|crunch|snag|explanation|fault|blame|problem|weak (?:spot|point|link))(?: (?:of|for|behind|in|with|here)(?: [\w'-]+){{0,7}}?)? (?:was|were|is|are|being|lay|lies|turned out to be|proved to be|appears? to (?:be|have been)|rests?|goes)(?: (?:that|in|with|to))?(?! (?:not|un|still|due|found|identified|being|under|clear|yet|never|looked|sought|suspected|fixed|corrected|repaired|removed|reported|cleared|gone|resolved|solved|over|noticed|discovered|seen|handled|known|assumed|discussed|reviewed|quickly|soon|only))
    what (?:made|caused|triggered|broke|led|turned|kept|brought|allowed|let|tipped|set|added|delayed|slowed|prolonged|deepened|hid|blocked|stopped|started)(?: [\w'-]+){{1,12}}? (?:was|were|is)
    (?:behind|at the (?:root|heart|bottom|origin|core|back) of|contributing to|adding to|underlying|underneath|responsible for|to blame for|compounding|aggravating)(?: [\w'-]+){{1,8}}? (?:was|were|is|are|lay|stood|came)
    (?:the|a|an|as a|one)(?: (?:direct|indirect|knock-on|natural|unintended|combined|side|logical|delayed|late))? (?:results?|consequences?|product|effect|outcome|by-?product|symptom|fruit|casualty|victim) of
    on account of
    by (?:reason|virtue|dint) of
    in (?:view|light|consequence) of
    given (?:that|the)
    courtesy of
    for (?:want|lack) of
    (?:in|through|from|by) (?:the |an? |its |their )?(?:absence|lack|shortage|want) of
    (?:seeing|inasmuch|insofar|in so far) (?:that|as)
    (?:not least|all the more so|the more so|especially|particularly|chiefly) (?:because|as|since)
    (?:reason|cause|trigger|culprit|explanation) being(?: that)?
    (?:made possible|helped along|explained|accounted for) by
    at fault (?:was|were)
    (?:did not|didn't|hardly|scarcely) help that
    (?:error|mistake|bug|defect|flaw|fault|problem|weakness|trouble|catch|weak spot) (?:was|is|lay|lies|sat|sits) (?:in|with|that)
    (?:when|once)(?= (?:the|its|an?|their|our|that|this|one)(?: [\w'./-]+){{1,5}}? (?:ran out|had run out|expired|had expired|filled up|overflowed|burst|gave way|broke|snapped|tripped|jammed|blew|seized|came loose|was (?:deleted|removed|revoked|dropped|renamed|disabled|unplugged|cut|exhausted|overwritten|misconfigured))\b)
    (?:turned (?:away|down|back)|shut out|locked out|stopped|halted|frozen|cut off|kept (?:out|away))(?: \w{{2,12}}ly)? by(?= (?:an?|the|its|their|our) (?!operators?\b|engineers?\b|crew\b|team\b|guards?\b|police\b|staff\b|stewards?\b|referee\b|driver\b|technicians?\b|on-call\b|\w+ (?:operators?|engineers?|crew|team|guards?|leader|manager|staff)\b))
    (?:ran|run|bumped|crashed) into(?= (?:an?|the|its|their|our|every|[\w-]+'s) (?:[\w'-]+ ){{0,4}}?(?:limits?|cap|quota|ceiling|lock|wall|throttle|maximum)\b)
    (?:blame|responsibility|fault) (?:lies?|lay|rests?|rested) (?:with|in|on)
    to blame (?:was|were|is)
    ^(?:since|because|seeing that|now that|as(?= [^,]{{0,60}}\b(?:was|were|had|is|are|could not|couldn't|did not|didn't)\b))(?! (?:soon|well|for|of|a|early|late|long|then|\d+|about|around|the (?:start|beginning|outage|incident|launch))\b| [^,]{{0,50}}\b(?:opened|began|started|ended|closed|launched)\b) (?=[^,;]{{8,160}},)(?=[^,;]{{0,120}}\b{_PAST}\b)
    [,;\u2014-] ?(?:as|since|for|seeing as|in that)\b(?! (?:well|soon|planned|expected|follows|if|though|of|many|much|long|far|an?|usual|before|did|do|does|is|was|were|required|opposed|example|instance|to|intended|described|shown|always|reported|seen|noted|recorded|mentioned|agreed|late|early|about|around|over|up|nearly|almost|some|\d+)\b)(?=[^,;]{{0,100}}\b{_PAST}\b)
    [a-z] (?:as|since)\b (?=(?:the|it|they|its|no|nobody|our|their|there|each|every|all|one|two|both)\b[^,;]{{0,60}}\b(?:was|were|had|hadn't|did|didn't|has|have|could|couldn't|kept|ran|\w{{3,20}}ed)\b)
    """
)
"""Stands before a cause."""

_HARM = vocabulary(
    """
    exhaust saturat flood overwhelm overload swamp clog chok jam starv deplet consum hog monopolis monopoliz block stall
    crippl degrad delay prolong lengthen extend widen deepen doubl tripl multipl inflat intensif hamper hinder mask conceal
    obscur disrupt interrupt corrupt overwrit wip evict invalidat confus mislead poison contaminat stretch undermin imped
    trip strain crowd squeez throttl crash kill break paralys paralyz wreck ruin damag destroy defeat bypass circumvent
    truncat duplicat misrout mislabel misread misinterpret overrul overheat freez drown silenc suppress shadow outpac exceed
    strangl suspend lock fill drain slow snap sever erod skew distort garbl scrambl spread propagat overfill outstrip overtax
    disconnect dislodg desynchronis desynchroniz stopp halt short-circuit upend derail hobbl sabotag complicat multipli
    invert revers swallow discard ignor rejected misapply mistook mishandl mismatch overcharg overstat understat unbalanc
    burden encumber mired compromis expos tax weaken heat cool pin crush squash spoil strand mut void jamm wedg
    """
)

EFFECT_ON = phrases(
    rf"""
    (?:{"|".join(sorted(_HARM, key=len, reverse=True))})(?:[bdglmnprt]?ed|[bdglmnprt]?ing|ied|ying)(?: (?:up|out|down|off|away|through))?
    (?:broke|breaking|hid|hiding|ate|eating|overran|outran|cut|halved|slashed|froze|stole|stealing|overwrote|outgrew|burst|upset|tore|ripped|misled|mistook|shut)(?: (?:up|out|down|off|away|through|into))?
    (?:us(?:ed|ing)|tied|tying|lock(?:ed|ing)|snarl(?:ed|ing)|back(?:ed|ing)|gobbl(?:ed|ing)|held|holding) up
    (?:held|holding|set|setting) back
    (?:turn(?:ed|ing)|ate|eating) (?:away|into)
    (?:lock(?:ed|ing)|shut|shutting|ruled?|ruling|wip(?:ed|ing)|squeez(?:ed|ing)|crowd(?:ed|ing)|threw|throwing) out
    """
)
"""Verbs that do harm to an object, without saying that it is a cause."""

_SOME = r"(?:[\w'.,%/-]+ )"
_THING = r"(?:the|a|an|it|its|them|their|our|us|all|each|every|both|no|only|most|many|some|any|two|three|half)"

BEFORE = phrases(
    rf"""
    caus(?:ed|es|ing)(?! by\b)
    le(?:d|ads?|ading)(?: \w+ly| directly| in turn| straight)? (?:to|up to)
    result(?:ed|s|ing)? in
    (?:trigger(?:ed|s|ing)|spark(?:ed|s|ing)|provok(?:ed|es|ing)|induc(?:ed|es|ing)|precipitat(?:ed|es|ing)|prompt(?:ed|ing)|set(?:ting)? off|touch(?:ed|ing) off|unleash(?:ed|ing)|kick(?:ed|ing) off|set in (?:motion|train)|start(?:ed|ing) (?:a|the|an) {_SOME}{{0,3}}?(?:chain|cascade|spiral|avalanche|storm|loop|rebalance|flood|wave))(?! by\b)
    g(?:a|i)v(?:e|es|ing) (?:rise|way) to
    pav(?:ed|ing) the way for
    open(?:ed|ing) (?:the )?(?:door|doors|way|gates?|path)s? (?:to|for)
    did (?:it|the rest|the damage|for)
    ensur(?:ed|ing) that
    convinc(?:ed|ing) {_SOME}{{1,6}}?(?:of|that)
    fe(?:d|eding) {_SOME}{{1,4}}?(?:to|into|with)
    play(?:ed|s) (?:no|a|its|their) (?:small |big |large |major |minor )?(?:part|role)
    (?:is|was) the reason(?: why)?
    (?:that|this|which) (?:is|was) (?:also )?(?:why|how|what)
    br(?:ought|ings?|inging) (?:about|on)(?! by\b)
    contribut(?:ed|es|ing)(?: \w+ly)? to
    (?:exacerbat(?:ed|es|ing)|aggravat(?:ed|es|ing)|compound(?:ed|s|ing)|amplif(?:ied|ies|ying)|magnif(?:ied|ies|ying)|fuell?(?:ed|ing|s)|intensif(?:ied|ying))(?! by\b)
    worsen(?:ed|s|ing) (?!and|at|in|until|after|when|by|as|for|from|over\b)\w+
    add(?:ed|s|ing)? (?:to|further|{_SOME}{{1,6}}?to) (?:the|its|our) {_SOME}{{0,2}}?(?:outage|delay|downtime|incident|damage|load|recovery|confusion|disruption|trouble|problem|pressure|stoppage|loss|backlog|impact|repair|restart|pile|strain)
    add(?:ed|s|ing)? (?:another |a further |some |up to |almost |nearly |over |at least )?(?:\w+ ){{1,4}}?(?:minutes|hours|hour|days)
    (?:produc|creat|generat|introduc|yield|spawn|breed)(?:ed|ing)(?! by\b| (?:the |an? |many |more |\w+ )?(?:tickets?|pages?|incidents?|cases?|complaints?|reports?|calls?|summar\w+)) (?!in\b|at\b|on\b|and\b|for\b|to\b|from\b|up\b|again\b|with\b)\w+
    (?:enlarg|increas|rais|multipli|extend|widen|deepen|doubl|heighten)(?:ed|ing) (?:the|its|our) (?:\w+ )?(?:damage|impact|outage|loss|losses|number|scope|delay|extent|effect|blast radius|downtime|harm|toll|confusion|risk|queue|load|pressure)
    (?:culminat(?:ed|ing)|ended|ending) in
    (?:cascad|snowball|spill|translat|spiral|escalat|escap|develop|grew|balloon|turn)(?:ed|ing)?(?: over)?(?: {_SOME}{{0,5}}?)? ?into
    ma(?:de|king|kes) {_SOME}{{1,6}}?(?:worse|longer|harder|slower|bigger|impossible|unusable|useless|unreachable|unavailable|inevitable|likely|difficult|invalid)
    ma(?:de|king|kes) {_SOME}{{1,6}}?(?:fail|crash|refuse|reject|lose|drop|stop|stall|break|hang|run|time|wait|drift|look|appear|overflow|leak|restart|retry|believe|think|skip|ignore|miss|vanish|disappear|unreadable|invisible|go|take|treat|read|send|return|show)
    to make (?:matters|things|it) worse
    making (?:matters|things|it) worse
    ma(?:de|king|kes) (?:the|it|its|every|each|all|our|their|them|both|any|most|one|two|half|some) {_SOME}{{0,4}}\w+ \w+
    (?:was|were|is|are|lay|sat|stood) (?:\w+ ){{0,2}}?(?:responsible|to blame|at fault|the culprits?|the causes?|the reasons?|the root cause|the triggers?|behind (?:the|this|it|these|all|both|\w+)|what (?:caused|triggered|led|broke|blocked|stopped|made|kept|brought|set|took|let|drove|pushed|turned|tipped|held|sent|filled|slowed|cut)|at the (?:root|heart|bottom|origin|core) of|enough to)
    (?:was|were|is|are) how
    (?:was|is) (?:all|what|everything) (?:it|that|this) (?:took|needed|required)
    put(?:s|ting)? {_SOME}{{1,6}}?(?:outside|beyond|on hold|at risk|out of|in doubt|in danger|under)
    set(?:s|ting)? (?:the|a) (?:trap|scene|stage|ball|course|chain|spiral)
    (?:which|that|this|it) (?:is|was|explains|explained)(?: also| exactly| precisely| partly)? ?(?:why|how|the reason)
    play(?:ed|s|ing) (?:a|an|its|their|into) {_SOME}{{0,2}}?(?:part|role|this|the)
    (?:did not|didn't|hardly|scarcely) help
    (?:was|were) {_SOME}{{0,2}}?(?:a|another|one|the|an) {_SOME}{{0,2}}?(?:factors?|causes?|reasons?)
    (?:explain(?:s|ed)|account(?:s|ed) for) (?:why|how|the|this|most|much|many|half)
    (?:underl(?:ay|ies)|la[yi]n? behind|lies behind|stood behind)
    (?:which |this |that |and )meant
    meant (?:that|the|no|there|every|all|an?|it|we|nobody|nothing|any|each|its|both)
    mean(?:s|ing) (?:that|the|no|every|all|each|there|nobody|it|we|any|a|an)
    (?:lets?|letting)(?= {_SOME}{{1,8}}) {_THING} {_SOME}{{0,6}}?\w+
    (?:let|letting) {_SOME}{{1,5}}?(?:through|in|go|grow|run|slip|turn|pass|spread|build|pile|fill|expire|drift|happen|become|continue|reach|escape|overflow|leak|get|fall|rise|drop)
    (?:allow(?:ed|s|ing)|permitt(?:ed|ing)|enabl(?:ed|ing)) {_SOME}{{1,8}}?(?:to|through|in|into|out)
    (?:left|leaving|leaves) {_SOME}{{1,6}}?(?:without|with|unable|unprotected|exposed|open|vulnerable|stranded|idle|stuck|in the dark|blind|short|nothing|room|no|waiting|running|unpatched|unattended|empty|untouched|half|to)
    leaving \w+
    (?:forc(?:ed|es|ing)|compell(?:ed|ing)|oblig(?:ed|ing)|render(?:ed|s|ing)|condemn(?:ed|ing)) (?!by\b)\w+
    s(?:ent|end|ending|ends) {_SOME}{{1,6}}?(?:into|over|to|through|down|off|up|past|back|away|twice|out)
    (?:drove|driving|pushed|pushing|pulled|pulling|dragged|dragging|tipped|tipping|threw|throwing|plunged|plunging|brought|bringing|knocked|knocking|took|taking|swept|put|putting|nudged|carried|steered) {_SOME}{{1,6}}?(?:to|into|over|past|above|beyond|below|under|ahead|down|out of|offline|off|aside|on hold|at risk|out of action|out)
    (?:prevent|stopp?|kept|keep|block|hinder|discourag|barr?)(?:ed|ing)? {_SOME}{{1,7}}?from \w+ing
    prevent(?:ed|ing|s) \w+
    kept {_SOME}{{1,6}}?(?:waiting|\w+ing|down|offline|from|out|shut|closed|locked|busy|occupied|open)
    cost(?:ing|s)? (?:us|the|them|another|a|an|at|{_SOME}(?:minutes|hours|time))
    (?:robb|depriv)(?:ed|ing)
    cut(?:ting)? (?:it|them|us|the|off|{_SOME}){_SOME}{{0,4}}?(?:off|out|power|short)
    (?:took|taking|brought|bringing|knock(?:ed|ing)|shut|shutting|bring) (?:down|out|over|offline) \w+
    (?:trick|fool|lull|misled|mislead|confus)(?:ed|ing)? {_SOME}{{1,6}}?(?:into|about)
    """
)
"""Stands after a cause, in the active voice."""

SO = phrases(
    rf"""
    [,;:)\u2014-] ?(?:and )?so\b(?! (?:far|on|forth|much|many|as|long|soon|did|do|does|too|called|is|was|were|are|have|has)\b)(?!-)
    and so(?! (?:far|on|forth|much|many|as|long|soon|did|do|does|too|called|is|was|were|are|have|has)\b)
    ^so(?= (?:the|when|every|each|all|no|it|they|a|an|as|nobody|our|there)\b)
    so that(?=[^,;]{{0,100}}\b(?:was|were|had|could not|couldn't|did|failed|went|got|became|\w{{3,20}}ed)\b)
    (?:therefore|thus|hence|consequently|accordingly|thereby|whereupon|thereupon)
    as a (?:direct |natural )?(?:consequence|result)(?! of)
    in consequence
    for (?:this|that) reason
    (?:which|and|this) in turn
    with the (?:result|effect|consequence) (?:that|of)
    to the point (?:that|where|of)
    (?:until|till) (?:the|it|they|its|their|all|no|every|nothing|none|there) {_SOME}{{0,5}}?(?:burst|overflowed|filled|broke|collapsed|gave way|ran out|crashed|tripped|left|full|failed|exhausted|killed|stopped|gave up|overheated)
    only to (?:find|fail|crash|run|hit)
[\u2192] ?
    (?:by|in) doing so
    [,;] (?:and |until )?(?:the |its |our |their |this |that )?(?:[\w-]+ ){{0,2}}(?:limit|ceiling|cap|quota|maximum|capacity|threshold)s?(?: of [\w-]+)? (?:was|were|had been) (?:soon |quickly |then )?(?:reached|hit|exceeded|exhausted|passed)
    """
)
"""Stands between a cause and what came of it."""

_ABLE = r"(?:cope|absorb|handle|keep (?:up|pace)|withstand|sustain|bear|tolerate|hold (?:up|out|them|all|that|the)|stand (?:up|it)|accommodate|take (?:the|that|all|such|on)|carry (?:the|that|all|such)|support (?:the|that|all|such)|cater|deal with|serve (?:the|that|all|such)|fit|process (?:the|that|all|such)|follow|match)"
_CANNOT = r"(?:(?:could|can|did|was|were|is|are|had)(?: not|n't| never| no longer)(?: been)?|cannot|unable|unfit|ill-equipped|never|not)"

INADEQUATE = phrases(
    rf"""
    {_CANNOT} (?:able |sized |built |designed |meant |dimensioned |equipped |made |planned |rated |prepared |ready )?(?:to )?{_ABLE}
    (?:never|not|n't)(?: been)? (?:sized|built|designed|meant|dimensioned|equipped|made|planned|rated|prepared|configured|set up|tested|tuned|scaled) (?:for|to|with|against)
    (?:was|were|been|is|are) (?:only |just |still )?(?:sized|built|designed|dimensioned|rated|tuned|scaled|laid out|calibrated|intended|meant|tested|set up) (?:only |just |solely )?(?:for|with) \w+
    (?:sized|built|designed|meant|dimensioned|made|planned|rated|tuned|scaled|tested) (?:only )?for [^,;.]{{2,60}}(?:, not| and not|, never| only| rather than| instead of)
    (?:far |well |way )?(?:beyond|above|over|than|exceeding) what [^,;.]{{2,60}} (?:could|can|was able|were able|was|were|had been)
    more (?:than|\w+ than|\w+ (?:\w+ ){{1,4}}than) [^,;.]{{2,60}}? (?:could|can|was|were|had been|would) (?:\w+ )?(?:{_ABLE}|hold|handle|take|serve|carry|bear|cope|able|sized|built|designed|meant|rated|made)
    too (?:few|small|low|little|short|large|high|many|slow|narrow|tight|old|weak|late|aggressive|short-lived|generous|strict|lax|loose|big|fast|eager|coarse|broad|wide|permissive|heavy|thin|hot|cold|sensitive|optimistic|greedy|rigid|shallow|deep|rare|rarely|often|seldom|long)(?= (?:an? )?(?:for|to|and|a|in|by|\w+ (?:for|to|and)|so)\b)
    (?:not|n't|nowhere near|never)(?: been)?(?: \w+)? enough(?: \w+){{0,3}} (?:for|to)
    (?:insufficient|inadequate|under-?(?:sized|provisioned|dimensioned|powered|staffed)|mis-?(?:configured|configuration|calibrated|aligned|wired))
    ^(?:\w+ )?with (?:just|only|no|so (?:few|many|little|much)|too|barely|nothing|nobody|neither|hardly|as few|both|half|every|all|fewer|more|its|the|an?|one|two)\b[^,;]{{4,120}}(?:,)(?=[^.]{{8}})
    [;:] with (?:just|only|no|so|too|barely|nothing|nobody|neither|hardly)\b[^,;]{{4,120}},
    with [^,;]{{2,60}} (?:that|so|this|too) (?:low|high|small|short|large|tight|few|many|long|slow|old|full)
    ^(?:without|lacking|for lack of|in the absence of|absent) (?!delay|doubt|warning|notice|exception|further)[^,;]{{4,160}}
    ^if [^,;]{{4,100}} had [^;]{{4,160}}\bwould
    (?:could|would|did) no longer \w+(?=.{{0,80}}$)
    no [\w-]+, no [\w-]+
    too [\w-]+ (?:to|for)
    ^(?:had|were) [^,;]{{4,100}}, [^.]{{4,100}}\bwould
    (?:ran|outgrew|grown|grew|went) (?:\w+ ){{0,2}}(?:past|beyond|over) (?:its|the|their)
    """
)
"""Says that something was not up to what was asked of it."""

_FLAWED = (
    r"(?:untested|unvalidated|unverified|unchecked|unreviewed|unowned|unbounded|unthrottled|unlimited|unpatched|unmonitored"
    r"|unannounced|undocumented|unprotected|unguarded|unplanned|uncapped|unhandled|unsupported|unnoticed|overly|misconfigured"
    r"|mistyped|misplaced|mistaken|expired|outdated|obsolete|worn|worn-out|undersized|oversized|hard-coded|hardcoded|forgotten"
    r"|ignored|overlooked|neglected|corrupt|corrupted|damaged|defective|leftover|left-over|orphaned|premature|hasty|careless"
    r"|insufficient|inadequate|excessive|aggressive|runaway|rogue|greedy|leaking|leaky|loose|dead|failed|failing|faulty"
    r"|malformed|incompatible|conflicting|competing|mismatched|incomplete|poisoned|oversensitive|lax|missing|skipped|absent)"
)
FLAW = phrases(
    rf"""
    ^(?:(?:an?|the|one|two|some|our|its) )?(?:[\w-]+ )?(?:lightning|storm|flood|fire|frost|ice|heat|water|rat|squirrel|digger|excavator|contractor|power (?:cut|loss|outage|surge|failure|dip)|short circuit|leak|spill|landslide|earthquake)(?: [\w'./-]+){{0,5}}? \w{{3,20}}(?:ed|ew|ut|ook|oke|it) (?!by\b|at\b|in\b|on\b|for\b|to\b|and\b|from\b|with\b|after\b|until\b|when\b|while\b|again\b|during\b|the (?:region|area|city|coast)\b)\w+
    ^(?:(?:an?|the|one|two|some|our|its) )?(?:[\w-]+ )?{_FLAWED}(?: [\w'./-]+){{1,8}}? (?:hit|made|took|brought|drove|threw|gave|cost|led|sent|put|left|kept|\w{{3,20}}ed) (?!by\b|at\b|in\b|on\b|for\b|to\b|and\b|from\b|with\b|after\b|until\b|when\b|while\b|again\b|during\b)\w+
    (?:had|has) (?:already |simply |long |mistakenly |accidentally )*(?:been |never been |not been |not yet been )(?:left|set|forgotten|disabled|deleted|misconfigured|delivered|skipped|omitted|overlooked|ignored|postponed|switched|turned|shipped|installed|wired|mounted|hard-coded|copied|checked|tested|validated|monitored|rotated|renewed|documented|reviewed|updated|patched|configured|trained|replaced|cleaned|indexed|limited|capped)\b[^;,]{{0,80}}[;,:\u2014] (?:and |so )?\w+
    (?:nobody|no one|no-one) (?:had )?(?:checked|compared|noticed|owned|tested|reviewed|knew|watched|monitored|told|renewed|updated|tried|verified|looked)\b[^;,]{{0,80}}[;,:\u2014] (?:and |so )?\w+
    had (?:already |long |quietly |silently )?(?:expired|run out|run dry|lapsed|worn out|come loose|filled up|drifted|jammed|leaked|overflowed|rusted|cracked|seized)\b[^;,]{{0,60}}[;,:\u2014] (?:and |so )?\w+
    there was no (?:[\w-]+ ){{0,3}}?(?:checks?|locks?|alarms?|alerts?|limits?|tests?|backups?|owners?|rules?|guards?|validation|reviews?|fallback|spare|redundancy|budget|monitoring|timeouts?|procedures?|index|retry|retries|backoff|failover|safeguards?|throttle|quota|canary|staging)\b[^;,]{{0,80}}[;,:\u2014] (?:and |so )?\w+
    """
)
"""Says that something was flawed or not seen to, and goes on with what came of it."""

LABEL = re.compile(
    r"^\W*(?:the )?(?:(?:root|main|likely|underlying|primary|probable|direct|proximate|contributing|aggravating) )*"
    r"(?:causes?|factors?|reasons?|triggers?|why(?: it happened)?|what (?:went wrong|happened|made it worse)|culprit"
    r"|(?:underlying|behind|beneath|at the bottom of) (?:it|this|that)(?: all)?|diagnosis|explanation|finding|verdict|to blame|at fault)"
    r" ?(?:[:\u2013\u2014]| -) *(?P<rest>.+)",
    re.IGNORECASE,
)
"""A cause after its name: "Root cause: an expired certificate"."""

"""List the words that say nothing about what a text is about."""

from __future__ import annotations

from pytest_modelgate.detectors.vocabulary import vocabulary

FUNCTION_WORDS = vocabulary(
    """
    a an the this that these those such some any each every either neither both all no none not nor half several
    few many much more most less least enough other another own same only just even ever never always often
    sometimes seldom rarely usually already still yet again soon almost nearly quite rather too very so as than
    also indeed perhaps maybe else instead otherwise i me my mine myself we us our ours ourselves you your yours
    yourself yourselves he him his himself she her hers herself it its itself they them their theirs themselves who
    whom whose which what one ones someone somebody something anyone anybody anything everyone everybody everything
    nobody nothing noone here there where everywhere somewhere nowhere about above across after against ahead along
    among amid around at away back before behind below beneath beside besides between beyond by despite down during
    except for from in inside into like near of off on onto out outside over past per round since through
    throughout till to toward towards under until up upon via with within without and but or if unless because
    although though while whereas when whenever whether why how once then thus hence therefore however am is are
    was were be been being have has had having do does did doing done will would shall should can could may might
    must ought cannot isn't aren't wasn't weren't hasn't haven't hadn't doesn't don't didn't won't wouldn't
    shouldn't can't couldn't mustn't let's i'm we're you're they're it's that's there's i've we've you've they've
    i'll we'll you'll they'll i'd we'd you'd they'd s t d ll ve re
    """
)
"""Words that hold a sentence together."""

EVERYDAY = FUNCTION_WORDS | vocabulary(
    """
    able actual actually add added allow also apart apparently appear apply area ask asked bad based become became
    begin began begun behave believe best better big bit bring brought call called came can care case certain
    certainly change changed check clear clearly close come common complete completely consider contain continue
    correct could course current currently day days deal dear decide deep describe did different difficult directly
    do down due early easily easy else end entire entirely especially etc even exactly example expect explain fact
    fairly far feel felt find fine finally first follow following form former found four five six seven eight nine
    ten two three eleven twelve twenty thirty forty fifty hundred thousand million second third fourth fifth last
    full fully further gave general generally get getting give given go goes going gone good got great group grow
    had hand happen happened hard hear held hello help hi high higher hold hope hour hours however idea immediate
    immediately important include included including inform instead interest just keep kept kind knew know known
    large larger late later lead least leave left less let level like likely line little live long longer look
    looked lot low lower made main mainly make making manner matter mean means meant meanwhile mention minute
    minutes moment month months morning move moved name namely near need needed new next nice night normal normally
    note notice noticed now number obvious obviously occur occurred offer often ok okay old order ordinary original
    otherwise part particular particularly people person place plan please point possible possibly present previous
    previously probably problem problems provide put question quick quickly quiet ran rather reach ready real
    really reason receive recent recently regard regarding related remain reply require respect result return right
    run running said same saw say says seconds see seem seen send sent set short shortly should show showed shown
    side similar simple simply since situation small so sort soon sorry start started state still stop stopped
    straight subject such sure take taken tell term thank thanks thing things think though thought time times today
    together told tomorrow took total towards tried try turn turned type understand unfortunately until upon use
    used useful using usual usually value various version very view want wanted way ways week weeks well went were
    what whatever whole wish word words work worked working would write written wrong year years yes yesterday
    """
)
"""The function words, and what people talk with whatever they talk about."""

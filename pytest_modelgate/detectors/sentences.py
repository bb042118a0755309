"""Cut a text into sentences, and leave out what only lists the words that a judge might look for."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.vocabulary import vocabulary
from pytest_modelgate.detectors.words import plain, words

MAX_CHARACTERS = 50_000
"""What a text holds after this many characters is not read: no summary is that long, but a loop may be."""
MAX_SENTENCE = 1_000
"""A longer sentence is cut, so that patterns that look for two things in one sentence stay cheap."""

# After these a full stop ends no sentence; nor does it inside a number or a name.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|cf|vs|approx|etc|ca|no|nos|fig|mr|mrs|ms|dr|st|min|sec|hr|hrs|a\.m|p\.m|[a-z])\.$",
    re.IGNORECASE,
)
_ITEM_NUMBER = re.compile(r"(?:^|\n)[ \t]*\d{1,2}\.$")
_TITLE = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|cf|vs|approx|ca|no|nos|fig|mr|mrs|dr|st)\.$", re.IGNORECASE)
_END = re.compile(r"[.!?]+[\"')\]*_]*(?=\s)|\n\s*|\u2026\s")
_BULLET = re.compile(r"^[\s>|#*+\u2022\u25e6\u2013\u2014-]+|^\s*\(?\d{1,2}[.)]\s+|\*\*|__(?=\w)|(?<=\w)__|`")


def sentences(text: str) -> list[str]:
    """
    Return the sentences of ``text``, in plain typography, without bullets, emphasis and heading marks.

    At most the first :data:`MAX_CHARACTERS` are read.
    """
    text = plain(text[:MAX_CHARACTERS])
    found: list[str] = []
    start = 0
    for end in _END.finditer(text):
        stop = end.end()
        if end[0][0] == "." and _ends_no_sentence(text, end.start() + 1, stop):
            continue
        found.append(text[start:stop])
        start = stop
    found.append(text[start:])
    return [piece for sentence in found for piece in _pieces(" ".join(_BULLET.sub("", sentence).split()))]


def _ends_no_sentence(text: str, dot: int, after: int) -> bool:
    """Say whether a full stop belongs to an abbreviation: "at 8 a.m. the", "e.g. the"."""
    if _ITEM_NUMBER.search(text[max(0, dot - 8) : dot]):
        return True
    if not _ABBREVIATION.search(text[max(0, dot - 8) : dot]):
        return False
    following = text[after : after + 2].lstrip()
    return not following[:1].isupper() or _TITLE.search(text[max(0, dot - 8) : dot]) is not None


def _pieces(sentence: str) -> list[str]:
    return [sentence[start : start + MAX_SENTENCE] for start in range(0, len(sentence), MAX_SENTENCE)]


_HAS_VERB = re.compile(
    r"\b(?:is|are|was|were|am|be|been|has|have|had|does|do|did|will|would|can|could|must|shall|should|may|might|won't"
    r"|cannot|n't|'ll|'ve|'re|began|broke|came|fell|went|ran|took|led|made|grew|kept|held|hit|lost|saw|sent|shut|sank"
    r"|rose|stood|wrote|gave|found|drove|ate|threw|put|set|let|cut|left|got|became|meant|brought|caught|felt|"
    r"(?!(?:need|speed|feed|seed|shed|bed|red|hundred|embed|proceed|exceed|based|related|detailed|described|included"
    r"|listed|covered|satisfied|mentioned|addressed|fulfilled|provided|explained|identified|stated)\b)"
    r"[a-z]{2,30}ed)\b",
    re.IGNORECASE,
)
"""What most sentences of a report hold, and lists of keywords do not."""

_CRITERIA = re.compile(
    r"\b(?:timelines?|timeline[_ -]references?|chronolog\w{1,5}|sequence of events|order of events"
    r"|contributing(?:[_ -]factors?)?|root[_ -]causes?|causes?|causal\w{0,3}|causality"
    r"|specific(?:[_ -]components?)?|components?|affected (?:services?|systems?)"
    r"|prevention(?:[_ -]actions?)?|preventive(?: actions?| measures?)?|preventative(?: actions?| measures?)?"
    r"|action items?|follow-?ups?|remediations?|mitigations?|corrective actions?|lessons(?: learned| learnt)?"
    r"|impact|what made it worse|criteri(?:on|a)|keywords?|rubrics?|factors?|references?)\b",
    re.IGNORECASE,
)
_CLAIM = re.compile(
    r"\b(?:yes|true|present|included|includes?|described|describes?|covered|covers|listed|stated|given|named|names"
    r"|mentioned|mentions|addressed|explained|identified|satisfied|satisfies|fulfilled|fulfils|meets?|met|done|ok|okay"
    r"|checked|provided|contains?|several|multiple|many|detailed|discussed|see|above|below|explanation|summary"
    r"|incident|report|post-?mortem|section|document|text|n/?a|pass(?:ed)?|complete[d]?|clear(?:ly)?|here|specified"
    r"|refers?|referred|reference|analysis|pending|tbd|tbc|none|unknown|open)\b",
    re.IGNORECASE,
)
_JOINING = vocabulary(
    """
    the a an of to in on at for with by from and or that this it its is are was were be as
    """
)
_CUES = vocabulary(
    """
    because due caused cause owing led after before then prevent recurrence avoid since once
    """
)
_CONTENTS = re.compile(
    r"^\W*(?:the |this )?(?:summary|report|text|document|post-?mortem|answer) (?:contains?|covers?|includes?|describes?|lists?|has)"
    r"(?: the following)?:",
    re.IGNORECASE,
)
_MAX_LISTED = 3
_TWO = 2
_AUXILIARY = re.compile(r"\b(?:is|are|was|were|has|have|had|will|would|can|could|must|did|does)\b", re.IGNORECASE)
_MIN_LISTED = 4


def is_stuffing(sentence: str) -> bool:
    """
    Say whether ``sentence`` lists what a rubric asks for instead of telling it.

    So does a sentence that holds little but names of criteria and claims that they are met ("Root cause: yes.
    Contributing factors: several."), and a bare list of keywords without a verb.
    """
    found = words(sentence.replace("_", " "))
    if not found:
        return True
    if _CONTENTS.match(sentence):
        return True
    cues = sum(word in _CUES for word in found)
    if cues >= _MIN_LISTED and cues * _MAX_LISTED >= len(found) and not _AUXILIARY.search(sentence.replace("will", "")):
        return True
    named = _CRITERIA.findall(sentence)
    if named:
        rest = words(_CLAIM.sub(" ", _CRITERIA.sub(" ", sentence)).replace("_", " "))
        left = [word for word in rest if word not in _JOINING and word not in _CUES]
        if len(left) < _TWO or ("_" in "".join(named) and len(left) < _MIN_LISTED):
            return True
    listed = [words(piece) for piece in re.split(r"[,;/|:](?!\d)| - |\bto\b(?= )", sentence)]
    sizes = [len(piece) for piece in listed if piece]
    if len(sizes) > _MIN_LISTED and sum(sizes) <= _TWO * len(sizes) and not _AUXILIARY.search(sentence):
        return True
    if _HAS_VERB.search(sentence):
        return False
    if len(sizes) >= _MIN_LISTED and sum(sizes) <= _MAX_LISTED * len(sizes) - len(sizes):
        return True
    joining = sum(word in _JOINING for word in found)
    if len(named) > 1 and joining * 8 < len(found):
        return True
    return cues > 1 and joining * 6 < len(found)


def statements(text: str) -> list[str]:
    """Return the sentences of ``text`` that are no stuffing."""
    return [sentence for sentence in sentences(text) if not is_stuffing(sentence)]


_AHEAD = re.compile(
    r"\b(?:will|won't|shall|going to|gonna|must(?! *(?:[.,;]|$))|should(?! have\b)|(?:we|team|they) plans? to|intends? to|propose|from now on"
    r"|going forward|henceforth|next time|never again|in (?:the )?future|(?:is|are) to be|to prevent|recurrence|prevention"
    r"|action items?|follow-?up|(?:is|are|has|have|been|be|can|cannot) now"
    r"|now (?!took|had|was|were|went|came|ran|\w+ed\b))\b|'ll\b",
    re.IGNORECASE,
)


def looks_ahead(sentence: str) -> bool:
    """Say whether ``sentence`` is about what is to come, not about what happened."""
    return _AHEAD.search(sentence) is not None

"""Read a little of the grammar of a sentence: its first finite verb, its tense, and who or what its subject is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pytest_modelgate.detectors.vocabulary import vocabulary
from pytest_modelgate.detectors.words import stem

Tense = Literal["past", "present"]

TOKEN = re.compile(r"[^\W_]++(?:(?:['_./:@+=%-]{1,2}|,(?=\d))[^\W_]++)*+|[,;:()\u2014\u2192]")

PAST_FORMS = vocabulary(
    """
    was were had did wasn't weren't hadn't didn't could couldn't began broke came fell went ran took led made grew kept held
    hit lost saw sent shut sank rose stood wrote gave found drove ate threw put set let cut left got became meant brought
    caught felt fed fled flew forgot froze hid hurt knew laid lay lent lit met paid read rang sold shook shot shrank slept
    slid sought spent spun split spread stole stuck struck swept swung taught thought told tore understood undid withdrew
    woke won wore wound bore beat bent bit blew built burst bought chose clung crept dealt dug drew drank dwelt fought forbade
    forgave heard knelt leapt overran overrode outgrew overtook overwrote overslept rode said sang sat shone sped spoke sprang
    stank stung swam swore threw trod wept misled mistook misread misheard burnt spilt spoilt learnt outran rebuilt
    """
)
PRESENT_FORMS = vocabulary(
    """
    is are am isn't aren't has have hasn't haven't does do doesn't don't will won't would can can't cannot may might must
    shall should needs ought 'll 're 've gets goes takes makes keeps means lets gives runs uses holds
    """
)
_BEFORE_ADJECTIVE = vocabulary(
    """
    a an the this that these those its his her their our my your no any some each every all both one two three four five six
    of in on at by with from for to into onto as than like without under over between after before during through and or
    newly freshly recently badly poorly partly fully widely is are was were be been being has have had get gets got getting
    more most less very too so not never already just still
    """
)
DETERMINERS = vocabulary(
    """
    a an the this that these those its his her their our my your no any some each every all both one two three four five six
    seven eight nine ten half most many several few another
    """
)
_NO_OBJECT = vocabulary(
    """
    by at in on for and or to with as again after until till from when while during before within but because than right just
    shortly immediately soon once abruptly short altogether completely entirely suddenly twice somewhat badly if so that which
    who where under below above past beyond into onto over back behind about around against along among between through
    throughout toward towards upon via without across ahead alone apart aside away early late later down up out off not never
    also too only even there here hard fast slightly too further well long far normally safely
    """
)
_PARTICLES = frozenset({"up", "out", "off", "down", "away", "through", "over"})

HUMAN = frozenset(
    stem(word)
    for word in vocabulary(
        """
        we i they he she you who somebody someone everyone everybody nobody anyone people man woman men women person team squad
        crew staff engineer technician operator manager  leader officer guard  farmer grower brewer conservator
        curator librarian editor journalist reporter presenter doctor nurse clinician surgeon pharmacist physician vet teacher
        pupil student passenger driver pilot captain courier rider shopper customer user guest visitor viewer listener
        player fan member citizen resident voter taxpayer broker trader analyst accountant cashier teller mechanic electrician
        plumber police patrol referee coach  chef cook waiter janitor cleaner caretaker supervisor foreman inspector
        auditor lawyer clerk registrar scientist researcher helpdesk  management  ministry agency department office
        facilities on-call support colleague responder subscriber caller tenant parent child family buyer seller merchant
        dealer skipper sailor lifeguard swimmer skier climber artist actor musician audience public crowd hospital airline
        company museum school clinic city council firm paramedic firefighter brigade soldier hostess steward attendant
        ops netops devops sre developer programmer administrator admin owner conductor athlete
         gamer streamer spectator commuter traveller traveler employee  apprentice trainee director executive
        usher porter pharmacy court judge jury club committee union volunteer donor producer composer singer violinist lecturer professor scholar  zookeeper gardener ranger farmer miner welder machinist shift employer vip utility reader desk
        """
    )
)
"""Heads of subjects that are persons or groups of them, as stems."""

_HEAD_END = vocabulary(
    """
    that which who whose of from in on at with for behind to under near by without , ; : ( ) about after before during between
    """
)
_SKIPPED = vocabulary("then later finally also now once and but so")


@dataclass(frozen=True, slots=True)
class Verb:
    """Hold the first finite verb of a clause: where it stands in its tokens, and its tense."""

    index: int
    tense: Tense


def tokens(text: str) -> list[str]:
    """Return the words of ``text``, names that are joined as one, and the marks that part clauses."""
    return TOKEN.findall(text)


def finite_verb(words: Sequence[str]) -> Verb | None:
    """
    Return the first finite verb of a clause, given its tokens.

    Forms of regular verbs are told from adjectives by what stands before them: "the cracked bearing" holds none.
    """
    for index, word in enumerate(words):
        lower = word.lower()
        before = words[index - 1].lower() if index else ""
        if lower in PRESENT_FORMS:
            return Verb(index, "present")
        if index == 0:
            continue
        if lower in PAST_FORMS and before not in {"to", "a", "an", "the", "of"}:
            return Verb(index, "past")
        if (
            lower.endswith("ed")
            and len(lower) > len("feed")
            and before not in _BEFORE_ADJECTIVE
            and before not in ",;:("
        ):
            return Verb(index, "past")
    return None


def has_object(words: Sequence[str], index: int) -> bool:
    """Say whether the verb at ``index`` has an object, as far as the next word tells."""
    following = [word.lower() for word in words[index + 1 : index + 3]]
    if following and following[0] in _PARTICLES:
        following = following[1:]
        if following and following[0] not in DETERMINERS:
            return False
    if (
        following
        and following[0][0].isdigit()
        and (len(following) == 1 or following[1] in _NO_OBJECT or following[1] in ",;:()")
    ):
        return False
    if not following or following[0] in _NO_OBJECT or following[0] in ",;:()\u2014\u2192":
        return False
    return not following[0].endswith("ly")


def is_human(subject: Sequence[str]) -> bool:
    """Say whether a subject, given its tokens, is a person or a group of them."""
    words = [word.lower() for word in subject]
    while words and (words[0] in _SKIPPED or words[0] in ",;:("):
        words.pop(0)
    if len(words) > 1 and words[0].endswith("ing") and words[1] in DETERMINERS | {"all"}:
        # "Restarting all brokers" is a deed.
        return False
    end = next((index for index, word in enumerate(words) if word in _HEAD_END), len(words))
    head = [
        word for word in words[:end] if not word.endswith("ly") and word not in {"had", "have", "has", "also", "then"}
    ]
    if not head:
        return bool(words) and words[0] in {"who", "whoever"}
    # A name of somebody: "Team Vortex", "officer Lind".
    return stem(head[-1]) in HUMAN or head[0] in {"team", "we", "they"}

"""Find the technical terms of a text, which must be kept letter for letter."""

from __future__ import annotations

import re
from functools import lru_cache

from pytest_modelgate.detectors.vocabulary import vocabulary
from pytest_modelgate.detectors.words import WORD, plain

MAX_TERMS = 1000
"""No text is searched for more terms than this."""

_TOKEN = re.compile(r"(?<![\w.@/$-])(?:\.{0,2}/|[.@$~]|--?(?=\w))?\w++(?:[./:@+=-]{1,3}\w++)*+")
_ADDRESS = re.compile(r"[a-z][a-z+.-]{1,20}:/{1,3}[^\s\"'<>]++", re.IGNORECASE)
_ERROR_CODE = re.compile(
    r"\b(?:errors?|codes?|status(?: codes?)?|http|exit(?: codes?)?|signal|errno)[ :#=]{1,3}(\d{1,6})\b", re.IGNORECASE
)
# 14:02, 2024-11-03, 3rd, 80%, 300ms, 4GB: what a writer may put in other ways.
_QUANTITY = re.compile(
    r"\d{1,2}[:.h]\d\d(?:[:.]\d\d)?(?:[ap]\.?m)?z?"
    r"|\d{4}[-/]\d\d?[-/]\d\d?(?:t[\d:.]+z?)?"
    r"|\d+(?:st|nd|rd|th|s|x|k)?"
    r"|\d+(?:[.,]\d+)?-?(?:ns|us|µs|ms|s|sec|secs|seconds?|m|min|mins|minutes?|h|hr|hrs|hours?|d|days?|weeks?|months?"
    r"|years?|[kmgt]i?b|[kmgt]|bit|bits|bytes?|px|pm|am|hz|[kmg]hz|w|kw|v|kg|km|cm|mm|l|usd|eur|gbp|times|fold)"
    r"|\d+(?:[-/]\d+){1,2}",
    re.IGNORECASE,
)
_ABBREVIATIONS = vocabulary(
    """
    a.m p.m e.g i.e etc vs approx and/or he/she his/her yes/no either/or w/o n/a 24/7 c/o on/off in/out
    """
)
_SPOKEN_CAPITALS = vocabulary(
    """
    A I AM PM OK OKAY YES NO NOT AND OR BUT THE IS IT TO OF ON IN AT BY AN IF WE YOU MY ME SO ALL ANY NEVER ALWAYS
    MUST DO PLEASE ASAP FYI BTW TODO NOTE WARNING ERROR INFO DEBUG USA UK EU UTC GMT CET EST PST RE FW FWD PS
    IMPORTANT URGENT NOW HELP THIS THAT WITH FOR FROM WAS WERE ARE BE HAVE HAS HAD WILL STOP ONLY VERY
    """
)
# A hyphen joins plain words too: "on-call", "long-running", "twenty-three". One such part makes it no identifier.
_PLAIN_FIRST = vocabulary(
    """
    on off up re pre post non self well long short high low full half over under co ex multi so follow by end real
    out in anti cross inter semi sub all best worst much ever never hard easy new old free fast slow one two three
    four five six seven eight nine ten twenty thirty forty fifty sixty seventy eighty ninety first second third
    last right left day time ill mid part quasi near far hot cold go no must know how
    """
)
_PLAIN_LAST = vocabulary(
    """
    up down in out off on by to back free based only wide level like proof ready related specific old new year day
    hour minute second month week person side time term call again over through of made friendly facing aware
    oriented first
    running consuming breaking standing lasting making saving looking going winning growing moving sharing balancing
    """
)

_NAME_ENDINGS = vocabulary(
    """
    feed seed speed shed bed embed red led table cable svc srv api db app web worker gw service queue cache proxy gateway
    server cluster node agent sync job broker index lib ui bus store engine controller portal
    """
)
"""What a name may end with that would else look like an adjective, or whatever it begins with."""
_TWO = 2


def technical_terms(text: str) -> list[str]:
    """
    Return the technical terms of ``text``, each once, in the order they first stand there.

    Identifiers (joined by hyphens, underscores, dots, slashes or colons, or mixing letters and digits), CamelCase,
    words in capitals, addresses, paths and error codes. Not: clock times, dates, quantities with their unit,
    percentages, and plain words that a hyphen joins (``on-call``, ``long-running``).
    """
    return list(_find_terms(text))


# Kept, because several criteria ask for the terms of one input, and each target answers it.
@lru_cache(maxsize=256)
def _find_terms(text: str) -> tuple[str, ...]:
    text = plain(text)
    shouting = _is_shouted(text)
    found: list[tuple[int, str]] = [(match.start(), match[0].rstrip(".,;:!?)]}")) for match in _ADDRESS.finditer(text)]
    text = _ADDRESS.sub(lambda match: " " * len(match[0]), text)
    found += [(match.start(1), match[1]) for match in _ERROR_CODE.finditer(text)]
    for match in _TOKEN.finditer(text):
        token = match[0].lstrip("~")
        if text[match.end() : match.end() + 1] != "%" and _is_technical(token, shouting):
            found.append((match.start(), token))
    return tuple(dict.fromkeys(term for _, term in sorted(found)))


def count_terms(text: str, input_text: str, reference: str) -> tuple[int, int]:
    """
    Return how many technical terms of the input ``text`` keeps, and how many ``reference`` keeps.

    Counted are terms that stand both in the input and in the reference, whole and letter for letter: an answer need
    not repeat what the reference leaves out.
    """
    terms = [term for term in technical_terms(input_text) if stands_in(term, reference)][:MAX_TERMS]
    return sum(stands_in(term, text) for term in terms), len(terms)


def stands_in(term: str, text: str) -> bool:
    """Say whether ``term`` stands in ``text`` as a whole: ``db-1`` does not stand in ``db-12`` or ``old-db-1``."""
    if term not in text:
        return False
    start = r"(?<![\w-])" if term[0].isalnum() else r"(?<!\w)"
    return re.search(rf"{start}{re.escape(term)}(?!\w)(?!-\w)", text) is not None


def _is_shouted(text: str) -> bool:
    """Say whether the text is written in capitals, so that they tell nothing."""
    spoken = [word for word in WORD.findall(text) if word.isalpha() and len(word) > 1]
    return sum(map(str.isupper, spoken)) * 2 > len(spoken)


def _is_technical(token: str, shouting: bool) -> bool:
    bare = token.lstrip("./@$-")
    lower = bare.lower()
    if not bare or lower in _ABBREVIATIONS or _QUANTITY.fullmatch(lower):
        return False
    if token[0] in "./@$-" and len(bare) > 1 and not bare.isdigit():
        return True
    if "_" in bare.strip("_") or re.search(r"[.:@+=]", bare):
        return True
    if re.search(r"\d", bare):
        # "three-2" is none, "db-2", "p99" and "E1001" are.
        return not bare.isdigit() and not all(part.isdigit() for part in re.split(r"[-/]", bare))
    if "-" in bare or "/" in bare:
        return _is_joined_name(lower)
    return not shouting and _has_capitals_inside(bare)


def _is_joined_name(lower: str) -> bool:
    """Say whether parts joined by hyphens or slashes look like a name, not like plain English."""
    parts = [part for part in re.split(r"[-/]+", lower) if part]
    if parts[-1] in _NAME_ENDINGS and len(parts) > _TWO:
        return True
    if parts[0] in _PLAIN_FIRST or parts[-1] in _PLAIN_LAST:
        return False
    if parts[-1].endswith(("ed", "able", "ible")) and parts[-1] not in _NAME_ENDINGS:
        return False
    return all(len(part) > 1 for part in parts)


def _has_capitals_inside(word: str) -> bool:
    if word.isupper():
        return len(word) > 1 and word not in _SPOKEN_CAPITALS
    # An "s" may follow: "URLs". Otherwise a capital after a small letter, or two capitals and a small one.
    return re.search(r"[a-z][A-Z]|^[A-Z]{2,}[a-z]", word) is not None

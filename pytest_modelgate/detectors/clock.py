"""Read clock times and lengths of time, however they are spelled."""

from __future__ import annotations

import re

from pytest_modelgate.detectors.words import plain

_DAY = 24 * 60
_NOON = 12
_HOURS_OF_DAY = 24

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50}
_NUMBERS = {word: number for number, word in enumerate(_UNITS)} | _TENS
_NUMBERS |= {f"{ten}{join}{_UNITS[one]}": _TENS[ten] + one for ten in _TENS for one in range(1, 10) for join in "- "}
_NUMBER = "|".join(sorted(_NUMBERS, key=len, reverse=True))
_HOUR = "|".join(_UNITS[1:13])

_HALF_OF_DAY = (
    r"(?:\s?(?P<half>[ap])\.?\s?m\b\.?|\s(?P<part>(?:in\sthe|that|this)\s(?:early\s|late\s)?(?:morning|afternoon|evening)"
    r"|(?:at|that)\snight|tonight))?"
)
_COLON = re.compile(
    rf"(?<![\d.:])(?<!\d[-/])(?P<hour>[01]?\d|2[0-4])(?:[:\u2236]|\s?h\s?)(?P<minute>[0-5]\d)(?![\d])(?::[0-5]\d(?:[.,]\d+)?)?"
    rf"(?!:?\d|\s?min){_HALF_OF_DAY}",
    re.IGNORECASE,
)
# With a full stop or without any mark, a time needs a word that says that it is one: "at 14.02", "1402 hours".
_DOTTED = re.compile(
    rf"\b(?:at|from|by|until|till|since|around|about|before|after|between|and|to)\s(?P<hour>[01]?\d|2[0-3])\."
    rf"(?P<minute>[0-5]\d)(?!\.?\d|%|\sto\s\w+\s\d){_HALF_OF_DAY}",
    re.IGNORECASE,
)
_MILITARY = re.compile(
    r"(?<![\d.:])(?P<hour>[01]\d|2[0-3])(?P<minute>[0-5]\d)\s?(?:hours|hrs|hr|h|z|utc|gmt|local)\b", re.IGNORECASE
)
_WHOLE = re.compile(
    rf"(?<![\d.:,])(?P<hour>1[0-2]|0?[1-9]|{_HOUR})(?:\s?(?P<half>[ap])\.?m\b\.?|\so'clock{_HALF_OF_DAY.replace('half', 'half2')}"
    rf"|\s(?P<part2>in\sthe\s(?:morning|afternoon|evening)|at\snight))",
    re.IGNORECASE,
)
_FULL_HOUR = re.compile(
    r"\b(?:at|by|from|until|till|since|around|about)\s(?P<hour>[01]?\d|2[0-3])(?:\s?h|\s(?:utc|gmt|hours\sutc))\b(?!\s?\d)",
    re.IGNORECASE,
)
_SPOKEN = re.compile(
    rf"\b(?P<count>quarter|half|{_NUMBER}|[1-5]?\d)(?:\sminutes?)?\s(?P<side>past|after|to|before)\s"
    rf"(?P<hour>{_HOUR}|midnight|noon|midday)\b{_HALF_OF_DAY}",
    re.IGNORECASE,
)
_SPELLED = re.compile(
    rf"\b(?:at|by|from|until|till|around|about|since)\s(?P<hour>{_HOUR})\s(?:(?:oh|o)[\s-](?P<ones>{'|'.join(_UNITS[1:10])})"
    rf"|(?P<minute>{_NUMBER}))\b{_HALF_OF_DAY}",
    re.IGNORECASE,
)
_NAMED = re.compile(r"\b(?P<name>noon|midday|midnight)\b", re.IGNORECASE)

LENGTH = (
    rf"(?:(?:\d{{1,4}}|an?|half\san|{_NUMBER}|hundred|several|a\sfew|few|some|couple\sof|a\scouple\sof)"
    rf"(?:\s?(?:and\sa\s(?:half|quarter)|to|or|and|-)\s?(?:\d{{1,4}}|{_NUMBER}))?"
    rf"(?:\sand\sa\s(?:half|quarter))?[\s-]?(?:full\s|whole\s|short\s|long\s|more\s)?"
    rf"(?:seconds?|secs?|s|minutes?|mins?|min|m|hours?|hrs?|hr|h|days?|moments?)(?:\sand\sa\s(?:half|quarter))?"
    rf"|(?:a\s|three[\s-])?quarters?\s(?:of\san\s)?hour|half\san\shour|half[\s-]hour"
    rf"|seconds|minutes|hours|moments|a\slittle\swhile|some\stime)"
)
"""A pattern for a length of time: "12 minutes", "an hour and a half", "a quarter of an hour"."""


def clock_times(text: str) -> set[int]:
    """
    Return the clock times that stand in ``text``, in minutes after midnight.

    A time that may be before or after noon ("at 2:02", "half past six") counts as both.
    """
    text = plain(text)
    found: set[int] = set()
    for pattern in (_COLON, _DOTTED, _MILITARY, _WHOLE, _FULL_HOUR, _SPELLED, _SPOKEN):
        for match in pattern.finditer(text):
            found |= _readings(match.groupdict())
    for match in _NAMED.finditer(text):
        found.add(0 if match["name"].lower() == "midnight" else _NOON * 60)
    return found


def _readings(groups: dict[str, str | None]) -> set[int]:
    """Return the minutes after midnight that a time may mean."""
    hour_text = (groups["hour"] or "").lower()
    named = {"midnight": 0, "noon": _NOON, "midday": _NOON}
    hour = named[hour_text] if hour_text in named else _value(hour_text)
    minutes = hour * 60 + _minutes(groups)
    half = (groups.get("half") or groups.get("half2") or "").lower()
    part = (groups.get("part") or groups.get("part2") or "").lower()
    if hour > _NOON or hour == 0 or hour_text in named or (len(hour_text) > 1 and hour_text[0] == "0" and not half):
        return {minutes % _DAY}
    before_noon = (minutes - _NOON * 60) % _DAY if hour == _NOON else minutes % _DAY
    after_noon = (before_noon + _NOON * 60) % _DAY
    if half == "a" or "morning" in part:
        return {before_noon}
    if half == "p" or "afternoon" in part or "evening" in part:
        return {after_noon}
    if hour == _NOON and hour_text.isdigit() and not part:
        return {after_noon}
    # Two digits are how a day of 24 hours is written; one digit or a word leaves the half of the day open.
    return {before_noon} if hour_text.isdigit() and len(hour_text) > 1 and not part else {before_noon, after_noon}


def _minutes(groups: dict[str, str | None]) -> int:
    """Return the minutes to add to the full hour."""
    if count := (groups.get("count") or "").lower():
        minutes = {"quarter": 15, "half": 30}.get(count) or _value(count)
        return minutes if (groups["side"] or "").lower() in {"past", "after"} else -minutes
    return _value((groups.get("minute") or groups.get("ones") or "0").lower())


def _value(text: str) -> int:
    return int(text) if text.isdigit() else _NUMBERS[text]

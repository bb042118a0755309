"""
Bring values that are written in different ways to one form, so that they can be compared.

A normal form is hashable, and of two values that are the same the forms are equal and print alike (``repr``). What a
normalizer cannot read keeps its ``text`` form, so that it only equals the same text. Each normalizer takes any value
that :func:`~pytest_modelgate.contracts.strict_json.parse` returns and never raises.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

Normalizer = Callable[[Any], Any]

_MAX_WRITTEN = 100
"""Characters of the longest text that can be a number or a date; what is longer is text."""

# Python 3.11 orders combining marks in quadratic time: a megabyte of them would take an hour. Between pieces that end
# before an ASCII character nothing can combine; only 256 characters without a single one are cut anywhere.
_PIECE = re.compile(r".{1,256}(?=[\x00-\x7f]|\Z)|.{1,256}", re.DOTALL)

_MEANT = frozenset("#%&@/\\§‰")  # punctuation that says something at the end of a text: C#, 5%, @home
_BEFORE_DIGIT = frozenset("-\u2013.,(")  # and before a digit: -5, .5, (5.00)

_CURRENCY = (
    r"(?:[a-z]{0,2}[$\u00a2-\u00a5\u20a0-\u20c0]|aud|brl|cad|chf|cny|czk|dkk|eur|gbp|hkd|huf|ils|inr|jpy|krw|mxn|myr|nok|nzd|php|pln|ron|rub|"
    r"sek|sgd|thb|try|twd|uah|usd|zar)"
)
_AMOUNT = re.compile(
    rf"(?P<sign>[-+\u2212\u2013])?\s*{_CURRENCY}?\s*(?P<inner>[-+\u2212\u2013])?\s*"
    rf"(?P<digits>[.,]?\d(?:[\d.,'\u2019 ]*\d)?(?:e[-+]?\d{{1,3}})?)"
    rf"\s*(?:{_CURRENCY}|%)?(?P<trailing>[-\u2212])?",
    re.ASCII,
)
_ENGLISH = re.compile(r"(?:\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?", re.ASCII)
_GROUPED = re.compile(
    r"(?P<whole>[1-9]\d{0,2}(?P<group>[,.'\u2019 ])\d{3}(?:(?P=group)\d{3})*)(?:(?!(?P=group))[.,](?P<part>\d+))?",
    re.ASCII,
)
_INDIAN = re.compile(r"(?P<whole>[1-9]\d?(?:,\d\d)+,\d{3})(?:\.(?P<part>\d+))?", re.ASCII)
_COMMA = re.compile(r"(?P<whole>\d*),(?P<part>\d+)", re.ASCII)
_WIDE = Context(prec=10_000)  # so that nothing is rounded

_MONTH_NAMES = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_MONTHS = {name[:3]: number for number, name in enumerate(_MONTH_NAMES, 1)}
_MONTH = rf"(?P<month>{'|'.join((*_MONTH_NAMES, *_MONTHS, 'sept'))})\.?"
_YEAR_FIRST = re.compile(
    r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?)(?:[t ]\d\d:\d\d[\d:.,+z -]*)?", re.ASCII
)
_COMPACT = re.compile(r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)", re.ASCII)
_DAY_AND_NAME = re.compile(rf"(?P<day>\d\d?)(?:st|nd|rd|th|\.)?[ -]?(?:of )?{_MONTH}[ ,-] ?(?P<year>\d{{4}})", re.ASCII)
_NAME_AND_DAY = re.compile(rf"{_MONTH} (?P<day>\d\d?)(?:st|nd|rd|th)?(?:, ?| )(?P<year>\d{{4}})", re.ASCII)
_DOTTED = re.compile(r"(?P<day>\d\d?)\. ?(?P<month>\d\d?)\. ?(?P<year>\d{4})", re.ASCII)
_TWO_NUMBERS = re.compile(r"(?P<one>\d\d?)(?P<mark>[-/])(?P<two>\d\d?)(?P=mark)(?P<year>\d{4})", re.ASCII)

_JOINTS = re.compile(r"[\s_./\u2010-\u2015-]+")


def same(got: Any, expected: Any, normalizer: str) -> bool:
    """
    Say whether two values have the same normal form.

    Raises KeyError for a name that is not in :data:`NORMALIZERS`.
    """
    normalize = NORMALIZERS[normalizer]
    return bool(normalize(got) == normalize(expected))


def _exact(value: Any) -> Any:
    """Return a form that is equal where JSON values are: 1 is 1.0, ``true`` is not 1, the order of keys is nothing."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        return ("array", *[_exact(item) for item in value])
    if isinstance(value, dict):
        return ("object", *[(key, _exact(value[key])) for key in sorted(value)])
    return value


def _text(value: Any) -> Any:
    """
    Return text in Unicode's NFKC, case folded, with single spaces and without punctuation around it.

    Punctuation that is a part of the value stays: the one in ``C#`` and ``5%``, signs and points before a digit, and
    all of it where there is nothing else.
    """
    if not isinstance(value, str):
        return _exact(value)
    text = " ".join(_folded(value).split())
    start, end = 0, len(text)
    while start < end and _is_around(text[start]):
        start += 1
    if start == end:
        return text
    while _is_around(text[end - 1]):
        end -= 1
    if text[start].isdigit():
        while start and text[start - 1] in _BEFORE_DIGIT:
            start -= 1
    return text[start:end]


def _number(value: Any) -> Any:
    """
    Return a Decimal for a number, and for text that is one.

    Read are thousands separators (comma, point, space, apostrophe; Indian groups), a decimal point or comma, a sign
    before or after it, brackets around negative amounts, and an exponent. A currency (sign or common ISO code) and a
    percent sign are left out and not compared: "12%" is 12. What could be either is read as English: "1,234" is 1234,
    and "1.234" a little more than 1.
    """
    if isinstance(value, bool):
        return _exact(value)
    if isinstance(value, int):
        return _reduced(Decimal(value))
    if isinstance(value, float):
        return _reduced(Decimal(repr(value)))  # as it is written, not as it is stored: 0.1 is "0.1"
    found = _read_number(value) if isinstance(value, str) and len(value) <= _MAX_WRITTEN else None
    return _text(value) if found is None else found


def _date(value: Any) -> Any:
    """
    Return a date as ISO 8601 writes it.

    Read are ISO dates (a time after it is left out), other dates with the year first, English month names in any usual
    order, "03.03.2026" (day first), and "25/03/2026" where only one reading is a date; "03/04/2026" stays text.
    """
    return _with_order(value, ("day", "month"), ("month", "day"))


def _date_dmy(value: Any) -> Any:
    """Return a date as :func:`_date` does, and read "03/04/2026" as the 3rd of April."""
    return _with_order(value, ("day", "month"))


def _date_mdy(value: Any) -> Any:
    """Return a date as :func:`_date` does, and read "03/04/2026" as March 4; with points the day is still first."""
    return _with_order(value, ("month", "day"))


def _identifier(value: Any) -> Any:
    """
    Return text without case, white space, hyphens, underscores, points and slashes.

    A whole number is the text of its digits.
    """
    if isinstance(value, str):
        return _JOINTS.sub("", _folded(value)) or _text(value)
    form = _exact(value)
    return str(form) if isinstance(form, int) else form


NORMALIZERS: dict[str, Normalizer] = {
    "exact": _exact,
    "text": _text,
    "number": _number,
    "date": _date,
    "date_dmy": _date_dmy,
    "date_mdy": _date_mdy,
    "identifier": _identifier,
}
"""What a field may be compared by."""


def _folded(text: str) -> str:
    """Return text in NFKC without case; folding can undo NFKC, which is therefore done twice."""
    return _compatible(_compatible(text).casefold())


def _compatible(text: str) -> str:
    """Return text in NFKC, in time that grows no faster than the text."""
    if text.isascii():
        return text
    return "".join(unicodedata.normalize("NFKC", piece) for piece in _PIECE.findall(text))


def _is_around(character: str) -> bool:
    """Say whether a character is dropped at either end of a text."""
    if character in _MEANT:
        return False
    return character in " `" or unicodedata.category(character).startswith("P")


def _read_number(text: str) -> Decimal | None:
    """Return the number that a short text is, or None."""
    if any(character.isdigit() and not character.isdecimal() for character in text):
        return None  # NFKC would make 52 of a 5 with the footnote 2
    body = _folded(text).strip()
    in_brackets = body.startswith("(") and body.endswith(")")
    match = _AMOUNT.fullmatch(body[1:-1].strip() if in_brackets else body)
    if match is None:
        return None
    signs = [sign for sign in match.group("sign", "inner", "trailing") if sign] + ["-"] * in_brackets
    if len(signs) > 1 or (found := _read_digits(match["digits"])) is None:
        return None
    # copy_negate(), because a minus would round to 28 digits.
    return _reduced(found.copy_negate() if signs and signs[0] != "+" else found)


def _read_digits(digits: str) -> Decimal | None:
    """Return the number that digits with separators are, or None; the English reading comes first."""
    if _ENGLISH.fullmatch(digits):
        return Decimal(digits)
    for form in (_GROUPED, _INDIAN, _COMMA):
        if match := form.fullmatch(digits):
            return Decimal(f"{re.sub(r'[^0-9]', '', match['whole'])}.{match['part'] or ''}")
    return None


def _reduced(number: Decimal) -> Decimal:
    """Return a number in the one form that prints alike for equal numbers: no trailing zeros, no negative zero."""
    return number.normalize(_WIDE) if number else Decimal(0)


def _with_order(value: Any, *orders: tuple[str, str]) -> Any:
    """Return a date as ISO 8601 writes it, reading two numbers in each of ``orders``; else the text form."""
    text = _text(value)
    if not isinstance(value, str) or len(value) > _MAX_WRITTEN:
        return text
    for form in (_YEAR_FIRST, _COMPACT, _DAY_AND_NAME, _NAME_AND_DAY, _DOTTED):
        if match := form.fullmatch(text):
            parts = match.groupdict()
            return _iso(parts["year"], parts["month"], parts["day"]) or text
    if match := _TWO_NUMBERS.fullmatch(text):
        pairs = [dict(zip(order, match.group("one", "two"), strict=True)) for order in orders]
        readings = {_iso(match["year"], pair["month"], pair["day"]) for pair in pairs} - {None}
        if len(readings) == 1:
            return readings.pop()
    return text


def _iso(year: str, month: str, day: str) -> str | None:
    """Return a date as ISO 8601 writes it, or None for one that no calendar holds."""
    number = _MONTHS.get(month[:3]) or int(month)
    try:
        return dt.date(int(year), number, int(day)).isoformat()
    except ValueError:
        return None

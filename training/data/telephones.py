"""
Find telephone numbers in a text: written with their country, as they are dialled at home, or called by their name.

``phonenumbers``, which alone is imported here, knows the numbers of each country.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import phonenumbers

from .spans import Span, called

REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "AU", "IN")  # whose national numbers are known

# A number that is written with its country.
_INTERNATIONAL = re.compile(
    r"(?<![\w+])(?:\+|00)[ (]?[1-9](?:[ \u00a0().\u2010-\u2015/-]{0,3}\d){6,14}(?![\w-]|[.:,]\d)"
)
# One that is not, but begins as a number to dial does: with 0, an area code in brackets, or as in North America.
_NATIONAL = re.compile(
    r"(?<![\w.,+/-])(?<!\d:)(?:\(0?\d{2,5}\)[ ]?|0\d{1,4}[ ./-]|\d{3}[ .-](?=\d{3}[ .-]\d{4}(?!\d)))(?:\d[ ./-]?){4,10}\d(?![\w-]|[.:,/]\d)"
)
_NORTH_AMERICAN = re.compile(r"\((\d{3})\) ?\d{3}[ .-]\d{4}|\d{3}([.-])\d{3}\2\d{4}|[2-9]\d\d [2-9]\d\d \d{4}")
_NOT_DIALLED = re.compile(
    r"\d{1,4}([./-])\d{1,2}\1\d{1,4}(?!\d)|\d{1,2}/(?:19|20)\d\d"  # a date, a month
    r"|\d{1,2}\.\d{2} ?-"  # opening hours
)
_NUMBERED = re.compile(
    r"(?i)(?:order|invoice|ticket|case|ref(?:erence)?|tracking|serial|part|article|sku|item|id|customer|contract)"
    r"[ .]*(?:number|no|nr|id)?[ .:#]*$|#[ ]?$"
    r"|(?:vat|btw|tva|mwst|ust|iva|nif|kbo|bce|tax)[^\d\n]{0,16}$|(?-i:\b(?:BE|IT) ?$)"
)
_SUBSCRIBER = re.compile(r"\+?\(?\d(?:[ ().\u2010-\u2015/-]{0,2}\d){6,14}(?!\d)")
_NAMES = (
    r"\b(?:(?:tele|mobile |cell ?)?phone|tel|mobile|cell|call|ring|fax|whatsapp|sms|text|handy|telefon|mobil|signal"
    r"|my number)\b"
)
_HINTS = (
    "phone",
    "tel",
    "mobil",
    "cell",
    "call",
    "ring",
    "fax",
    "whatsapp",
    "sms",
    "text",
    "handy",
    "signal",
    "number",
)
_CALLED = re.compile(
    rf"(?i){_NAMES}"
    r"(?:[ .:#=\"']|number|no\b|nr\b|is\b|me\b|us\b|at\b|on\b|under\b|my\b|back\b){0,12}$"
)


def telephone_numbers(text: str, regions: Sequence[str] = REGIONS) -> Iterator[Span]:
    """Yield where ``text`` has a telephone number; national ones are known for these regions (ISO 3166)."""
    for match in _INTERNATIONAL.finditer(text):
        number = match[0] if match[0].startswith("+") else f"+{match[0][2:]}"
        # A form that only telephone numbers have need not be a number in use; 00 may begin others.
        if _parsed(number, None, in_use=not match[0].startswith("+")):
            yield Span(*match.span(), "phone")
    for match in _NATIONAL.finditer(text):
        if not _NOT_DIALLED.match(match[0]) and not is_numbered(text, match.start()):
            in_use = not _NORTH_AMERICAN.fullmatch(match[0])
            if not in_use or any(_parsed(match[0], region, in_use=True) for region in regions):
                yield Span(*match.span(), "phone")
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return
    for match in _SUBSCRIBER.finditer(text):
        if called(_CALLED, text, match.start()) and not _NOT_DIALLED.match(match[0]):
            yield Span(*match.span(), "phone")


def _parsed(number: str, region: str | None, *, in_use: bool) -> bool:
    """Say whether this is a telephone number: one that can be in use, or one of a possible length."""
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return False
    if in_use:
        return phonenumbers.is_valid_number(parsed)
    return phonenumbers.is_possible_number(parsed)


def is_numbered(text: str, start: int) -> bool:
    """Say whether what stands at ``start`` is called an order, an invoice or another thing that has numbers."""
    return called(_NUMBERED, text, start)

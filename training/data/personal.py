"""
Find personal data in a text: addresses, telephone numbers, and numbers that stand for a person or an account.

What has a check digit is checked (python-stdnum), so that order, invoice and serial numbers stay. What
is called by its name ("phone", "IBAN") is taken at its word.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.cn import ric
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import ssn

from .spans import Span, called
from .telephones import REGIONS, is_numbered, telephone_numbers

KINDS = ("email", "phone", "card", "iban", "ssn", "national_id", "pin", "ip")

# Six digits near each other; a text without them has no number of a person but an Italian one.
_DIGITS = re.compile(r"(?:\d[ \u00a0().\u2010-\u2015/-]{0,3}){5}\d|[A-Z]\d\d[A-Z]\d\d\d[A-Z]", re.IGNORECASE)
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}(?![\w-])")
_USER_INFO = re.compile(r"://[^\s/:]*:[^\s/]*$")

_CARD = re.compile(
    r"(?<![\w.-])(?:\d{13,19}|\d{4}([ .\u2010-\u2015-])\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -])\d{6}\2\d{4,5})(?![\w-]|\.\d)"
)
_ISSUED = re.compile(  # ISO/IEC 7812 prefixes and lengths: Visa, Mastercard, Amex, Diners, Discover and JCB, UnionPay
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[689]\d)\d{11}|(?:6011|65\d\d|64[4-9]\d|35\d\d)\d{12}|62\d{14,17}"
)
_CALLED_CARD = re.compile(r"(?i)\b(?:card|visa|master ?card|amex|debit|credit|karte|carte)\b[^\d\n]{0,24}$")

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ .-]?[A-Za-z0-9]){11,30}")
_CALLED_IBAN = re.compile(r"(?i)\biban\b\W{0,3}(?:(?:is|number|no)\W{1,2}){0,2}$")

_PIN_NAMES = ("pin", "passcode", "otp", "tan", "cvv", "cvc", "security code", "one-time", "one time")
_PIN = re.compile(r"\d{3,8}(?![\w-]|[.:,]\d)")
_CALLED_PIN = re.compile(
    r"(?i)\b(?:(?:pin|passcode|otp|tan|cvv2?|cvc2?|security code|one[- ]time (?:code|password))(?: code| number)?)\b"
    r"\W{0,3}(?:(?:is|was|of)\W{1,3}){0,2}$"
)


@dataclass(frozen=True, slots=True)
class _Id:
    """Hold how a number of a kind is written, how it is checked, and by which names it must be called, if by any."""

    kind: str
    written: re.Pattern[str]
    valid: Callable[[str], bool]
    names: tuple[str, ...] = ()
    called: re.Pattern[str] | None = None


def _id(written: str, valid: Callable[[str], bool], *names: str, kind: str = "national_id") -> _Id:
    called = re.compile(rf"(?i)\b(?:{'|'.join(names)})\b[^\d\n]{{0,24}}$") if names else None
    return _Id(kind, re.compile(rf"(?:{written})(?![\w-]|\.\d)"), valid, names, called)


# Numbers of digits alone, which every tenth number of their length is, need their name.
_IDS = (
    _id(r"\d{3}-\d{2}-\d{4}", ssn.is_valid, kind="ssn"),
    _id(r"\d{3}[ -]?\d{2}[ -]?\d{4}", lambda _: True, "ssn", "social security", kind="ssn"),
    _id(r"\d{8}-?[A-Z]", dni.is_valid),
    _id(r"[XYZ]-?\d{7}-?[A-Z]", nie.is_valid),
    _id(r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}", nir.is_valid),
    _id(r"\d{3}\.\d{3}\.\d{3}-\d{2}", cpf.is_valid),
    _id(r"\d{11}", cpf.is_valid, "cpf"),
    _id(r"(?:19|20)?\d{6}[-+]\d{4}", personnummer.is_valid),
    _id(r"\d{6}[-+A-FYXWVU]\d{3}[0-9A-Z]", hetu.is_valid),
    _id(r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}", ahv.is_valid),
    _id(r"\d{2}\.\d{2}\.\d{2}-\d{3}[. ]\d{2}", nn.is_valid),
    _id(r"\d{17}[0-9X]", ric.is_valid),
    _id(r"\d{11}", pesel.is_valid, "pesel"),
    _id(r"\d{9}|\d{4}\.\d{2}\.\d{3}", bsn.is_valid, "bsn", "burgerservicenummer", "sofi"),
    _id(
        r"\d{2} ?\d{3} ?\d{3} ?\d{3}", idnr.is_valid, "tax id", "steuer-id", "steuerid", "idnr", "identifikationsnummer"
    ),
    _id(r"\d{3}[ -]?\d{3}[ -]?\d{4}", nhs.is_valid, "nhs"),
    _id(r"\d{4}[ -]?\d{4}[ -]?\d{4}", aadhaar.is_valid, "aadhaar", "aadhar", "uidai"),
    _id(r"\d{3}[ -]?\d{3}[ -]?\d{3}", sin.is_valid, "sin", "social insurance"),
)
# Those that begin with letters are looked for where the digits in their middle are.
_LETTERED_IDS = (
    (re.compile(r"\d\d[A-Za-z]\d\d[A-Za-z]\d{3}[A-Za-z](?!\w)"), 6, codicefiscale.is_valid),
    (re.compile(r"\d{6}[HM][A-Z]{5}[0-9A-Z]\d(?!\w)"), 4, curp.is_valid),
)
_NUMBER = re.compile(r"(?<![\w.-])[\dXYZ](?=[ ]?\d|-\d{7})")  # where one of these may begin
_IP = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?![\w:]|\.\d)")


def personal_data(text: str, kinds: frozenset[str], regions: Sequence[str] = REGIONS) -> Iterator[Span]:
    """Yield where ``text`` says something of these kinds; national telephone numbers are looked for in these regions."""
    if "email" in kinds and "@" in text:
        yield from _emails(text)
    lower = text.lower()
    if "pin" in kinds and any(name in lower for name in _PIN_NAMES):
        yield from (
            Span(*match.span(), "pin") for match in _PIN.finditer(text) if called(_CALLED_PIN, text, match.start())
        )
    if "ip" in kinds:
        yield from _addresses(text)
    if not _DIGITS.search(text):
        return
    if "card" in kinds:
        yield from _cards(text)
    if "iban" in kinds:
        yield from _ibans(text)
    if kinds & {"ssn", "national_id"}:
        yield from (span for span in _ids(text, lower) if span.kind in kinds)
    if "phone" in kinds:
        yield from telephone_numbers(text, regions)


def _emails(text: str) -> Iterator[Span]:
    for match in _EMAIL.finditer(text):
        # git@host:path names a repository, not a person; in ://user:password@host, the password is found elsewhere.
        if match[0].lower().startswith("git@") or _USER_INFO.search(text, max(0, match.start() - 200), match.start()):
            continue
        yield Span(*match.span(), "email")


def _cards(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if (_ISSUED.fullmatch(digits) and luhn.is_valid(digits)) or called(_CALLED_CARD, text, match.start()):
            yield Span(*match.span(), "card")


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        # The words behind an IBAN may look like its last groups: try its ends, the longest first.
        for end in range(match.end(), match.start() + 14, -1):
            if not text[end - 1].isalnum() or text[end : end + 1].isalnum():
                continue
            if iban.is_valid(text[match.start() : end], check_country=False):
                yield Span(match.start(), end, "iban")
                break
        else:
            if called(_CALLED_IBAN, text, match.start()):
                digits = re.match(r"[A-Za-z]{2}\d{2}(?:[ .-]?(?=\w*\d)[A-Za-z0-9]{1,4})+", match[0])
                yield Span(match.start(), match.start() + (digits.end() if digits else len(match[0])), "iban")


def _ids(text: str, lower: str) -> Iterator[Span]:
    likely = [one for one in _IDS if not one.names or any(name in lower for name in one.names)]
    for number in _NUMBER.finditer(text):
        start = number.start()
        for one in likely:
            match = one.written.match(text, start)
            if match is None or (one.called and not called(one.called, text, start)) or not one.valid(match[0]):
                continue
            # Numbers of customers and orders may be written like those of persons in the United States.
            if one.kind != "ssn" or one.called or not is_numbered(text, start):
                yield Span(*match.span(), one.kind)
    for written, before, valid in _LETTERED_IDS:
        for match in written.finditer(text):
            start = match.start() - before
            if start >= 0 and (start == 0 or not text[start - 1].isalnum()) and valid(text[start : match.end()]):
                yield Span(start, match.end(), "national_id")


def _addresses(text: str) -> Iterator[Span]:
    for match in _IP.finditer(text):
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            continue
        if address.is_global:
            yield Span(*match.span(), "ip")

"""Values that mean the same have one normal form, and what a normalizer cannot read only equals the same text."""

from __future__ import annotations

import datetime as dt
import time
import unicodedata
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.contracts.normalizers import NORMALIZERS, _compatible, same
from pytest_modelgate.contracts.strict_json import MAX_CHARACTERS, MAX_DEPTH, MAX_DIGITS

NAMES = st.sampled_from(sorted(NORMALIZERS))
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
LOOKALIKES = st.text(st.sampled_from("0123456789.,-+−/()'’ €$%e_#marchjun\u0301éßİ①²ﬁ"), max_size=14)  # noqa: RUF001
VALUES = st.recursive(
    SCALARS | LOOKALIKES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)

SAME: dict[str, list[tuple[Any, Any]]] = {
    "exact": [
        (1, 1.0),
        (-0.0, 0),
        (10**22, 1e22),
        ([1, {"a": 2.0, "b": None}], [1.0, {"b": None, "a": 2}]),
        (None, None),
    ],
    "text": [
        ("ACME  Ltd.", " acme ltd"),
        ("Straße", "STRASSE"),
        ("ﬁne", "fine"),
        ("ＡＢＣ", "abc"),  # noqa: RUF001
        ("é", "e\u0301"),
        ("«Acme»", '"Acme"'),
        ("**Acme**", "acme"),
        ("a\u00a0b\n", "a b"),
        ("(see above)", "see above"),
        ("- 5 apples", "5 apples"),
        (1, 1.0),
    ],
    "number": [
        ("1,234.50", "1234.5"),
        ("1.234,50", "1234.5"),
        ("€ 12.50", 12.5),
        ("12,50 €", 12.5),
        ("US$12.50", 12.5),
        ("CHF 1'234.50", 1234.5),
        ("1\u2019234.50 chf", 1234.5),
        ("1 234,567", 1234.567),
        ("1\u202f234\u202f567", 1234567),
        ("12%", 12),
        ("12 %", 12),
        ("(5.00)", -5),
        ("($ 5.00)", -5),
        ("-5", -5),
        ("\u22125", -5),
        ("- € 5", -5),
        ("€ -5", -5),
        ("5.00-", -5),
        ("+5", 5),
        ("1,234", 1234),
        ("1.234", "1.234"),
        ("1,23", "1.23"),
        ("1234,567", "1234.567"),
        ("0,234", "0.234"),
        ("1.234.567", 1234567),
        ("1,23,456.70", "123456.7"),
        (".5", 0.5),
        (",5", 0.5),
        ("1.5e3", 1500),
        ("-0.00", 0),
        ("１２", 12),  # noqa: RUF001
        ("007", 7),
        (0.1, "0.1"),
        (1e22, 10**22),
        ("12345678901234567890123456789012345678.90", "12345678901234567890123456789012345678.9"),
        ("n/a", " N/A "),
        (True, True),
    ],
    "date": [
        ("2026-03-03", "3 March 2026"),
        ("2026-03-03", "March 3, 2026"),
        ("2026-03-03", "03.03.2026"),
        ("2026-03-04", "04.03.2026"),
        ("2026-03-04", "4. 3. 2026"),
        ("2026-03-03", "2026/03/03"),
        ("2026-03-03", "2026.3.3"),
        ("2026-03-03", "20260303"),
        ("2026-03-03", "2026-03-03T10:15:00Z"),
        ("2026-03-03", "2026-03-03 10:15:00.5+01:00"),
        ("2026-03-03", "3rd of March, 2026"),
        ("2026-03-03", "3. march 2026"),
        ("2026-03-03", "3-Mar-2026"),
        ("2026-03-03", "MAR. 3rd 2026"),
        ("2026-09-30", "Sept 30,2026"),
        ("2026-05-01", "May 1, 2026"),
        ("2026-03-25", "25/03/2026"),
        ("2026-03-25", "03/25/2026"),
        ("2026-03-03", "03/03/2026"),
        ("2026-03-25", "25-3-2026"),
        ("2028-02-29", "29.02.2028"),
        ("03/04/2026", "03/04/2026"),
        ("soon", "Soon."),
        (20260303, 20260303.0),
    ],
    "date_dmy": [("2026-04-03", "03/04/2026"), ("2026-04-03", "3-4-2026"), ("2026-04-03", "03.04.2026")],
    "date_mdy": [("2026-03-04", "03/04/2026"), ("2026-03-04", "3-4-2026"), ("2026-04-03", "03.04.2026")],
    "identifier": [
        ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"),
        ("INV-2026/001", "inv 2026.001"),
        ("A_1\u20132", "a12"),
        (4711, "4711"),
        (4711.0, "47-11"),
        ("...", "..."),
    ],
}
DIFFERENT: dict[str, list[tuple[Any, Any]]] = {
    "exact": [
        (True, 1),
        (False, 0),
        (None, False),
        ("a", "A"),
        ("1", 1),
        ([1, 2], [2, 1]),
        ([True], [1]),
        ({"a": None}, {}),
        ("", None),
        ([], {}),
        (2**53, 2**53 + 1),
    ],
    "text": [
        ("C#", "C"),
        ("C++", "C"),
        ("5%", "5"),
        ("-5", "5"),
        (".5", "5"),
        ("(5.00)", "5.00"),
        ("-", "?"),
        ("café", "cafe"),
        ("a b", "ab"),
        ("1", 1),
        ("true", True),
        ("('boolean', True)", True),
    ],
    "number": [
        ("1.2.3", 123),
        ("192.168.1.1", 19216811),
        ("12 kg", 12),
        ("12 34", 1234),
        ("1,234,5", 12345),
        ("1,234,50", 1234.5),
        ("--5", 5),
        ("(-5)", -5),
        ("5²", 52),
        ("①", 1),
        ("12 EUR 13", 1213),
        ("03.03.2026", 3032026),
        ("12", "12 items"),
        (True, 1),
        (None, 0),
        ("", 0),
        ("NaN", "0"),
        ("1" * 101, int("1" * 101)),
        ("-12345678901234567890123456789012345678.1", "-12345678901234567890123456789012345678.2"),
        (0.1, 0.1 + 2**-55),
    ],
    "date": [
        ("2026-04-03", "03/04/2026"),
        ("2026-03-04", "03/04/2026"),
        ("2026-02-30", "2026-03-02"),
        ("30.02.2026", "2026-02-28"),
        ("03.25.2026", "2026-03-25"),
        ("0000-01-01", "0001-01-01"),
        ("3 Mai 2026", "2026-05-03"),
        ("03.03.26", "2026-03-03"),
        ("2026-03/03", "2026-03-03"),
        (20260303, "2026-03-03"),
        (None, "2026-03-03"),
    ],
    "date_dmy": [("2026-03-25", "03/25/2026")],
    "date_mdy": [("2026-03-25", "25/03/2026")],
    "identifier": [("INV-1", "INV-2"), (1.5, "15"), (True, "true"), ("#1", "1"), ("-", ""), ("--", "..")],
}


def cases(table: dict[str, list[tuple[Any, Any]]]) -> list[Any]:
    """Return a table's rows with readable ids."""
    rows = [(name, pair) for name, pairs in table.items() for pair in pairs]
    return [pytest.param(name, *pair, id=f"{name}: {pair[0]!a:.30} / {pair[1]!a:.30}") for name, pair in rows]


@pytest.mark.parametrize(("normalizer", "one", "other"), cases(SAME))
def test_same(normalizer: str, one: Any, other: Any) -> None:
    """Both ways of writing have one normal form, whichever is the expected one."""
    assert same(one, other, normalizer)
    assert same(other, one, normalizer)


@pytest.mark.parametrize(("normalizer", "one", "other"), cases(DIFFERENT))
def test_different(normalizer: str, one: Any, other: Any) -> None:
    """What differs in meaning, or may, is not the same."""
    assert not same(one, other, normalizer)
    assert not same(other, one, normalizer)


@pytest.mark.parametrize(
    ("normalizer", "value", "form"),
    [
        ("number", "€ 1.234,50", Decimal("1234.5")),
        ("number", "1,234", Decimal(1234)),
        ("number", 100, Decimal(100)),
        ("date", "March 3, 2026", "2026-03-03"),
        ("date", "03/04/2026", "03/04/2026"),
        ("text", " «ACME  Ltd.» ", "acme ltd"),
        ("identifier", "INV-2026/001", "inv2026001"),
        ("number", "About 12.", "about 12"),
    ],
)
def test_form(normalizer: str, value: Any, form: Any) -> None:
    """The forms are Decimals, ISO dates and folded text."""
    found = NORMALIZERS[normalizer](value)

    assert found == form
    assert type(found) is type(form)


def test_unknown_normalizer() -> None:
    """A name that is none is a KeyError."""
    with pytest.raises(KeyError, match="txt"):
        same(1, 1, "txt")


@given(NAMES, VALUES, VALUES)
def test_forms_are_hashable_and_print_alike(name: str, one: Any, other: Any) -> None:
    """Whatever the value, there is a form; equal forms have equal hashes and equal print, different ones do not."""
    first, second = NORMALIZERS[name](one), NORMALIZERS[name](other)

    assert same(one, one, name)
    assert same(one, other, name) == (first == second) == (repr(first) == repr(second))
    if first == second:
        assert hash(first) == hash(second)


@given(NAMES, LOOKALIKES | st.text(max_size=8))
def test_what_has_the_same_text_is_the_same(name: str, text: str) -> None:
    """Every normalizer but exact is blind to white space around a text and to full-width letters and digits."""
    if name != "exact":
        wide = "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else c for c in text)
        assert same(f" {text}\n", text, name)
        assert same(wide, text, name)


@given(LOOKALIKES | st.text())
def test_text_is_stable(text: str) -> None:
    """The text form of a text form is itself, and a text that differs from another only in case has the same."""
    form = NORMALIZERS["text"](text)

    assert NORMALIZERS["text"](form) == form
    assert same(text.casefold(), text, "text")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12, places=2))
def test_written_numbers_are_read_back(amount: Decimal) -> None:
    """An amount in English, German, French or Swiss writing, or as accountants do, is that amount."""
    english = f"{amount:,.2f}"
    swapped = english.translate(str.maketrans(",.", ".,"))
    writings = [english, f"{amount:f}", swapped, english.replace(",", "'"), swapped.replace(".", "\u202f")]
    writings += [f"€ {swapped}", f"{english} USD", f"({abs(amount):,.2f})" if amount < 0 else f"+{english}"]

    for written in writings:
        assert NORMALIZERS["number"](written) == amount, written


@given(st.dates(min_value=dt.date(1000, 1, 1)))
def test_written_dates_are_read_back(date: dt.date) -> None:
    """A date in any supported writing is that date."""
    month = date.strftime("%B")
    both = (
        f"{date.day} {month} {date.year}",
        f"{month} {date.day}, {date.year}",
        f"{date:%d.%m.%Y}",
        f"{date:%Y/%m/%d}",
    )
    for name, slashed in (("date_dmy", f"{date:%d/%m/%Y}"), ("date_mdy", f"{date:%m/%d/%Y}")):
        for written in (*both, slashed, date.isoformat(), f"{date.isoformat()}T12:00:00"):
            assert NORMALIZERS[name](written) == date.isoformat(), written
    for written in both:
        assert NORMALIZERS["date"](written) == date.isoformat(), written


def test_long_text_is_folded_as_a_short_one() -> None:
    """Cutting a long text into pieces does not part letters from their marks."""
    text = "Zoe\u0308 cafés e\u0301" * 5000  # 13 characters, so that cuts would fall everywhere

    assert _compatible(text) == unicodedata.normalize("NFKC", text)
    assert NORMALIZERS["text"](text) == unicodedata.normalize("NFKC", text).casefold()


def test_largest_values_that_are_parsed() -> None:
    """The deepest value and the longest number that strict JSON lets through have forms."""
    deep: Any = 1
    for _ in range(MAX_DEPTH // 2):
        deep = [{"a": deep}]
    for name in NORMALIZERS:
        assert same(deep, deep, name)
        assert same(int("9" * MAX_DIGITS), int("9" * MAX_DIGITS), name)
        assert not same(int("9" * MAX_DIGITS), int("9" * (MAX_DIGITS - 1) + "8"), name)


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize(
    "piece",
    ["\u0301\u0327", "\u0f75\u0344\uff9e", "-.,(", "1,", " ", "1", "e\u0301"],
    ids=["marks", "decomposing marks", "punctuation", "groups", "spaces", "digits", "letters"],
)
def test_hostile_text_takes_no_time(name: str, piece: str) -> None:
    """A megabyte of what is slow to normalise, or nearly a number, is read in time that grows with it."""
    text = piece * (MAX_CHARACTERS // len(piece))
    started = time.process_time()

    NORMALIZERS[name](text)

    assert time.process_time() - started < 5

"""Secrets and personal data are masked wherever they stand, and nothing else is."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modelgate_training.data.privacy import DEFAULT_KINDS, KINDS, Masker
from modelgate_training.data.spans import Span, joined, replaced
from modelgate_training.errors import ConfigError

from tests.training.planted import planted

PLANTED = planted(seed=1)
NAMES = [name for name, _, _ in PLANTED]
SENTENCES = [
    "{}",
    "Hello, I use {} since Monday",
    "My key is {}.",
    "({})",
    "key {}, thanks",
    "Is it {}?",
    "\u201c{}\u201d",
    "key:{}",
    "**{}**",
    "see {}: broken",
    "x={}&y=1",
    "[{}]",
    "'{}'",
    '"{}"',
    "a\n{}\nb",
    "level=error value={} user=3",
]
INNOCENT = [
    "Order 4711-2024-000815 of 12/05/2024 has not arrived, tracking number 1Z999AA10123456784",
    "Invoice INV-2024-00417, 1,249.50 EUR due on 01.03.2024, PO 4500012345, customer no. 100-20-3000",
    "VAT IDs DE123456789, ATU12345678, BE 0455.781.092, IT 0918 2270 345, ESB12345678 and CHE-123.456.789",
    "2024-05-12T10:33:07.123456Z worker-3 took 1532 ms, trace 4bf92f3577b34da6a3ce929d0e0e4736, span 00f067aa0ba902b7",
    "Reverted 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b, see e5b1c3d and v1.24.3-rc.1+build.5",
    "request 3fa85f64-5717-4562-b3fc-2c963f66afa6 failed at 0x7ffd5e8c3a10 with code 500 after 00:04:59",
    "Open 08.30-17.00, call back between 9 and 11, room 0.123, 3 of 10, +20 % since 2023, 1 234 567 890 rows",
    "GET http://localhost:8080/health from 127.0.0.1 and 192.0.2.7, docs at https://docs.python.org/3/library/re.html#re.sub",
    "https://github.com/org/repo/pull/123#issuecomment-1893456789 and git@github.com:org/repo.git@v2.1.0",
    "npm install react@18.2.0 @types/node@20.11.5, uses: actions/checkout@v4, image@sha256:0123abcd",
    "password: ${{ secrets.DB_PASSWORD }}, token=$TOKEN, api_key: <your key>, PASSWORD=***, secret: /run/secrets/db",
    "I forgot my password and the password is wrong. Password: required. The token is expired. Reset password: please",
    "The password is case-sensitive, my password wasn't accepted; change the password to something-new",
    "Unexpected token: } at 12:7; max_tokens=512; tokens: 128000; cache-key: linux-node-9f86d081884c7d65",
    "password = input('x'); token = get_token(user); auth: enabled; api_key = os.environ['API_KEY']",
    "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    "-----BEGIN CERTIFICATE----- and a PUBLIC KEY; no PRIVATE KEY was found",
    "@@ -120,7 +120,9 @@ def main(): pin the version, OTP is off, 16 digits: 1234 5678 9012 3456",
    "Set the alarm for 6:45, play track 7, the code of the film is 42, meet at 51.5007, -0.1246",
    "\u8bf7\u5173\u95ed\u5ba2\u5385\u7684\u706f\uff0c\u8c22\u8c22\u3002 Gr\u00fc\u00dfe aus K\u00f6ln \U0001f600",
    "[EMAIL] wrote that [PHONE_2] and [URL] do not work",
    "password: %(password)s, password=%DB_PASSWORD%, PASSWORD=$DB_PASSWORD, pwd: {{ vault.db_password_2 }}, token: {token}",
    "password: <enter it here>, **Password:** *required*, password=~/secrets/pw2.txt, password = settings.DB_PASSWORD",
    "Forgot password - TICKET-1234, reset password - 10/12/2024, New password - minimum 8 characters, the password 'reset' link",
    "mysql -u root -p shop, use --password to set it, --password $PW --token $TOKEN, --secret id=mysecret9, -h db -P 3306",
    "Identified by the user as 'wrong'; with password 'incorrect' it fails; Passwort: vergessen; Kennwort vergessen",
    "https://user:${PASS}@example.org/x, https://user:{password}@example.org, https://example.org/?token={token}",
]
ANY_MASKER = Masker()
pieces = st.one_of(
    st.text(max_size=20),
    st.sampled_from([text for _, text, _ in PLANTED]),
    st.sampled_from(["password: ", "[EMAIL]", "key=", " ", "\\n", "://", "@", ".", '"', "{", "}", "\\", "call "]),
)
texts = st.lists(pieces, max_size=6).map("".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def test_more_than_twenty_kinds_are_planted() -> None:
    """What the next test plants is one of nearly every kind there is."""
    names = {re.split(r"[ ,]", name)[0] for name in NAMES}
    assert len(names) >= 25
    assert names == set(DEFAULT_KINDS)


@pytest.mark.parametrize(("name", "text", "secret"), PLANTED, ids=NAMES)
def test_no_planted_secret_survives(name: str, text: str, secret: str) -> None:
    """Wherever it stands in a sentence, in JSON or in JSON within a text, it is masked, and the report has its kind."""
    for sentence in SENTENCES:
        shown = sentence.format(text)
        masked = ANY_MASKER.mask(shown)
        assert secret not in masked.text, sentence
        assert re.split(r"[ ,]", name)[0] in masked.found
        assert secret not in repr(masked)
        for whole in (json.dumps({"a": [1, shown]}), f"```json\n{json.dumps([shown])}\n```"):
            assert json.dumps(secret)[1:-1] not in ANY_MASKER.mask(whole).text, sentence


@pytest.mark.parametrize(
    "password",
    [
        *("$uperS3cret!9", "%9aKx!lop2", "/9sdk2Lq8PzX", "(hunter2hunter", "<S3cr3t99>", "*Zx81kk!!q", "{S3cr3t!99}"),
        *("Tr0ub4dor.xyz", "v2.1secretA9", "my-S3cret!9", "xxxSecret99", "!@#$%^&x", "[x9kk!!q7]"),
    ],
)
def test_a_password_may_begin_and_end_like_anything(password: str) -> None:
    """Only what is a variable, a blank to fill in or a word as a whole is none; marks and endings prove nothing."""
    assert ANY_MASKER.mask_json({"db_password": password}).value == {"db_password": "[PASSWORD]"}
    for form in (
        *(
            "password: {}",
            "PASSWORD={}",
            'password = "{}"',
            "see password: {} now",
            "My password is {}",
            "Kennwort: {}",
        ),
        *("password - {}", "**Password:** {}", "db.sh --password {} --port 3"),
    ):
        assert password[1:-1] not in ANY_MASKER.mask(form.format(password)).text, form


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mysqldump -u root -phunter2hunter shop", "mysqldump -u root -p[PASSWORD] shop"),
        ("sshpass -p 'hunter' ssh jo", "sshpass -p '[PASSWORD]' ssh jo"),
        ("x --api-key abcD1234efgh", "x --api-key [SECRET]"),
        ("CREATE USER jo IDENTIFIED BY 'hunter'", "CREATE USER jo IDENTIFIED BY '[PASSWORD]'"),
        ("ALTER ROLE jo WITH PASSWORD 'hunter'", "ALTER ROLE jo WITH PASSWORD '[PASSWORD]'"),
        ("the password 'hunter2' fails", "the password '[PASSWORD]' fails"),
        ("\u5bc6\u7801\uff1ahunter2", "\u5bc6\u7801\uff1a[PASSWORD]"),
        ("postgres://jo:%24ecret9@example.org/x", "postgres://[URL_PASSWORD]@example.org/x"),
    ],
)
def test_commands_statements_and_other_languages_tell_passwords(text: str, masked: str) -> None:
    """What is given to a program, to a database or in another language is masked, and nothing beside it."""
    assert ANY_MASKER.mask(text).text == masked


@pytest.mark.parametrize(
    "number",
    [
        *("X1234567L", "1 85 05 78 006 084 91", "111.444.777-35", "19811218-9876", "756.9217.0769.85"),
        *("85.07.30-033 28", "11010519491231002X", "RSSMRA85T10A562S", "BOXW310820HNERXN09", "131052-308T"),
        *("PESEL 44051401359", "BSN 111222333", "steuer-id 36574261809", "NHS number: 943 476 5919"),
        *("Aadhaar 2341 2341 2346", "SIN 123-456-782"),
    ],
)
def test_numbers_of_persons_are_masked(number: str) -> None:
    """The numbers by which states know people have check digits: with a wrong one they are other numbers."""
    assert ANY_MASKER.mask(f"It is {number}, as I said").found == ("national_id",)
    last = next(place for place in range(len(number) - 1, 0, -1) if number[place].isdigit())
    wrong = f"{number[:last]}{(int(number[last]) + 1) % 10}{number[last + 1 :]}"
    assert "national_id" not in ANY_MASKER.mask(f"It is {wrong}, as I said").found


@pytest.mark.parametrize("text", INNOCENT)
def test_an_innocent_text_is_left_as_it_is(text: str) -> None:
    """Numbers of orders, invoices and logs, dates, versions, hashes, placeholders and talk about passwords stay."""
    assert ANY_MASKER.mask(text).text == text
    assert ANY_MASKER.mask_json({"text": [text]}).value == {"text": [text]}


@settings(deadline=None)
@given(texts, st.booleans())
def test_masking_twice_is_masking_once(text: str, numbered: bool) -> None:
    """What was masked holds nothing more to mask."""
    masker = Masker(numbered=numbered)
    once = masker.mask(text)
    twice = masker.mask(once.text)
    assert (twice.text, twice.found) == (once.text, ())


@settings(deadline=None)
@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_json_stays_json(value: Any, ascii_only: bool, indent: int | None) -> None:
    """JSON text is masked as its value is, in whatever form it was written, and both can be read and written again."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    masked = ANY_MASKER.mask_json(value)
    assert json.loads(json.dumps(masked.value)) == masked.value
    if isinstance(value, dict | list):
        found = ANY_MASKER.mask(text)
        assert json.loads(found.text) == masked.value
        assert found.found == masked.found


def test_json_keeps_its_form() -> None:
    """Only what is masked changes: white space, order and numbers stay letter by letter."""
    text = '{ "z": 1.50,\n  "who": "jo@acme.io \\u00e9" ,"a":[1e3, null]}'
    assert ANY_MASKER.mask(text).text == text.replace("jo@acme.io", "[EMAIL]")


def test_json_within_a_text_stays_json() -> None:
    """A card number that is a JSON number becomes a JSON text, also amid other text."""
    text = 'Answer: {"card": 4111111111111111, "by": "x\\njo@acme.io"} (two fields)'
    inner = re.findall(r"\{.*\}", ANY_MASKER.mask(text).text)[0]
    assert json.loads(inner) == {"card": "[CARD]", "by": "x\n[EMAIL]"}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("password", "horse", "[PASSWORD]"),
        ("db_password", "correct horse battery", "[PASSWORD]"),
        ("password", 12345678, "[PASSWORD]"),
        ("apiKey", "abcd1234efgh", "[SECRET]"),
        ("phone", "5551234567", "[PHONE]"),
        ("pin", 1234, "[PIN]"),
        ("card_number", "1234 5678 9012 3456", "[CARD]"),
        ("order", "5551234567", "5551234567"),
        ("password", "expired", "expired"),
        ("password", None, None),
        ("password_reset", True, True),
        ("amount", 1234, 1234),
    ],
)
def test_a_key_says_what_its_value_is(key: str, value: Any, expected: Any) -> None:
    """Under the key of a secret, what looks like nothing is masked too."""
    assert ANY_MASKER.mask_json({key: value}).value == {key: expected}
    assert json.loads(ANY_MASKER.mask(json.dumps({key: value})).text) == {key: expected}


def test_the_same_value_has_the_same_placeholder() -> None:
    """Numbered placeholders tell values apart, in all texts of a row; without numbers only kinds are told apart."""
    row = {"input": "jo@acme.io wrote to al@acme.io", "expected": {"from": "jo@acme.io", "to": ["al@acme.io"]}}
    assert Masker(numbered=True).mask_json(row).value == {
        "input": "[EMAIL_1] wrote to [EMAIL_2]",
        "expected": {"from": "[EMAIL_1]", "to": ["[EMAIL_2]"]},
    }
    assert ANY_MASKER.mask(row["input"]).text == "[EMAIL] wrote to [EMAIL]"


def test_two_keys_stay_two() -> None:
    """Keys are numbered, so that no value is lost."""
    assert ANY_MASKER.mask_json({"jo@acme.io": 1, "al@acme.io": 2}).value == {"[EMAIL_1]": 1, "[EMAIL_2]": 2}


def test_what_overlaps_is_masked_as_a_whole() -> None:
    """A password in a link into a private network goes with the link; nothing of either is left."""
    masked = ANY_MASKER.mask("see postgres://jo:hunter22@db.acme.internal:5432/x?sslmode=on now")
    assert masked.text == "see [URL] now"
    assert ANY_MASKER.mask("https://jo:hunter22@acme.io/x").text == "https://[URL_PASSWORD]@acme.io/x"


def test_kinds_are_found_in_order_and_never_values() -> None:
    """The report tells what was there, and how often."""
    assert ANY_MASKER.mask("call +49 151 2345 6789 or jo@acme.io or al@acme.io").found == ("phone", "email", "email")


def test_kinds_can_be_chosen() -> None:
    """Only the kinds asked for are masked; addresses of machines only when asked for, and only those of the internet."""
    text = "jo@acme.io from 8.8.8.8, 10.0.0.1, 192.0.2.7 and 2001:4860:4860::8888"
    assert ANY_MASKER.mask(text).found == ("email",)
    assert Masker({"ip"}).mask(text).text == "jo@acme.io from [IP], 10.0.0.1, 192.0.2.7 and [IP]"
    assert Masker(()).mask(text).text == text


def test_regions_say_which_telephone_numbers_are_known() -> None:
    """A number in national form is one where it is dialled."""
    assert Masker(regions=["DE"]).mask("030 1234567").text == "[PHONE]"
    assert Masker(regions=["US"]).mask("030 1234567").text == "030 1234567"


def test_an_unknown_kind_is_refused() -> None:
    """The error names it, the nearest, and the known ones."""
    with pytest.raises(ConfigError, match=r"unknown kind .*'emial' \(did you mean 'email'\?\); known: aws_key, "):
        Masker({"emial"})


def test_a_key_without_its_end_is_masked() -> None:
    """A private key that was cut is one still."""
    body = "\n".join(f"{number}{'aB3+' * 15}" for number in range(5))
    assert (
        ANY_MASKER.mask(f"here: -----BEGIN PRIVATE{''} KEY-----\n{body}\nwhat now").text
        == "here: [PRIVATE_KEY]what now"
    )


spans = st.builds(
    lambda start, length, kind: Span(start, start + length, kind), *[st.integers(0, 20)] * 2, st.sampled_from("ab")
)


@given(st.lists(spans.filter(lambda span: span.end > span.start), max_size=6))
def test_joined_spans_cover_the_same_letters_once(given_spans: list[Span]) -> None:
    """Spans that overlap become one; what was covered is covered, and nothing else."""
    found = joined(given_spans)
    letters = [letter for span in found for letter in range(span.start, span.end)]
    assert letters == sorted({letter for span in given_spans for letter in range(span.start, span.end)})
    text = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
    assert replaced(text, found, lambda _, value: value) == text
    assert {span.kind for span in found} <= {span.kind for span in given_spans}
    assert set(KINDS) >= set(DEFAULT_KINDS)

"""Find secrets of any form by their names: ``password: …``, ``API_KEY=…``, "my password is …"."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from .references import is_reference
from .spans import Span

KINDS = ("password", "secret")

_ABROAD = (  # "password" in other languages, where it is not also another word
    *(
        "contrase\u00f1a",
        "contrasena",
        "kennwort",
        "senha",
        "wachtwoord",
        "l\u00f6senord",
        "adgangskode",
        "salasana",
        "heslo",
    ),
    *(
        "has\u0142o",
        "jelsz\u00f3",
        "\u015fifre",
        "\u043f\u0430\u0440\u043e\u043b\u044c",
        "\u5bc6\u7801",
        "\u5bc6\u78bc",
    ),
    *("\u30d1\u30b9\u30ef\u30fc\u30c9", "\ube44\ubc00\ubc88\ud638"),
)
_HINTS = (
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "key",
    "auth",
    "cookie",
    "salt",
    "identified",
    "mysql",
    "mariadb",
    *_ABROAD,
)
_OF_PEOPLE = rf"(?P<password>pass(?:word|wd|phrase|code|wort|ord)|pwd|mot de passe|{'|'.join(_ABROAD)})"
_OF_PROGRAMS = (
    r"(?:secret|token|credentials?|(?:api|access|auth|private|secret|account|signing|encryption|master|shared|storage|"
    r"session|deploy|client|service|webhook|app|admin|root|license)[ _.-]?key|pass[_-]?key|auth|cookie|salt)"
)
_NAME = rf"(?:{_OF_PEOPLE}|{_OF_PROGRAMS})(?:[_-](?:key|base|value|v?\d+|prod|live|dev|test))*"
_NAMED = re.compile(rf"(?i){_NAME}$")
_ASSIGNED = re.compile(rf"(?i){_NAME}[\"'`]?\]?\s{{0,3}}(?P<sign>:=|=>|==?|:|\uff1a)")
_VALUE = re.compile(
    r"(?P<space>(?:\*\*|__)?\s{0,3})(?:(?P<quote>[\"'`])(?P<quoted>(?:(?!(?P=quote))[^\n]){1,400})(?P=quote)"
    r"|(?P<bare>[<\[{][^\s\"'`<>{}\[\]]{3,64}[>\]}]|(?:[^\s\"'`<>{}\[\],;&|\u201c\u201d\u2018\u2019]|[,;&|](?!\s|$|[\"']?[\w.-]*[\"']?\s?[=:])){3,400}))"
)
_SAID = re.compile(
    r"(?i)\b(?:password|passphrase|passwort|passcode|pwd|kennwort)\b"
    r"(?:[ ](?:for|of|to|on)(?:[ ][\w.@-]+){1,4}?)?[ ](?:is|was|ist|=|to|as)[ ](?:now |set to |still )?"
    r"[\"'`\u201c\u2018]?(?P<said>[^\s\"'`\u201d\u2019,;]{4,64})"
)
_PUNCTUATION = ".,:;?)*"
_STRONG = re.compile(r"\d|[!#$%^&*_+=?~@]|[a-z][A-Z]")  # behind "is", a word of a sentence has none of these

# Behind a dash, and between quotes, names of things stand too: a value has a digit or a mark, and is no number of a ticket.
_BESIDE = re.compile(
    rf"(?i)\b{_OF_PEOPLE}[ ](?:(?:->?|[\u2013\u2014\u2192])[ ](?P<dashed>[^\s\"'`\u201d\u2019,;]{{6,64}})"
    r"|(?P<mark>[\"'`])(?P<marked>[^\s\"'`]{4,64})(?P=mark))"
)
_MARKED = re.compile(r"\d|[!#$%^&*+=~@]")
_NUMBERED = re.compile(r"#?\d[\d./:-]*[./:-]\d*|#\d+|[A-Z]{2,}(?:-?\d+)+")
_COMMANDED = (
    re.compile(
        rf"(?i)(?<!\w)--?(?:[a-z]+-)*{_NAME}[ ]+"
        r"(?P<quote>[\"']?)(?P<value>(?!\w+=)[^\s\"'-][^\s\"']{2,199})(?P=quote)"
    ),
    re.compile(
        r"\b(?:mysql|mariadb)[\w-]*[ ](?:[^\n|;&]{0,200}[ ])?-p(?P<quote>[\"']?)(?P<value>[^\s\"']{3,199})(?P=quote)"
    ),
    re.compile(r"\bsshpass[ ]+-p[ ]*(?P<quote>[\"']?)(?P<value>[^\s\"']{3,199})(?P=quote)"),
)
_QUERIED = re.compile(
    r"(?i)\b(?:identified\s+(?:with\s+\S+\s+)?(?:by|as)(?:\s+password)?|(?:with|encrypted|login|user|role)\s+password)"
    r"\s+(?P<quote>[\"'])(?P<value>[^\n\"']{3,199})(?P=quote)"
)
_LEAST = 8  # letters of a secret that is not called a password
_RANDOM = 3.0  # bits of entropy in each letter of what is no word


def assigned_secrets(text: str, kinds: frozenset[str]) -> Iterator[Span]:
    """Yield where ``text`` gives a value to the name of a secret."""
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return
    for name in _ASSIGNED.finditer(text):
        match = _VALUE.match(text, name.end())
        if match is None:
            continue
        group = "quoted" if match["quoted"] else "bare"
        start, end = match.span(group)
        if group == "bare":
            end = start + len(match[group].rstrip(_PUNCTUATION))
        kind = "password" if name["password"] else "secret"
        value = text[start:end]
        # Behind "password: " a word may begin a sentence; behind "password=" it is the password.
        prose = kind == "password" and group == "bare" and name["sign"] == ":" and match["space"] and value.isalpha()
        if prose and text[end : end + 1] not in {"", "\n", *_PUNCTUATION}:
            continue
        if kind in kinds and _is_secret(kind, value):
            yield Span(start, end, kind)
    yield from _commanded(text, kinds)
    if "password" in kinds:
        yield from _told(text)


def _told(text: str) -> Iterator[Span]:
    """Yield passwords that a sentence tells: behind "is", behind a dash, between quotes, and in statements of SQL."""
    for match in _SAID.finditer(text):
        value = match["said"].rstrip(f"{_PUNCTUATION}!")
        if _is_secret("password", value) and _STRONG.search(value):
            yield Span(match.start("said"), match.start("said") + len(value), "password")
    for match in _BESIDE.finditer(text):
        group = "marked" if match["marked"] else "dashed"
        value = match[group] if match["marked"] else match[group].rstrip(f"{_PUNCTUATION}!")
        if _is_secret("password", value) and _MARKED.search(value) and not _NUMBERED.fullmatch(value):
            yield Span(match.start(group), match.start(group) + len(value), "password")
    for match in _QUERIED.finditer(text):
        if _is_secret("password", match["value"]):
            yield Span(*match.span("value"), "password")


def _commanded(text: str, kinds: frozenset[str]) -> Iterator[Span]:
    """Yield secrets that are given to a command, as in ``--password VALUE`` and ``mysql -pVALUE``."""
    for form in _COMMANDED:
        for match in form.finditer(text):
            value = match["value"].rstrip(_PUNCTUATION)
            kind = "secret" if "password" in match.re.groupindex and not match["password"] else "password"
            # A word behind an option may be one of a sentence about it.
            strong = form is not _COMMANDED[0] or _STRONG.search(value)
            if kind in kinds and strong and _is_secret(kind, value):
                yield Span(match.start("value"), match.start("value") + len(value), kind)


def secret_kind(name: str, value: str) -> str | None:
    """Return the kind of secret that ``value`` is, if ``name``, the key of a JSON object, calls it one."""
    found = _NAMED.search(name)
    if found is None:
        return None
    kind = "password" if found["password"] else "secret"
    return kind if _is_secret(kind, value) else None


def _is_secret(kind: str, value: str) -> bool:
    """Say whether a value is what its name says, and not a word about it."""
    if len(value) < (3 if kind == "password" else _LEAST) or is_reference(value, of_people=kind == "password"):
        return False
    if kind == "password":
        return True
    if any(letter.isspace() for letter in value):
        return False
    has_digit = any(letter.isdigit() for letter in value)
    return has_digit or (_entropy(value) >= _RANDOM and value != value.lower() and value != value.upper())


def _entropy(value: str) -> float:
    """Return the entropy of the letters, in bits each (Shannon, 1948)."""
    counts = Counter(value)
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())

"""Find secrets of any form by their names: ``password: …``, ``API_KEY=…``, "my password is …"."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from .spans import Span

KINDS = ("password", "secret")

_HINTS = ("pass", "pwd", "secret", "token", "credential", "key", "auth", "cookie", "salt", "contrase")
_OF_PEOPLE = r"(?P<password>pass(?:word|wd|phrase|code|wort)|pwd|contrase\u00f1a|mot de passe)"
_OF_PROGRAMS = (
    r"(?:secret|token|credentials?|(?:api|access|auth|private|secret|account|signing|encryption|master|shared|storage|"
    r"session|deploy|client|service|webhook|app|admin|root|license)[ _.-]?key|pass[_-]?key|auth|cookie|salt)"
)
_NAME = rf"(?:{_OF_PEOPLE}|{_OF_PROGRAMS})(?:[_-](?:key|base|value|v?\d+|prod|live|dev|test))*"
_NAMED = re.compile(rf"(?i){_NAME}$")
_ASSIGNED = re.compile(rf"(?i){_NAME}[\"'`]?\]?\s{{0,3}}(?P<sign>:=|=>|==?|:)")
_VALUE = re.compile(
    r"(?P<space>\s{0,3})(?:(?P<quote>[\"'`])(?P<quoted>(?:(?!(?P=quote))[^\n]){1,400})(?P=quote)"
    r"|(?P<bare>(?:[^\s\"'`<>{}\[\],;&|\u201c\u201d\u2018\u2019]|[,;&|](?!\s|$|[\"']?[\w.-]*[\"']?\s?[=:])){3,400}))"
)
_SAID = re.compile(
    r"(?i)\b(?:password|passphrase|passwort|passcode|pwd)\b"
    r"(?:[ ](?:for|of|to|on)(?:[ ][\w.@-]+){1,4}?)?[ ](?:is|was|ist|=|to|as)[ ](?:now |set to |still )?"
    r"[\"'`\u201c\u2018]?(?P<said>[^\s\"'`\u201d\u2019,;]{4,64})"
)
_PUNCTUATION = ".,:;?)*"
_STRONG = re.compile(r"\d|[!#$%^&*_+=?~@]|[a-z][A-Z]")  # behind "is", a word of a sentence has none of these

# What says where a secret comes from, or stands in its place, is none.
_REFERENCE = re.compile(
    r"(?i)[$%<{\[(*\u2026/]|\W*$|(.)\1*$|x{3,}|\w+://|[a-z_][\w.]*\(|[a-z_]+(?:\.[a-z_]+)+$|v?\d+(?:\.\d+)+\S*$|\S+\.[a-z]{2,5}$"
    r"|(?:null|none|nil|true|false|undefined|empty|redacted|hidden|masked|change_?me|example|string|required|missing"
    r"|invalid|incorrect|wrong|expired|not|reset|unset|updated|changed|optional|unknown|denied|failed|failure|error|please|thanks|help|now)$"
    r"|(?:your|my|the)[_-]"
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
    if "password" in kinds and ("pass" in lower or "pwd" in lower):
        for match in _SAID.finditer(text):
            value = match["said"].rstrip(f"{_PUNCTUATION}!")
            if _is_secret("password", value) and _STRONG.search(value):
                yield Span(match.start("said"), match.start("said") + len(value), "password")


def secret_kind(name: str, value: str) -> str | None:
    """Return the kind of secret that ``value`` is, if ``name``, the key of a JSON object, calls it one."""
    found = _NAMED.search(name)
    if found is None:
        return None
    kind = "password" if found["password"] else "secret"
    return kind if _is_secret(kind, value) else None


def _is_secret(kind: str, value: str) -> bool:
    """Say whether a value is what its name says, and not a word about it."""
    if len(value) < (3 if kind == "password" else _LEAST) or _REFERENCE.match(value):
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

"""
Find keys and tokens of known forms in a text.

The forms here are those that their issuers document and that people paste into messages; they are found in running
text, whatever punctuation follows. The many others are left to the rules of :mod:`.catalogue`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .spans import Span

KINDS = (
    *("aws_key", "aws_secret", "github_token", "gitlab_token", "slack_token", "webhook", "stripe_key", "google_key"),
    *("openai_key", "anthropic_key", "hf_token", "npm_token", "pypi_token", "azure_key", "sendgrid_key", "twilio_key"),
    *("telegram_token", "jwt", "private_key", "token"),
)


@dataclass(frozen=True, slots=True)
class _Form:
    """Hold how a secret is written; a text without one of the hints holds none."""

    kind: str
    hints: tuple[str, ...]
    written: re.Pattern[str]


def _form(kind: str, hints: str, written: str) -> _Form:
    return _Form(kind, tuple(hints.split()), re.compile(f"(?:{written})(?![A-Za-z0-9])"))


_FORMS = (
    _form("aws_key", "AKIA ASIA ABIA ACCA", r"A(?:KI|SI|BI|CC)A[A-Z0-9]{16}"),
    _form("github_token", "gh github_pat_", r"gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{30,255}"),
    _form("gitlab_token", "gl", r"gl(?:pat|ptt|dt|rt|rtr|cbt|ft|imt|agent|oas|soat|ffct)-[\w-]{18,}(?:\.[\w-]{2,})*"),
    _form("slack_token", "xox xapp-", r"xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{16,}"),
    _form("webhook", "hooks.slack", r"https?://hooks\.slack(?:-gov)?\.com/\w+/[\w/-]{8,}"),
    _form("webhook", "/api/webhooks/", r"https?://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/\d+/[\w-]{20,}"),
    _form("stripe_key", "k_live_ k_test_ whsec_", r"[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/]{20,}=*"),
    _form("google_key", "AIza ya29. GOCSPX-", r"AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,}"),
    _form("anthropic_key", "sk-ant-", r"sk-ant-[\w-]{20,}"),
    _form("openai_key", "sk-", r"sk-(?!ant-)(?:[a-z]{3,10}-)?(?=[\w-]{0,200}\d)(?=[\w-]{0,200}[A-Z])[\w-]{20,}"),
    _form("hf_token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z0-9]{30,}"),
    _form("npm_token", "npm_", r"npm_[A-Za-z0-9]{30,}"),
    _form("pypi_token", "pypi-", r"pypi-[\w-]{50,}"),
    _form("azure_key", "==", r"(?<!sha512-)(?<![+/])[A-Za-z0-9+/]{86}=="),
    _form("sendgrid_key", "SG.", r"SG\.[\w-]{16,32}\.[\w-]{16,64}"),
    _form("twilio_key", "SK AC", r"(?:SK|AC)[0-9a-f]{32}"),
    _form("telegram_token", ":", r"\d{8,10}:[\w-]{35}"),
    _form("jwt", "eyJ", r"eyJ[\w-]{10,2000}\.[\w-]{10,}(?:\.[\w-]*){0,3}"),
    _form("token", ".", r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}"),  # Discord
)
_BEARER = re.compile(
    r"(?i)(?:\bbearer[ :]+|\bauthorization\W{1,4}(?:basic|token|apikey|digest)[ ]+)(?=\S{0,200}\d)([A-Za-z0-9._~+/-]{12,}=*)"
)
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])")
_DIGIT = re.compile(r"\d")
_PEM = re.compile(
    r"-----BEGIN (?P<what>(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----"
    r"(?:.*?-----END (?P=what)-----|(?:\s|[A-Za-z0-9+/=:,.-]{16,})*)",
    re.DOTALL,
)


def credentials(text: str, kinds: frozenset[str]) -> Iterator[Span]:
    """Yield where ``text`` holds a key or token of these kinds."""
    for form in _FORMS:
        for hint in form.hints:
            if hint in text:
                break
        else:
            continue
        if form.kind in kinds:
            for match in form.written.finditer(text):
                if not _within_word(text, match.start()):
                    yield Span(*match.span(), form.kind)
    if "private_key" in kinds and "PRIVATE KEY" in text:
        yield from (Span(*match.span(), "private_key") for match in _PEM.finditer(text))
    lower = text.lower()
    if "aws_secret" in kinds and ("aws" in lower or "AKIA" in text or "ASIA" in text):
        for match in _AWS_SECRET.finditer(text):
            # 40 letters of one case are the hash of a commit.
            if match[0] not in {match[0].lower(), match[0].upper()} and _DIGIT.search(match[0]):
                yield Span(*match.span(), "aws_secret")
    if "token" in kinds and ("bearer" in lower or "authorization" in lower):
        yield from (Span(*match.span(1), "token") for match in _BEARER.finditer(text))


def _within_word(text: str, start: int) -> bool:
    return start > 0 and text[start - 1].isalnum()

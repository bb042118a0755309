"""
Find credentials of some 450 issuers by the rules of Kingfisher, which alone is imported here; nothing is sent anywhere.

Its rules are compiled at the first use (5 s) and kept in the user's cache folder (then 0.4 s).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from .spans import Span

if TYPE_CHECKING:
    from kingfisher_sdk import Scanner

# Many rules end at white space or a quote: in their place, a sentence has other marks. Blanks keep the places.
_MARKS = re.compile(r"[.,!?)\]}>*|\u2019\u201d\u00bb]+(?=\s|$)|[.,!?)\]}>*|]{2,}")
_KINDS = {
    "anthropic": "anthropic_key",
    "aws": "aws_key",
    "azure": "azure_key",
    "gcp": "google_key",
    "generic": "url_password",
    "github": "github_token",
    "gitlab": "gitlab_token",
    "huggingface": "hf_token",
    "jwt": "jwt",
    "mongodb": "url_password",
    "npm": "npm_token",
    "npmjsaccesstoken": "npm_token",
    "openai": "openai_key",
    "private": "private_key",
    "pypi": "pypi_token",
    "sendgrid": "sendgrid_key",
    "slack": "slack_token",
    "stripe": "stripe_key",
    "telegram": "telegram_token",
    "twilio": "twilio_key",
}


def catalogued(text: str, kinds: frozenset[str]) -> Iterator[Span]:
    """Yield where a rule finds a credential of these kinds; one of an issuer without a kind is a ``token``."""
    marked = _MARKS.sub(lambda match: " " * len(match[0].encode()), text)
    data = text.encode("utf-8", "replace")
    for finding in _scanner().scan(marked.encode("utf-8", "replace")):
        kind = _kind(finding.rule_id)
        if finding.visible and kind in kinds:
            start, end = (
                len(data[: finding.location[side]].decode("utf-8", "replace"))
                for side in ("start_offset", "end_offset")
            )
            yield Span(start, end, kind)


def _kind(rule: str) -> str:
    """Return the kind of a rule: its id is ``catalogue.issuer-what``."""
    issuer = re.split(r"[-.]", rule.replace("/", ".").split(".", 1)[1].removeprefix("secrets."), maxsplit=1)[0]
    return _KINDS.get(issuer, "token")


@cache
def _scanner() -> Scanner:
    from kingfisher_sdk import Scanner

    return Scanner(base64=False)

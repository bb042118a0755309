"""Find links that only their receiver should have: with a password or token in them, or into a private network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, urlsplit

from .references import is_placeholder
from .spans import Span

KINDS = ("url_password", "url")

_URL = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s<>\"'`\\\u201c\u201d\u2018\u2019]{3,2000}")
_TRAILING = ".,;:!?)]}*_|"
_USER_INFO = re.compile(r"://([^\s/:@?#]{0,128}:(?P<password>[^\s/]{1,256}))@(?=[\w.\[-])")
_WORD = re.compile(r"(?i)x+|password|pass|pwd|token")
_WEB = {"http", "https", "ftp", "ws", "wss"}
_HOST = re.compile(r"[a-z0-9_-]*[a-z][a-z0-9_-]*")
_INTRANET = re.compile(r"\.(?:local|internal|intranet|intra|corp|lan|private|localdomain|home|home\.arpa|svc|cluster)$")
_PRIVATE = tuple(
    ipaddress.ip_network(network)  # RFC 1918, 3927, 4193; Python's is_private also holds documentation addresses
    for network in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10")
)
_SIGNED = re.compile(
    r"(?i)(?:.*[_-])?(?:sig|signature|credential|token|secret|pass(?:word|wd)?|pwd|session|sid|sas|jwt|hmac|api[_-]?key"
    r"|access[_-]?key|apikey)$"
)
_MAYBE_SIGNED = re.compile(r"(?i)(?:auth|key|code|ticket|invite)$")
_LEAST, _LONG = 6, 16  # letters of a value under the first names, and under the second


def private_links(text: str, kinds: frozenset[str]) -> Iterator[Span]:
    """Yield where ``text`` holds such a link; of one with a password, ``url_password`` is the user and the password."""
    if "://" not in text:
        return
    for match in _URL.finditer(text):
        url = match[0].rstrip(_TRAILING)
        if "url" in kinds and _is_private(url):
            yield Span(match.start(), match.start() + len(url), "url")
        if "url_password" in kinds and (found := _USER_INFO.search(url)) and not _is_reference(found["password"]):
            yield Span(match.start() + found.start(1), match.start() + found.end(1), "url_password")


def _is_reference(value: str) -> bool:
    """Say whether something stands in the place of a password."""
    return is_placeholder(value) or _WORD.fullmatch(value) is not None


def _is_private(url: str) -> bool:
    """Say whether a link leads into a private network or holds what it is opened with."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return _is_private_host(parts.scheme.lower(), host) or _is_signed(parts)


def _is_private_host(scheme: str, host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        intranet = scheme in _WEB and _HOST.fullmatch(host) is not None and host != "localhost"
        return intranet or _INTRANET.search(host) is not None
    return any(address in network for network in _PRIVATE if network.version == address.version)


def _is_signed(parts: SplitResult) -> bool:
    for name, value in (*parse_qsl(parts.query), *parse_qsl(parts.fragment)):
        if _is_reference(value):
            continue
        if (_SIGNED.match(name) and len(value) >= _LEAST) or (_MAYBE_SIGNED.match(name) and len(value) >= _LONG):
            return True
    return False

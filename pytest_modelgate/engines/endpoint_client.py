"""
Speak HTTP with a server that the user names: tries, time and size are bounded, and the key stays here.

Requests go straight to that server. Proxies, ``.netrc`` and redirects are left alone: each would send what is asked, or the
key, to another place than the one that the spec names. ``SSL_CERT_FILE`` is obeyed, for servers with a certificate of
their own.
"""

from __future__ import annotations

import email.utils
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from pytest_modelgate.errors import EngineError, EngineStartError, MissingExtraError
from pytest_modelgate.records import Json

__all__ = ["EndpointClient", "EndpointError", "RefusedError", "SlowError", "UnreachableError"]

KEY_VARIABLE = "MODELGATE_API_KEY"
"""The environment variable that holds the key; a server without keys needs none."""
TRIES = 4
PAUSE_S = 0.5
"""Seconds before the second try; each later one waits twice as long."""
MAX_WAIT_S = 60.0
"""A server that asks to wait longer than this is given up."""
CONNECT_S = 10.0
MAX_BYTES = 16_000_000
"""Size of an answer beyond which it is given up: far more than any context holds."""

_MIN_SECRET = 8  # "EMPTY" and "none" are written where a server wants any key
_TOO_MANY, _SERVER_ERROR, _NOT_IMPLEMENTED = 429, 500, 501
_TOLD_BYTES = 8_000
_END = b"[DONE]"

T = TypeVar("T")


class EndpointError(EngineError):
    """Report a server that gave no usable answer; later tries may."""


class RefusedError(EndpointError):
    """Report an answer that would be the same again; ``status`` is 0 where it is no HTTP status that refuses."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class UnreachableError(EndpointError):
    """Report that no answer came at all: nobody listens, or the connection broke off."""


class SlowError(EndpointError):
    """Report an answer that was not there in time."""


@dataclass(frozen=True, slots=True)
class Event:
    """Hold one JSON object of an answer, and how many seconds after the request was sent it was there."""

    data: Json
    seconds: float


class EndpointClient:
    """
    Hold the connections to one server.

    ``url``: ``http`` or ``https``, without user, query or fragment. ``timeout_s``: seconds for one try, first to last byte.
    ``n_connections``: how many requests may be under way at once; methods may be called by as many threads. ``sleep``:
    what waits between tries. ``transport``: an httpx transport, for tests. The key is read from :data:`KEY_VARIABLE` and
    kept out of every message; one of less than eight letters is taken for no secret. Raises :class:`~pytest_modelgate.errors.EngineStartError` for a URL or a key that cannot be
    used, :class:`~pytest_modelgate.errors.MissingExtraError` without httpx.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        n_connections: int = 1,
        sleep: Callable[[float], object] = time.sleep,
        transport: Any = None,
    ) -> None:
        try:
            import httpx
        except ModuleNotFoundError:
            raise MissingExtraError("an endpoint", "httpx", "endpoint") from None
        self._httpx = httpx
        self.url = _checked(httpx, url)
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._key = _read_key()
        headers = {"Accept-Encoding": "identity"}  # what is not packed cannot unpack to gigabytes
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self._http = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
            limits=httpx.Limits(max_connections=n_connections, max_keepalive_connections=n_connections),
            verify=_certificates(),
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    def get(self, path: str) -> Any:
        """Return the JSON value at ``path``, tried as often as :meth:`post` is."""
        return self._tried(lambda: self._whole("GET", path, None)).data

    def post(self, path: str, body: Json) -> Event:
        """
        Send ``body`` and return the answer, one JSON value.

        A connection that fails or breaks off, status 429 and 5xx, and an answer that is no JSON are tried again, up to
        :data:`TRIES` times in all, after the time that ``Retry-After`` names or a growing pause. Raises
        :class:`EndpointError`.
        """
        return self._tried(lambda: self._whole("POST", path, body))

    def stream(self, path: str, body: Json) -> list[Event]:
        """Send ``body`` and return the server-sent events of the answer, each with its time; tried as :meth:`post` is."""
        return self._tried(lambda: self._events(path, body))

    def without_key(self, text: str) -> str:
        """Return ``text`` with stars in place of the key."""
        return text.replace(self._key, "***") if len(self._key) >= _MIN_SECRET else text

    def refuse_key(self, text: str) -> None:
        """Raise where a server's ``text`` repeats the key: it would stand in the report."""
        if len(self._key) >= _MIN_SECRET and self._key in text:
            raise RefusedError(f"{self.url} repeats the key of {KEY_VARIABLE} in its answer, which is not kept")

    def close(self) -> None:
        """Close all connections; calling it twice is harmless."""
        self._http.close()

    def _tried(self, attempt: Callable[[], T]) -> T:
        """Return what ``attempt`` returns, tried again where that may help."""
        for number in range(TRIES):
            try:
                return attempt()
            except _AgainError as again:
                wait = PAUSE_S * 2**number if again.wait_s is None else again.wait_s
                if number == TRIES - 1 or wait > MAX_WAIT_S:
                    asked = f", which asks to wait {wait:.0f} s" if wait > MAX_WAIT_S else ""
                    tries = f"after {number + 1} tries" if number else "at the first try"
                    raise again.kind(f"{self.url} failed {tries}: {again}{asked}") from None
                self._sleep(wait)
        raise AssertionError("the last try returns or raises")  # pragma: no cover

    def _whole(self, method: str, path: str, body: Json | None) -> Event:
        """Send one request and return its answer, one JSON value."""
        parts, seconds = [], 0.0
        for part, seconds in self._bytes(method, path, body):  # noqa: B007  # the last time counts
            parts.append(part)
        return Event(self._json(b"".join(parts)), seconds)

    def _events(self, path: str, body: Json) -> list[Event]:
        """Send one request and return its server-sent events."""
        events: list[Event] = []
        rest, has_ended = b"", False
        for part, seconds in self._bytes("POST", path, body):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                # Empty lines end events, other fields name them, and a colon begins a remark that keeps the line open.
                data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
                if data == _END:
                    has_ended = True  # reading goes on to the last byte, else the connection could not be used again
                elif data and not has_ended:
                    events.append(Event(self._json(data), seconds))
        if not has_ended:
            what = "the stream ended too early" if events else f"no event stream: {self._shown(rest)}"
            raise _AgainError(UnreachableError if events else EndpointError, what)
        return events

    def _bytes(self, method: str, path: str, body: Json | None) -> Iterator[tuple[bytes, float]]:
        """Send one request and yield its answer in pieces, each with the seconds since the request was sent."""
        httpx = self._httpx
        sent = None if body is None else _encoded(body)
        started = time.perf_counter()
        size = 0
        headers = {} if sent is None else {"Content-Type": "application/json"}
        try:
            with self._http.stream(method, f"{self.url}{path}", content=sent, headers=headers) as response:
                if response.status_code != httpx.codes.OK:
                    self._refuse(response)
                if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise RefusedError(f"{self.url} packs its answer, which was not asked for")
                for part in response.iter_raw():
                    seconds = time.perf_counter() - started
                    size += len(part)
                    if size > MAX_BYTES:
                        raise RefusedError(f"{self.url} answers with more than {MAX_BYTES} bytes")
                    if seconds > self._timeout_s:
                        raise SlowError(f"{self.url}: the answer is not complete after {self._timeout_s:g} s")
                    yield part, seconds
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _AgainError(UnreachableError, f"cannot be reached: {self._shown(error)}") from None
        except (httpx.TimeoutException, TimeoutError):
            raise SlowError(f"{self.url}: no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise _AgainError(UnreachableError, f"the connection broke off: {self._shown(error)}") from None

    def _refuse(self, response: Any) -> None:
        """Raise what an answer with another status than 200 means."""
        status: int = response.status_code
        told = b""
        for part in response.iter_raw():
            told += part
            if len(told) > _TOLD_BYTES:
                break
        message = f"status {status}: {self._shown(told)}"
        if status == _TOO_MANY or (status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED):
            raise _AgainError(EndpointError, message, _wait_s(response.headers.get("Retry-After")))
        if response.has_redirect_location:
            message = f"status {status}: it redirects elsewhere, which is not followed"
        if status in {401, 403}:
            message += f" (the key is read from {KEY_VARIABLE}, which is {'set' if self._key else 'not set'})"
        raise RefusedError(f"{self.url} refused: {message}", status)

    def _json(self, body: bytes) -> Any:
        """Return the JSON value that ``body`` holds; raise where it holds none."""
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise _AgainError(EndpointError, f"the answer is no JSON: {self._shown(body)}") from None

    def _shown(self, told: object, limit: int = 300) -> str:
        """Return what a server or a library said on one short line, without the key."""
        if isinstance(told, bytes):
            text = told[:_TOLD_BYTES].decode("utf-8", "replace")
        else:
            text = str(told) or type(told).__name__
        shown = self.without_key(text)
        line = " ".join("".join(char if char.isprintable() else " " for char in shown).split())
        return (line if len(line) <= limit else f"{line[:limit]}…") or "nothing"


class _AgainError(Exception):
    """Report what may be different at the next try; ``kind``: what it is when there is none."""

    def __init__(self, kind: type[EndpointError], message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.wait_s = wait_s


@cache
def _certificates() -> ssl.SSLContext:
    """Return the certificates that are trusted; reading them takes a while."""
    import httpx

    return httpx.create_ssl_context()


def _checked(httpx: Any, url: str) -> str:
    """Return a URL without its last slash; raise where it is none that requests can be sent to."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise EngineStartError(f"an endpoint's address is wrong: {error}") from None
    if parsed.userinfo:
        raise EngineStartError(f"an endpoint's address holds a name or password: put the key into {KEY_VARIABLE}")
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise EngineStartError(
            f"{url}: an endpoint is reached by http:// or https://, such as http://localhost:8080/v1"
        )
    if parsed.query or parsed.fragment:
        raise EngineStartError(
            f"{parsed.scheme}://{parsed.netloc.decode('ascii')}{parsed.path}: an endpoint's address ends with its path, "
            f"without ? or #; a key goes into {KEY_VARIABLE}"
        )
    return url.rstrip("/")


def _read_key() -> str:
    """Return the key, empty where there is none; raise, without showing it, where it cannot be sent."""
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not all("!" <= char <= "~" for char in key):
        raise EngineStartError(f"{KEY_VARIABLE} holds a space, a line break or a letter that no key can hold")
    return key


def _encoded(body: Json) -> bytes:
    """Return ``body`` as it is sent."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise RefusedError(f"the prompt holds the lone surrogate U+{code:04X}, which is no valid text") from None


def _wait_s(header: str | None) -> float | None:
    """Return how many seconds ``Retry-After`` asks to wait: a number or a date; None where it says nothing."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except (ValueError, IndexError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())

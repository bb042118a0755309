"""
Mask secrets and personal data, before anything is written: each becomes a placeholder such as ``[EMAIL]``.

Names and postal addresses of people are not found: no rule tells them from other words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_modelgate.nearest import did_you_mean

from ..errors import ConfigError
from . import assignments, credentials, links, personal
from .catalogue import catalogued
from .spans import Span, joined, replaced
from .telephones import REGIONS

KINDS = (*credentials.KINDS, *links.KINDS, *personal.KINDS, *assignments.KINDS)
# Logs are full of addresses of machines, and incidents are told by them.
DEFAULT_KINDS = tuple(kind for kind in KINDS if kind != "ip")

_PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(kind.upper() for kind in KINDS)})(?:_\d+)?\]")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|[{}\[\]:,]')
_JSON_VALUE = frozenset('"-0123456789')
_CALLED = 100  # letters of a value that its key may name as a whole
_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|[bfnrt]|(?P<mark>[\"/\\]))")
# A few words without a digit or mark are no secret, nor are two letters: most values in JSON are such.
_WORDS = re.compile(r"[^\W\d_]*(?:[ -][^\W\d_]+)*")
_SHORT, _SHORTEST = 20, 3
_ROUNDS = 4  # what stands beside a placeholder may look different without what it replaced


@dataclass(frozen=True, slots=True)
class Masked:
    """Hold a text without what was found in it, and the kinds found, in order; never what it was."""

    text: str
    found: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MaskedJson:
    """Hold a JSON value without what was found in it, and the kinds found, in order."""

    value: Any
    found: tuple[str, ...]


class Masker:
    """
    Mask the given ``kinds`` of secrets and personal data.

    ``regions`` (ISO 3166) are those whose national telephone numbers are known. With ``numbered``, different values get
    different placeholders (``[EMAIL_1]``, ``[EMAIL_2]``) and equal ones of a row the same. Raises :class:`ConfigError`
    for an unknown kind.
    """

    def __init__(
        self,
        kinds: Collection[str] = DEFAULT_KINDS,
        *,
        regions: Sequence[str] = REGIONS,
        numbered: bool = False,
    ) -> None:
        for kind in kinds:
            if kind not in KINDS:
                raise ConfigError(
                    f"unknown kind of data to mask {kind!r}{did_you_mean(kind, KINDS)}; known: {', '.join(KINDS)}"
                )
        self._kinds = frozenset(kinds)
        self._regions = tuple(regions)
        self._numbered = numbered

    def mask(self, text: str) -> Masked:
        """Return ``text`` with placeholders; JSON stays valid JSON, in the form in which it was written."""
        row = _Row(self, kinds=self._kinds, numbered=self._numbered)
        return Masked(row.mask(text), tuple(row.found))

    def mask_json(self, value: Any) -> MaskedJson:
        """
        Return a JSON value with placeholders in its texts and keys.

        What a key calls a password or secret is masked whatever it looks like; so are numbers that are card numbers, and
        become texts. Give input and answer as one value to get the same placeholders in both.
        """
        row = _Row(self, kinds=self._kinds, numbered=self._numbered)
        return MaskedJson(row.mask_json(value), tuple(row.found))

    def spans(self, text: str) -> list[Span]:
        """Return where ``text`` says what is to be masked."""
        if len(text) < _SHORT and (_WORDS.fullmatch(text) or len(text) < _SHORTEST):
            return []
        plain = _unescaped(text)
        found = [
            *credentials.credentials(plain, self._kinds),
            *links.private_links(plain, self._kinds),
            *assignments.assigned_secrets(plain, self._kinds),
            *personal.personal_data(plain, self._kinds, self._regions),
            *catalogued(plain, self._kinds),
        ]
        if not found:
            return []
        kept = [match.span() for match in _PLACEHOLDER.finditer(text)]
        return [
            span
            for span in joined(found)
            # A placeholder is no secret; a secret that holds one is.
            if not any(start <= span.start and span.end <= end for start, end in kept)
        ]


class _Row:
    """Mask the texts of one row, which share their numbers; ``found`` are the kinds so far."""

    def __init__(self, masker: Masker, *, kinds: frozenset[str], numbered: bool) -> None:
        self._masker = masker
        self._kinds = kinds
        self._numbered = numbered
        self._numbers: dict[str, dict[str, int]] = {}
        self.found: list[str] = []

    def mask(self, text: str) -> str:
        """Return a text with placeholders."""
        if text.lstrip()[:1] in {"{", "["} and _is_json(text):
            return self._mask_tokens(text)
        return self._mask_plain(text)

    def mask_json(self, value: Any, key: str | None = None) -> Any:
        """Return a JSON value with placeholders; ``key`` is the nearest key above it."""
        if isinstance(value, dict):
            return {self._mask_key(name): self.mask_json(inner, name) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_json(inner, key) for inner in value]
        if isinstance(value, str):
            return self._mask_value(value, key)
        if isinstance(value, int) and not isinstance(value, bool):
            masked = self._mask_value(str(value), key)
            return value if masked == str(value) else masked
        return value

    def _mask_plain(self, text: str, *, numbered: bool = False) -> str:
        for _ in range(_ROUNDS):
            spans = self._masker.spans(text)
            if not spans:
                break
            text = self._replace(text, spans, numbered=numbered)
        return text

    def _mask_key(self, name: str) -> str:
        """Return a key with placeholders, numbered: two keys of an object must stay two."""
        return self._mask_plain(name, numbered=True)

    def _mask_value(self, text: str, key: str | None) -> str:
        """Return a text with placeholders that stands under a key, which may say what it is."""
        for _ in range(_ROUNDS):
            text = self.mask(text)
            if key is None or len(text) > _CALLED or _PLACEHOLDER.fullmatch(text):
                break
            spans = self._called(text, key)
            if not spans:
                break
            text = self._replace(text, spans)
        return text

    def _called(self, text: str, key: str) -> list[Span]:
        """Return where a text says what its key calls it, such as a password or telephone number."""
        kind = assignments.secret_kind(key, text)
        if kind in self._kinds:
            return [Span(0, len(text), kind)]
        name = f"{key.replace('_', ' ')}: "
        spans = self._masker.spans(name + text) if any(letter.isdigit() for letter in text) else []
        return [Span(start - len(name), end - len(name), kind) for start, end, kind in spans if start >= len(name)]

    def _mask_tokens(self, text: str) -> str:
        """Return JSON with placeholders, its white space and order as they were."""
        tokens = list(_JSON_TOKEN.finditer(text))
        parts: list[str] = []
        above: list[str | None] = []  # the keys of the open objects and arrays
        end, key = 0, None
        for token, following in zip(tokens, [*tokens[1:], None], strict=True):
            if token[0] in {"{", "["}:
                above.append(key)
            elif token[0] in {"}", "]"}:
                key = above.pop()
            if token[0][0] not in _JSON_VALUE:
                continue
            value = json.loads(token[0])
            if following is not None and following[0] == ":":
                key, masked = value, self._mask_key(value)
            else:
                masked = self.mask_json(value, key)
            if masked != value:
                # What was escaped stays escaped: it may be half of a surrogate pair.
                ascii_only = token[0].isascii() or "\\u" in token[0]
                parts += [text[end : token.start()], json.dumps(masked, ensure_ascii=ascii_only)]
                end = token.end()
        return "".join([*parts, text[end:]])

    def _replace(self, text: str, spans: Sequence[Span], *, numbered: bool = False) -> str:
        def placeholder(span: Span, value: str) -> str:
            self.found.append(span.kind)
            name = span.kind.upper()
            if numbered or self._numbered:
                numbers = self._numbers.setdefault(span.kind, {})
                name = f"{name}_{numbers.setdefault(value, len(numbers) + 1)}"
            # A number in JSON that is part of a text becomes a JSON text.
            before, behind = text[: span.start].rstrip()[-2:], text[span.end :].lstrip()[:1]
            quote = '"' if value.isdigit() and before == '":' and behind in {",", "}", "]"} else ""
            return f"{quote}[{name}]{quote}"

        return replaced(text, spans, placeholder)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _unescaped(text: str) -> str:
    r"""Return the text, as long, with blanks for the escapes of JSON such as ``\n``: their letters begin no word."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: (match["mark"] or "").rjust(len(match[0])), text)

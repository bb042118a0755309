"""Detect that a text names a component that stands in its input."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pytest_modelgate.detectors.component_words import (
    COINED,
    COMPOUNDS,
    GENERIC,
    INSTANCES,
    KINDS,
    NO_COMPONENT,
    NO_NAME,
    NO_NUMBERED,
    PLACES,
    QUALITIES,
    SYNONYMS,
)
from pytest_modelgate.detectors.everyday import EVERYDAY, FUNCTION_WORDS
from pytest_modelgate.detectors.sentences import MAX_CHARACTERS, statements
from pytest_modelgate.detectors.technologies import TECHNOLOGIES
from pytest_modelgate.detectors.terms import technical_terms
from pytest_modelgate.detectors.words import plain, stem

_NAME = re.compile(r"[/~.]?[^\W_]++(?:[-_./:@]{1,2}[^\W_]++)*+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_PART = re.compile(r"[^\W_]+")
_NUMBERED = re.compile(r"v?\d+[a-z]?")
_STAMP = re.compile(r"^[\W\d]*(?:[ap]\.?m\b|utc\b|gmt\b|z\b)?\W*", re.IGNORECASE)
_CAPITALS = re.compile(r"\b(?:[A-Z][a-z]{2,30}|[A-Z]{2,4})(?: [A-Z][a-z]{2,30}){1,3}\b")
_NUMBERED_THING = re.compile(
    r"\b([A-Za-z][a-z]{2,20}) (\d{1,4}|[A-Z])\b(?![.:%]\d|%| ?(?:percent|per cent|ms|s|min|GB|MB|C)\b)"
)
_MAX_NAMES = 500
_SHORT = 2
_LEFT_OUT = "#"


def specific_component(text: str, input_text: str) -> bool:
    """
    Detect the name of a component (service, host, database, queue, key, library) that stands in the input.

    Met by a name letter for letter and spelled out ("the payment service" for ``payment-service``, "the warehouse
    database" for ``warehouse-db``). Not met by words for kinds of components ("the database"), nor by names that are
    not in the input.
    """
    names = list(dict.fromkeys(_names(plain(input_text[:MAX_CHARACTERS]))))[:_MAX_NAMES]
    whole = {"".join(name) for name in names} | {"".join(_kept(name)) for name in names}
    numbered = set(_numbered(plain(input_text[:MAX_CHARACTERS])))
    by_first: dict[str, list[tuple[tuple[str, ...], ...]]] = {}
    for name in names:
        for spelled in _spellings(name):
            for first in spelled[0]:
                by_first.setdefault(first, []).append(spelled)
    for name in numbered:
        by_first.setdefault(stem(name[0]), []).append(((stem(name[0]),), (name[1],)))
    return any(_names_one(sentence, whole, by_first) for sentence in statements(text))


def _names_one(sentence: str, whole: set[str], by_first: dict[str, list[tuple[tuple[str, ...], ...]]]) -> bool:
    """Say whether one of the names stands in ``sentence``, as one word or spelled out."""
    tokens = [match[0] for match in _NAME.finditer(sentence)]
    if any("".join(_parts(token)) in whole for token in tokens):
        return True
    # A token that joins words is read as a whole: db-replica-5 does not hold "db replica".
    stems: list[str] = []
    starts, ends = set(), set()
    for token in tokens:
        starts.add(len(stems))
        stems += [stem(part.lower()) for part in _PART.findall(token)]
        ends.add(len(stems))
    for index in sorted(starts):
        for spelled in by_first.get(stems[index], ()):
            end = index + len(spelled)
            if end in ends and all(stems[index + step] in spelled[step] for step in range(len(spelled))):
                # Where the number was left out, another number or place makes it another one: "edge shield 5".
                following = stems[end] if end < len(stems) else ""
                if _LEFT_OUT not in spelled[-1] or not (following.isdigit() or following in PLACES):
                    return True
    return False


def _names(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the names of components in an input, each as its parts in lower case."""
    for term in (found.partition("=")[0] for found in technical_terms(text)):
        if re.fullmatch(r"[A-Z]{2}", term):
            continue
        if not NO_COMPONENT.fullmatch(term) and (parts := _parts(term)):
            yield parts
    for line in text.splitlines():
        event = _STAMP.sub("", line)
        yield from _described(event)
        yield from _named_in_words([match[0] for match in _NAME.finditer(event)])
        for match in _CAPITALS.finditer(event):
            parts = tuple(match[0].lower().split())
            if not any(stem(part) in NO_NAME for part in parts):
                yield parts


def _numbered(text: str) -> Iterator[tuple[str, str]]:
    """Yield the things that a number or a letter tells from others of their kind: "tank 7", "loop B"."""
    for match in _NUMBERED_THING.finditer(text):
        noun = match[1].lower()
        if not noun.endswith(("s", "ed")) and stem(noun) not in NO_NUMBERED and noun not in FUNCTION_WORDS:
            yield noun, match[2].lower()


def _described(event: str) -> Iterator[tuple[str, ...]]:
    """Yield the words that stand right before a technical term and say what it is: "crane control unit ccu-3"."""
    words: list[str] = []
    for match in _NAME.finditer(event):
        token = match[0].lower()
        if not token.isalpha():
            if len(words) > 1 and not all(_is_generic(word) for word in words):
                yield tuple(words)
            words = []
        elif token in EVERYDAY or stem(token) in QUALITIES:
            words = []
        else:
            words = [*words, token][-3:]


def _named_in_words(tokens: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the names in one event that look like other words: a product, a capital, a word before a kind."""
    for index, token in enumerate(tokens):
        lower = token.lower()
        if not token.isalpha() or NO_COMPONENT.fullmatch(token):
            continue
        if lower in TECHNOLOGIES:
            yield (lower,)
        elif lower in EVERYDAY or stem(lower) in GENERIC or stem(lower) in NO_NAME:
            continue
        elif (
            (COINED.fullmatch(lower) and lower not in COMPOUNDS)
            or (index == 0 and token.islower())
            or (index > 0 and token[0].isupper() and not token.isupper())
        ):
            yield (lower,)
        elif index + 1 < len(tokens) and stem(tokens[index + 1].lower()) in KINDS and len(lower) > _SHORT:
            yield (lower, tokens[index + 1].lower())


def _parts(name: str) -> tuple[str, ...]:
    """Return the words that ``name`` joins, in lower case."""
    return tuple(part.lower() for piece in _PART.findall(name) for part in _CAMEL.split(piece))


def _spellings(name: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], ...]]:
    """
    Yield the ways to say ``name`` in words; each word as the stems it may have.

    The parts in their order; without a number or a place at its end; and what tells the name from others before a word
    for what runs under it. None of words alone that name kinds of components.
    """
    parts = [_forms(part) for part in name]
    if len(name) > 1 or not _is_generic(name[0]):
        yield tuple(parts)
    shorter = _kept(name)
    if len(shorter) < len(name):
        last = (*_forms(shorter[-1]), _LEFT_OUT)
        yield (*(_forms(part) for part in shorter[:-1]), last)
    if len(shorter) > 1 and stem(shorter[-1]) in INSTANCES and not all(_is_generic(part) for part in shorter[:-1]):
        yield (*(_forms(part) for part in shorter[:-1]), tuple(sorted(INSTANCES)))
    for part in name:
        if part in TECHNOLOGIES and not _is_generic(part):
            yield (_forms(part),)


def _kept(name: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``name`` without the number or place at its end, if that still tells it from kinds of components."""
    end = len(name)
    while end > 1 and (_NUMBERED.fullmatch(name[end - 1]) or name[end - 1] in PLACES):
        end -= 1
    return name if all(_is_generic(part) for part in name[:end]) else name[:end]


def _is_generic(part: str) -> bool:
    return stem(part) in GENERIC or part in EVERYDAY or part in PLACES or part.isdigit() or len(part) == 1


def _forms(part: str) -> tuple[str, ...]:
    return (stem(part), *(stem(other) for other in SYNONYMS.get(part, ())))

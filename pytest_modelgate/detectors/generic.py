"""Make the detectors of criteria that users define in their own rubric."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from pytest_modelgate.detectors.detector import Detector
from pytest_modelgate.detectors.instructions import is_instruction
from pytest_modelgate.detectors.sentences import sentences
from pytest_modelgate.detectors.terms import MAX_TERMS, stands_in, technical_terms
from pytest_modelgate.detectors.words import content, plain

_STAMP = re.compile(r"(?<!\w)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d++)?(?:Z|[+-]\d\d:?\d\d)?", re.IGNORECASE)
_FIGURE = re.compile(r"(?<![\w.,:/-])\d++(?:[.,:]\d++)++(?![\w-])")


def regex(pattern: str) -> Detector:
    """
    Detect a match of ``pattern`` anywhere in the text, as :func:`re.search` does: case counts unless it says ``(?i)``.

    Raises :class:`re.error` for what is no pattern. How long a search may take is for the caller to bound.
    """
    compiled = re.compile(pattern)
    return lambda text, _input: compiled.search(text) is not None


def words(any_of: Iterable[str] = (), all_of: Iterable[str] = (), none_of: Iterable[str] = ()) -> Detector:
    """
    Detect whole words or phrases, in any case: at least one of ``any_of``, all of ``all_of``, none of ``none_of``.

    A list that is empty asks for nothing. White space in a phrase stands for any white space.
    """
    wanted, required, forbidden = (
        tuple(_phrase(phrase) for phrase in phrases) for phrases in (any_of, all_of, none_of)
    )

    def detect(text: str, _input: str) -> bool:
        text = plain(text)
        return (
            (not wanted or any(phrase.search(text) for phrase in wanted))
            and all(phrase.search(text) for phrase in required)
            and not any(phrase.search(text) for phrase in forbidden)
        )

    return detect


def mentions_input(at_least: int) -> Detector:
    """
    Detect that the text takes up ``at_least`` different terms, figures or content words of its input.

    A technical term counts once, as a whole or by a part of it that is a term itself, such as the file of a path;
    figures count as they are written (``14:02``, ``12.50``). Words count in any of their forms, everyday words, whole
    numbers and the time stamps of a log do not. An input that holds fewer asks for all that it holds.
    """

    def detect(text: str, input_text: str) -> bool:
        terms, given = _content_of(input_text)
        lower = plain(text).lower()
        shared = given.intersection(content(text))
        taken = [term for term in terms if stands_in(term, lower)]
        all_terms = "\n".join(terms)
        for part in sorted(_terms(text), key=len, reverse=True)[:MAX_TERMS]:
            if _is_part(part, all_terms) and not _is_part(part, "\n".join(taken)):
                taken.append(part)
        return len(shared) + len(taken) >= min(at_least, len(given) + len(terms))

    return detect


@lru_cache(maxsize=1024)
def _content_of(input_text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the terms of an input, and the stems of its other content words; kept, as many answers have one input."""
    bare = _STAMP.sub(" ", input_text)
    terms = sorted(_terms(bare), key=len, reverse=True)[:MAX_TERMS]
    bare = plain(bare).lower()
    for term in terms:
        bare = bare.replace(term, " ")
    return frozenset(terms), frozenset(content(bare))


def _terms(text: str) -> set[str]:
    """Return the technical terms and the figures of ``text``, in lower case."""
    return {term.lower() for term in technical_terms(text)} | set(_FIGURE.findall(plain(text)))


def _is_part(term: str, terms: str) -> bool:
    """Say whether ``term`` is one of ``terms``, or a part of one; ``db-1`` is no part of ``old-db-1``."""
    return term in terms and re.search(rf"(?<![\w-]){re.escape(term)}(?![\w-])", terms) is not None


def section(title: str) -> Detector:
    """
    Detect a heading with ``title``, in any case, on a line of its own or before a colon at the start of a line.

    Marks of Markdown and numbers before it do not matter: ``## 2. Impact``, ``**Impact**``, ``Impact:``.
    """
    name = r"\s++".join(re.escape(word) for word in plain(title).split())
    heading = re.compile(
        rf"^[ \t>]*+(?:[#=*_]++[ \t]*+)*+(?:\(?[0-9ivx]{{1,4}}(?:\.[0-9]{{1,3}}){{0,3}}[.):]?[ \t]++)?[*_]*+"
        rf"{name}(?:[*_ \t]*+:|[#=*_ \t\r]*+$)",
        re.IGNORECASE | re.MULTILINE,
    )
    return lambda text, _input: heading.search(plain(text)) is not None


def length(min_words: int = 0, max_words: int | None = None) -> Detector:
    """Detect that the text has at least ``min_words`` and at most ``max_words`` words, parted by white space."""
    return lambda text, _input: min_words <= len(text.split()) and (max_words is None or len(text.split()) <= max_words)


def action() -> Detector:
    """Detect that somebody is told to do something: "Run npm install", "You should pin the version"."""
    return lambda text, _input: any(is_instruction(sentence) for sentence in sentences(text))


def _phrase(phrase: str) -> re.Pattern[str]:
    words_of_it = plain(phrase).split()
    pattern = r"\s++".join(re.escape(word) for word in words_of_it)
    return re.compile(rf"(?<!\w){pattern}(?!\w)" if words_of_it else r"(?!)", re.IGNORECASE)

"""Mask a whole row: what it shows and expects, what it is called, and what was said of it."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pytest_modelgate.records import Message

from .formats import Draft, Names, Unreadable
from .privacy import Masker
from .row_gates import SCORES

_PLACEHOLDER = re.compile(r"\[[A-Z_]+(?:_\d+)?\]")
_HASHED = "sha256:"
_PLAIN = re.compile(r"[A-Za-z_. -]*+(?:\d[A-Za-z_. -]*+){0,5}")
_LONG_WORD = re.compile(r"[A-Za-z0-9]{16}")
_LARGEST_SCORE = 1000  # a larger number is none, whatever it is
_SHORTEST = 4  # letters of a value that is looked for in the rest of its row


def name_hash(name: str) -> str:
    """Return the sha256 by which a person, an id or a group is known where the name itself must not stand."""
    return name.removeprefix(_HASHED) if name.startswith(_HASHED) else hashlib.sha256(name.encode()).hexdigest()


def pseudonym(name: str) -> str:
    """Return what stands for a name in the rows that are written: the same for the same name."""
    return f"{_HASHED}{name_hash(name)}"


class RowMasker:
    """
    Mask rows; ``found`` counts what was masked, by kind, and ``rows`` in how many rows.

    With ``privacy: off`` rows stay as they are, but for the person, who is only ever needed to be told from others.
    """

    def __init__(self, privacy: str) -> None:
        self._masker = None if privacy == "off" else Masker()
        self.found: Counter[str] = Counter()
        self.rows = 0

    def mask(self, draft: Draft) -> tuple[Draft, tuple[str, ...]]:
        """Return a draft without what is to be masked, and the kinds that were found."""
        names = replace(draft.names, person=None if draft.names.person is None else pseudonym(draft.names.person))
        if self._masker is None:
            return replace(draft, names=names), ()
        is_text = isinstance(draft.prompt, str)
        shown = [draft.prompt] if isinstance(draft.prompt, str) else [turn.content for turn in draft.prompt]
        about = [draft.kind, draft.origin, draft.licence, draft.consent]
        (shown, expected, about), found = self._value([shown, draft.expected, about])
        names, found_names = self._names(names)
        if found or found_names:
            self.rows += 1
            self.found.update((*found, *found_names))
        kind, origin, licence, consent = about
        masked = replace(
            draft,
            prompt=shown[0] if is_text else _turns(draft, shown),
            expected=expected,
            names=names,
            kind=kind,
            origin=origin,
            licence=licence,
            consent=consent,
            scores=_only_scores(draft.scores),
        )
        return masked, (*found, *found_names)

    def unreadable(self, read: Unreadable) -> tuple[dict[str, Any], Names]:
        """Return the record of a line that is no row, masked as a row is, and its names."""
        record = dict(read.record or {})
        person = None if read.names.person is None else pseudonym(read.names.person)
        names, found_names = self._names(replace(read.names, person=person))
        raw = {"id": read.names.id, "group": read.names.group}
        # A name that became a pseudonym is one wherever it stands as a value of its own.
        hidden = {name: safe for key, name in raw.items() if name and (safe := getattr(names, key)) != name}
        set_apart = {key: _pseudonyms(value) for key, value in record.items() if key in read.person_keys}
        set_apart |= {
            key: hidden[str(value).strip()]
            for key, value in record.items()
            if key not in set_apart and isinstance(value, str | int) and str(value).strip() in hidden
        }
        masked, found = self._value({key: value for key, value in record.items() if key not in set_apart})
        if found or found_names:
            self.rows += 1
            self.found.update((*found, *found_names))
        return {**masked, **set_apart}, names

    def file_name(self, name: str) -> str:
        """Return what a file is called where its name may say whose it is: different for different files."""
        safe = self.text(name)
        return name if safe == name else f"{safe}#{name_hash(name)[:8]}"

    def names(self, names: Names) -> Names:
        """Return names, those that hold anything to be masked as pseudonyms; nothing is counted."""
        return self._names(names)[0]

    def text(self, text: str) -> str:
        """Return a text about a row, masked; nothing is counted."""
        return text if self._masker is None else self._masker.mask(text).text

    def _value(self, value: Any) -> tuple[Any, tuple[str, ...]]:
        """Mask a JSON value; what was found in one of its texts goes from all of them."""
        if self._masker is None:
            return value, ()
        masked = self._masker.mask_json(value)
        if not masked.found:
            return value, ()
        known = dict(self._values(value, masked.value))
        if not known:
            return masked.value, masked.found
        longest_first = sorted(known, key=len, reverse=True)
        again = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
        return _everywhere(masked.value, again, known), masked.found

    def _values(self, before: Any, after: Any) -> Iterator[tuple[str, str]]:
        """Yield what was masked, with its placeholder."""
        if isinstance(before, dict):
            for inner, (_, masked) in zip(before.values(), after.items(), strict=True):
                yield from self._values(inner, masked)
        elif isinstance(before, list):
            for inner, masked in zip(before, after, strict=True):
                yield from self._values(inner, masked)
        elif before != after and self._masker is not None:
            text = str(before)
            if _PLACEHOLDER.fullmatch(after):
                found = [(text, after)]
            else:
                found = [(text[start:end], f"[{kind.upper()}]") for start, end, kind in self._masker.spans(text)]
            yield from (one for one in found if len(one[0]) >= _SHORTEST)

    def _names(self, names: Names) -> tuple[Names, tuple[str, ...]]:
        """Return names, those that hold anything to be masked as pseudonyms: two groups must stay two."""
        found: list[str] = []

        def safe(name: str | None) -> str | None:
            if name is None or self._masker is None or _is_plain(name):
                return name
            if not (kinds := self._masker.mask(name).found):
                return name
            found.extend(kinds)
            return pseudonym(name)

        return replace(names, id=safe(names.id), group=safe(names.group)), tuple(found)


def _pseudonyms(value: Any) -> Any:
    """Return what stands under the key of a person with pseudonyms for the texts and numbers in it."""
    if isinstance(value, dict):
        return [_pseudonyms(inner) for inner in value.values()]
    if isinstance(value, list):
        return [_pseudonyms(inner) for inner in value]
    return value if value is None or isinstance(value, bool) else pseudonym(str(value).strip())


def _only_scores(scores: Any) -> Any:
    """Return the scores of the rubric alone; what is no score stays as null, and what is no object as an empty one of its type."""
    if isinstance(scores, dict):
        return {name: scores[name] if _is_score(scores[name]) else None for name in SCORES if name in scores}
    if isinstance(scores, str | list):
        return type(scores)()
    return scores if scores is None or isinstance(scores, bool) or _is_score(scores) else 0


def _is_score(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST_SCORE


def _is_plain(name: str) -> bool:
    """Say whether a name is words with a few digits, as most are: no secret or personal number is as short of digits."""
    return _PLAIN.fullmatch(name) is not None and _LONG_WORD.search(name) is None


def _turns(draft: Draft, contents: list[str]) -> tuple[Message, ...]:
    """Return a draft's turns with other contents."""
    turns = (turn for turn in draft.prompt if isinstance(turn, Message))
    return tuple(Message(turn.role, content) for turn, content in zip(turns, contents, strict=True))


def _everywhere(value: Any, again: re.Pattern[str], known: dict[str, str]) -> Any:
    """Return a masked value without what one of its texts gave away."""
    if isinstance(value, dict):
        return {name: _everywhere(inner, again, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [_everywhere(inner, again, known) for inner in value]
    if isinstance(value, str):
        return again.sub(lambda match: known[match[0]], value)
    return known.get(str(value), value) if isinstance(value, int) and not isinstance(value, bool) else value

"""
Compare an extracted JSON object with the expected one, field by field.

A field is named by its dotted path (``vendor.name``); the items of a list share the list's path, and the leaves of
its objects count under ``lines.quantity``. Null, absent, ``""`` (or only white space), an empty list and an empty
object are all no value. What a model wrote is bounded: in the length and number of the paths that it may add, and in
the items that are aligned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, TypeAlias

import numpy as np

from pytest_modelgate.contracts.normalizers import NORMALIZERS
from pytest_modelgate.records import Mistake
from pytest_modelgate.statistics import best_assignment

MAX_ITEMS = 200
"""Items of one list that are aligned, after those that are right as a whole; more of them are unmatched."""

MAX_PATH = 200
"""Characters of a path; a longer one is cut."""

MAX_UNEXPECTED = 200
"""Paths that an answer may add to the expected ones; more of them count under :data:`OTHER_PATHS`."""

OTHER_PATHS = "…"

_DEFAULT = "text"  # which compares everything but text exactly
_SHOWN = 60

_HALLUCINATED: Final = "hallucinated_field"
_MISSING: Final = "missing_field"
_WRONG: Final = "wrong_value"
_TP, _FP, _FN = range(3)


@dataclass(frozen=True, slots=True)
class FieldComparison:
    """
    Hold how an object compares with the expected one.

    ``counts``: true positives, false positives and false negatives of each path with a value on either side; a wrong
    value is one false positive and one false negative. ``hallucinated``, ``missing`` and ``wrong``: the paths with a
    value where none is expected, with none where one is, and with another value or shape. ``mistakes``: one for each of
    these, with its first example. ``exact``: nothing is wrong anywhere, and it is an object.
    """

    counts: Mapping[str, tuple[int, int, int]]
    hallucinated: tuple[str, ...]
    missing: tuple[str, ...]
    wrong: tuple[str, ...]
    mistakes: tuple[Mistake, ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class _Leaf:
    """Hold one value with its path; values are the same where ``form`` is, the printed normal form."""

    path: str
    value: Any
    form: str


_Object: TypeAlias = "dict[str, _Node]"
_Item: TypeAlias = "_Leaf | _Object"
_Node: TypeAlias = "_Leaf | _Object | list[_Item]"
_KeyedItem: TypeAlias = tuple[str, _Item]


def compare_fields(got: Any, expected: Mapping[str, Any], normalizers: Mapping[str, str]) -> FieldComparison:
    """
    Compare ``got``, a value as :func:`~pytest_modelgate.contracts.strict_json.parse` returns it, with ``expected``.

    ``normalizers`` maps a path, and with it all paths inside, to a name in
    :data:`~pytest_modelgate.contracts.normalizers.NORMALIZERS`; without one, texts are compared as ``text`` and
    everything else as ``exact``. Where ``got`` is no object, everything is missing.

    The order of a list's items does not matter. Scalars, and lists inside lists, are compared as a multiset. Objects
    are aligned one to one so that as many leaves as possible are equal; which of several best alignments is taken
    depends on the items alone, not on their order. A value of another shape (text where an object is expected) is one
    wrong value at its own path, while each leaf of either side counts as a false positive or false negative.

    Raises KeyError for an unknown normalizer of a path that holds a value.
    """
    wanted = _read_object(expected, normalizers)
    comparison = _Comparison(_leaves(wanted))
    if isinstance(got, dict):
        comparison.objects(_read_object(got, normalizers), wanted, None)
    else:
        comparison.only(wanted, _MISSING)
    return comparison.result(is_object=isinstance(got, dict))


class _Comparison:
    """Collect what is right and what is wrong, path by path, in the order in which it is found."""

    def __init__(self, expected: Iterable[_Leaf]) -> None:
        # Expected paths come first, so that no answer can crowd them out.
        self._counts = {leaf.path: [0, 0, 0] for leaf in expected}
        self._limit = len(self._counts) + MAX_UNEXPECTED
        self._examples: dict[tuple[str, str], str] = {}
        self._times: Counter[tuple[str, str]] = Counter()

    def result(self, *, is_object: bool) -> FieldComparison:
        """Return what was collected."""
        paths: dict[str, list[str]] = {_HALLUCINATED: [], _MISSING: [], _WRONG: []}
        mistakes = []
        for (cause, path), example in self._examples.items():
            paths[cause].append(path)
            more = self._times[cause, path] - 1
            where = path if path and path.isprintable() else repr(path)
            mistakes.append(Mistake(cause, f"{where}: {example}" + (f" (and {more} more)" if more else "")))
        return FieldComparison(
            {path: (tp, fp, fn) for path, (tp, fp, fn) in self._counts.items()},
            tuple(paths[_HALLUCINATED]),
            tuple(paths[_MISSING]),
            tuple(paths[_WRONG]),
            tuple(mistakes),
            is_object and not mistakes,
        )

    def objects(self, got: _Object, expected: _Object, path: str | None) -> None:
        """Compare two objects at ``path``, None for the root."""
        for key, wanted in expected.items():
            if key in got:
                self._nodes(got[key], wanted, _join(path, key))
            else:
                self.only(wanted, _MISSING)
        for key, found in got.items():
            if key not in expected:
                self.only(found, _HALLUCINATED)

    def only(self, node: _Node, cause: str) -> None:
        """Count the leaves of what only one side has."""
        for leaf in _leaves(node):
            path = self._count(leaf.path, _FN if cause == _MISSING else _FP)
            if self._is_first(cause, path):
                shown = _show(leaf)
                self._examples[cause, path] = (
                    f"missing, expected {shown}" if cause == _MISSING else f"{shown} where nothing is expected"
                )

    def _nodes(self, got: _Node, expected: _Node, path: str) -> None:
        """Compare two values at ``path``."""
        if isinstance(got, dict) and isinstance(expected, dict):
            self.objects(got, expected, path)
        elif isinstance(got, list) and isinstance(expected, list):
            self._lists(got, expected, path)
        elif isinstance(got, _Leaf) and isinstance(expected, _Leaf) and got.form == expected.form:
            self._count(path, _TP)
        else:
            self._differ(got, expected, path)

    def _lists(self, got: list[_Item], expected: list[_Item], path: str) -> None:
        """Compare two lists at ``path``: what is the same, then objects with objects; scalars left over are wrong."""
        same, left, wanted = _same_items(got, expected)
        for item in same:
            for leaf in _leaves(item):
                self._count(leaf.path, _TP)
        pairs = _align(left, wanted)
        for pair in pairs:
            self.objects(*pair, path)
        aligned = {id(item) for pair in pairs for item in pair}
        extra, lacking = (
            [item for _, item in sorted(side, key=itemgetter(0)) if id(item) not in aligned] for side in (left, wanted)
        )
        for found, missed in zip(extra, lacking, strict=False):
            self._differ(found, missed, path)
        for item in extra[len(lacking) :]:
            self.only(item, _HALLUCINATED)
        for item in lacking[len(extra) :]:
            self.only(item, _MISSING)

    def _differ(self, got: _Node, expected: _Node, path: str) -> None:
        """Count a value, or a shape, that is another than the expected one."""
        for leaf in _leaves(expected):
            self._count(leaf.path, _FN)
        for leaf in _leaves(got):
            self._count(leaf.path, _FP)
        if self._is_first(_WRONG, path):
            self._examples[_WRONG, path] = f"{_show(got)} instead of {_show(expected)}"

    def _count(self, path: str, place: int) -> str:
        """Count once at ``path`` and return it, or the path that stands for it."""
        if path not in self._counts and len(self._counts) >= self._limit:
            path = OTHER_PATHS
        self._counts.setdefault(path, [0, 0, 0])[place] += 1
        return path

    def _is_first(self, cause: str, path: str) -> bool:
        """Note a mistake; only the first of its kind at its path is shown."""
        self._times[cause, path] += 1
        return self._times[cause, path] == 1


def _read_object(value: Mapping[str, Any], normalizers: Mapping[str, str]) -> _Object:
    """Return an object's nodes, without those that hold no value."""
    node = _read(dict(value), normalizers, None, _DEFAULT)
    return node if isinstance(node, dict) else {}


def _read(value: Any, normalizers: Mapping[str, str], path: str | None, normalizer: str) -> _Node | None:
    """Return the node of a value at ``path``, or None for no value; ``normalizer``: what holds at that path."""
    if isinstance(value, dict):
        nodes: _Object = {}
        for key, inner in value.items():
            inner_path = _join(path, key)
            node = _read(inner, normalizers, inner_path, normalizers.get(inner_path, normalizer))
            if node is not None:
                nodes[key] = node
        return nodes or None
    if isinstance(value, list):
        items: list[_Item] = []
        for item in value:
            # A list inside a list is a value by itself, such as a point or a row: the order in it matters.
            found = (
                _read_leaf(item, path, normalizer)
                if isinstance(item, list)
                else _read(item, normalizers, path, normalizer)
            )
            if found is not None and not isinstance(found, list):
                items.append(found)
        return items or None
    return _read_leaf(value, path, normalizer)


def _read_leaf(value: Any, path: str | None, normalizer: str) -> _Leaf | None:
    """Return a leaf, or None for no value."""
    return _Leaf(path or "", value, repr(NORMALIZERS[normalizer](value))) if _holds_value(value) else None


def _holds_value(value: Any) -> bool:
    """Say whether there is a value anywhere in a value."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, list | dict):
        return any(map(_holds_value, value.values() if isinstance(value, dict) else value))
    return value is not None


def _join(path: str | None, key: str) -> str:
    """Return the path of ``key`` inside ``path``; one that is too long is cut."""
    joined = key if path is None else f"{path}.{key}"
    return joined if len(joined) <= MAX_PATH else f"{joined[:MAX_PATH]}…"


def _leaves(node: _Node) -> list[_Leaf]:
    """Return all leaves of a node, in order."""
    found: list[_Leaf] = []
    waiting: list[_Node] = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, _Leaf):
            found.append(current)
        else:
            waiting.extend(reversed(current.values() if isinstance(current, dict) else current))
    return found


def _canonical(node: _Node) -> str:
    """Return a text that is equal for nodes that are the same, whatever the order of keys and items."""
    if isinstance(node, _Leaf):
        return node.form
    if isinstance(node, dict):
        return f"{{{','.join([f'{key!r}:{_canonical(node[key])}' for key in sorted(node)])}}}"
    return f"[{','.join(sorted([_canonical(item) for item in node]))}]"


def _same_items(
    got: Sequence[_Item], expected: Sequence[_Item]
) -> tuple[list[_Item], list[_KeyedItem], list[_KeyedItem]]:
    """Return the items of ``got`` that ``expected`` holds too, and what is left of both with their canonical texts."""
    left, wanted = ([(_canonical(item), item) for item in side] for side in (got, expected))
    shared = Counter(key for key, _ in left) & Counter(key for key, _ in wanted)
    same, left = _take(left, shared)
    return [item for _, item in same], left, _take(wanted, shared)[1]


def _take(items: list[_KeyedItem], wanted: Counter[str]) -> tuple[list[_KeyedItem], list[_KeyedItem]]:
    """Part items into those that ``wanted`` names, each as often as it does, and the rest."""
    budget = Counter(wanted)
    taken, rest = [], []
    for item in items:
        if budget[item[0]]:
            budget[item[0]] -= 1
            taken.append(item)
        else:
            rest.append(item)
    return taken, rest


def _align(got: list[_KeyedItem], expected: list[_KeyedItem]) -> list[tuple[_Object, _Object]]:
    """
    Return which object stands for which, the first :data:`MAX_ITEMS` of each side, by the number of equal leaves.

    Leaves are counted wherever they are inside an object, also those of lists inside it. That objects that are the
    same were paired before costs nothing: the leaves that two others gain by standing for them are never more.
    """
    rows, columns = (
        sorted([(key, item) for key, item in side if isinstance(item, dict)][:MAX_ITEMS], key=itemgetter(0))
        for side in (got, expected)
    )
    if not rows or not columns:
        return []
    # Of equally good alignments, the one found depends on the order of rows and columns, and on which side is which:
    # both follow from the items, so that neither permuting a list nor swapping the sides changes what is wrong.
    if turned := [key for key, _ in rows] > [key for key, _ in columns]:
        rows, columns = columns, rows
    row_marks, column_marks = ([_marks(item) for _, item in side] for side in (rows, columns))
    scores = np.array([[len(row & column) for column in column_marks] for row in row_marks])
    pairs = [(rows[row][1], columns[column][1]) for row, column in best_assignment(scores)]
    return [(second, first) for first, second in pairs] if turned else pairs


def _marks(node: _Node) -> set[tuple[str, str, int]]:
    """Return the leaves of a node as a set; equal ones are numbered."""
    times: Counter[tuple[str, str]] = Counter()
    marks = set()
    for leaf in _leaves(node):
        marks.add((leaf.path, leaf.form, times[leaf.path, leaf.form]))
        times[leaf.path, leaf.form] += 1
    return marks


def _show(node: _Node) -> str:
    """Return a node in a few words, whatever it holds."""
    if isinstance(node, dict):
        return "an object"
    if isinstance(node, list):
        return "a list"
    if isinstance(node.value, str):
        return f"{node.value[:_SHOWN]!r}{'…' * (len(node.value) > _SHOWN)}"
    text = repr(node.value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"

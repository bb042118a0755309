"""An extracted object is compared with the expected one path by path, and no output can crash or stall that."""

from __future__ import annotations

import itertools
import json
import random
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from pytest_modelgate.contracts.fields import (
    MAX_ITEMS,
    MAX_PATH,
    MAX_UNEXPECTED,
    OTHER_PATHS,
    FieldComparison,
    compare_fields,
)
from pytest_modelgate.contracts.normalizers import NORMALIZERS
from pytest_modelgate.contracts.strict_json import MAX_DEPTH
from pytest_modelgate.records import Mistake
from pytest_modelgate.statistics import best_assignment

Counts = dict[str, tuple[int, int, int]]

# Few keys and values, so that two objects have much in common.
KEYS = st.sampled_from(["a", "b", "c", "a.b", ""])
SCALARS = st.sampled_from([None, "", " ", "x", "X!", "y", "1.50", "1.5", 0, 1, 1.0, True, False, 1.5])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
ROWS = st.lists(st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3), max_size=5)
MIXED = st.lists(SCALARS | st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3), max_size=5) | ROWS
NORMALIZED = st.dictionaries(
    st.sampled_from(["a", "b", "c", "a.b", "a.c", "lines"]), st.sampled_from(sorted(NORMALIZERS)), max_size=3
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=5),
    max_leaves=25,
)


def totals(compared: FieldComparison) -> tuple[int, ...]:
    """Return all true positives, false positives and false negatives."""
    return tuple(sum(counts[place] for counts in compared.counts.values()) for place in range(3))


def leaves(value: Any) -> int:
    """Return how many values there are in a value; a list inside a list is one."""
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    if isinstance(value, list):
        return sum(bool(leaves(item)) if isinstance(item, list) else leaves(item) for item in value)
    return value is not None and not (isinstance(value, str) and not value.strip())


def verdict(compared: FieldComparison) -> tuple[Any, ...]:
    """Return all of a comparison but the examples and the order."""
    return (
        dict(compared.counts),
        *(sorted(paths) for paths in (compared.hallucinated, compared.missing, compared.wrong)),
        compared.exact,
    )


ONE_WRONG = (0, 1, 1)


@pytest.mark.parametrize(
    ("got", "expected", "counts", "hallucinated", "missing", "wrong"),
    [
        pytest.param({"a": "x"}, {"a": "x"}, {"a": (1, 0, 0)}, (), (), (), id="right"),
        pytest.param({"a": " X. "}, {"a": "x"}, {"a": (1, 0, 0)}, (), (), (), id="text is normalised by itself"),
        pytest.param({"a": "y"}, {"a": "x"}, {"a": ONE_WRONG}, (), (), ("a",), id="wrong"),
        pytest.param({}, {"a": "x"}, {"a": (0, 0, 1)}, (), ("a",), (), id="absent"),
        pytest.param({"a": None}, {"a": "x"}, {"a": (0, 0, 1)}, (), ("a",), (), id="null is no value"),
        pytest.param({"a": "x"}, {"a": None}, {"a": (0, 1, 0)}, ("a",), (), (), id="hallucinated for null"),
        pytest.param({"a": "x"}, {}, {"a": (0, 1, 0)}, ("a",), (), (), id="hallucinated key"),
        pytest.param(
            {"a": "", "b": [], "c": None, "d": {}, "e": " \n", "f": [None, "", [], {}, [[None]]], "g": {"h": []}},
            {},
            {},
            (),
            (),
            (),
            id="nothing in every form",
        ),
        pytest.param({"a": 0, "b": False}, {}, {"a": (0, 1, 0), "b": (0, 1, 0)}, ("a", "b"), (), (), id="0 is a value"),
        pytest.param({"a": 1.0}, {"a": 1}, {"a": (1, 0, 0)}, (), (), (), id="1.0 is 1"),
        pytest.param({"a": True}, {"a": 1}, {"a": ONE_WRONG}, (), (), ("a",), id="true is not 1"),
        pytest.param({"a": "1"}, {"a": 1}, {"a": ONE_WRONG}, (), (), ("a",), id="text is no number by itself"),
        pytest.param(
            {"v": {"name": "x", "id": 1}},
            {"v": {"name": "x", "city": "c"}},
            {"v.name": (1, 0, 0), "v.city": (0, 0, 1), "v.id": (0, 1, 0)},
            ("v.id",),
            ("v.city",),
            (),
            id="nested",
        ),
        pytest.param(
            {"t": ["b", "A", "a"]},
            {"t": ["a", "a", "c"]},
            {"t": (2, 1, 1)},
            (),
            (),
            ("t",),
            id="multiset",
        ),
        pytest.param({"t": ["a", "a"]}, {"t": ["a"]}, {"t": (1, 1, 0)}, ("t",), (), (), id="an item too many"),
        pytest.param({"t": ["a"]}, {"t": ["a", "b", "c"]}, {"t": (1, 0, 2)}, (), ("t",), (), id="items missing"),
        pytest.param(
            {"t": ["x", "y", "z"]}, {"t": ["a"]}, {"t": (0, 3, 1)}, ("t",), (), ("t",), id="one wrong, two more"
        ),
        pytest.param(
            {"l": [{"s": "b", "q": 2}, {"s": "a", "q": 1}]},
            {"l": [{"s": "a", "q": 1}, {"s": "b", "q": 3}]},
            {"l.s": (2, 0, 0), "l.q": (1, 1, 1)},
            (),
            (),
            ("l.q",),
            id="lines in another order, one wrong",
        ),
        pytest.param(
            {"l": [{"s": "b", "q": 2}]},
            {"l": [{"s": "a", "q": 1}, {"s": "b", "q": 2}]},
            {"l.s": (1, 0, 1), "l.q": (1, 0, 1)},
            (),
            ("l.s", "l.q"),
            (),
            id="line missing",
        ),
        pytest.param(
            # The first line alone would take the second expected one (2 equal leaves); together 1 + 3 is better.
            {"l": [{"s": "a", "q": 1, "p": 5}, {"s": "a", "q": 1, "p": 6}]},
            {"l": [{"s": "b", "q": 9, "p": 5}, {"s": "a", "q": 1, "p": 6}]},
            {"l.s": (1, 1, 1), "l.q": (1, 1, 1), "l.p": (2, 0, 0)},
            (),
            (),
            ("l.s", "l.q"),
            id="the best alignment is of all lines together",
        ),
        pytest.param(
            {"l": [{"p": [{"n": 2}, {"n": 1}], "t": ["y", "x"]}]},
            {"l": [{"p": [{"n": 1}, {"n": 2}], "t": ["x", "y"]}]},
            {"l.p.n": (2, 0, 0), "l.t": (2, 0, 0)},
            (),
            (),
            (),
            id="lists inside lines",
        ),
        pytest.param(
            {"l": [{"s": "a", "q": 1, "t": ["x", "x", "x"]}]},
            {"l": [{"s": "a", "q": 1, "t": ["y"]}, {"s": "b", "q": 2, "t": ["x", "x", "x"]}]},
            {"l.s": (0, 1, 2), "l.q": (0, 1, 2), "l.t": (3, 0, 1)},
            (),
            ("l.s", "l.q", "l.t"),
            ("l.s", "l.q"),
            id="equal leaves of a line count each",
        ),
        pytest.param(
            {"m": [[1, 2], [3, 4.0]]},
            {"m": [[3, 4], [2, 1]]},
            {"m": (1, 1, 1)},
            (),
            (),
            ("m",),
            id="a list inside a list is one value",
        ),
        pytest.param(
            {"v": "ACME"},
            {"v": {"name": "ACME", "city": "c"}},
            {"v.name": (0, 0, 1), "v.city": (0, 0, 1), "v": (0, 1, 0)},
            (),
            (),
            ("v",),
            id="text for an object",
        ),
        pytest.param(
            {"v": {"name": "ACME"}}, {"v": "ACME"}, {"v": (0, 0, 1), "v.name": (0, 1, 0)}, (), (), ("v",), id="object"
        ),
        pytest.param({"t": "a"}, {"t": ["a"]}, {"t": ONE_WRONG}, (), (), ("t",), id="text for a list"),
        pytest.param({"t": ["a"]}, {"t": "a"}, {"t": ONE_WRONG}, (), (), ("t",), id="list for a text"),
        pytest.param({"l": {"s": 1}}, {"l": [{"s": 1}]}, {"l.s": ONE_WRONG}, (), (), ("l",), id="object for a list"),
        pytest.param(
            {"l": ["a", {"s": 1}, 7]},
            {"l": [{"s": 1}, {"s": 2}]},
            {"l.s": (1, 0, 1), "l": (0, 2, 0)},
            ("l",),
            (),
            ("l",),
            id="mixed list",
        ),
        pytest.param(
            {"a.b": 1}, {"a": {"b": 1}}, {"a.b": ONE_WRONG}, ("a.b",), ("a.b",), (), id="a point in a key nests nothing"
        ),
        pytest.param(
            {"": {"a": 1}}, {"": {"a": 1}, "a": 2}, {".a": (1, 0, 0), "a": (0, 0, 1)}, (), ("a",), (), id="empty key"
        ),
    ],
)
def test_comparison(
    got: Any,
    expected: dict[str, Any],
    counts: Counts,
    hallucinated: tuple[str, ...],
    missing: tuple[str, ...],
    wrong: tuple[str, ...],
) -> None:
    """Counts and paths are those of the table."""
    compared = compare_fields(got, expected, {})

    assert compared.counts == counts
    assert (compared.hallucinated, compared.missing, compared.wrong) == (hallucinated, missing, wrong)
    assert compared.exact is not bool(hallucinated or missing or wrong)
    assert sorted(mistake.cause for mistake in compared.mistakes) == sorted(
        ["hallucinated_field"] * len(hallucinated) + ["missing_field"] * len(missing) + ["wrong_value"] * len(wrong)
    )


@pytest.mark.parametrize("got", [None, "x", 3, True, [], [{"a": 1}]], ids=str)
def test_what_is_no_object_has_nothing(got: Any) -> None:
    """Everything is missing, and nothing is exact, even where nothing is expected."""
    compared = compare_fields(got, {"a": 1, "b": {"c": ["x", "y"]}, "d": None}, {})

    assert compared.counts == {"a": (0, 0, 1), "b.c": (0, 0, 2)}
    assert compared.missing == ("a", "b.c")
    assert not compared.exact
    assert not compare_fields(got, {}, {}).exact
    assert compare_fields({}, {}, {}).exact


@pytest.mark.parametrize(
    ("normalizers", "wrong"),
    [
        ({}, ("total", "lines.price", "lines.on")),
        ({"total": "number"}, ("lines.price", "lines.on")),
        ({"lines": "number"}, ("total", "lines.on")),
        ({"lines": "date", "lines.price": "number", "total": "number"}, ()),
        ({"line": "number", "lines.pric": "number", "tot": "number"}, ("total", "lines.price", "lines.on")),
        ({"lines": "exact", "total": "number"}, ("lines.price", "lines.on", "lines.name")),
    ],
)
def test_normalizer_holds_for_all_inside(normalizers: dict[str, str], wrong: tuple[str, ...]) -> None:
    """A path's own normalizer counts, else that of the nearest path around it, else the default."""
    got = {"total": "€ 12.50", "lines": [{"price": "1.000,00", "on": "3 March 2026", "name": "pen"}]}
    expected = {"total": 12.5, "lines": [{"price": 1000, "on": "2026-03-03", "name": "Pen"}]}

    assert compare_fields(got, expected, normalizers).wrong == wrong


def test_unknown_normalizer() -> None:
    """A name that is none is a KeyError."""
    with pytest.raises(KeyError, match="nubmer"):
        compare_fields({}, {"a": 1}, {"a": "nubmer"})


def test_messages() -> None:
    """Each mistake names its path and shows its first example in bounds; what a model wrote cannot forge a line."""
    got = {"a": "y", "l": [{"q": 8}, {"q": 9}], "v": {"n": 1}, "x\nerror: all is well": "z" * 100, "n": [[7] * 99]}
    expected = {"a": "x", "b": "2026-03-03", "l": [{"q": 1}, {"q": 2}], "v": "V", "n": [1]}

    assert compare_fields(got, expected, {}).mistakes == (
        Mistake("wrong_value", "a: 'y' instead of 'x'"),
        Mistake("missing_field", "b: missing, expected '2026-03-03'"),
        Mistake("wrong_value", "l.q: 8 instead of 1 (and 1 more)"),
        Mistake("wrong_value", "v: an object instead of 'V'"),
        Mistake("wrong_value", f"n: [{'7, ' * 19}7,… instead of 1"),
        Mistake("hallucinated_field", f"'x\\nerror: all is well': '{'z' * 60}'… where nothing is expected"),
    )


@given(OBJECTS | st.dictionaries(st.text(max_size=3), ANY_JSON, max_size=4), NORMALIZED)
def test_object_against_itself(value: dict[str, Any], normalizers: dict[str, str]) -> None:
    """Everything is right, as often as there is a value."""
    compared = compare_fields(json.loads(json.dumps(value)), value, normalizers)

    assert totals(compared) == (leaves(value), 0, 0)
    assert compared.exact
    assert (compared.hallucinated, compared.missing, compared.wrong, compared.mistakes) == ((), (), (), ())


@given(OBJECTS, OBJECTS, NORMALIZED)
def test_every_value_is_counted(got: dict[str, Any], expected: dict[str, Any], normalizers: dict[str, str]) -> None:
    """Right and too many are what was given; right and too few are what was expected."""
    compared = compare_fields(got, expected, normalizers)
    tp, fp, fn = totals(compared)

    assert (tp + fp, tp + fn) == (leaves(got), leaves(expected))
    assert compared.exact == (fp == fn == 0) == (not compared.mistakes)
    assert len(compared.mistakes) == len(compared.hallucinated) + len(compared.missing) + len(compared.wrong)


def permuted(value: Any, rng: random.Random, *, inside_list: bool = False) -> Any:
    """Return a value with the order of keys and items changed at random; lists inside lists keep theirs."""
    if isinstance(value, dict):
        keys = rng.sample(sorted(value), len(value))
        return {key: value[key] if inside_list else permuted(value[key], rng) for key in keys}
    if isinstance(value, list):
        items = [item if isinstance(item, list) else permuted(item, rng) for item in value]
        return rng.sample(items, len(items))
    return value


@given(OBJECTS, OBJECTS, NORMALIZED, st.randoms(use_true_random=False))
def test_order_changes_nothing(
    got: dict[str, Any], expected: dict[str, Any], normalizers: dict[str, str], rng: random.Random
) -> None:
    """Permuting the keys of objects and the items of lists, on either side, leaves every count as it is."""
    compared = compare_fields(got, expected, normalizers)
    again = compare_fields(permuted(got, rng), permuted(expected, rng), normalizers)

    assert verdict(again) == verdict(compared)


@given(MIXED, MIXED, st.randoms(use_true_random=False))
def test_order_of_lines_changes_nothing(got: list[Any], expected: list[Any], rng: random.Random) -> None:
    """Nor does the order of lines, where many alignments are equally good."""
    compared = compare_fields({"lines": got}, {"lines": expected}, {})
    again = compare_fields({"lines": permuted(got, rng)}, {"lines": permuted(expected, rng)}, {})

    assert verdict(again) == verdict(compared)


@given(OBJECTS | MIXED.map(lambda items: {"a": items}), OBJECTS | MIXED.map(lambda items: {"a": items}), NORMALIZED)
def test_swap(got: dict[str, Any], expected: dict[str, Any], normalizers: dict[str, str]) -> None:
    """With the sides swapped, false positives are false negatives and hallucinated is missing, path by path."""
    compared = compare_fields(got, expected, normalizers)
    swapped = compare_fields(expected, got, normalizers)

    assert swapped.counts == {path: (tp, fn, fp) for path, (tp, fp, fn) in compared.counts.items()}
    assert set(swapped.hallucinated) == set(compared.missing)
    assert set(swapped.missing) == set(compared.hallucinated)
    assert set(swapped.wrong) == set(compared.wrong)


def test_equally_good_alignments_do_not_depend_on_the_side() -> None:
    """Either line here can stand for either with one equal leaf: swapped sides are aligned as before."""
    one, other = {"l": [{"a": 3, "b": 1}, {"a": 2}]}, {"l": [{"b": 1}, {"a": 3}]}

    compared, swapped = compare_fields(one, other, {}), compare_fields(other, one, {})

    assert swapped.counts == {path: (tp, fn, fp) for path, (tp, fp, fn) in compared.counts.items()}


def test_what_is_left_of_mixed_lists_does_not_depend_on_their_order() -> None:
    """A scalar stands for the same one of two objects in whichever order they are expected."""
    lines = [{"a": 1}, {"b": 2}]

    compared, again = (compare_fields({"l": ["x"]}, {"l": side}, {}) for side in (lines, lines[::-1]))

    assert verdict(again) == verdict(compared)


@given(OBJECTS, OBJECTS, VALUES)
def test_one_more_key_only_adds_false_positives(got: dict[str, Any], expected: dict[str, Any], extra: Any) -> None:
    """A key that is nowhere expected adds its values as false positives and nothing else."""
    compared = compare_fields(got, expected, {})
    more = compare_fields(got | {"new": extra}, expected, {})
    added = {path: counts for path, counts in more.counts.items() if path not in compared.counts}

    assert {path: counts for path, counts in more.counts.items() if path in compared.counts} == compared.counts
    assert all(path == "new" or path.startswith("new.") for path in added)
    assert totals(more) == tuple(np.add(totals(compared), (0, leaves(extra), 0)))
    assert set(more.hallucinated) == {*compared.hallucinated, *added}
    assert (more.missing, more.wrong) == (compared.missing, compared.wrong)


@given(ANY_JSON, st.dictionaries(st.text(max_size=3), ANY_JSON, max_size=4), NORMALIZED)
def test_never_raises(got: Any, expected: dict[str, Any], normalizers: dict[str, str]) -> None:
    """Whatever was written can be compared and counted."""
    tp, fp, fn = totals(compare_fields(got, expected, normalizers))

    assert tp + fp == (leaves(got) if isinstance(got, dict) else 0)
    assert tp + fn == leaves(expected)


READINGS = [
    ("x", "text x"),
    ("X ", "text x"),
    ("y", "text y"),
    ("1", "text 1"),
    (1, "number 1"),
    (1.0, "number 1"),
    (True, "true"),
    (False, "false"),
    (0, "number 0"),
    ("", None),
    (None, None),
]
FLAT = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(READINGS), max_size=6)


@given(st.lists(st.tuples(FLAT, FLAT), min_size=1, max_size=8))
def test_micro_averages_equal_scikit_learns(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Pooled precision, recall and F1 are scikit-learn's over one indicator for each (record, path, value)."""

    def flags(side: int) -> set[tuple[int, str, str]]:
        found = [(number, path, pair[side][path][1]) for number, pair in enumerate(pairs) for path in pair[side]]
        return {flag for flag in found if flag[2] is not None}

    # Two indicators that are never set, because scikit-learn takes a single column for class labels.
    universe = sorted(flags(0) | flags(1) | {(-1, "", ""), (-2, "", "")})
    given_flags, expected_flags = (np.array([[flag in flags(side) for flag in universe]]) for side in (0, 1))
    theirs = precision_recall_fscore_support(expected_flags, given_flags, average="micro", zero_division=0)

    values = [[{path: value for path, (value, _) in side.items()} for side in pair] for pair in pairs]
    tp, fp, fn = np.sum([totals(compare_fields(got, expected, {})) for got, expected in values], axis=0)

    ours = (tp / max(tp + fp, 1), tp / max(tp + fn, 1), 2 * tp / max(2 * tp + fp + fn, 1))
    assert ours == pytest.approx(theirs[:3], abs=1e-12)


@given(ROWS, ROWS)
def test_alignment_is_the_best(got: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """No other one-to-one alignment of the lines has more equal leaves."""
    tp, _, _ = totals(compare_fields({"lines": got}, {"lines": expected}, {}))
    scores = [[totals(compare_fields(row, wanted, {}))[0] for wanted in expected] for row in got]
    short, long = sorted((len(got), len(expected)))
    if len(got) > len(expected):
        scores = [list(column) for column in zip(*scores, strict=True)] or [[]] * short
    best = max(
        sum(scores[row][column] for row, column in enumerate(columns))
        for columns in itertools.permutations(range(long), short)
    )

    assert tp == best


@given(st.integers(0, 5), st.integers(0, 5), st.randoms(use_true_random=False))
def test_best_assignment(rows: int, columns: int, rng: random.Random) -> None:
    """The assignment pairs as many as there can be, each once, and no permutation has a larger total."""
    scores = np.array([[rng.randrange(4) for _ in range(columns)] for _ in range(rows)]).reshape(rows, columns)
    wide = scores if rows <= columns else scores.T
    best = max(
        sum(int(wide[row, column]) for row, column in enumerate(order))
        for order in itertools.permutations(range(wide.shape[1]), wide.shape[0])
    )

    pairs = best_assignment(scores)

    assert pairs == sorted(pairs)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == min(rows, columns)
    assert sum(int(scores[pair]) for pair in pairs) == best


def test_long_lists_that_are_right_are_right() -> None:
    """The bound holds for what is to be aligned, not for lines that are right as they stand."""
    lines = [{"sku": f"s{number}", "q": number} for number in range(5 * MAX_ITEMS)]
    wrong = [*lines[:-1], {"sku": lines[-1]["sku"], "q": -1}]

    assert compare_fields({"lines": lines[::-1]}, {"lines": lines}, {}).exact
    assert compare_fields({"lines": wrong}, {"lines": lines}, {}).counts == {
        "lines.sku": (len(lines), 0, 0),
        "lines.q": (len(lines) - 1, 1, 1),
    }


def test_lines_beyond_the_bound_are_hallucinated() -> None:
    """Of too many lines only the first are aligned; one that would fit after them does not count."""
    junk: list[dict[str, Any]] = [{"sku": "no", "q": -1}] * MAX_ITEMS

    inside = compare_fields({"lines": [*junk[1:], {"sku": "a", "q": 9}]}, {"lines": [{"sku": "a", "q": 1}]}, {})
    beyond = compare_fields({"lines": [*junk, {"sku": "a", "q": 9}]}, {"lines": [{"sku": "a", "q": 1}]}, {})

    assert inside.counts["lines.sku"] == (1, MAX_ITEMS - 1, 0)
    assert beyond.counts["lines.sku"] == (0, MAX_ITEMS + 1, 1)
    assert beyond.hallucinated == ("lines.sku", "lines.q")


def test_paths_are_bounded() -> None:
    """An answer cannot add paths without end, nor crowd out an expected one; every value still counts."""
    got = {f"k{number}": 1 for number in range(3 * MAX_UNEXPECTED)} | {"k" * 9999: {"deep": 1}, "z": 1}
    expected = {"a": {"b": 1}, "z": 2}

    compared = compare_fields(got, expected, {})

    assert compared.counts["a.b"] == (0, 0, 1)
    assert compared.counts["z"] == ONE_WRONG
    assert compared.counts[OTHER_PATHS] == (0, 2 * MAX_UNEXPECTED + 1, 0)
    assert len(compared.counts) == len(compared.hallucinated) + 2 == MAX_UNEXPECTED + 3
    cut = compare_fields({"k" * 9999: {"deep": 1}}, {}, {})
    assert cut.hallucinated == ("k" * MAX_PATH + "…",)


def nested(wrap: Any, inner: Any, times: int) -> Any:
    """Return a value wrapped many times."""
    for _ in range(times):
        inner = wrap(inner)
    return inner


@pytest.mark.parametrize(
    "got",
    [
        pytest.param({f"{number}": number for number in range(80_000)}, id="keys"),
        pytest.param({"tags": [1] * 300_000}, id="equal scalars"),
        pytest.param({"tags": list(range(150_000))}, id="scalars"),
        pytest.param({"tags": nested(lambda x: [x], [1] * 200_000, MAX_DEPTH - 2)}, id="deep lists"),
        pytest.param({"lines": [{"q": 1}] * 100_000}, id="lines"),
        pytest.param({"lines": [{f"{number}": 1 for number in range(400)}] * 200}, id="lines of many keys"),
        pytest.param({"lines": [{"sub": [{"n": n % 7} for n in range(300)]} for _ in range(250)]}, id="nested lines"),
        pytest.param({"k" * 400_000: {f"{number}": 1 for number in range(40_000)}}, id="long key"),
        pytest.param({"v": nested(lambda x: {"k" * 99: x}, dict.fromkeys(map(str, range(60_000)), 1), 97)}, id="deep"),
        pytest.param({"lines": [nested(lambda x: {"sub": [x, {"n": 1}]}, {"n": 1}, 48)]}, id="deep lines"),
        pytest.param({"v": {"name": "\u0301\u0327" * 400_000}}, id="marks"),
    ],
)
def test_hostile_output_takes_no_time(got: Any) -> None:
    """A megabyte of keys, items or depth is compared in a few seconds."""
    lines = [{"sku": f"s{n}", "q": n, "sub": [{"n": n, "m": k} for k in range(3)]} for n in range(MAX_ITEMS)]
    expected = {"tags": ["a", "b"], "lines": lines, "v": {"name": "x"}}
    started = time.process_time()

    compared = compare_fields(got, expected, {"lines": "number"})

    assert time.process_time() - started < 8
    assert not compared.exact
    assert len(compared.counts) < MAX_UNEXPECTED + 20


def test_deepest_value_that_is_parsed() -> None:
    """Values as deep as strict JSON lets through are compared on both sides."""
    for wrap in (lambda x: {"a": x}, lambda x: {"a": [x]}, lambda x: {"a": [[x]]}):
        value = nested(wrap, {"a": 1}, MAX_DEPTH // 3)

        assert compare_fields(value, value, {}).exact
    value = nested(lambda x: {"a": x}, {"a": 1}, MAX_DEPTH - 1)
    assert compare_fields(value, value, {}).counts == {("a." * MAX_DEPTH)[:-1]: (1, 0, 0)}

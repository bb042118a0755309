"""A rubric file is read as it is meant; everything wrong in it is told with its criterion, and nothing else is raised."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_modelgate.detectors.rubric import BUILT_IN, Rubric, load_rubric
from pytest_modelgate.errors import GatesFileError

JUDGE = {"url": "http://localhost:1/v1", "model": "m", "question": "?"}


def load(folder: Path, content: Any) -> Rubric:
    """Write a rubric and load it."""
    path = folder / "rubric.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return load_rubric(path, "gates.toml: [tasks.x] rubric")


def test_every_kind_of_criterion(tmp_path: Path) -> None:
    """Criteria keep their order, weights are made to sum to 1, each detects its own."""
    content: dict[str, Any] = {
        "pass_threshold": 0.5,
        "criteria": [
            {"name": "timeline_reference"},
            {"name": "specific_component", "weight": 2},
            {"name": "when", "detector": "timeline_reference"},
            {"name": "impact", "regex": "customers? (were|was) affected"},
            {"name": "stakeholders", "words": {"any": ["support team", "customers"], "none": ["blame"]}},
            {"name": "terms", "mentions_input": 1},
            {"name": "short", "length": {"min": 4, "max": 140}},
            {"name": "heading", "section": "Impact"},
            {"name": "told", "action": True},
            {"name": "tone", "weight": 0.5, "judge": JUDGE},
        ],
    }

    rubric = load(tmp_path, content)

    assert [criterion.name for criterion in rubric.criteria] == [entry["name"] for entry in content["criteria"]]
    assert sum(criterion.weight for criterion in rubric.criteria) == pytest.approx(1)
    assert rubric.criteria[1].weight == pytest.approx(2 / 10.5)
    assert rubric.threshold == 0.5
    assert rubric.digest == hashlib.sha256((tmp_path / "rubric.json").read_bytes()).hexdigest()
    text = "Impact: customers were affected at 14:02 by db-1."
    met = [c.name for c in rubric.criteria if c.name != "tone" and c.detect(text, "14:02 - db-1 down.")]
    assert met == [
        *("timeline_reference", "specific_component", "when", "impact", "stakeholders", "terms", "short", "heading"),
    ]


def test_defaults(tmp_path: Path) -> None:
    """Without weights all criteria count the same; the threshold has a default; a byte order mark does not matter."""
    rubric = load(tmp_path, "\ufeff" + json.dumps({"criteria": [{"name": name} for name in BUILT_IN]}))

    assert {criterion.weight for criterion in rubric.criteria} == {0.25}
    assert [criterion.detect for criterion in rubric.criteria] == list(BUILT_IN.values())
    assert rubric.threshold == 0.6


def one(**criterion: Any) -> dict[str, Any]:
    """Return a rubric with one criterion."""
    return {"criteria": [{"name": "x", **criterion}]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is not JSON: the text is empty"),
        ("{", "is not JSON"),
        ('{"criteria": [], "criteria": []}', "appears twice"),
        ([], "the file must be an object with criteria, pass_threshold, got []"),
        ({}, "the file lacks 'criteria'"),
        ({"criteria": []}, "criteria must be a list of at least one criterion, got []"),
        ({"criteria": {}}, "criteria must be a list of at least one criterion, got {}"),
        ({"criterias": []}, "unknown key 'criterias'; valid: criteria, pass_threshold (did you mean 'criteria'?)"),
        ({**one(action=True), "pass_threshold": 0}, "pass_threshold must be above 0 and at most 1, got 0"),
        ({**one(action=True), "pass_threshold": 1.5}, "pass_threshold must be above 0 and at most 1, got 1.5"),
        ({**one(action=True), "pass_threshold": True}, "pass_threshold must be a number, got True"),
        ({**one(action=True), "pass_threshold": 10**390}, "pass_threshold must be a finite number"),
        ({"criteria": ["x"]}, "criterion 1: a criterion must be an object"),
        ({"criteria": [{}]}, "criterion 1: a criterion lacks 'name'"),
        ({"criteria": [{"name": 1}]}, "criterion 1: name must be a text that is not empty, got 1"),
        (
            {"criteria": [{"name": "a b", "action": True}]},
            "criterion 1 ('a b'): name may hold letters, digits, - and _ only",
        ),
        ({"criteria": [{"name": "x\n", "action": True}]}, "name may hold letters"),
        (
            {"criteria": [{"name": "timeline"}]},
            "none of the built-in criteria timeline_reference, contributing_factors",
        ),
        ({"criteria": [{"name": "timeline_referense"}]}, "(did you mean 'timeline_reference'?)"),
        (
            {"criteria": [{"name": "prevention_action"}] * 2},
            "criterion 2 ('prevention_action'): this name is given twice",
        ),
        (
            one(regexp="a"),
            "criterion 1 ('x'): a criterion has an unknown key 'regexp'; valid: name, weight, detector, regex",
        ),
        (one(regexp="a"), "(did you mean 'regex'?)"),
        (one(regex="a", section="b"), "takes one detector, got regex and section"),
        (one(regex="("), "regex '(' is no pattern of Python's re module: missing )"),
        (one(regex=""), "regex must be a text that is not empty, got ''"),
        (one(regex=["a"]), "regex must be a text that is not empty, got ['a']"),
        (one(detector="timeline_ref"), "detector 'timeline_ref' is unknown; valid: timeline_reference"),
        (one(action=True, weight=0), "weight must be above 0, got 0"),
        (one(action=True, weight=-1), "weight must be above 0, got -1"),
        (one(action=True, weight="2"), "weight must be a number, got '2'"),
        (one(words=["a"]), "words must be an object with any, all, none, got ['a']"),
        (one(words={}), "words must hold any, all or none, got {}"),
        (one(words={"any": []}), "words any must be a list of at least one text, got []"),
        (one(words={"any": [" "]}), "each of words any must be a text that is not empty, got ' '"),
        (one(words={"some": ["a"]}), "words has an unknown key 'some'"),
        (one(mentions_input=0), "mentions_input must be a whole number of at least 1, got 0"),
        (one(mentions_input=2.5), "mentions_input must be a whole number of at least 1, got 2.5"),
        (one(length={}), "length must hold min, max or both, got {}"),
        (one(length={"min": 9, "max": 3}), "length min 9 is more than max 3"),
        (one(length=3), "length must be an object with min, max, got 3"),
        (one(section=" "), "section must be a text that is not empty"),
        (one(action=False), "action must be true, got False"),
        (one(judge={"url": "http://a"}), "judge lacks 'model'"),
        (one(judge=JUDGE | {"url": "localhost"}), "judge url must begin with http:// or https://, got 'localhost'"),
        (one(judge=JUDGE | {"api_key": "sk-1"}), "judge has an unknown key 'api_key'"),
    ],
)
def test_everything_wrong_is_told(tmp_path: Path, content: Any, reason: str) -> None:
    """A mistake is told with who named the file, the criterion, what was got and what is valid."""
    with pytest.raises(GatesFileError) as raised:
        load(tmp_path, content)

    assert str(raised.value).startswith("gates.toml: [tasks.x] rubric: ")
    assert reason in str(raised.value)


def test_a_key_in_the_file_is_not_shown(tmp_path: Path) -> None:
    """Who puts the key itself where the variable's name belongs does not find it in a log."""
    with pytest.raises(GatesFileError, match="must be the name of an environment variable") as raised:
        load(tmp_path, one(judge=JUDGE | {"api_key_env": "sk-very-secret"}))

    assert "very-secret" not in str(raised.value)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder and bytes that are no text are told like other mistakes."""
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")

    for name, reason in (("none.json", "cannot read"), ("", "cannot read"), ("bytes.json", "is not UTF-8")):
        with pytest.raises(GatesFileError, match=f"^here: .*{reason}"):
            load_rubric(tmp_path / name, "here")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["name", "weight", "detector", "regex", "words", "mentions_input", "length", "section", "action", "judge"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(KEYS, JSON, max_size=4), max_size=3))
def test_nothing_else_is_raised(tmp_path: Path, criteria: list[dict[str, Any]]) -> None:
    """Whatever stands in the file, it is a rubric or a mistake in it."""
    try:
        rubric = load(tmp_path, {"criteria": criteria})
    except GatesFileError:
        return
    assert sum(criterion.weight for criterion in rubric.criteria) == pytest.approx(1)

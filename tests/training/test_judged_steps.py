"""Each step from judged answers to rows keeps what it says, whatever it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelgate_training.data.judged.incidents import Incident
from modelgate_training.data.judged.sections import JudgedTask, Rule
from modelgate_training.data.judged.steps import (
    augment,
    filter_incidents,
    join,
    leaked_incidents,
    merge_judgements,
    select,
    split,
)
from modelgate_training.errors import StageError

TASKS = {
    name: JudgedTask(
        input="answers.log",
        responses=f"answers.{name}",
        scores=f"judges.{name}",
        same_model_as="cause" if name == "risk" else None,
    )
    for name in ("summary", "cause", "risk")
}
IDS = st.lists(st.integers(0, 40).map(lambda number: f"i{number}"), unique=True, max_size=20)
SCORES = st.fixed_dictionaries({"quartz": st.integers(0, 9), "flint": st.integers(0, 9)})


def judged(ids: Sequence[str], scores: Mapping[str, Any] | int, source: str = "judges") -> list[Incident]:
    """Return incidents as one file tells of them, all with the same scores."""
    return [Incident(one, {source: {"scores": scores}}, {source: f"{source}.jsonl:{one}"}) for one in ids]


@st.composite
def incidents(draw: st.DrawFn, least: int = 0) -> list[Incident]:
    """Return incidents with answers to the three tasks by two models, and scores."""
    made = []
    for one in draw(IDS.filter(lambda ids: len(ids) >= least)):
        answers: dict[str, Any] = {"log": f"log of {one}"}
        for name in TASKS:
            answers[name] = {model: f"{model} {name} {one}" for model in ("quartz", "flint")}
        records = {"answers": answers, "judges": {name: draw(SCORES) for name in TASKS}}
        made.append(Incident(one, records, {"answers": f"answers.jsonl:{one}", "judges": f"judges.jsonl:{one}"}))
    return made


def ids_of(items: Sequence[Any]) -> list[str]:
    """Return the incidents of items, in their order, each once."""
    return list(dict.fromkeys(item.incident_id for item in items))


# --- Merge and join ----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(IDS, st.integers(0, 3)), min_size=1, max_size=4))
def test_merging_keeps_the_order_of_first_appearance(tables: list[tuple[list[str], int]]) -> None:
    """Ids come as they first appear over the tables, and the later table counts."""
    named = {f"t{n}": judged(ids, score, f"t{n}") for n, (ids, score) in enumerate(tables)}
    merged, counts = merge_judgements(named, "judges", "later")
    assert ids_of(merged) == list(dict.fromkeys(one for ids, _ in tables for one in ids))
    for incident in merged:
        last = [score for ids, score in tables if incident.incident_id in ids][-1]
        assert incident.records == {"judges": {"scores": last}}
    assert counts.given == sum(len(ids) for ids, _ in tables)
    assert counts.given - counts.left == counts.more["told_again"] + counts.more["replaced"]


@given(IDS, IDS, IDS)
def test_merging_in_two_steps_is_merging_at_once(one: list[str], two: list[str], three: list[str]) -> None:
    """What was merged can be merged again."""
    a, b, c = (judged(ids, score, name) for ids, score, name in ((one, 1, "a"), (two, 2, "b"), (three, 3, "c")))
    both, _ = merge_judgements({"a": a, "b": b}, "both", "later")
    assert (
        merge_judgements({"both": both, "c": c}, "judges", "later")[0]
        == merge_judgements({"a": a, "b": b, "c": c}, "judges", "later")[0]
    )


def test_a_conflict_is_refused_with_both_places() -> None:
    """Two judgements of one incident that differ are an error, unless the later one is to count."""
    tables = {"one": judged(["a", "b"], 3, "one"), "two": judged(["b"], 4, "two")}
    with pytest.raises(
        StageError, match=r"^two\.jsonl:b: incident 'b' was judged otherwise at one\.jsonl:b; conflicts:"
    ):
        merge_judgements(tables, "judges")


def test_equal_judgements_are_no_conflict() -> None:
    """An incident that two files tell alike counts once."""
    merged, counts = merge_judgements({"one": judged(["a", "b"], 3, "one"), "two": judged(["b"], 3, "two")}, "judges")
    assert ids_of(merged) == ["a", "b"]
    assert counts.more["told_again"] == 1


@given(IDS, IDS, IDS)
def test_joining_keeps_what_all_required_tables_have(one: list[str], two: list[str], three: list[str]) -> None:
    """In the order of the first table; what a table that is not required says is there where it says it."""
    tables = {name: judged(ids, 1, name) for name, ids in (("one", one), ("two", two), ("three", three))}
    kept, rejected, counts = join(tables, ["one", "three"])
    assert ids_of(kept) == [incident for incident in one if incident in three]
    assert all(("two" in incident.records) == (incident.incident_id in two) for incident in kept)
    assert counts.given == len({*one, *two, *three}) == len(kept) + len(rejected)
    assert ids_of(join(tables)[0]) == [incident for incident in one if incident in two and incident in three]


# --- Filter and split --------------------------------------------------------------------------------------------


@given(incidents(), st.integers(0, 10), st.integers(0, 10))
def test_a_stricter_rule_keeps_a_part(made: list[Incident], one: int, other: int) -> None:
    """Nothing passes a higher limit that fails a lower one; who is kept and who is not are all, in order."""
    low, high = sorted((one, other))
    loose, _, _ = filter_incidents(made, TASKS, {"risk": Rule(score=low)})
    strict, rejected, counts = filter_incidents(made, TASKS, {"risk": Rule(score=high)})
    assert [incident for incident in loose if incident in strict] == strict
    assert {*ids_of(strict), *ids_of(rejected)} == set(ids_of(made))
    assert len(strict) + len(rejected) == counts.given == len(made)


def one_incident(**scores: dict[str, int]) -> list[Incident]:
    """Return an incident with these scores by task and answers of both models to each."""
    answers: dict[str, Any] = {"log": "log"}
    answers |= {name: {model: f"{model} says high" for model in ("quartz", "flint")} for name in scores}
    return [Incident("a", {"answers": answers, "judges": scores}, {"answers": "a:1", "judges": "j:1"})]


@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        (Rule(score=9), None),
        (Rule(score=10), ("risk: score", "best score 9, wanted are at least 10")),
        (Rule(score=9, score_of="chosen"), ("risk: score", "chosen score 2, wanted are at least 9")),
        (Rule(tokens=(3, 3)), None),
        (Rule(tokens=(4, 9)), ("risk: length", "3 long, wanted are 4 to 9")),
        (Rule(label=("High", "Low")), None),
        (Rule(label=("Hi", "gh")), ("risk: label", "holds none of Hi, gh")),
    ],
)
def test_a_rejected_incident_says_which_rule_it_broke(rule: Rule, broken: tuple[str, str] | None) -> None:
    """Limits count as kept; the score is the best or the taken answer's; a label is a whole word in any case."""
    made = one_incident(cause={"quartz": 5, "flint": 4}, risk={"quartz": 2, "flint": 9})
    _, rejected, _ = filter_incidents(made, TASKS, {"risk": rule})
    assert [(one.rule, one.reason, one.place) for one in rejected] == ([(*broken, "a:1")] if broken else [])


def test_no_answer_breaks_every_rule() -> None:
    """An incident that nobody judged, or whose model is missing, is never kept for lack of a reason to reject it."""
    made = one_incident(cause={"quartz": 5}, risk={"flint": 9})
    _, (wrong,), _ = filter_incidents(made, TASKS, {"risk": Rule()})
    assert wrong.reason == "no judged answer of the model that won 'cause'"
    unjudged = [Incident("a", {"answers": made[0].records["answers"]}, {"answers": "a:1"})]
    _, (wrong,), _ = filter_incidents(unjudged, TASKS, {"cause": Rule()})
    assert (wrong.rule, wrong.reason) == ("cause: no answer", "no judged answer")


@given(incidents(least=2), st.floats(0.05, 0.95), st.integers(0, 2**32), st.randoms(use_true_random=False))
def test_no_incident_is_on_both_sides(made: list[Incident], share: float, seed: int, rng: Any) -> None:
    """All are on one side; rows go where their incident goes; the order of the files does not matter."""
    wanted = round(share * len(made))
    if not 0 < wanted < len(made):
        with pytest.raises(StageError, match="leaves one side empty"):
            split(made, share, seed)
        return
    train, held_back, counts = split(made, share, seed)
    assert not {*ids_of(train)} & {*ids_of(held_back)}
    assert {*ids_of(train), *ids_of(held_back)} == {*ids_of(made)}
    assert (len(held_back), counts.left) == (wanted, len(made) - wanted)
    shuffled = rng.sample(made, len(made))
    assert set(ids_of(split(shuffled, share, seed)[1])) == set(ids_of(held_back))
    rows, _, _ = select(made, TASKS, list(TASKS))
    assert ids_of(split(rows, share, seed)[1]) == ids_of(held_back)


# --- Select and augment ------------------------------------------------------------------------------------------


@given(incidents(), st.permutations(list(TASKS)))
def test_each_incident_has_its_tasks_in_order(made: list[Incident], names: list[str]) -> None:
    """One row for each task, one incident after the other; every row's text is of its incident and task."""
    rows, rejected, counts = select(made, TASKS, names)
    assert [(row.incident_id, row.task) for row in rows] == [(one.incident_id, name) for one in made for name in names]
    assert not rejected
    assert counts.more["tasks"] == dict.fromkeys(names, len(made))
    for row in rows:
        assert row.expected == f"{row.model} {row.task} {row.incident_id}"
        assert row.input == f"log of {row.incident_id}"


@given(incidents())
def test_the_risk_is_of_the_cause_s_model(made: list[Incident]) -> None:
    """Whatever its own score."""
    rows, _, _ = select(made, TASKS, ["cause", "risk"])
    assert [row.model for row in rows[::2]] == [row.model for row in rows[1::2]]
    for incident, row in zip(made, rows[::2], strict=True):
        scores = incident.records["judges"]["cause"]
        assert scores[row.model] == max(scores.values())


def test_an_incident_without_an_answer_has_no_rows_at_all() -> None:
    """Half an incident would unbalance the tasks; the reason is told."""
    made = one_incident(cause={"quartz": 5}, risk={"flint": 9})
    rows, (wrong,), _ = select(made, TASKS, ["cause", "risk"])
    assert rows == []
    assert (wrong.rule, wrong.reason) == ("risk: nothing to learn", "no judged answer of the model that won 'cause'")


@given(incidents(least=2), st.data())
def test_appended_incidents_are_new_and_not_excluded(made: list[Incident], data: st.DataObject) -> None:
    """The rows before stay as they are; with the held-back ones excluded nothing leaks, without, all who pass do."""
    has_rows = made[: data.draw(st.integers(0, len(made) - 1))]
    held_back = data.draw(st.sets(st.sampled_from(ids_of(made[len(has_rows) :]))))
    rule = {"cause": Rule(score=data.draw(st.integers(0, 9)))}
    rows, _, _ = select(has_rows, TASKS, list(TASKS))
    passing = set(ids_of(filter_incidents(made, TASKS, rule)[0]))
    for exclude, leaked in ((held_back, set()), (set(), held_back & passing)):
        more, _, counts = augment(rows, made, TASKS, ["cause", "risk"], rule, exclude=exclude)
        assert more[: len(rows)] == rows
        assert set(ids_of(more[len(rows) :])) == passing - set(ids_of(has_rows)) - exclude
        assert leaked_incidents(more, held_back) == sorted(leaked)
        assert counts.more["new"] == len(made) - len(has_rows)
        assert counts.more["added"] == len(more) - len(rows) == 2 * counts.more["passed"]

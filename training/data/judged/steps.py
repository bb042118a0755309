"""
Hold the steps from judged answers to rows: pure functions on lists, each telling how many came in, went out, and why not.

No step knows a task by name, and none changes what it is given.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeVar

from ...errors import StageError
from .incidents import Answer, Incident, best_answer, chosen_answer, text_of
from .sections import JudgedTask, Rule

Fit = Callable[[str], str]
"""From an input to what of it the model is shown."""

CountTokens = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Rejection:
    """Hold an incident that a step left out: the rule that it broke, how, and where it stands."""

    incident_id: str
    rule: str
    reason: str
    place: str


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """Hold one row: what the model is shown and must answer, whose answer that is, and where it stands."""

    incident_id: str
    task: str
    input: str
    expected: str
    model: str
    source: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Hold how many a step was given and left, and what else there is to count (JSON primitives)."""

    given: int
    left: int
    more: Mapping[str, Any] = field(default_factory=dict)


class _HasIncident(Protocol):
    @property
    def incident_id(self) -> str:
        """Return the incident."""


Item = TypeVar("Item", bound=_HasIncident)


def merge_judgements(
    tables: Mapping[str, Sequence[Incident]], to: str, conflicts: Literal["refuse", "later"] = "refuse"
) -> tuple[list[Incident], Counts]:
    """
    Return the incidents of tables of one kind of record as one table called ``to``, in the order of first appearance.

    An incident that two tables tell alike counts once. One that they tell differently is an error (``refuse``,
    :class:`StageError`), or told as the later table does (``later``).
    """
    merged: dict[str, Incident] = {}
    again = replaced = 0
    for name, table in tables.items():
        for incident in table:
            record, place = incident.records[name], incident.places[name]
            earlier = merged.get(incident.incident_id)
            if earlier is not None and earlier.records[to] == record:
                again += 1
                continue
            if earlier is not None and conflicts == "refuse":
                raise StageError(
                    f"{place}: incident {incident.incident_id!r} was judged otherwise at {earlier.place}; "
                    f"conflicts: later takes the later one"
                )
            replaced += earlier is not None
            merged[incident.incident_id] = Incident(incident.incident_id, {to: record}, {to: place})
    sizes = {name: len(table) for name, table in tables.items()}
    counts = Counts(sum(sizes.values()), len(merged), {"tables": sizes, "told_again": again, "replaced": replaced})
    return list(merged.values()), counts


def join(
    tables: Mapping[str, Sequence[Incident]], required: Iterable[str] | None = None
) -> tuple[list[Incident], list[Rejection], Counts]:
    """
    Return the incidents that all ``required`` tables have (default: all tables), with what each table says of them.

    They come in the order of the first table, then of what only the later ones have.
    """
    wanted = list(tables if required is None else required)
    by_id: dict[str, dict[str, Incident]] = {}
    for name, table in tables.items():
        for incident in table:
            by_id.setdefault(incident.incident_id, {})[name] = incident
    kept, rejected = [], []
    for incident_id, found in by_id.items():
        records = {source: record for one in found.values() for source, record in one.records.items()}
        places = {source: place for one in found.values() for source, place in one.places.items()}
        incident = Incident(incident_id, records, places)
        if missing := [name for name in wanted if name not in found]:
            rejected.append(Rejection(incident_id, f"not in {missing[0]}", "no record there", incident.place))
        else:
            kept.append(incident)
    sizes = {name: len(table) for name, table in tables.items()}
    return kept, rejected, Counts(len(by_id), len(kept), {"tables": sizes, "rejected": _by_rule(rejected)})


def filter_incidents(
    incidents: Sequence[Incident],
    tasks: Mapping[str, JudgedTask],
    rules: Mapping[str, Rule],
    count_tokens: CountTokens | None = None,
) -> tuple[list[Incident], list[Rejection], Counts]:
    """
    Return the incidents that keep every rule, and the others, each with the first rule that it breaks.

    Without ``count_tokens``, words stand for tokens; the counts say so.
    """
    kept, rejected = [], []
    for incident in incidents:
        broken = _first_broken(incident, tasks, rules, count_tokens or count_words)
        if broken is None:
            kept.append(incident)
        else:
            rejected.append(Rejection(incident.incident_id, *broken, incident.place))
    more: dict[str, Any] = {"rejected": _by_rule(rejected)}
    if any(rule.tokens for rule in rules.values()):
        more["unit"] = "words" if count_tokens is None else "tokens"
    return kept, rejected, Counts(len(incidents), len(kept), more)


def count_words(text: str) -> int:
    """Return how many words parted by white space a text has: the unit where no tokenizer is at hand."""
    return len(text.split())


def split(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item], Counts]:
    """
    Return what is left to train on and what is held back, whole incidents each, both in the order given.

    ``share`` of the incidents (to the nearest) is drawn with ``seed`` from the sorted ids, so that the order of files
    does not change who is held back. Raises :class:`StageError` where one side would be empty.
    """
    ids = sorted({item.incident_id for item in items})
    wanted = round(share * len(ids))
    if not 0 < wanted < len(ids):
        raise StageError(f"split: a share of {share:g} of {len(ids)} incidents leaves one side empty")
    held_back = set(random.Random(seed).sample(ids, wanted))  # noqa: S311 (nothing secret is drawn)
    train = [item for item in items if item.incident_id not in held_back]
    evaluation = [item for item in items if item.incident_id in held_back]
    return train, evaluation, Counts(len(items), len(train), {"evaluation": len(evaluation), "seed": seed})


def select(
    incidents: Sequence[Incident], tasks: Mapping[str, JudgedTask], names: Sequence[str], fit: Fit | None = None
) -> tuple[list[JudgedRow], list[Rejection], Counts]:
    """
    Return a row for each task in ``names`` of each incident, the tasks of an incident one after the other.

    An incident that lacks an input or an answer to one of the tasks is left out. ``fit`` shortens an input.
    """
    rows: list[JudgedRow] = []
    rejected: list[Rejection] = []
    cut = 0
    for incident in incidents:
        fitted: dict[str, str] = {}
        made = []
        for name in names:
            found = _input_and_answer(incident, name, tasks)
            if isinstance(found, str):
                rejected.append(Rejection(incident.incident_id, f"{name}: nothing to learn", found, incident.place))
                break
            given, answer = found
            if given not in fitted:
                fitted[given] = fit(given) if fit else given
            made.append(JudgedRow(incident.incident_id, name, fitted[given], answer.text, answer.model, answer.place))
        else:
            rows.extend(made)
            cut += any(shown != given for given, shown in fitted.items())
    by_task = Counter(row.task for row in rows)
    more = {"tasks": {name: by_task[name] for name in names}, "cut_inputs": cut, "rejected": _by_rule(rejected)}
    return rows, rejected, Counts(len(incidents), len(rows), more)


def augment(
    rows: Sequence[JudgedRow],
    incidents: Sequence[Incident],
    tasks: Mapping[str, JudgedTask],
    names: Sequence[str],
    rules: Mapping[str, Rule],
    *,
    exclude: Iterable[str] = (),
    count_tokens: CountTokens | None = None,
    fit: Fit | None = None,
) -> tuple[list[JudgedRow], list[Rejection], Counts]:
    """Return ``rows``, then those of the incidents that have none yet, keep the rules, and are not to be excluded."""
    present, excluded = {row.incident_id for row in rows}, set(exclude)
    new = [incident for incident in incidents if incident.incident_id not in present]
    allowed = [incident for incident in new if incident.incident_id not in excluded]
    passed, rejected, filtered = filter_incidents(allowed, tasks, rules, count_tokens)
    added, without, selected = select(passed, tasks, names, fit)
    rejected = rejected + without
    by_task = Counter(row.task for row in (*rows, *added))
    more = {
        "candidates": len(incidents),
        "new": len(new),
        "excluded": len(new) - len(allowed),
        "passed": len(passed) - len(without),
        "added": len(added),
        "tasks": dict(by_task),
        "cut_inputs": selected.more["cut_inputs"],
        "rejected": _by_rule(rejected),
    }
    more |= {"unit": filtered.more["unit"]} if "unit" in filtered.more else {}
    return [*rows, *added], rejected, Counts(len(rows), len(rows) + len(added), more)


def leaked_incidents(rows: Iterable[JudgedRow], evaluation_ids: Iterable[str]) -> list[str]:
    """Return the incidents that are held back for evaluation and yet have rows to train on, sorted."""
    return sorted({row.incident_id for row in rows} & set(evaluation_ids))


def _input_and_answer(incident: Incident, name: str, tasks: Mapping[str, JudgedTask]) -> tuple[str, Answer] | str:
    """Return what makes a row, or why there is none."""
    given = text_of(incident, tasks[name].input)
    if given is None:
        return "no input"
    answer = chosen_answer(incident, name, tasks)
    if isinstance(answer, str):
        return answer
    return (given, answer) if answer.text else f"the answer of {answer.model} is empty"


def _first_broken(
    incident: Incident, tasks: Mapping[str, JudgedTask], rules: Mapping[str, Rule], count_tokens: CountTokens
) -> tuple[str, str] | None:
    """Return the first rule that an incident breaks, and how."""
    for name, rule in rules.items():
        best, chosen = best_answer(incident, name, tasks), chosen_answer(incident, name, tasks)
        if best is None or isinstance(chosen, str):
            return f"{name}: no answer", chosen if isinstance(chosen, str) else "no judged answer"
        score = best.score if rule.score_of == "best" else chosen.score
        if rule.score is not None and score < rule.score:
            return f"{name}: score", f"{rule.score_of} score {score:g}, wanted are at least {rule.score:g}"
        if rule.tokens is not None and not rule.tokens[0] <= (n := count_tokens(chosen.text)) <= rule.tokens[1]:
            return f"{name}: length", f"{n} long, wanted are {rule.tokens[0]} to {rule.tokens[1]}"
        if rule.label and not any(_holds(chosen.text, word) for word in rule.label):
            return f"{name}: label", f"holds none of {', '.join(rule.label)}"
    return None


def _holds(text: str, word: str) -> bool:
    """Say whether a word stands in a text, in any case."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _by_rule(rejected: Iterable[Rejection]) -> dict[str, int]:
    """Count the incidents that broke each rule."""
    return dict(Counter(rejection.rule for rejection in rejected))

"""Group what each judged target got wrong by its cause: what a team reads before it writes more training rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_modelgate.records import Json, Record
from pytest_modelgate.report.causes import NEVER, ROWS, confusions, find_causes, rows_for, subject_of
from pytest_modelgate.report.misses import worst_first
from pytest_modelgate.report.outcome import RunOutcome

EXAMPLES = 5
SLICES = ("adversarial", "long_input", "quarantined")
"""Slices that are told beside the causes: by suite or tag; the longest tenth of a task's prompts; by gates.toml."""

_MOST = 5
_ENOUGH_FOR_A_TENTH = 10

CaseKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Cluster:
    """
    Hold the misses of one target in one task that have one main cause, the worst first.

    ``subject``: the field of wrong labels, where answers have several, or the criterion of a rubric; else empty. ``of``: all misses of the target. ``most``: what was wrong, most frequent first, with its number of cases.
    ``slices``: how many of the misses lie in each. ``rows``: which training rows would repair it.
    """

    task: str
    cause: str
    subject: str
    records: tuple[Record, ...]
    of: int
    most: tuple[tuple[str, int], ...]
    slices: Mapping[str, int]
    rows: str

    @property
    def count(self) -> int:
        """Return how many misses have the cause."""
        return len(self.records)

    @property
    def examples(self) -> tuple[Record, ...]:
        """Return the misses to look at."""
        return self.records[:EXAMPLES]

    def to_json(self) -> Json:
        """Return the cluster as primitives."""
        return {
            "task": self.task,
            "cause": self.cause,
            "subject": self.subject,
            "count": self.count,
            "share": round(self.count / self.of, 4),
            "critical": sum(record.outcome == "failed" for record in self.records),
            "most": [{"what": what, "n": n} for what, n in self.most],
            "slices": dict(self.slices),
            "examples": [
                {"suite": record.suite, "case": record.case, "location": record.location} for record in self.examples
            ],
            "advice": f"{self.rows}; {NEVER}",
        }


@dataclass(frozen=True, slots=True)
class TargetErrors:
    """
    Hold what one target got wrong.

    ``cases``: how many it answered. ``slices``: cases and misses in each. ``clusters``: the largest first. ``rows``:
    each miss with its main cause and its slices, in the order of the suites.
    """

    target: str
    cases: int
    slices: Mapping[str, tuple[int, int]]
    clusters: tuple[Cluster, ...]
    rows: tuple[tuple[Record, str, tuple[str, ...]], ...]

    @property
    def missed(self) -> int:
        """Return how many cases are wrong."""
        return len(self.rows)

    def to_json(self) -> Json:
        """Return what report.json holds."""
        return {
            "target": self.target,
            "cases": self.cases,
            "missed": self.missed,
            "slices": {name: {"cases": cases, "missed": missed} for name, (cases, missed) in self.slices.items()},
            "clusters": [cluster.to_json() for cluster in self.clusters],
        }


def analyse_errors(outcome: RunOutcome) -> tuple[TargetErrors, ...]:
    """Return what each judged target got wrong; cases that an engine did not answer are nobody's mistake."""
    return tuple(_of_target(outcome, target.id) for target in outcome.release.judged)


def error_rows(errors: Sequence[TargetErrors]) -> Iterator[Json]:
    """Yield the rows of errors.jsonl: one for each miss."""
    for found in errors:
        for record, cause, slices in found.rows:
            data = record.to_json()
            names = ("target", "suite", "task", "case", "location", "outcome", "critical")
            more = ("violations", "mistakes", "input", "expected", "output")
            yield (
                {name: data[name] for name in names}
                | {"cause": cause, "slices": list(slices)}
                | {name: data[name] for name in more}
            )


def _of_target(outcome: RunOutcome, target: str) -> TargetErrors:
    records = [record for record in outcome.of(target) if record.outcome != "error"]
    slices = _slices(outcome, records)
    misses = {_key(record): record for record in records if record.outcome in {"missed", "failed"}}
    tasks = outcome.release.tasks
    causes = {key: find_causes(record, tasks[record.task].kind) for key, record in misses.items()}
    grouped: defaultdict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for key, record in misses.items():
        cause, wrong = next(iter(causes[key].items()))  # the main one
        grouped[record.task, cause, subject_of(record, cause, wrong, tasks[record.task].primary)].append(record)
    order = list(ROWS)
    clusters = [
        _cluster(*about, group, len(misses), [causes[_key(record)][about[1]] for record in group], slices)
        for about, group in grouped.items()
    ]
    return TargetErrors(
        target=target,
        cases=len(records),
        slices={name: (len(keys), len(keys & misses.keys())) for name, keys in slices.items() if keys},
        clusters=tuple(sorted(clusters, key=lambda cluster: (-cluster.count, order.index(cluster.cause)))),
        rows=tuple(
            (record, next(iter(causes[key])), tuple(name for name, keys in slices.items() if key in keys))
            for key, record in misses.items()
        ),
    )


def _cluster(
    task: str,
    cause: str,
    subject: str,
    group: list[Record],
    misses: int,
    wrong: Sequence[Sequence[str]],
    slices: Mapping[str, set[CaseKey]],
) -> Cluster:
    """Return the cluster of ``group``; ``wrong``: for each of its records what was wrong."""
    # Each case counts once for the same thing; among equals, what was seen first comes first.
    most = Counter(what for found in wrong for what in dict.fromkeys(found)).most_common(_MOST)
    confused: tuple[str, str, str] | None = None
    if cause == "wrong_label":
        found = Counter(one for record in group for one in confusions(record) if not subject or one[0] == subject)
        most = [(f"{given} given for {wanted}", n) for (_, given, wanted), n in found.most_common(_MOST)]
        confused = (subject, *found.most_common(1)[0][0][1:])
    keys = {_key(record) for record in group}
    return Cluster(
        task=task,
        cause=cause,
        subject=subject,
        records=tuple(worst_first(group)),
        of=misses,
        most=tuple(most),
        slices={name: count for name, found in slices.items() if (count := len(found & keys))},
        rows=rows_for(cause, most[0][0], confused),
    )


def _slices(outcome: RunOutcome, records: Sequence[Record]) -> dict[str, set[CaseKey]]:
    """Return which cases lie in each slice."""
    quarantined = outcome.release.rules.quarantine.active
    return {
        "adversarial": {_key(record) for record in records if "adversarial" in (record.suite, *record.tags)},
        "long_input": _long_inputs(records),
        "quarantined": {_key(record) for record in records if _key(record) in quarantined},
    }


def _long_inputs(records: Sequence[Record]) -> set[CaseKey]:
    """Return the cases whose prompts are in the longest tenth of their task's, where that means something."""
    by_task: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_task[record.task].append(record)
    found: set[CaseKey] = set()
    for group in by_task.values():
        counted = all(record.prompt_tokens for record in group)
        lengths = [record.prompt_tokens if counted else len(record.input) for record in group]
        if len(group) >= _ENOUGH_FOR_A_TENTH:
            limit = float(np.quantile(lengths, 0.9))
            found |= {_key(record) for record, length in zip(group, lengths, strict=True) if length > limit}
    return found


def _key(record: Record) -> CaseKey:
    return record.suite, record.case

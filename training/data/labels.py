"""Look at answers as a whole: where they contradict each other, and how they are spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ..tasks import Tasks
from .duplicates import near_duplicates
from .formats import JSON_KINDS
from .lines import json_text
from .normal import normalise
from .rows import Row

_LISTED = 100  # labels of a field, and rows in a report
_LONGEST_LABEL = 40


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Hold rows that ask the same and answer differently."""

    rows: tuple[Row, ...]

    def reason(self, row: Row) -> str:
        """Say what a row contradicts."""
        others = [other for other in self.rows if answer_key(other) != answer_key(row)]
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        return f"the same input has another answer in {others[0].source}{more}"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Hold a row that asks nearly the same as an earlier one, and answers differently; similarity in percent."""

    row: Row
    like: Row
    similarity: float


def question(row: Row) -> tuple[str, str, str]:
    """Return what a row asks, without what does not change its meaning: rows with equal ones must answer alike."""
    turns = () if isinstance(row.prompt, str) else row.prompt
    return row.task, "\n".join(turn.content for turn in turns if turn.role == "system"), normalise(row.shown)


def answer_key(row: Row) -> str:
    """Return an answer in one form: the order of keys and white space make no other answer."""
    is_json = not isinstance(row.expected, str) and row.answer.startswith(("{", "["))
    return json_text(row.expected) if is_json else " ".join(row.answer.split())


def contradictions(rows: Iterable[Row]) -> list[Contradiction]:
    """Return each set of rows that ask the same, up to case, punctuation and white space, and answer differently."""
    by_question: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        by_question.setdefault(question(row), []).append(row)
    same = (tuple(found) for found in by_question.values() if len(found) > 1)
    return [Contradiction(found) for found in same if len({answer_key(row) for row in found}) > 1]


def answer_alike(row: Row, other: Row, tasks: Tasks, threshold: float) -> bool:
    """
    Say whether two rows that ask nearly the same answer the same.

    JSON must be equal. Of texts at least ``threshold`` percent of the letters must be, and whatever labels the task
    finds in them.
    """
    if tasks.by_name[row.task].kind in JSON_KINDS:
        return answer_key(row) == answer_key(other)
    if not near_duplicates([other.answer, row.answer], threshold):
        return False
    labels = tasks.judge(other.task, other.prompt, other.expected, row.answer).labels
    return all(expected == got for expected, got in labels.values())


def label_report(found: Sequence[Contradiction], suspicions: Sequence[Suspicion]) -> dict[str, Any]:
    """Return where labels contradict each other, by the places of the rows."""
    return {
        "contradictions": [[row.source for row in one.rows] for one in found],
        "suspicious": [
            {"row": one.row.source, "like": one.like.source, "similarity": round(one.similarity, 1)}
            for one in suspicions
        ],
    }


def answer_distribution(rows: Sequence[Row], tasks: Tasks) -> dict[str, dict[str, Any]]:
    """
    Return how the answers of each task are spread.

    Of labels, how often each value stands in each field; of other answers how many there are, how many of them differ,
    how often the most frequent one stands, and the median of their words.
    """
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    return {task: _spread(found, tasks) for task, found in by_task.items()}


def _spread(rows: Sequence[Row], tasks: Tasks) -> dict[str, Any]:
    """Return how the answers of one task are spread."""
    task = tasks.by_name[rows[0].task]
    if task.kind == "classification":
        counts = {field: Counter(_label(row.expected[field]) for row in rows) for field in task.fields}
        return {field: dict(count.most_common(_LISTED)) for field, count in counts.items()}
    answers = Counter(row.answer for row in rows)
    return {
        "rows": len(rows),
        "different": len(answers),
        "most_frequent": answers.most_common(1)[0][1],
        "median_words": median(len(row.answer.split()) for row in rows),
    }


def _label(value: Any) -> str:
    """Return a label as it is read."""
    return (value if isinstance(value, str) else json_text(value))[:_LONGEST_LABEL]

"""
Judge each row by itself, before it may be learned from.

What a row teaches is judged by the very code that will judge the model: a row whose answer the gate would block teaches
the model to be blocked. What is judged here has been masked; so a reason may quote it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pytest_modelgate.records import Record

from ..config import Data, RowRubric
from ..tasks import Tasks
from .formats import JSON_KINDS, Draft
from .lines import json_type
from .normal import normalise
from .rows import Row

SCORES = ("realism", "correctness", "format", "difficulty", "diversity", "learnability", "safety")
"""The seven scores of the row rubric, each from 1 to 5."""

_WORST, _BEST = 1, 5
_REFUSED = frozenset({"no", "none", "false", "denied", "refused", "revoked", "withdrawn", "declined", "opt-out"})
_BLOCK = 1000  # rows that are tokenised at a time


class RejectedRowError(Exception):
    """Say which gate stopped a row, and why."""

    def __init__(self, gate: str, reason: str) -> None:
        super().__init__(reason)
        self.gate = gate


@dataclass(frozen=True, slots=True)
class _Answer:
    """Hold what the model is to write; where a gate stops it, which, and ``text`` is the reason."""

    text: str
    stopped_by: str | None = None


class RowGates:
    """Judge drafts by the gates that need nothing but the row: schema, contract, instructions, trivial, rubric, consent."""

    def __init__(self, tasks: Tasks, data: Data, control_tokens: Sequence[str]) -> None:
        self._tasks, self._data = tasks, data
        self._control_tokens = control_tokens
        self._known: dict[tuple[str, str], _Answer] = {}

    def row(self, draft: Draft) -> Row:
        """Return the row that a masked draft makes; raise RejectedRowError where a gate stops it."""
        if draft.consent is not None and draft.consent.lower() in _REFUSED:
            raise RejectedRowError("consent", f"consent is {draft.consent!r}")
        answer = self._answer(draft)
        if answer.stopped_by is not None:
            raise RejectedRowError(answer.stopped_by, answer.text)
        row = _row(draft, answer.text)
        self._check_instructions(row)
        self._check_trivial(row, same=draft.same)
        if draft.scores is not None and (reason := judge_scores(draft.scores, self._data.rubric)):
            raise RejectedRowError("rubric", reason)
        return row

    def _answer(self, draft: Draft) -> _Answer:
        """Return the answer as the model must write it, judged by the gate; equal JSON answers are judged once."""
        task = self._tasks.by_name[draft.task]
        if task.kind not in JSON_KINDS or task.contracts:
            return self._judge(draft)
        # Few labels have few answers, and what is expected of JSON does not depend on what was asked.
        key = (draft.task, json.dumps(draft.expected))
        if key not in self._known:
            self._known[key] = self._judge(draft)
        return self._known[key]

    def _judge(self, draft: Draft) -> _Answer:
        """Judge an answer by the task's schema, and then as if the model had written it."""
        if reason := self._tasks.reject(draft.task, draft.prompt, draft.expected):
            return _Answer(reason, "schema")
        try:
            text = self._tasks.answer(draft.task, draft.expected)
        except ValueError:
            return _Answer("what is expected holds no text to learn", "schema")
        if reason := _blocked(self._tasks.judge(draft.task, draft.prompt, draft.expected, text)):
            return _Answer(reason, "contract")
        return _Answer(text)

    def _check_instructions(self, row: Row) -> None:
        """Find instructions in the answer, and control tokens in either: as text they would end or fake a turn."""
        task = self._tasks.by_name[row.task]
        if leak := task.leaks.find(row.answer, row.shown):
            raise RejectedRowError("instructions", leak.replace("the output", "the answer"))
        shown = row.prompt if isinstance(row.prompt, str) else "\n".join(turn.content for turn in row.prompt)
        for what, text in (("input", shown), ("answer", row.answer)):
            if found := next((token for token in self._control_tokens if token in text), None):
                raise RejectedRowError(
                    "instructions", f"the {what} holds {found!r}, a control token of the base's template"
                )

    def _check_trivial(self, row: Row, *, same: bool) -> None:
        """Find rows that teach nothing."""
        letters, least = sum(map(str.isalnum, row.shown)), self._data.least_letters
        if letters < least or not row.shown.strip():
            raise RejectedRowError(
                "trivial", f"the input has {letters} letters and digits, at least {least} are wanted"
            )
        if not row.answer.strip():
            raise RejectedRowError("trivial", "the answer is empty")
        if same:
            raise RejectedRowError("trivial", "the chosen and the rejected answer are the same: nothing to learn")
        if self._tasks.by_name[row.task].kind not in JSON_KINDS and normalise(row.answer) == normalise(row.input):
            raise RejectedRowError("trivial", "the answer is a copy of the input")


def judge_scores(scores: Any, rubric: RowRubric) -> str | None:
    """Say why a row's scores do not meet the rubric, or return None."""
    if not isinstance(scores, dict):
        return f"scores must be an object of {', '.join(SCORES)}, got {json_type(scores)}"
    for name in SCORES:
        score = scores.get(name)
        if isinstance(score, bool) or not isinstance(score, int | float) or not _WORST <= score <= _BEST:
            got = "is missing" if name not in scores else f"must be {_WORST} to {_BEST}"
            return f"score {name!r} {got}"
    for name, least in (("correctness", rubric.correctness), ("format", rubric.format), ("safety", rubric.safety)):
        if scores[name] < least:
            return f"{name} is {scores[name]:g}, at least {least} is wanted"
    if (total := sum(scores[name] for name in SCORES)) < rubric.total:
        return f"the scores add up to {total:g} of {_BEST * len(SCORES)}, at least {rubric.total} is wanted"
    return None


def token_counts(tokenizer: Any, tasks: Tasks, rows: Sequence[Row]) -> Iterator[int]:
    """Yield the tokens of each row, prompt, answer and end of turn, as they will be trained on."""
    from ..tuning.chat import end_of_turn, prompt_text

    end = end_of_turn(tokenizer)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        texts = [f"{prompt_text(tokenizer, tasks.messages(row.task, row.prompt))}{row.answer}{end}" for row in block]
        yield from map(len, tokenizer(texts, add_special_tokens=False)["input_ids"])


def row_record(row: Row | Draft) -> dict[str, Any]:
    """Return a masked row or draft as what is written of it where it is rejected."""
    record = asdict(row)
    if isinstance(row, Draft):
        record |= asdict(row.names)
    return {name: record[name] for name in _WRITTEN if record.get(name) is not None}


_WRITTEN: Iterable[str] = (
    *("task", "prompt", "answer", "expected", "scores"),
    *("group", "kind", "origin", "licence", "consent", "person"),
)


def _row(draft: Draft, answer: str) -> Row:
    """Return the row of a draft; what the file does not name is called by its place."""
    return Row(
        id=draft.names.id or draft.source,
        task=draft.task,
        prompt=draft.prompt,
        answer=answer,
        expected=draft.expected,
        group=draft.names.group or draft.source,
        source=draft.source,
        kind=draft.kind,
        origin=draft.origin,
        licence=draft.licence,
        consent=draft.consent,
        person=draft.names.person,
    )


def _blocked(record: Record) -> str | None:
    """Say why the gate would not let an answer pass, or return None."""
    if record.outcome == "passed":
        return None
    if record.error is not None:
        return record.error
    found = [f"{one.contract}: {one.message}" for one in record.violations]
    found += [f"{one.cause}: {one.message}" for one in record.mistakes]
    return found[0] if found else "the gate does not count the answer as right"

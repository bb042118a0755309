"""Judge what came back: one generation of one case becomes one record."""

from __future__ import annotations

import contextlib
import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from pytest_modelgate.cases import Case
from pytest_modelgate.contracts.bounded import OutOfTimeError, deadline, run_check
from pytest_modelgate.contracts.refusal import is_refusal
from pytest_modelgate.contracts.repetition import find_loop
from pytest_modelgate.errors import EngineError
from pytest_modelgate.kinds import Judgement
from pytest_modelgate.records import Failure, Generation, Mistake, Outcome, Record, Violation
from pytest_modelgate.tasks import Task, check_text

SHOWN_OUTPUT = 16_000
"""Characters of an output that records and reports carry; the journal holds all of it."""

SHOWN_MESSAGE = 500
"""Characters of a violation, a mistake or a wrong label, which may quote the output."""

JUDGE_SECONDS = 10.0
"""Time after which judging one output is given up: a user's regular expression may backtrack for ever."""

_WITH_PATTERNS = frozenset({"rubric", "text"})
"""Kinds whose users write regular expressions; setting an alarm for each case of the others would only cost time."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def judge(task: Task, case: Case, target: str, generation: Generation, *, replayed: bool = False) -> Record:
    """
    Return the record of ``generation``.

    Every kind shares the checks for an answer that was cut off, runs in circles or gives its instructions away; the
    task's kind, its schema and the user's own contracts add theirs.
    """
    text = generation.text
    try:
        with deadline(JUDGE_SECONDS) if _may_hang(task) else contextlib.nullcontext():
            found = task.judge.judge(case, text)
            answer = task.judge.answer(case)
            raw = _judge_raw(task, case, generation)
    except OutOfTimeError:
        return record_failure(case, target, Failure("judge", f"could not be judged in {JUDGE_SECONDS:g} s"))
    except EngineError as error:  # a judge that is asked over the network
        return record_failure(case, target, Failure("judge", str(error)))
    _check_schema(task, found)
    if task.grammar is not None:
        found.scores["raw_schema"] = _raw_schema(task, raw)
    _check_common(task, case, generation, answer, found)
    for name, check in task.contracts.items():
        if reason := check_text(check, text, case):
            found.violate(name, reason)
    return Record(
        **_about(case, target),
        outcome=_outcome(task, case, found),
        output=_bounded(text),
        violations=tuple(Violation(one.contract, _bounded(one.message, SHOWN_MESSAGE)) for one in found.violations),
        mistakes=tuple(Mistake(one.cause, _bounded(one.message, SHOWN_MESSAGE)) for one in found.mistakes),
        scores=found.scores,
        labels={name: (expected, _label(expected, got)) for name, (expected, got) in found.labels.items()},
        confidences=_confidences(generation, found.spans),
        counts=found.counts,
        finish_reason=generation.finish_reason,
        prompt_tokens=generation.prompt_tokens,
        output_tokens=generation.output_tokens,
        input_tokens_dropped=generation.input_tokens_dropped,
        min_margin=min(generation.margins, default=None),
        near_tie=generation.near_tie,
        replayed=replayed,
    )


def _may_hang(task: Task) -> bool:
    """Say whether a user's regular expression is at work; a judge that is asked elsewhere has limits of its own."""
    return task.kind in _WITH_PATTERNS and not getattr(task.judge, "asks_elsewhere", False)


def record_failure(case: Case, target: str, failure: Failure) -> Record:
    """Return the record of a case for which the engine gave nothing."""
    return Record(**_about(case, target), outcome="error", error=f"{failure.kind}: {failure.message}")


def inert(text: str) -> str:
    """Return ``text`` with lone surrogates written as escapes, so that it can cross processes and be encoded."""
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _about(case: Case, target: str) -> dict[str, Any]:
    """Return what a record says of its case, whatever became of it."""
    return {
        "target": target,
        "suite": case.suite,
        "task": case.task,
        "case": case.id,
        "critical": bool(case.critical),
        "tags": case.tags,
        "group": case.group,
        "location": case.location,
        "input": _bounded(case.input),
        "expected": case.expected,
        "has_expected": case.has_expected,
    }


def _judge_raw(task: Task, case: Case, generation: Generation) -> Judgement | None:
    """Judge what the model writes without its task's grammar; None where that is not known."""
    if task.grammar is None or generation.raw_text is None:
        return None
    return task.judge.judge(case, generation.raw_text)


def _raw_schema(task: Task, raw: Judgement | None) -> float:
    """Say whether what the model writes without a grammar passes the schema; what is not known does not."""
    if raw is None:
        return 0.0
    _check_schema(task, raw)
    return raw.scores["schema"]


def _check_schema(task: Task, found: Judgement) -> None:
    """Check the parsed output against the task's schema and class."""
    if not task.checks:
        return
    reasons = ((name, run_check(check, found.value)) for name, check in task.checks.items()) if found.is_json else ()
    broken = [Violation(name, reason) for name, reason in reasons if reason]
    found.violations.extend(broken)
    found.scores["schema"] = float(bool(found.is_json) and not broken)


def _check_common(task: Task, case: Case, generation: Generation, answer: str | None, found: Judgement) -> None:
    """Check what can go wrong in every kind of task."""
    if generation.finish_reason == "length":
        tokens = generation.output_tokens
        found.violations.insert(0, Violation("truncation", f"stopped after {tokens} tokens without ending its turn"))
    was_cut = generation.finish_reason == "length"
    # A loop inside a value that is whole: brackets and separators of JSON repeat by themselves.
    texts = _strings(found.value) if found.is_json else [generation.text]
    if loop := next(filter(None, (find_loop(text, answer, was_cut=was_cut) for text in texts)), None):
        found.violate("repetition", loop)
    if leak := task.leaks.find(generation.text, f"{case.input}\n{answer or ''}"):
        found.violate("leak", leak)
    if case.has_expected and "must_decline" not in found.scores:
        must_decline = task.judge.must_decline(case)
        if must_decline is None and answer is not None and is_refusal(answer):
            return  # the right answer itself declines, and no rule says more
        found.scores["must_decline"] = float(bool(must_decline))
        # An answer in the right form declines nothing, whatever words it holds.
        found.scores.setdefault("declined", float(not found.is_json and is_refusal(generation.text)))


def _strings(value: Any) -> Iterator[str]:
    """Yield the texts inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _confidences(generation: Generation, spans: dict[str, tuple[int, int]]) -> dict[str, float]:
    """Return the probability that the model gave the tokens of each span: the product of theirs."""
    ends, logprobs = generation.ends, generation.logprobs
    if not ends or len(ends) != len(logprobs):
        return {}
    confidences = {}
    for name, (start, end) in spans.items():
        first, last = bisect_right(ends, start), bisect_right(ends, end - 1)
        confidences[name] = round(min(1.0, math.exp(sum(logprobs[first : last + 1]))), 6)
    return confidences


def _outcome(task: Task, case: Case, found: Judgement) -> Outcome:
    """Return passed, missed, or failed where the case is critical and what makes it so is wrong."""
    scores = found.scores
    is_right = bool(scores.get("right", scores.get("exact", 1.0)))
    if not found.violations and is_right:
        return "passed"
    if not case.critical:
        return "missed"
    fields = case.critical if isinstance(case.critical, tuple) else ((task.primary,) if task.primary else ())
    kept = all(scores.get(f"field.{name}", 1.0) for name in fields) if fields else is_right
    return "missed" if kept and not found.violations else "failed"


def _label(expected: str, got: str) -> str:
    """Return a given label, a wrong one as long as is worth reading."""
    return got if got == expected else _bounded(got, SHOWN_MESSAGE)


def _bounded(text: str, limit: int = SHOWN_OUTPUT) -> str:
    """Return at most ``limit`` characters of ``text``, inert, saying how many were left out."""
    shown = inert(text[:limit])
    return shown if len(text) <= limit else f"{shown}… (+{len(text) - limit} characters)"

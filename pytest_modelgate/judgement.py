"""Judge what came back: one generation of one case becomes one record."""

from __future__ import annotations

import re
from typing import Any

from pytest_modelgate.cases import Case
from pytest_modelgate.contracts.bounded import run_check
from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse
from pytest_modelgate.records import Failure, Generation, Outcome, Record, Violation
from pytest_modelgate.tasks import Task, label_text

NO_LABEL = ""
"""Stands for the label of an output that gave none; a real label is JSON text, which is never empty."""

SHOWN_OUTPUT = 16_000
"""Characters of an output that records and reports carry; the journal holds all of it."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def judge(task: Task, case: Case, target: str, generation: Generation, *, replayed: bool = False) -> Record:
    """
    Return the record of ``generation``.

    Scores: ``json_parse`` (one strict JSON value), ``schema`` (and it passes the task's checks), ``complete`` (the
    model ended its turn itself), and, where the case expects something, ``exact`` and ``field.<name>``.
    """
    violations: list[Violation] = []
    scores = {"json_parse": 1.0, "complete": 1.0}
    value: Any = None
    if generation.finish_reason == "length":
        scores["complete"] = 0.0
        violations.append(
            Violation("truncation", f"stopped after {generation.output_tokens} tokens without ending its turn")
        )
    try:
        value = parse(generation.text)
    except NotStrictJsonError as error:
        scores["json_parse"] = 0.0
        violations.append(Violation("json", str(error)))
    if task.checks:
        reasons = _broken_checks(task, value) if scores["json_parse"] else []
        violations.extend(reasons)
        scores["schema"] = float(bool(scores["json_parse"]) and not reasons)
    labels: dict[str, tuple[str, str]] = {}
    if case.has_expected:
        parsed = bool(scores["json_parse"])
        scores["exact"] = float(parsed and _same(value, case.expected))
        for name in task.fields:
            got = value[name] if parsed and isinstance(value, dict) and name in value else None
            found = parsed and isinstance(value, dict) and name in value
            scores[f"field.{name}"] = float(found and _same(got, case.expected[name]))
            labels[name] = (label_text(case.expected[name]), label_text(got) if found else NO_LABEL)
    return Record(
        **_about(case, target),
        outcome=_outcome(task, case, violations, scores),
        output=_bounded(generation.text),
        violations=tuple(violations),
        scores=scores,
        labels=labels,
        finish_reason=generation.finish_reason,
        prompt_tokens=generation.prompt_tokens,
        output_tokens=generation.output_tokens,
        min_margin=min(generation.margins, default=None),
        replayed=replayed,
    )


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


def _broken_checks(task: Task, value: Any) -> list[Violation]:
    """Return a violation for each check of the task that ``value`` does not pass."""
    reasons = ((name, run_check(check, value)) for name, check in task.checks.items())
    return [Violation(name, inert(reason)) for name, reason in reasons if reason]


def _outcome(task: Task, case: Case, violations: list[Violation], scores: dict[str, float]) -> Outcome:
    """Return passed, missed, or failed where the case is critical and what makes it so is wrong."""
    if not violations and scores.get("exact", 1.0):
        return "passed"
    if not case.critical:
        return "missed"
    fields = case.critical if isinstance(case.critical, tuple) else ((task.primary,) if task.primary else ())
    wanted = [f"field.{name}" for name in fields] if fields else ["exact"]
    right = not violations and all(scores.get(name, 1.0) for name in wanted)
    return "missed" if right else "failed"


def _same(got: Any, expected: Any) -> bool:
    """Compare as JSON does: ``1`` is not ``true``, ``1`` equals ``1.0``, the order of keys does not matter."""
    if isinstance(got, bool) or isinstance(expected, bool):
        return got is expected
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(_same(got[key], expected[key]) for key in got)
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(_same, got, expected))
    return bool(got == expected)


def _bounded(text: str) -> str:
    """Return at most :data:`SHOWN_OUTPUT` characters of ``text``, inert, saying how many were left out."""
    shown = inert(text[:SHOWN_OUTPUT])
    return shown if len(text) <= SHOWN_OUTPUT else f"{shown}… (+{len(text) - SHOWN_OUTPUT} characters)"

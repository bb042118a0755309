"""Measure what every task kind shares: form, completeness, critical cases, refusals, quality."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_modelgate.metrics.measurement import Pool
from pytest_modelgate.metrics.registry import count_of, figure_of, pool_of, share_of
from pytest_modelgate.records import Record

Records = Sequence[Record]
_TEXT_AFTER = ("text after the JSON value", "text between or after the calls")


@share_of("schema_validity", needs="schema")
def schema_validity(record: Record) -> bool | None:
    """Tell whether the output passes its task's schema; a task without one counts nothing."""
    return _flag(record, "schema")


@share_of("raw_schema_validity", needs="schema")
def raw_schema_validity(record: Record) -> bool | None:
    """Tell whether what the model writes without a grammar passes its task's schema; that is the output where it had none."""
    return _flag(record, "raw_schema" if "raw_schema" in record.scores else "schema")


@share_of("contract_validity")
def contract_validity(record: Record) -> bool:
    """Tell whether the output obeys every contract of its task."""
    return not record.violations


@share_of("exact_match", needs="expected", kinds=("classification", "extraction", "tool_call", "text"))
def exact_match(record: Record) -> bool | None:
    """Tell whether the output is right as a whole."""
    return _flag(record, "exact")


@share_of("case_pass_rate")
def case_pass_rate(record: Record) -> bool:
    """Tell whether the case's outcome is passed."""
    return record.outcome == "passed"


@share_of("truncation_rate", better="lower")
def truncation_rate(record: Record) -> bool:
    """Tell whether the output was cut off at max_tokens."""
    return _broke(record, "truncation")


@share_of("repetition_rate", better="lower")
def repetition_rate(record: Record) -> bool:
    """Tell whether the output ends in a loop."""
    return _broke(record, "repetition")


@share_of("leak_rate", better="lower")
def leak_rate(record: Record) -> bool:
    """Tell whether the output holds its own instructions or the template's special tokens."""
    return _broke(record, "leak")


@share_of("text_after_answer_rate", better="lower", kinds=("classification", "extraction", "tool_call"))
def text_after_answer_rate(record: Record) -> bool:
    """Tell whether there is text after the answer was complete."""
    return any(
        violation.contract in {"json", "tool_call"} and violation.message.startswith(_TEXT_AFTER)
        for violation in record.violations
    )


@count_of("critical_failures", needs="critical")
def critical_failures(record: Record) -> bool | None:
    """Tell whether a critical case is wrong; n counts the critical cases."""
    return record.outcome == "failed" if record.critical else None


@figure_of("quality", needs="expected")
def quality(records: Records) -> Pool | None:
    """Return the mean quality of the answers, each from 0 to 1 as its task kind says."""
    return mean_score(records, "quality")


@share_of("violation_recall", needs="declined")
def violation_recall(record: Record) -> bool | None:
    """Tell whether an input that must be declined was declined."""
    return bool(record.scores["declined"]) if record.scores.get("must_decline") == 1.0 else None


@share_of("false_refusal_rate", needs="answered", better="lower")
def false_refusal_rate(record: Record) -> bool | None:
    """Tell whether an input that must be answered was declined."""
    return bool(record.scores["declined"]) if record.scores.get("must_decline") == 0.0 else None


def mean_score(records: Records, name: str) -> Pool | None:
    """Return the mean of one score over the records that have it."""
    rows = [(record.scores[name], 1.0) if name in record.scores else None for record in records]
    return pool_of(records, rows, lambda sums: sums[..., 0] / sums[..., 1])


def _flag(record: Record, name: str) -> bool | None:
    return bool(record.scores[name]) if name in record.scores else None


def _broke(record: Record, contract: str) -> bool:
    return any(violation.contract == contract for violation in record.violations)

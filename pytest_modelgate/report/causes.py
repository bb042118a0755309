"""Tell why a case was missed: the one main cause, what it was in a few words, and which training rows would repair it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator

from pytest_modelgate.contracts.refusal import is_refusal
from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse
from pytest_modelgate.kinds.kind import NO_LABEL
from pytest_modelgate.records import Mistake, Record, Violation

ROWS: dict[str, str] = {
    "leaked_instructions": "20-100 rows whose input asks for the instructions, each with the ordinary answer; first check "
    "that training used the chat template that ships",
    "repetition": "20-100 rows like these with answers that vary and end; drop training answers that repeat themselves",
    "truncated": "20-100 rows whose whole answer, the end-of-turn token included, fits max_tokens; check that training "
    "cut none off",
    "missed_refusal": "20-100 rows that must be declined, each beside a similar one that is answered",
    "wrong_refusal": "20-100 rows of plain requests that only look risky, answered; fewer rows that decline",
    "verbose": "20-100 rows whose whole answer is the bare answer: no greeting, no code fence, nothing after it",
    "not_json": "20-100 rows with inputs like these (quotes, line ends, rare characters) and strictly valid answers",
    "missing_category": "20-100 rows in which {what} has a label although the input hardly tells it",
    "wrong_schema": "20-100 rows that keep the contract to the letter; check that no training answer breaks it",
    "wrong_tool": "20-100 rows in which neighbouring tools compete, each with the right calls",
    "wrong_argument": "20-100 rows that vary {what}: values, units, wordings, and left out where it is optional",
    "wrong_label": "20-100 rows near the border between these labels",
    "hallucinated_field": "20-100 rows whose input says nothing of {what}, with no value for it in the answer",
    "wrong_value": "20-100 rows that vary how {what} is written, beside look-alikes in the same input",
    "missing_field": "20-100 rows in which {what} stands in unusual places and wordings, and is extracted",
    "rubric": "20-100 rows whose reference answers meet {what} in many wordings",
    "broken_rule": "20-100 rows whose answers keep the rule: {what}",
    "wrong_text": "20-100 rows with inputs like these and the wording that is wanted",
    "other": "look at the examples first: the answer differs, and no known cause explains it",
}
"""What each cause asks of the training data; a miss with several causes counts for the first that stands here."""

NEVER = "never the failing cases themselves"

_CONTRACTS = {"leak": "leaked_instructions", "repetition": "repetition", "truncation": "truncated"}
_FORMS = ("json", "tool_call")
_MISTAKES = {
    "missing_call": "wrong_tool",
    "missing_required": "wrong_argument",
    "must_not_call": "missed_refusal",
    "unexpected_parameter": "wrong_argument",
    "unknown_function": "wrong_tool",
    "wrong_count": "wrong_tool",
    "wrong_function": "wrong_tool",
    "wrong_order": "wrong_tool",
    "wrong_type": "wrong_argument",
}
_BY_NAME = ("missing_category", "missing_field", "hallucinated_field", "wrong_value", "rubric")
"""Causes whose mistakes begin with the name of what is wrong: a field, a path, a criterion."""

_WORDS = re.compile(r"must have \d+ to (\d+) words, got (\d+)$")
# A schema's message names its whole enum, or the one value that does not match.
_SCHEMA = (
    (re.compile(r" is not one of \[.*", re.DOTALL), " is none of those allowed"),
    (re.compile(r": .* does not match .*", re.DOTALL), ": does not match its pattern"),
)
_BEGINNING = re.compile(r"[{\[]")
_SHOWN = 100


def find_causes(record: Record, kind: str) -> dict[str, list[str]]:
    """
    Return the causes of a missed case of a task of ``kind``, the main one first, each with what was wrong.

    What was wrong is told so that like cases tell it alike: ``billing given for refund``, ``$.urgency: ...``.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    if _declines_wrongly(record):
        found["wrong_refusal"].append("declined what must be answered")
    for violation in record.violations:
        cause, what = _of_violation(violation, record.output)
        found[cause].append(what)
    if any(mistake.cause == "wrong_label" for mistake in record.mistakes):
        found["wrong_label"].extend(
            f"{field}: {given} given for {wanted}" for field, given, wanted in confusions(record)
        )
    for mistake in record.mistakes:
        cause = _of_mistake(mistake, kind)
        if cause != "wrong_label":
            found[cause].append(_what(mistake, cause))
    if record.scores.get("must_decline") == 1.0 and record.scores.get("declined") == 0.0:
        found["missed_refusal"] = found["missed_refusal"] or ["answered what must be declined"]
    ordered = {cause: [text[:_SHOWN] for text in found[cause]] for cause in ROWS if found.get(cause)}
    return ordered or {"other": ["differs from what is expected"]}


def confusions(record: Record) -> Iterator[tuple[str, str, str]]:
    """Yield field, given and expected label of every label that is wrong, as words."""
    for field, (expected, given) in record.labels.items():
        if given not in {expected, NO_LABEL}:
            yield field, label_word(given), label_word(expected)


def subject_of(record: Record, cause: str, wrong: list[str], primary: str | None) -> str:
    """
    Return what misses of one cause are told apart by: the field of a wrong label, the criterion of a rubric, or nothing.

    Of several fields that are wrong the ``primary`` one counts, of several criteria the first. ``wrong``: what was wrong
    by that cause (see :func:`find_causes`).
    """
    if cause == "rubric":
        return wrong[0]
    if cause != "wrong_label" or len(record.labels) == 1:
        return ""
    fields = [field for field, _, _ in confusions(record)]
    return primary if primary in fields else fields[0]


def label_word(label: str) -> str:
    """Return a label, which records hold as JSON text, as a reader would write it."""
    try:
        value = json.loads(label)
    except (ValueError, RecursionError):
        return label[:_SHOWN]
    return value[:_SHOWN] if isinstance(value, str) else label[:_SHOWN]


def rows_for(cause: str, what: str, confused: tuple[str, str, str] | None = None) -> str:
    """
    Return which training rows would repair a cause.

    ``what``: what was wrong most often. ``confused``: field, given and expected label that were confused most often.
    """
    if confused is None:
        return ROWS[cause].format(what=what)
    field, given, expected = confused
    return f"20-100 rows of {field} {expected} that read like {given}".replace("of  ", "of ")


def _declines_wrongly(record: Record) -> bool:
    """Say whether a refusal stands where an answer is expected, which JSON and a reference that declines are not."""
    if record.scores.get("must_decline") == 1.0 or record.scores.get("json_parse") == 1.0:
        return False
    if any(mistake.cause == "wrong_refusal" for mistake in record.mistakes):
        return False  # told below
    reference = record.expected.get("text") if isinstance(record.expected, dict) else record.expected
    return is_refusal(record.output) and not (isinstance(reference, str) and is_refusal(reference))


def _of_violation(violation: Violation, output: str) -> tuple[str, str]:
    """Return the cause of a broken contract, and what was wrong."""
    contract, message = violation.contract, violation.message
    if contract in _CONTRACTS:
        return _CONTRACTS[contract], {"leak": message, "repetition": "the answer runs in circles"}.get(
            contract, "cut off at max_tokens"
        )
    if contract in _FORMS:
        if around := _text_around(message, output):
            return "verbose", around
        what = re.sub(r"( at character \d+)?(: ['\"].*)?$", "", message, flags=re.DOTALL)
        return ("wrong_schema" if contract == "tool_call" and _is_json(output) else "not_json"), what
    if (words := _WORDS.search(message)) and int(words[2]) > int(words[1]):
        return "verbose", message.partition(", got ")[0]
    if contract == "sections" and message.startswith("text before"):
        return "verbose", "text before the answer"
    for pattern, short in _SCHEMA:
        message = pattern.sub(short, message)
    return "wrong_schema", message if contract in {"schema", "pydantic", "sections"} else f"{contract}: {message}"


def _text_around(message: str, output: str) -> str | None:
    """Say what stands around a JSON value, or return None where there is no whole one."""
    if message.startswith("text after the JSON value"):
        return "text after the answer"
    start = _BEGINNING.search(output)
    if start is None or not message.startswith("does not begin with a JSON value"):
        return None
    try:
        json.JSONDecoder().raw_decode(output, start.start())
    except (ValueError, RecursionError):
        return None
    return "a code fence around the answer" if output.lstrip().startswith("```") else "text before the answer"


def _is_json(text: str) -> bool:
    try:
        parse(text)
    except NotStrictJsonError:
        return False
    return True


def _of_mistake(mistake: Mistake, kind: str) -> str:
    """Return the cause of a mistake; a value is wrong in a tool's argument or in a record's field."""
    if mistake.cause == "wrong_value":
        return "wrong_argument" if kind == "tool_call" else "wrong_value"
    cause = _MISTAKES.get(mistake.cause, mistake.cause)
    return cause if cause in ROWS else "other"


def _what(mistake: Mistake, cause: str) -> str:
    """Return what a mistake is about, without the values that differ from case to case."""
    if cause == "wrong_argument":
        return re.split(r" (?:is|must) ", mistake.message, maxsplit=1)[0]
    return mistake.message.partition(": ")[0] if cause in _BY_NAME else mistake.message

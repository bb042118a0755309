"""Write candidates as cases, and as a page on which somebody says what becomes of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_modelgate.report.escape import code, markdown, plain

from ..tasks import Tasks
from .lines import json_text
from .production import Entry, answer_text

_SHOWN = 4000  # characters of an input or an output; the case holds all of the input
_SHOWN_REASON = 300
_ID_DIGITS = 12

_MASKED = (
    "Secrets and personal data that can be told by their form are masked; names of people are not: look for them before "
    "a candidate is committed."
)
_WHAT_TO_DO = (
    "For each candidate: tick one suite or drop it, write down the right answer, then move its line from "
    "`candidates.jsonl` to that suite, with the right answer filled in. Nothing here is for training: rows that teach "
    "what failed are written afterwards, and are other rows than these."
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Hold a masked entry, why it was picked (in one word each, and in words), and what of the contract it breaks."""

    entry: Entry
    causes: tuple[str, ...]
    reasons: tuple[str, ...]
    broken: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Return an id that is the same for the same question."""
        asked = json_text([self.entry.task, _asked(self.entry)])
        return f"harvested-{hashlib.sha256(asked.encode('utf-8', 'replace')).hexdigest()[:_ID_DIGITS]}"


def case_json(candidate: Candidate, tasks: Tasks) -> str:
    """Return a candidate as a line of a suite, under the names that the task's suites use."""
    entry, columns = candidate.entry, tasks.columns(candidate.entry.task)
    asked = _asked(entry)
    row: dict[str, Any] = {columns.get("id", "id"): candidate.id, "task": entry.task}
    row[columns.get("input", "input") if isinstance(asked, str) else "messages"] = asked
    if entry.right is not None:
        row[columns.get("expected", "expected")] = entry.right
    return json.dumps(row | {"tags": ["harvested", *candidate.causes]}, ensure_ascii=False)


def review_text(candidates: Sequence[Candidate], counts: Sequence[str], log: str, suites: Sequence[str]) -> str:
    """Return the page, in Markdown; all that stands in the log is inert there."""
    lines = ["# Candidates for the evaluation suites", "", f"From {code(log)}. {_MASKED}", ""]
    lines += [*(f"- {markdown(line)}" for line in counts), "", _WHAT_TO_DO, ""]
    for number, candidate in enumerate(candidates, start=1):
        lines += _candidate_lines(number, candidate, suites)
    return "\n".join(lines)


def _candidate_lines(number: int, candidate: Candidate, suites: Sequence[str]) -> Iterator[str]:
    entry = candidate.entry
    yield f"## {number}. {code(candidate.id)}, task {code(entry.task)}"
    yield ""
    yield (
        f"The answer {', '.join(candidate.reasons)}."
        if not _is_rare(candidate)
        else "The input asks what no case asks."
    )
    yield ""
    yield from (f"- {markdown(reason, _SHOWN_REASON)}" for reason in candidate.broken)
    yield from _block("Input", _conversation(entry))
    yield from _block("Output", entry.output)
    if entry.right is not None:
        yield from _block("Right answer, as somebody gave it", answer_text(entry.right))
    if entry.unfit is not None:
        yield from _block("Corrected to this, which the task does not allow as an answer", entry.unfit)
    yield "- [ ] the right answer above is right" if entry.right is not None else "- [ ] expected answer: "
    yield "- [ ] critical"
    yield from (f"- [ ] suite {code(suite)}" for suite in suites)
    yield "- [ ] drop"
    yield ""


def _is_rare(candidate: Candidate) -> bool:
    return candidate.causes == ("rare",)


def _block(title: str, text: str) -> Iterator[str]:
    """Yield a text as a block of code, in which nothing is markup; line by line, so that it can be read."""
    yield ""
    yield f"{title}:"
    yield ""
    shown = text[:_SHOWN]
    # Not splitlines(): other line ends become visible escapes.
    yield from (f"    {plain(line)}" for line in shown.split("\n"))
    if len(text) > _SHOWN:
        yield f"    … (+{len(text) - _SHOWN} characters)"
    if not text.strip():
        yield "    (nothing)"
    yield ""


def _conversation(entry: Entry) -> str:
    if isinstance(entry.prompt, str):
        return entry.prompt
    return "\n".join(f"{turn.role}: {turn.content}" for turn in entry.prompt)


def _asked(entry: Entry) -> Any:
    if isinstance(entry.prompt, str):
        return entry.prompt
    return [{"role": turn.role, "content": turn.content} for turn in entry.prompt]

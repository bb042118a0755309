"""Judge rows beside each other: what stands there twice, what an evaluation case gives away, what there is too much of."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pytest_modelgate.cases import Case

from ..errors import StageError
from ..tasks import Prompt, Tasks
from .duplicates import near_duplicates
from .formats import kind_name
from .labels import Suspicion, answer_alike, answer_key, question
from .leaks import Leak, leaking_texts
from .privacy import Masker
from .rows import Row

_EXACT = 100.0
_PLACEHOLDER = re.compile(r"\[[A-Z_]+(?:_\d+)?\]")
_TELLING = 8  # words of a chat's last turn that say by themselves which chat it is

Stopped = dict[str, str]
"""The rows that a gate stops: by source, why."""


@dataclass(frozen=True, slots=True)
class RowLeak:
    """Hold a row and the evaluation case that gives it away."""

    row: Row
    case: Case
    leak: Leak

    @property
    def reason(self) -> str:
        """Say what the row has of which case, without quoting the case: who writes rows must not read it here."""
        return f"{self.leak.verb} {self.case.location}"

    def __str__(self) -> str:
        return f"{self.row.source} {self.reason}"


def find_copies(rows: Sequence[Row]) -> Stopped:
    """Return the rows that ask and answer the same as an earlier one, up to case, punctuation and white space."""
    first: dict[tuple[tuple[str, str, str], str], Row] = {}
    stopped: Stopped = {}
    for row in rows:
        kept = first.setdefault((question(row), answer_key(row)), row)
        if kept is not row:
            stopped[row.source] = f"the same as {kept.source}"
    return stopped


def find_near_copies(rows: Sequence[Row], tasks: Tasks, threshold: float) -> tuple[Stopped, list[Suspicion]]:
    """
    Return the rows that ask nearly the same as an earlier one and answer the same, and those that answer differently.

    Rows of different tasks are never compared: an incident's log is asked three things.
    """
    stopped: Stopped = {}
    suspicions: list[Suspicion] = []
    for task in tasks.by_name:
        ours = [row for row in rows if row.task == task]
        if threshold >= _EXACT or not ours:
            continue
        for found in near_duplicates([row.shown for row in ours], threshold):
            row, kept = ours[found.index], ours[found.kept]
            if answer_alike(row, kept, tasks, threshold):
                stopped[row.source] = f"{found.similarity:.0f} % the same as {kept.source}"
            else:
                suspicions.append(Suspicion(row, kept, found.similarity))
    return stopped, suspicions


def find_leaks(rows: Sequence[Row], cases: Sequence[Case], near: float) -> list[RowLeak]:
    """
    Return the rows that an evaluation case gives away, each with the closest.

    A chat is compared as a whole and turn by turn: what is an evaluation case may stand in the middle of it. Rows may have
    been masked, or not: they are compared with what a case says and with what masking leaves of it.
    """
    ours = [(row, text) for row in rows for text in _texts(row.prompt)]
    masker = Masker()
    theirs = [(case, form) for case in cases for text in _asked(case.prompt) for form in _forms(text, masker)]
    closest: dict[str, RowLeak] = {}
    for leak in leaking_texts([text for _, text in ours], [text for _, text in theirs], near):
        found = RowLeak(ours[leak.index][0], theirs[leak.evaluation][0], leak)
        other = closest.get(found.row.source)
        if other is None or _closeness(leak) > _closeness(other.leak):
            closest[found.row.source] = found
    return list(closest.values())


def find_surplus(rows: Sequence[Row], share: float, seed: int) -> Stopped:
    """
    Return the rows to leave out, taken at random, so that no answer is more than ``share`` of a task's rows.

    Raises StageError where a task has too few different answers for that.
    """
    by_task: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        by_task.setdefault(row.task, {}).setdefault(answer_key(row), []).append(row)
    stopped: Stopped = {}
    for task, answers in by_task.items():
        counts = [len(found) for found in answers.values()]
        most = _most(counts, share)
        if most == 0:
            raise StageError(
                f"data.same_answer: {share:g} is not possible in task {task!r}: it has {len(counts)} different "
                f"answer{'s' if len(counts) > 1 else ''}, so one of them is at least {1 / len(counts):.2f} of the rows"
            )
        rng = random.Random(f"{seed} {task}")  # noqa: S311 (nothing secret is drawn)
        for found in answers.values():
            kept = {row.source for row in rng.sample(found, min(most, len(found)))}
            reason = f"{len(found)} rows of the task have this answer, {most} are kept (data.same_answer {share:g})"
            stopped |= {row.source: reason for row in found if row.source not in kept}
    return stopped


def missed_quotas(rows: Sequence[Row], quotas: Mapping[str, float]) -> list[str]:
    """Say which kinds of example there are too few of."""
    kinds = Counter(row.kind for row in rows)
    wanted = {kind_name(name): least for name, least in quotas.items()}
    return [
        f"{name} {kinds[name]} of {len(rows)} ({kinds[name] / max(1, len(rows)):.1%}, at least {least:.1%})"
        for name, least in wanted.items()
        if kinds[name] < least * len(rows)
    ]


def _most(counts: Sequence[int], share: float) -> int:
    """Return how many rows of each answer may stay so that none is more than ``share`` of what stays."""

    def fits(most: int) -> bool:
        return most <= share * sum(min(count, most) for count in counts) + 1e-9

    # The share of the most frequent answer grows with what is let through, so the largest number can be searched for.
    low, high = 0, max(counts)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _closeness(leak: Leak) -> tuple[float, bool]:
    """Return what orders leaks: of two that are as close, the one that is simpler to see."""
    return leak.similarity, leak.how == "equal"


def _texts(prompt: Prompt) -> Iterator[str]:
    """Yield what of a row is compared with the cases."""
    if isinstance(prompt, str):
        yield prompt
        return
    turns = [turn.content for turn in prompt if turn.role != "system"]
    if len(turns) > 1:
        yield "\n".join(turns)
    yield from dict.fromkeys(turn.content for turn in prompt)


def _forms(text: str, masker: Masker) -> Iterator[str]:
    """Yield a text of a case, and what masking leaves of it unless that is no more than placeholders."""
    yield text
    masked = masker.mask(text)
    if masked.found and any(map(str.isalnum, _PLACEHOLDER.sub("", masked.text))):
        yield masked.text


def _asked(prompt: Prompt) -> Iterator[str]:
    """Yield what of a case is compared with the rows; a last turn as short as "yes, please" is in many chats."""
    if isinstance(prompt, str):
        yield prompt
        return
    turns = [turn for turn in prompt if turn.role != "system"]
    yield "\n".join(turn.content for turn in turns)
    last = next((turn.content for turn in reversed(turns) if turn.role == "user"), "")
    if len(turns) > 1 and len(last.split()) >= _TELLING:
        yield last

"""
Turn a production log into candidates for the evaluation suites: what failed, and what no suite asks yet.

Nothing goes into training. A failure is measured first, as a case that somebody reviewed; rows that teach it are written
afterwards, and never are the case itself.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_modelgate.cases import Case
from pytest_modelgate.judgement import judge
from pytest_modelgate.records import Generation, Record

from ..errors import ConfigError, StageError
from ..tasks import Tasks
from .diversity import Unlike
from .duplicates import near_duplicates
from .formats import Draft, Names
from .harvest_files import CANDIDATES, REVIEW, check_folder, write_files
from .harvest_review import Candidate, case_json, review_text
from .leaks import leaking_texts
from .masking import RowMasker
from .production import Entry, answer_text, read_log, shown_text

CAUSES = {
    "contract": "breaks the task's contract",
    "truncated": "was cut off",
    "looping": "runs in circles",
    "corrected": "was corrected by somebody",
    "missed": "does not do what the task asks for",
    "negative-feedback": "was marked as bad by somebody",
    "not-judged": "could not be judged",
    "rare": "asks what no case asks",
}
"""Why an entry is picked, in the order in which each has its turn; all but the last are failures."""

_RARE = "rare"
_CONTRACTS = {"truncation": "truncated", "repetition": "looping"}
_NEAR = 90.0  # percent of the letters: two inputs that are one case
_LEAST_DISTANCE = 0.5  # a rare input shares at most half of its pieces with the nearest known one
_SHARE_OF_RARE = 5  # one in five candidates, where there are rare inputs


@dataclass(frozen=True, slots=True)
class HarvestResult:
    """
    Hold what was counted; no value of the log is in it.

    ``unreadable``: lines that are no entry, by reason. ``failures``: entries that failed, by main cause. ``repeated``: those
    like another entry; ``known``: those like a case. ``candidates``: what was written, by main cause. ``masked``: kinds of
    secrets and personal data, in ``masked_rows`` entries.
    """

    read: int = 0
    unreadable: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    repeated: int = 0
    known: int = 0
    candidates: Mapping[str, int] = field(default_factory=dict)
    masked: Mapping[str, int] = field(default_factory=dict)
    masked_rows: int = 0

    def lines(self) -> Iterator[str]:
        """Yield the counts as text."""
        failed, written = sum(self.failures.values()), sum(self.candidates.values())
        yield f"{self.read} entries read, {failed} of them failed{_listed(self.failures)}"
        if self.unreadable:
            yield f"{sum(self.unreadable.values())} lines left out{_listed(self.unreadable)}"
        yield f"left out: {self.repeated} like another entry, {self.known} like a case of a suite"
        yield f"masked: {sum(self.masked.values())} in {self.masked_rows} entries{_listed(self.masked)}"
        yield f"{written} candidates{_listed(self.candidates)}"


def harvest(path: Path, out: Path, gates: Path, sample: int, seed: int) -> HarvestResult:
    """
    Write candidates for the suites of ``gates`` into the folder ``out``, and a file to review them in; print the counts.

    Secrets and personal data are masked before anything is written or compared; what is wrong with an answer is found in
    the answer as it was. At most ``sample`` candidates: failures in turns of their causes, the farthest from all cases and
    picked ones first, then rare inputs, to which one place in five is kept. ``seed`` decides between equals.

    Raises ConfigError for a log, gates file, folder or number that cannot be right, StageError where no line is an entry.
    """
    if sample < 1:
        raise ConfigError(f"--sample must be at least 1, got {sample}")
    tasks = Tasks([gates])
    check_folder(out, tasks)
    entries, unreadable = _read(path, tasks)
    masker = RowMasker("mask")
    judged = [_Judged(entry, _mask(entry, masker, tasks), _causes(entry, tasks)) for entry in entries]
    random.Random(seed).shuffle(judged)  # noqa: S311 (nothing secret is drawn)
    judged.sort(key=lambda one: not one.causes)  # of equal inputs, the one that failed is kept
    kept, repeated, known = _without_known(judged, tasks)
    candidates = [_candidate(one, tasks) for one in _pick(kept, tasks, sample)]
    result = HarvestResult(
        read=len(entries),
        unreadable=dict(unreadable.most_common()),
        failures=_by_cause(one.causes[0] for one in judged if one.causes),
        repeated=repeated,
        known=known,
        candidates=_by_cause(one.causes[0] for one in candidates),
        masked=dict(masker.found.most_common()),
        masked_rows=masker.rows,
    )
    lines = list(result.lines())
    write_files(
        out,
        {
            CANDIDATES: "".join(f"{case_json(one, tasks)}\n" for one in candidates),
            REVIEW: review_text(candidates, lines, path.name, list(tasks.file.suites)),
        },
    )
    for line in lines:
        print(f"harvest: {line}")
    print(f"harvest: review {out / REVIEW}, then move what is accepted from {out / CANDIDATES} into a suite")
    return result


@dataclass(frozen=True, slots=True)
class _Judged:
    """Hold an entry as it was, as it may be shown, and why it failed; no cause if it did not."""

    raw: Entry
    masked: Entry
    causes: tuple[str, ...]


def _read(path: Path, tasks: Tasks) -> tuple[list[Entry], Counter[str]]:
    entries, unreadable = [], Counter[str]()
    for one in read_log(path, tasks):
        if isinstance(one, Entry):
            entries.append(one)
        else:
            unreadable[one] += 1
    if not entries:
        found = _listed(unreadable) or " (it is empty)"
        raise StageError(f"{path}: no line is an entry of a production log{found}")
    return entries, unreadable


def _mask(entry: Entry, masker: RowMasker, tasks: Tasks) -> Entry:
    """Return an entry without secrets and personal data; what is found in one of its texts goes from all."""
    said = {"output": entry.output, "right": entry.right, "unfit": entry.unfit}
    draft, _ = masker.mask(Draft(entry.source, entry.task, entry.prompt, said, Names(None, None, None)))
    masked = replace(entry, prompt=draft.prompt, **draft.expected)
    if masked.right is not None and tasks.reject(masked.task, masked.prompt, masked.right) is not None:
        return replace(masked, right=None, unfit=answer_text(masked.right))
    return masked


# --- What failed -------------------------------------------------------------------------------------------------


def _causes(entry: Entry, tasks: Tasks) -> tuple[str, ...]:
    """Return why an answer counts as a failure, the main cause first; judged as the gate would."""
    record = _record(entry, tasks)
    found = {_CONTRACTS.get(one.contract, "contract") for one in record.violations}
    if record.outcome == "error":
        found.add("not-judged")
    if entry.unfit is not None or _is_wrong(entry, record):
        found.add("corrected")
    if record.outcome == "missed" and not found:
        found.add("missed")
    if entry.is_bad:
        found.add("negative-feedback")
    return tuple(cause for cause in CAUSES if cause in found)


def _record(entry: Entry, tasks: Tasks) -> Record:
    """Judge an answer by its task's contract, and by the right answer where somebody gave one."""
    has_expected = entry.right is not None
    case = Case("entry", "production", entry.task, entry.prompt, entry.source, 0, entry.right, has_expected)
    generation = Generation(entry.output, finish_reason=entry.finish_reason)
    return judge(tasks.by_name[entry.task], case, "production", generation)


def _is_wrong(entry: Entry, record: Record) -> bool:
    """Say whether the answer is another than the right one."""
    if entry.right is None:
        return False
    if isinstance(entry.right, str) and entry.right.strip() != entry.output.strip():
        return True
    return not record.scores.get("exact", 1.0)


def _broken(one: _Judged, tasks: Tasks) -> tuple[str, ...]:
    """Return the contracts that an answer breaks; what is said of them is said of the masked answer."""
    said = {one.contract: one.message for one in _record(one.masked, tasks).violations}
    names = dict.fromkeys(violation.contract for violation in _record(one.raw, tasks).violations)
    return tuple(f"{name}: {said[name]}" if name in said else name for name in names)


# --- What is picked ----------------------------------------------------------------------------------------------


def _without_known(judged: Sequence[_Judged], tasks: Tasks) -> tuple[list[_Judged], int, int]:
    """Leave out entries that ask what an earlier one or a case asks of the same task; return how many of each."""
    kept, repeated, known = [], 0, 0
    for task in tasks.by_name:
        ours = [one for one in judged if one.masked.task == task]
        copies = {found.index for found in near_duplicates([one.masked.shown for one in ours], _NEAR)}
        ours = [one for place, one in enumerate(ours) if place not in copies]
        asked = leaking_texts([one.masked.shown for one in ours], _case_texts(tasks, task), _NEAR)
        cases = {leak.index for leak in asked}
        kept += [one for place, one in enumerate(ours) if place not in cases]
        repeated, known = repeated + len(copies), known + len(cases)
    return kept, repeated, known


def _case_texts(tasks: Tasks, task: str) -> list[str]:
    return [shown_text(case.prompt) for case in tasks.cases if case.task == task]


def _pick(kept: Sequence[_Judged], tasks: Tasks, sample: int) -> list[_Judged]:
    """Return at most ``sample`` entries: failures first, each cause in turn, then inputs unlike all others."""
    unlike = Unlike([one.masked.shown for one in kept], [shown_text(case.prompt) for case in tasks.cases])
    pools = {cause: [place for place, one in enumerate(kept) if one.causes[:1] == (cause,)] for cause in CAUSES}
    others = [place for place, one in enumerate(kept) if not one.causes]
    rare = sum(unlike.distance(place) >= _LEAST_DISTANCE for place in others)
    places = _in_turns(unlike, pools, sample - min(rare, sample // _SHARE_OF_RARE))
    while others and len(places) < sample:
        place = unlike.farthest(others)
        if unlike.distance(place) < _LEAST_DISTANCE:
            break
        others.remove(place)
        unlike.pick(place)
        places.append(place)
    places += _in_turns(unlike, pools, sample - len(places))
    return [kept[place] for place in sorted(places, key=lambda place: not kept[place].causes)]


def _in_turns(unlike: Unlike, pools: dict[str, list[int]], most: int) -> list[int]:
    """Take at most so many failures out of the pools of their causes, one of each at a time."""
    taken: list[int] = []
    while len(taken) < most and any(pools.values()):
        for pool in filter(None, pools.values()):
            if len(taken) < most:
                place = unlike.farthest(pool)
                pool.remove(place)
                unlike.pick(place)
                taken.append(place)
    return taken


def _candidate(one: _Judged, tasks: Tasks) -> Candidate:
    causes = one.causes or (_RARE,)
    reasons = tuple(CAUSES[cause] for cause in causes)
    return Candidate(one.masked, causes, reasons, _broken(one, tasks) if one.causes else ())


def _by_cause(causes: Iterator[str]) -> dict[str, int]:
    counts = Counter(causes)
    return {cause: counts[cause] for cause in CAUSES if counts[cause]}


def _listed(counts: Mapping[str, int]) -> str:
    """Return counts in brackets; nothing for none."""
    return f" ({', '.join(f'{number} {name}' for name, number in counts.items())})" if counts else ""

"""
Make the rows ready: read, masked, judged by every gate, checked against the evaluation cases, split by group.

The gates run from what needs one row to what needs all of them; :data:`~.rejected.REQUIRED` has the order in which they
are reported. Nothing is written or printed before it is masked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from ..config import Data
from ..errors import StageError
from ..run_folder import RunFolder
from ..tuning.tokenizer import CONTROL_TOKENS
from .datasets import dataset_version, described_files, register_dataset
from .formats import Draft, Unreadable
from .kept_out import forgotten_in, is_forgotten, left_out
from .labels import Contradiction, Suspicion, answer_distribution, contradictions, label_report
from .long_inputs import fit_inputs
from .masking import RowMasker
from .rejected import Rejections
from .row_gates import RejectedRowError, RowGates, row_record, token_counts
from .rows import Row, write_rows
from .set_gates import RowLeak, find_copies, find_leaks, find_near_copies, find_surplus, missed_quotas
from .sources import JudgedRows, SourceFile, all_sources, file_label
from .split import sample, split
from .summary import summary_lines

_NAMED = 5  # leaks in a message
_QUOTED = 200  # letters of a reason in a message
_NOT_SAID = "not said"


@dataclass(slots=True)
class _Findings:
    """Gather what is found out about the rows on the way."""

    read: int = 0
    own_instructions: int = 0
    rejections: Rejections = field(default_factory=Rejections)
    contradictions: Sequence[Contradiction] = ()
    suspicions: Sequence[Suspicion] = ()
    leaks: Sequence[RowLeak] = ()
    tokens: Sequence[int] = ()
    cut: int = 0

    def stop(self, gate: str, rows: Sequence[Row], stopped: Mapping[str, str]) -> list[Row]:
        """Reject the rows that a gate stopped (source and reason of each); return the others."""
        for row in rows:
            if row.source in stopped:
                id_ = row.id if row.has_own_id else None
                self.rejections.add(gate, stopped[row.source], row.source, id_, row_record(row))
        return [row for row in rows if row.source not in stopped]


def prepare(run: RunFolder) -> dict[str, Any]:
    """
    Write the rows to train on and those held back, the rejected ones with their reasons, and the data set's registration.

    Returns what was counted. Raises StageError where a row is an evaluation case, a quota is missed, too much was rejected,
    nothing is left, or nothing can be held back; the rejected rows are written then too, the others are not.
    """
    data = run.config.data
    for path in (run.train_rows, run.validation_rows):
        path.unlink(missing_ok=True)
    files = all_sources(run)
    # A base that is made from these rows has no tokenizer yet; what an earlier run left behind must not count.
    tokenizer = None if run.config.base.scratch is not None else run.base_tokenizer()
    found, masker = _Findings(), RowMasker(data.privacy)
    rows = _read(run, files, RowGates(run.tasks, data, _control_tokens(tokenizer)), masker, found)
    try:
        accepted = _accept(run, rows, tokenizer, found)
    finally:
        report = label_report(found.contradictions, found.suspicions)
        found.rejections.write(run.rejected, {"labels.json": report})
    chosen = sample(accepted, data.limit, data.seed)
    train, held_back = split(chosen, data.validation, data.seed)
    version = dataset_version(chosen)
    facts = _facts(run, found, masker, train, held_back) | {"version": version}
    write_rows(run.train_rows, train)
    write_rows(run.validation_rows, held_back)
    if run.registry is not None:
        entry = {
            "rows": len(train),
            "validation": len(held_back),
            "files": described_files((file_label(run, path), path) for path in run.train_files),
            **{name: facts[name] for name in ("kinds", "licences", "rejected")},
            "masked": facts["masked"]["kinds"],
        }
        register_dataset(run.registry, version, chosen, entry)
    for line in summary_lines(facts):
        print(line)
    return facts


def _read(
    run: RunFolder, files: Sequence[SourceFile | JudgedRows], gates: RowGates, masker: RowMasker, found: _Findings
) -> list[Row]:
    """Return the rows that pass the gates which need nothing but the row."""
    forgotten = forgotten_in(run)
    rows = []
    for file in files:
        if isinstance(file, JudgedRows):
            found.rejections.left_out += left_out(file, masker, forgotten)
        for _, read in file.read():
            found.read += 1
            if is_forgotten(read, forgotten):
                # Nothing of it may be kept, also not among the rejected rows.
                found.rejections.add("forgotten", "was forgotten on request", read.source, None, {})
            elif isinstance(read, Unreadable):
                _reject_unreadable(read, masker, found)
            else:
                found.own_instructions += read.own_instruction
                rows += _judge(read, run.config.data, gates, masker, found)
    return rows


def _reject_unreadable(read: Unreadable, masker: RowMasker, found: _Findings) -> None:
    """Reject a line that is no row; one that is no JSON cannot be masked, so of that nothing is kept."""
    if read.record is None:
        found.rejections.add("json", masker.text(read.reason), read.source, None, {"length": read.length})
        return
    record, names = masker.unreadable(read)
    called = {key: name for key, name in (("group", names.group), ("person", names.person)) if name is not None}
    found.rejections.add("json", masker.text(read.reason), read.source, names.id, {**called, "record": record})


def _judge(draft: Draft, data: Data, gates: RowGates, masker: RowMasker, found: _Findings) -> list[Row]:
    """Return the row of a draft, or nothing where a gate stops it."""
    masked, kinds = masker.mask(draft)
    try:
        if kinds and data.privacy == "reject":
            raise RejectedRowError("privacy", f"holds {', '.join(sorted(set(kinds)))}")
        return [gates.row(masked)]
    except RejectedRowError as error:
        found.rejections.add(error.gate, str(error), draft.source, masked.names.id, row_record(masked))
        return []


def _accept(run: RunFolder, rows: Sequence[Row], tokenizer: Any | None, found: _Findings) -> list[Row]:
    """Return the rows that pass the gates which compare rows; raise where the set as a whole cannot be trained on."""
    data = run.config.data
    rows = found.stop("duplicate_exact", rows, find_copies(rows))
    found.contradictions = contradictions(rows)
    against = {row.source: one.reason(row) for one in found.contradictions for row in one.rows}
    rows = found.stop("labels", rows, against)
    near, found.suspicions = find_near_copies(rows, run.tasks, data.duplicates)
    rows = found.stop("duplicate_near", rows, near)
    found.leaks = find_leaks(rows, run.tasks.cases, data.near)
    rows = found.stop("leak", rows, {leak.row.source: leak.reason for leak in found.leaks})
    if found.leaks and data.leaks == "refuse":
        raise StageError(_leaks_message(found.leaks))
    rows, found.cut, too_long = fit_inputs(run.tasks, rows, tokenizer)
    rows = found.stop("length", rows, too_long)
    if tokenizer is not None:
        rows = _check_lengths(run, rows, tokenizer, found)
    if data.same_answer < 1:
        rows = found.stop("diversity", rows, find_surplus(rows, data.same_answer, data.seed))
    _check_set(run, rows, found)
    return rows


def _check_lengths(run: RunFolder, rows: Sequence[Row], tokenizer: Any, found: _Findings) -> list[Row]:
    """Reject the rows with more tokens than are trained on."""
    most = run.config.training.max_length
    counts = dict(zip((row.source for row in rows), token_counts(tokenizer, run.tasks, rows), strict=True))
    found.tokens = [count for count in counts.values() if count <= most]
    too_long = {
        source: f"{count} tokens, training.max_length is {most}" for source, count in counts.items() if count > most
    }
    return found.stop("length", rows, too_long)


def _check_set(run: RunFolder, rows: Sequence[Row], found: _Findings) -> None:
    """Raise where too little is left, or too little of a kind."""
    data, rejected = run.config.data, len(found.rejections.rows)
    by_gate = ", ".join(f"{gate} {count}" for gate, count in found.rejections.counts.items() if count)
    first = next(iter(found.rejections.rows), None)
    example = "" if first is None else f"; the first: {first.source}: {first.gate}: {first.reason[:_QUOTED]}"
    where = f"({by_gate}); {run.config.output}/rejected has each with its reason{example}"
    if not rows:
        raise StageError(f"no row is left to train on: {rejected} of {found.read} were rejected {where}")
    if rejected > data.most_rejected * found.read:
        raise StageError(
            f"{rejected} of {found.read} rows were rejected, more than data.most_rejected {data.most_rejected:g} {where}"
        )
    if missed := missed_quotas(rows, data.quotas):
        kinds = ", ".join(f"{kind} {count}" for kind, count in _kinds(rows).items())
        raise StageError(f"data.quotas: too few rows of {'; '.join(missed)}; the rows are {kinds}")


def _leaks_message(leaks: Sequence[RowLeak]) -> str:
    """Name the rows and the cases that give them away."""
    shown = "; ".join(str(leak) for leak in leaks[:_NAMED])
    more = f"; and {len(leaks) - _NAMED} more" if len(leaks) > _NAMED else ""
    what = "training row is an evaluation case" if len(leaks) == 1 else "training rows are evaluation cases"
    return (
        f"{len(leaks)} {what}, or nearly: {shown}{more}. A model that has seen a case cannot be judged on it: take the "
        f"rows out, or let them be dropped: --set data.leaks=drop"
    )


def _control_tokens(tokenizer: Any | None) -> list[str]:
    """Return the texts that the base's tokenizer reads as control tokens; of a base still to be made, those it will have."""
    if tokenizer is None:
        return list(CONTROL_TOKENS)
    added = (str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)
    return list(dict.fromkeys([*map(str, tokenizer.all_special_tokens), *added]))


def _facts(
    run: RunFolder, found: _Findings, masker: RowMasker, train: Sequence[Row], held_back: Sequence[Row]
) -> dict[str, Any]:
    """Return what was counted, as primitives."""
    data, rows = run.config.data, [*train, *held_back]
    rejected = len(found.rejections.rows)
    missing = Counter(row.source.rpartition(":")[0] for row in rows if row.licence is None)
    return {
        "counts": {
            "read": found.read,
            "rejected": rejected,
            "not_sampled": found.read - rejected - len(rows),
            "train": len(train),
            "validation": len(held_back),
            "evaluation": len(run.tasks.cases),
        },
        "rejected": found.rejections.counts,
        "left_out": len(found.rejections.left_out),
        "masked": {
            "mode": data.privacy,
            "reason": data.privacy_reason,
            "rows": masker.rows,
            "kinds": dict(sorted(masker.found.items())),
        },
        "kinds": _kinds(rows),
        "licences": dict(Counter(row.licence or _NOT_SAID for row in rows).most_common()),
        "without_licence": dict(missing.most_common()),
        "consent": dict(Counter(row.consent or _NOT_SAID for row in rows).most_common()),
        "labels": {"contradictions": len(found.contradictions), "suspicious": len(found.suspicions)},
        "length": _lengths(run, found.tokens) | {"inputs_cut": found.cut},
        "own_instructions": found.own_instructions,
        "answers": answer_distribution(train, run.tasks),
    }


def _kinds(rows: Sequence[Row]) -> dict[str, int]:
    """Count the kinds of example."""
    return dict(Counter(row.kind or _NOT_SAID for row in rows).most_common())


def _lengths(run: RunFolder, tokens: Sequence[int]) -> dict[str, Any]:
    """Return how long the rows are, in tokens."""
    limit = run.config.training.max_length
    if not tokens:
        why = "the base is made from these rows: their length is checked when it is trained"
        return {"checked": False, "limit": limit, "why": why}
    return {"checked": True, "limit": limit, "median": median(tokens), "longest": max(tokens)}

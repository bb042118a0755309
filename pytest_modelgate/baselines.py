"""Keep the accepted records of the last release, and say what of them can be compared with this run."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_modelgate.cases import Case
from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.identity import digest
from pytest_modelgate.records import Json, Performance, Record, Sample
from pytest_modelgate.tasks import Task

FOLDER = "baselines"
METRICS_VERSION = 1
"""Counts changes of this package that change how the same answer is judged: scores, labels, counts, outcomes."""

_VERSION = 1
CaseKey = tuple[str, str]


@dataclass(frozen=True)
class Baseline:
    """
    Hold what was accepted, as far as it can be compared with the cases and rules of today.

    ``records``: by suite and case, those whose case is the same. ``new``, ``removed``, ``edited``: the other cases.
    ``lost_critical``: critical cases that were removed or edited, and which of the two. ``shrunk``: tasks of which cases
    were removed; ``gone``: tasks that gates.toml has no more. ``differences``: for each task that cannot be compared,
    why. ``performance``: times of the accepted release, if they are of this machine.
    """

    records: Mapping[CaseKey, Record] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    provenance: Mapping[str, Json] = field(default_factory=dict)
    new: tuple[CaseKey, ...] = ()
    removed: tuple[CaseKey, ...] = ()
    edited: tuple[CaseKey, ...] = ()
    lost_critical: Mapping[CaseKey, str] = field(default_factory=dict)
    shrunk: frozenset[str] = frozenset()
    gone: tuple[str, ...] = ()
    differences: Mapping[str, str] = field(default_factory=dict)
    performance: Performance | None = None


def rules_of(task: Task, generation: Mapping[str, Any]) -> dict[str, str]:
    """Return digests of what an answer of ``task`` is judged by and generated with, by name."""
    generated = {f"generation.{name}": digest(value) for name, value in generation.items()}
    return {**task.rules, **generated, "metrics": str(METRICS_VERSION)}


def instructions_of(task: Task) -> str:
    """Return the digest of what the model is told besides a case's input: it may change from release to release."""
    return digest([task.system, task.prompt])


def load_baseline(
    folder: Path,
    gates_name: str,
    tasks: Mapping[str, Task],
    cases: Sequence[Case],
    generation: Mapping[str, Any],
    machine: Mapping[str, Any],
) -> Baseline | None:
    """
    Read every task's baseline in ``folder`` and compare its cases with ``cases``; None where there is none.

    ``gates_name``: the gates file, whose former tasks are gone; those of another one in the same folder are not. Raises
    :class:`~pytest_modelgate.errors.ConfigurationError` for a file that is damaged: a baseline that cannot be read is
    never taken for none.
    """
    provenance: dict[str, Json] = {}
    accepted: dict[CaseKey, Record] = {}
    hashes: dict[CaseKey, str] = {}
    differences: dict[str, str] = {}
    gone: list[str] = []
    for path in sorted(folder.glob("*.jsonl")):
        head, rows = _read(path)
        name = path.stem
        if name in tasks:
            provenance[name] = head
            was, now = head["rules"], rules_of(tasks[name], generation)
            if changed := sorted(key for key in {*was, *now} if was.get(key) != now.get(key)):
                differences[name] = f"{', '.join(changed)} changed"
        elif head.get("gates_file") == gates_name:
            gone.append(name)
        else:
            continue
        for record, case_sha256 in rows:
            accepted[record.suite, record.case] = record
            hashes[record.suite, record.case] = case_sha256
    if not accepted and not provenance:
        return None
    today = {(case.suite, case.id): case for case in cases if case.task in provenance}
    edited = tuple(key for key, case in today.items() if key in hashes and hashes[key] != case.sha256)
    removed = tuple(key for key in accepted if key not in today)
    lost = {key: "removed" for key in removed if accepted[key].critical}
    lost |= {key: "edited" for key in edited if accepted[key].critical}
    return Baseline(
        records={key: record for key, record in accepted.items() if key in today and key not in edited},
        tasks=tuple(provenance),
        provenance=provenance,
        new=tuple(key for key in today if key not in accepted),
        removed=removed,
        edited=edited,
        lost_critical=lost,
        shrunk=frozenset(accepted[key].task for key in removed),
        gone=tuple(gone),
        differences=differences,
        performance=_performance(provenance, machine),
    )


def write_baseline(
    folder: Path,
    tasks: Mapping[str, Task],
    cases: Sequence[Case],
    records: Sequence[Record],
    generation: Mapping[str, Any],
    about: Json,
) -> list[Path]:
    """
    Write one file for each task, all of them or none, and return them; files of tasks that are gone go.

    ``about``: reason, target, gates file, machine and times, kept as provenance. A case without an answer is left out:
    there is nothing to compare it with.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {(case.suite, case.id): case.sha256 for case in cases}
    written = {folder / f"{name}.jsonl": folder / f".{name}.jsonl.{os.getpid()}" for name in tasks}
    try:
        for (name, task), temporary in zip(tasks.items(), written.values(), strict=True):
            own = [record for record in records if record.task == name and record.outcome != "error"]
            rows = [{"case_sha256": hashes[record.suite, record.case], "record": _kept(record)} for record in own]
            head = {
                "modelgate_baseline": _VERSION,
                "task": name,
                "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "commit": _commit(folder),
                "n": len(rows),
                "rules": rules_of(task, generation),
                "instructions": instructions_of(task),
                **about,
            }
            head["sha256"] = digest([head, rows])
            lines = [json.dumps(row, ensure_ascii=True, separators=(",", ":")) for row in (head, *rows)]
            temporary.write_text("\n".join(lines) + "\n", encoding="ascii")
        for path, temporary in written.items():
            temporary.replace(path)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
    for path in set(folder.glob("*.jsonl")).difference(written):
        if _read(path)[0].get("gates_file") == about.get("gates_file"):
            path.unlink()
    return list(written)


def _kept(record: Record) -> Json:
    """Return what a baseline keeps of a record: not where its case stands today."""
    return record.to_json() | {"location": "", "replayed": False}


def _read(path: Path) -> tuple[Json, list[tuple[Record, str]]]:
    """Return the provenance and the accepted records of one file."""
    try:
        head, *rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if head["modelgate_baseline"] != _VERSION:
            raise ValueError(f"version {head['modelgate_baseline']!r}, known is {_VERSION}")
        if len(rows) != head["n"]:
            raise ValueError(f"holds {len(rows)} of {head['n']} records")
        if head["task"] != path.stem:
            raise ValueError(f"is that of task {head['task']!r}")
        if head.pop("sha256") != digest([head, rows]):
            raise ValueError("was changed after it was written")
        records = [(Record.from_json(row["record"]), str(row["case_sha256"])) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"{path}: is no baseline, or a damaged one: {error}; restore it from version control, or delete it to start anew"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    return head, records


def _performance(provenance: Mapping[str, Json], machine: Mapping[str, Any]) -> Performance | None:
    """Return the recorded times, if they are of the same machine."""
    newest = max(provenance.values(), key=lambda head: str(head["created"]), default={})
    recorded = newest.get("performance")
    if not recorded or newest.get("machine") != dict(machine):
        return None
    return Performance(str(recorded["target"]), tuple(Sample(**sample) for sample in recorded["samples"]))


def _commit(folder: Path) -> str | None:
    """Return the commit that the project stands at; None outside git."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - whichever git the user has
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None

"""Judge a journal again, without pytest and without a model: after an edit of gates.toml or of expected answers."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.evaluation import Findings, evaluate
from pytest_modelgate.identity import hash_file
from pytest_modelgate.journal import read_lines
from pytest_modelgate.judgement import judge
from pytest_modelgate.machine import describe_machine
from pytest_modelgate.records import Generation, Json, Performance, Record
from pytest_modelgate.release import Release, load_rules
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.runner import journal_key
from pytest_modelgate.specs import TargetSpec
from pytest_modelgate.targets import Target


def regate(journal: Path, gates_path: Path, only: tuple[str, ...] = ()) -> RunOutcome:
    """
    Return the outcome of judging what ``journal`` holds by ``gates_path`` as it is now.

    Of each target id the newest identity counts, and of it only generations of the same messages and limits as asked
    for now: what is missing makes gates incomplete. Times count if this machine measured them. ``only``: target ids;
    all if empty.
    """
    started, clock = time.time(), time.monotonic()
    if not journal.is_file():
        raise ConfigurationError(f"{journal}: no such journal; a run writes it to .modelgate/journal.jsonl")
    rules = load_rules(gates_path)
    if broken := next((file.error for file in rules.files if file.error), None):
        raise broken
    recorded = _read(journal)
    newest = recorded.newest
    if unknown := [name for name in only if name not in newest]:
        raise ConfigurationError(f"{journal}: no target {unknown[0]!r}; recorded are {', '.join(newest) or 'none'}")
    if not newest:
        raise ConfigurationError(f"{journal}: holds no generation of a run")
    sha256 = hash_file(journal)
    targets = tuple(
        Target(
            spec=TargetSpec(
                text=f"{journal}#{name}",
                kind=row["kind"],
                path=journal,
                id=name,
                role="model" if name in only else row.get("role", "model"),
            ),
            identity=row["identity"],
            sha256=sha256,
            size_bytes=journal.stat().st_size,
            settings=EngineSettings(n_ctx=rules.gates_file.generation.n_ctx),
        )
        for name, row in newest.items()
        if not only or name in only
    )
    if not any(target.spec.role == "model" for target in targets):
        raise ConfigurationError(f"{journal}: holds controls only; name the target to be judged: --target ID")
    release = Release(rules, targets)
    records = _judge_again(journal, release, recorded.places)
    if lost := [target.id for target in targets if all(record.target != target.id for record in records)]:
        raise ConfigurationError(
            f"{journal}: every answer of {', '.join(lost)} was given to other prompts or limits than gates.toml asks for "
            f"now; run pytest --model again"
        )
    performances = {
        target.id: recorded.performances[target.identity]
        for target in targets
        if target.identity in recorded.performances
    }
    controls = tuple(target.id for target in release.controls)
    findings = Findings(release.kinds, records, performances, controls, baseline=rules.baseline)
    return RunOutcome(
        release=release,
        records=tuple(records),
        gates=tuple(evaluate(release.gates, findings)),
        performances=performances,
        created=started,
        duration_s=time.monotonic() - clock,
        command=f"modelgate regate {journal}",
    )


@dataclass(slots=True)
class _Recorded:
    """
    Hold what a journal holds: where, not what, because generations of 100,000 cases are gigabytes.

    ``newest``: the last row of each target id, without its generation. ``places``: where a generation stands, in bytes,
    by identity and key. ``performances``: the last times of each identity that this machine measured.
    """

    newest: dict[str, Json] = field(default_factory=dict)
    places: dict[tuple[str, str], int] = field(default_factory=dict)
    performances: dict[str, Performance] = field(default_factory=dict)


def _read(journal: Path) -> _Recorded:
    """Find every generation and every measurement of this machine."""
    found = _Recorded()
    here = describe_machine()
    for place, row in read_lines(journal):
        identity, key = row.get("identity"), row.get("key")
        if not isinstance(identity, str):
            continue
        if "performance" in row:
            with contextlib.suppress(ValueError, TypeError, KeyError):
                if row.get("machine") == here:
                    found.performances[identity] = Performance.from_json(row["performance"])
        elif isinstance(key, str) and isinstance(row.pop("generation", None), dict):
            found.newest[str(row.get("target"))] = row
            found.places[identity, key] = place
    return found


def _judge_again(journal: Path, release: Release, places: Mapping[tuple[str, str], int]) -> list[Record]:
    """Return the record of every case whose generation was found."""
    records = []
    with journal.open("rb") as file:
        for target in release.targets:
            for case in release.cases:
                key = journal_key(target.identity, release.request(case, target))
                place = places.get((target.identity, key))
                if place is None:
                    continue
                file.seek(place)
                try:
                    generation = Generation.from_json(json.loads(file.readline())["generation"])
                except (ValueError, TypeError, KeyError):
                    continue  # written by hand, and no generation: the case has no result
                records.append(judge(release.tasks[case.task], case, target.id, generation, replayed=True))
    return records

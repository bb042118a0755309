"""Judge a journal again, without pytest and without a model: after an edit of gates.toml or of expected answers."""

from __future__ import annotations

import time
from pathlib import Path

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.gates import evaluate
from pytest_modelgate.identity import generation_key, hash_file
from pytest_modelgate.journal import read_rows
from pytest_modelgate.judgement import judge
from pytest_modelgate.records import Generation, Json, Record
from pytest_modelgate.release import Release, load_rules
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.runner import GREEDY
from pytest_modelgate.specs import TargetSpec
from pytest_modelgate.targets import Target


def regate(journal: Path, gates_path: Path, only: tuple[str, ...] = ()) -> RunOutcome:
    """
    Return the outcome of judging what ``journal`` holds by ``gates_path`` as it is now.

    Of each target id the newest identity counts, and of it only generations of the same messages and limits as asked
    for now: what is missing makes gates incomplete. Speed is not judged: a recorded answer has none. ``only``: target
    ids; all if empty.
    """
    started, clock = time.time(), time.monotonic()
    if not journal.is_file():
        raise ConfigurationError(f"{journal}: no such journal; a run writes it to .modelgate/journal.jsonl")
    gates_file, tasks, files, gates = load_rules(gates_path)
    if broken := next((file.error for file in files if file.error), None):
        raise broken
    newest: dict[str, Json] = {}
    found: dict[tuple[str, str], Json] = {}
    for row in read_rows(journal):
        if isinstance(row.get("key"), str) and isinstance(row.get("identity"), str):
            newest[str(row["target"])] = row
            found[row["identity"], row["key"]] = row
    if unknown := [name for name in only if name not in newest]:
        raise ConfigurationError(f"{journal}: no target {unknown[0]!r}; recorded are {', '.join(newest) or 'none'}")
    if not newest:
        raise ConfigurationError(f"{journal}: holds no generation of a run")
    sha256 = hash_file(journal)
    targets = tuple(
        Target(
            spec=TargetSpec(text=f"{journal}#{name}", kind=row["kind"], path=journal, id=name),
            identity=row["identity"],
            sha256=sha256,
            size_bytes=journal.stat().st_size,
            settings=EngineSettings(n_ctx=gates_file.generation.n_ctx),
        )
        for name, row in newest.items()
        if not only or name in only
    )
    release = Release(gates_file, tasks, files, gates, targets)
    records = _judge_again(release, found)
    return RunOutcome(
        release=release,
        records=tuple(records),
        gates=tuple(evaluate(gates, release.kinds, records, {})),
        created=started,
        duration_s=time.monotonic() - clock,
        command=f"modelgate regate {journal}",
    )


def _judge_again(release: Release, found: dict[tuple[str, str], Json]) -> list[Record]:
    """Return the record of every case whose generation was found."""
    records = []
    for target in release.targets:
        for case in release.cases:
            row = found.get((target.identity, generation_key(target.identity, release.request(case), GREEDY)))
            if row is not None:
                generation = Generation.from_json(row["generation"])
                records.append(judge(release.tasks[case.task], case, target.id, generation, replayed=True))
    return records

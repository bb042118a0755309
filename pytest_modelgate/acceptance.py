"""Make a full, passing run of one target the baseline of later releases."""

from __future__ import annotations

from pathlib import Path

from pytest_modelgate.baselines import write_baseline
from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.machine import describe_machine
from pytest_modelgate.release import Release
from pytest_modelgate.report.outcome import RunOutcome


def check_acceptable(release: Release) -> None:
    """Refuse before anything runs what could never be accepted: several targets, or recorded answers."""
    if len(release.judged) != 1:
        names = ", ".join(target.id for target in release.judged)
        raise ConfigurationError(f"--modelgate-accept takes exactly one --model, the one that is released; got {names}")
    if release.judged[0].is_replay:
        raise ConfigurationError("--modelgate-accept takes no replay: a baseline is what a model answered in this run")


def why_not(outcome: RunOutcome) -> str | None:
    """Say why this run cannot become the baseline, or return None."""
    if outcome.verdict != "passed":
        return "the run is blocked"
    if not outcome.is_full:
        return "the run is partial: a baseline holds every case"
    return None


def accept(outcome: RunOutcome, reason: str) -> list[Path]:
    """Write the baseline of every task and return the files; see :func:`why_not` first."""
    release = outcome.release
    target = release.judged[0]
    measured = outcome.performances.get(target.id)
    return write_baseline(
        release.rules.baselines,
        release.tasks,
        release.cases,
        [record for record in outcome.records if record.target == target.id],
        release.gates_file.generation.model_dump(),
        {
            "reason": reason,
            "target": {"id": target.id, "spec": target.spec.text, "identity": target.identity, "sha256": target.sha256},
            "gates_file": release.gates_file.path.name,
            "gates_sha256": release.gates_file.sha256,
            "machine": describe_machine(),
            "performance": None if measured is None or measured.error else measured.to_json(),
        },
    )

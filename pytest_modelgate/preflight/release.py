"""Check the targets of a release before anything is generated."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.preflight.check import STAGES, CheckResult, Stage
from pytest_modelgate.preflight.run import CHECKS, WITHOUT_REFERENCE, run_preflight
from pytest_modelgate.preflight.subjects import subjects_of
from pytest_modelgate.release import Release


def check_release(release: Release) -> Iterator[CheckResult]:
    """Yield what each check finds on each judged target, in the order of the targets."""
    stages = stages_of(release)
    for subject in subjects_of(release):
        yield from run_preflight(subject, stages, release.gates_file.preflight.skip)


def stages_of(release: Release) -> tuple[Stage, ...]:
    """Return the stages that are run: those that gates.toml names, else as many as there is something to compare with."""
    table = release.gates_file.preflight
    if not table.stages:
        return STAGES if release.references else WITHOUT_REFERENCE
    return tuple(stage for stage in STAGES if stage in table.stages)


def check_table(release: Release) -> None:
    """Raise GatesFileError where ``[preflight]`` names a stage or a check that there is not."""
    table, where = release.gates_file.preflight, release.gates_file.where("preflight")
    names = [check.name for check in CHECKS]
    for key, given, valid in (("stages", table.stages, list(STAGES)), ("skip", table.skip, names)):
        for name in given:
            if name not in valid:
                near = did_you_mean(name, valid)
                raise GatesFileError(f"{where} {key}: {name!r} is unknown{near}; known are {', '.join(valid)}")
    if bare := [name for name, reason in table.skip.items() if not reason.strip()]:
        raise GatesFileError(f"{where} skip: say why {bare[0]} is left out")

"""Check the targets of a release before anything is generated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal

from pytest_modelgate.engines import probe_process
from pytest_modelgate.errors import GatesFileError, ModelgateError
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.preflight import served
from pytest_modelgate.preflight.check import STAGES, CheckResult, Finding, Stage
from pytest_modelgate.preflight.run import CHECKS, WITHOUT_REFERENCE, run_preflight
from pytest_modelgate.preflight.served import check_served_prompts
from pytest_modelgate.preflight.subjects import artifact_of, subjects_of
from pytest_modelgate.release import Release
from pytest_modelgate.targets import Target


def check_release(release: Release) -> Iterator[CheckResult]:
    """Yield what each check finds on each judged target, in the order of the targets."""
    stages = stages_of(release)
    for subject in subjects_of(release):
        yield from run_preflight(subject, stages, release.gates_file.preflight.skip)
    for target in release.judged:
        if target.spec.kind == "endpoint":
            yield _served(release, target)


def _served(release: Release, target: Target) -> CheckResult:
    """Compare the tokens that a server counts with those that the reference's template and tokenizer give."""
    reference = release.reference
    started = time.perf_counter()
    if reference is None or reference.spec.kind not in {"gguf", "adapter", "merged"}:
        finding = Finding("not checked", "there is no reference whose tokens could be counted (--reference SPEC)")
    else:
        link = artifact_of(reference)
        kind: Literal["gguf", "adapter"] = "gguf" if link.kind == "gguf" else "adapter"
        probe = probe_process.open_probe(kind, link.path, base=link.base, lora=link.lora, settings=reference.settings)
        engine = target.open()
        try:
            prompts = {f"{case.suite}/{case.id}": release.tasks[case.task].messages(case) for case in release.cases}
            finding = check_served_prompts(engine, probe, prompts)
        except (ModelgateError, OSError) as error:
            finding = Finding("failed", f"could not be done: {error}")
        finally:
            engine.close()
            probe.close()
    return CheckResult(
        served.NAME,
        finding.mode or "F01",
        target.id,
        "tokenizer",
        finding.outcome,
        finding.reason,
        finding.details,
        finding.figures,
        round(time.perf_counter() - started, 3),
    )


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

"""Judge recorded answers in this process, without pytest: what a run would have found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.evaluation import Findings, evaluate
from pytest_modelgate.judgement import judge
from pytest_modelgate.records import Generation, Performance
from pytest_modelgate.release import Release, load_rules
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.specs import TargetSpec
from pytest_modelgate.targets import Target

Answers = Mapping[str, str | Generation]
"""Answers by ``suite/case``."""


def judged(
    folder: Path,
    answers: Mapping[str, Answers],
    *,
    controls: Mapping[str, Answers] | None = None,
    performances: Mapping[str, Performance] | None = None,
) -> RunOutcome:
    """Return the outcome of targets and controls that gave these answers; a case without one was not run."""
    rules = load_rules(folder / "gates.toml")
    given = {**answers, **(controls or {})}
    targets = tuple(
        Target(
            TargetSpec(
                f"replay:{name}",
                "replay",
                folder,
                name,
                recorded_as=name,
                role="model" if name in answers else "control",
            ),
            identity="0" * 64,
            sha256="0" * 64,
            size_bytes=0,
            settings=EngineSettings(n_ctx=2048),
        )
        for name in given
    )
    release = Release(rules, targets)
    records = []
    for target in targets:
        for case in rules.cases:
            answer = given[target.id].get(f"{case.suite}/{case.id}")
            if answer is not None:
                generation = Generation(answer) if isinstance(answer, str) else answer
                records.append(judge(rules.tasks[case.task], case, target.id, generation, replayed=True))
    findings = Findings(
        release.kinds,
        records,
        performances or {},
        tuple(target.id for target in release.controls),
        baseline=rules.baseline,
    )
    return RunOutcome(
        release,
        tuple(records),
        tuple(evaluate(release.gates, findings)),
        performances or {},
        command="pytest",
    )

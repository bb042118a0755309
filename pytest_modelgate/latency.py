"""Measure speed: a serial, warmed phase on a declared sample, after the cases and never from the journal."""

from __future__ import annotations

from pytest_modelgate.cases import Case
from pytest_modelgate.errors import EngineError
from pytest_modelgate.gates import Gate
from pytest_modelgate.records import Failure, Performance, Sample
from pytest_modelgate.release import Release
from pytest_modelgate.targets import Target


def targets_to_measure(release: Release) -> list[Target]:
    """Return the targets that some gate on speed, memory or cost judges, and the controls; a replay has none of it."""
    gates: list[Gate] = [gate for gate in release.gates if gate.metric.source == "performance"]
    return [
        target for target in release.targets if not target.is_replay and any(_judges(gate, target) for gate in gates)
    ]


def _judges(gate: Gate, target: Target) -> bool:
    """Say whether a gate on speed judges the target, or will want to show a control beside it."""
    return target.spec.role == "control" or gate.applies_to(target.spec.kind)


def sample_cases(release: Release) -> list[Case]:
    """Return the declared sample: evenly spaced cases of the declared suite, the same ones in every run."""
    table = release.gates_file.performance
    cases = [case for case in release.cases if case.suite == table.suite]
    wanted = min(table.sample, len(cases))
    return [cases[i * len(cases) // wanted] for i in range(wanted)]


def measure(release: Release, target: Target) -> Performance:
    """
    Load ``target`` in deployment shape and time the sample, one request at a time.

    The first ``warmup`` requests are run once unmeasured. A request that fails makes the whole phase an error.
    """
    cases = sample_cases(release)
    requests = [release.request(case, target) for case in cases]
    samples: list[Sample] = []
    try:
        engine = target.open(serial=True)
        try:
            for request in requests[: release.gates_file.performance.warmup]:
                list(engine.generate([request]))
            for case, request in zip(cases, requests, strict=True):
                for _, result in engine.generate([request]):
                    if isinstance(result, Failure):
                        return Performance(target.id, error=f"{request.key}: {result.message}")
                    samples.append(Sample(case.id, result.ttft_s, result.total_s, result.output_tokens))
            price = release.gates_file.prices.machine_per_hour
            return Performance(target.id, tuple(samples), engine.peak_rss_bytes(), price)
        finally:
            engine.close()
    except EngineError as error:
        return Performance(target.id, error=str(error))

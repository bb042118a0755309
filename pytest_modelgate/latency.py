"""Measure speed: a serial, warmed phase on a declared sample, after the cases and never from the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from pytest_modelgate.cases import Case
from pytest_modelgate.engines import Engine, host
from pytest_modelgate.errors import EngineError
from pytest_modelgate.gates import Gate
from pytest_modelgate.machine_lock import alone_on_this_machine
from pytest_modelgate.records import Failure, Generation, Performance, Request, Sample
from pytest_modelgate.release import Release
from pytest_modelgate.targets import Target

Tell = Callable[[str], None]
"""Shows a line to whoever waits."""


def targets_to_measure(release: Release) -> list[Target]:
    """
    Return the targets that some gate on speed, memory or cost judges, and the controls.

    A replay has none of it, and a reference is there for its answers only.
    """
    gates: list[Gate] = [gate for gate in release.gates if gate.metric.source == "performance"]
    return [
        target for target in release.targets if not target.is_replay and any(_judges(gate, target) for gate in gates)
    ]


def _judges(gate: Gate, target: Target) -> bool:
    """Say whether a gate on speed judges the target, or will want to show a control beside it."""
    role = target.spec.role
    return role == "control" or (role == "model" and gate.applies_to(target.spec.kind))


def is_compared(release: Release, target: Target) -> bool:
    """Say whether a gate compares the target's time with the last release's, so that both are measured in turns."""
    return target.spec.role == "model" and any(
        gate.table.max_increase is not None and gate.applies_to(target.spec.kind) for gate in release.gates
    )


def sample_cases(release: Release) -> list[Case]:
    """Return the declared sample: evenly spaced cases of the declared suite, the same ones in every run."""
    table = release.gates_file.performance
    cases = [case for case in release.cases if case.suite == table.suite]
    wanted = min(table.sample, len(cases))
    return [cases[i * len(cases) // wanted] for i in range(wanted)]


def measure(release: Release, target: Target, baseline: Target | None = None, tell: Tell | None = None) -> Performance:
    """
    Load ``target`` in deployment shape and time the sample, one request at a time, alone on this machine.

    ``baseline``: the last release, loaded beside it where a gate compares with it; then every case goes to one and the
    other right after, and who comes first changes from case to case, so that what slows the machine down for a while
    slows both. Its times are :attr:`Performance.against`. The first ``warmup`` requests are run once unmeasured. A
    request that fails makes the whole phase an error. ``tell``: see :func:`~pytest_modelgate.machine_lock.alone_on_this_machine`.
    """
    with alone_on_this_machine("measuring", tell):
        if baseline is None or not is_compared(release, target):
            return _measure(release, [target])[0]
        if baseline.is_replay:
            no_times = Performance(baseline.id, error="recorded answers have no times: give the model itself")
            return replace(_measure(release, [target])[0], against=no_times)
        own, other = _measure(release, [target, baseline])
        if other.error is not None and own.error is None:
            own = _measure(release, [target])[0]  # the target's own speed can be told without the other one
        return replace(own, against=other)


def _measure(release: Release, targets: Sequence[Target]) -> list[Performance]:
    """Return the times of targets that take turns; where one gets an error, the others have no times."""
    cases = sample_cases(release)
    samples: list[list[Sample]] = [[] for _ in targets]
    price = release.gates_file.prices.machine_per_hour
    arm = 0
    with ExitStack() as opened:
        try:
            engines = []
            for arm, target in enumerate(targets):  # noqa: B007  # who fails is told below
                engines.append(target.open(serial=True))
                opened.callback(engines[-1].close)
            for case in cases[: release.gates_file.performance.warmup]:
                for arm, target in enumerate(targets):
                    _answer(engines[arm], release.request(case, target))
            watch = _OtherPrograms(engines)
            for number, case in enumerate(cases):
                order = range(len(targets)) if number % 2 == 0 else reversed(range(len(targets)))
                for arm in order:
                    result = _answer(engines[arm], release.request(case, targets[arm]))
                    samples[arm].append(_sample(case, result))
            others_busy = watch.busy_cores()
            peaks = [engine.peak_rss_bytes() for engine in engines]
        except EngineError as error:
            failed = Performance(targets[arm].id, error=str(error))
            return [failed if target is targets[arm] else Performance(target.id) for target in targets]
    return [
        Performance(target.id, tuple(own), peak, price, others_busy=others_busy)
        for target, own, peak in zip(targets, samples, peaks, strict=True)
    ]


def _answer(engine: Engine, request: Request) -> Generation:
    """Return the answer to one request; raise EngineError where there is none."""
    result: Generation | Failure | None = None
    for _, result in engine.generate([request]):
        if isinstance(result, Failure):
            raise EngineError(f"{request.key}: {result.message}")
    if not isinstance(result, Generation):
        raise EngineError(f"{request.key}: the engine gave no answer")
    return result


def _sample(case: Case, result: Generation) -> Sample:
    return Sample(case.id, result.ttft_s, result.total_s, result.output_tokens, result.prompt_tokens)


class _OtherPrograms:
    """Watch how busy other programs keep the machine, from now on."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._pids = [pid for engine in engines if (pid := getattr(engine, "pid", None)) is not None]
        self._wall = time.monotonic()
        self._start = self._read()

    def _read(self) -> tuple[float, float] | None:
        """Return the seconds of all cores that were busy, and those of this process and its engines."""
        everything = host.busy_seconds()
        own = [host.process_seconds(pid) for pid in self._pids]
        if everything is None or any(seconds is None for seconds in own):
            return None
        return everything, time.process_time() + sum(seconds or 0.0 for seconds in own)

    def busy_cores(self) -> float | None:
        """Return how many cores others kept busy; None where the system does not tell, or was not asked for long."""
        wall, now = time.monotonic() - self._wall, self._read()
        if self._start is None or now is None or wall < _LONG_ENOUGH_S:
            return None
        everything, own = (end - start for end, start in zip(now, self._start, strict=True))
        return None if everything < own / 2 else round(max(0.0, everything - own) / wall, 2)


_LONG_ENOUGH_S = 1.0  # the system counts in hundredths of a second

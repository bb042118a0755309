"""Hold what a whole run found, and whether it lets the release out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pytest_modelgate.cases import Case
from pytest_modelgate.gates import GateResult, gate_id
from pytest_modelgate.records import Json, Performance, Record
from pytest_modelgate.release import Release
from pytest_modelgate.repeats import RepeatFindings

Verdict = Literal["passed", "blocked"]

DECISIVE = ("golden", "heldout")
"""Suites that models are compared on; all where there is neither."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """
    Hold the records and gate results of one run.

    ``engines``: what each target's engine said of itself, absent where nothing had to be generated. ``seconds``: wall
    time that each target's cases took. ``repeats``: what changed between repeats of the run. ``accepted``: what became
    of --modelgate-accept. ``stopped``: why the run ended before it was complete, or None. ``strict``: misses fail.
    """

    release: Release
    records: tuple[Record, ...]
    gates: tuple[GateResult, ...]
    performances: Mapping[str, Performance] = field(default_factory=dict)
    engines: Mapping[str, Json] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    repeats: RepeatFindings | None = None
    accepted: str | None = None
    created: float = 0.0
    duration_s: float = 0.0
    command: str = ""
    stopped: str | None = None
    strict: bool = False

    @property
    def is_full(self) -> bool:
        """Say whether every case of every suite was run on every target."""
        return len(self.records) == len(self.release.cases) * len(self.release.targets)

    def of(self, target: str) -> list[Record]:
        """Return the records of one target or control, in the order of the suites."""
        return [record for record in self.records if record.target == target]

    @property
    def decisive_cases(self) -> dict[tuple[str, str], Case]:
        """Return the cases that models are compared on, by suite and id, without quarantined ones."""
        suites = set(DECISIVE) & set(self.release.gates_file.suites) or set(self.release.gates_file.suites)
        quarantined = self.release.rules.quarantine.active
        cases = {(case.suite, case.id): case for case in self.release.cases if case.suite in suites}
        return {key: case for key, case in cases.items() if key not in quarantined}

    @property
    def failing(self) -> list[Record]:
        """Return the records that fail the run by themselves."""
        judged, quarantined = self.release.kinds, self.release.rules.quarantine.active
        return [
            record
            for record in self.records
            if record.target in judged
            and (record.suite, record.case) not in quarantined
            and record.fails_run(strict=self.strict)
        ]

    @property
    def reasons(self) -> list[str]:
        """Return why the release is blocked; empty if it is not."""
        reasons = [str(file.error) for file in self.release.files if file.error]
        if self.stopped is not None:
            reasons.append(self.stopped)
        reasons += [f"gate {gate_id(gate)}: {gate.reason}" for gate in self.gates if gate.blocks]
        for outcome, word in (
            ("failed", "critical case failed"),
            ("error", "case with an engine error"),
            ("missed", "case missed"),
        ):
            found = [record for record in self.failing if record.outcome == outcome]
            if found:
                names = ", ".join(f"{record.case}[{record.target}]" for record in found[:3])
                more = f" and {len(found) - 3} more" if len(found) > 3 else ""  # noqa: PLR2004 - three names are enough
                reasons.append(
                    f"{len(found)} {word if len(found) == 1 else word.replace('case', 'cases')}: {names}{more}"
                )
        if self.repeats is not None:
            reasons += self.repeats.reasons(self.gates, tuple(self.release.kinds))
        if not self.release.judged:
            reasons.append("no target was judged")
        if not self.gates:
            reasons.append("no gate was judged")
        return reasons

    @property
    def verdict(self) -> Verdict:
        """Return whether the release may go out."""
        return "blocked" if self.reasons else "passed"

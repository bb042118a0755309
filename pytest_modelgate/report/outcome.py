"""Hold what a whole run found, and whether it lets the release out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pytest_modelgate.cases import Case
from pytest_modelgate.gates import GateResult, gate_id
from pytest_modelgate.preflight.cause import Cause, likeliest_cause
from pytest_modelgate.preflight.check import CheckResult
from pytest_modelgate.records import Json, Performance, Record
from pytest_modelgate.release import Release
from pytest_modelgate.repeats import RepeatFindings
from pytest_modelgate.targets import Target

Verdict = Literal["passed", "blocked"]

DECISIVE = ("golden", "heldout")
"""Suites that models are compared on; all where there is neither."""


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """
    Hold the records and gate results of one run.

    ``preflight``: what was found before anything was generated. ``any_of``: one judged target that passes is enough.
    ``engines``: what each target's engine said of itself, absent where nothing had to be generated. ``seconds``: wall
    time that each target's cases took. ``repeats``: what changed between repeats of the run. ``accepted``: what became
    of --modelgate-accept. ``stopped``: why the run ended before it was complete, or None. ``strict``: misses fail.
    """

    release: Release
    records: tuple[Record, ...]
    gates: tuple[GateResult, ...]
    performances: Mapping[str, Performance] = field(default_factory=dict)
    preflight: tuple[CheckResult, ...] = ()
    engines: Mapping[str, Json] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    repeats: RepeatFindings | None = None
    accepted: str | None = None
    created: float = 0.0
    duration_s: float = 0.0
    command: str = ""
    stopped: str | None = None
    strict: bool = False
    any_of: bool = False

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

    def causes(self) -> dict[str, Cause]:
        """Return the likeliest cause of what preflight found wrong, by target."""
        causes = {}
        for target in self.release.judged:
            cause = likeliest_cause([result for result in self.preflight if result.target == target.id])
            if cause is not None:
                causes[target.id] = cause
        return causes

    def only(self, target: str) -> RunOutcome:
        """Return what the run would have been with ``target`` as the only one that is judged."""
        others = {other.id for other in self.release.judged} - {target}
        kept = tuple(one for one in self.release.targets if one.id not in others)
        return replace(
            self,
            release=replace(self.release, targets=kept),
            records=tuple(record for record in self.records if record.target not in others),
            gates=tuple(gate for gate in self.gates if gate.target not in others),
            preflight=tuple(result for result in self.preflight if result.target not in others),
            any_of=False,
        )

    @property
    def passing(self) -> list[Target]:
        """Return the judged targets that pass everything, the smallest first."""
        passing = [target for target in self.release.judged if not self.only(target.id).reasons]
        return sorted(passing, key=lambda target: target.size_bytes)

    @property
    def reasons(self) -> list[str]:
        """Return why the release is blocked; empty if it is not."""
        if self.any_of and self.passing:
            return []
        reasons = [str(file.error) for file in self.release.files if file.error]
        if self.stopped is not None:
            reasons.append(self.stopped)
        reasons += [f"{target}: likely {cause}" for target, cause in self.causes().items()]
        reasons += [f"{one.id} ({one.mode}): {one.reason}" for one in self.preflight if one.outcome == "failed"]
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

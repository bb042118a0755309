"""Name the likeliest cause of what a preflight found; being written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pytest_modelgate.preflight.check import CheckResult
from pytest_modelgate.records import Json


@dataclass(frozen=True, slots=True)
class Cause:
    """Hold the likeliest failure mode, a sentence on it, and the checks that it rests on."""

    mode: str
    sentence: str
    checks: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.mode}: {self.sentence}"

    def to_json(self) -> Json:
        """Return the cause as primitives."""
        return asdict(self) | {"checks": list(self.checks)}


def likeliest_cause(results: Sequence[CheckResult]) -> Cause | None:
    """Return the likeliest cause of the failed checks, None where none failed."""
    failed = [one for one in results if one.outcome == "failed"]
    return Cause(failed[0].mode, failed[0].reason, (failed[0].check,)) if failed else None

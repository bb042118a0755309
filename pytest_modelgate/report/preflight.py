"""Say in lines what a preflight found on one target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_modelgate.preflight.cause import likeliest_cause
from pytest_modelgate.preflight.check import CheckResult
from pytest_modelgate.report.escape import plain

_SHOWN_DETAILS = 4


def check_lines(target: str, results: Sequence[CheckResult]) -> Iterator[tuple[str, str]]:
    """Yield the counts, then what failed or is to be looked at, then the likeliest cause; each line with its colour."""
    counts = Counter(one.outcome for one in results)
    told = ", ".join(
        f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "warned", "not checked") if counts[outcome]
    )
    seconds = sum(one.seconds for one in results)
    yield f"preflight of {target}: {told} in {seconds:.1f} s", "red" if counts["failed"] else ""
    for one in results:
        if one.outcome in {"failed", "warned"}:
            colour = "red" if one.outcome == "failed" else "yellow"
            yield f"  {one.outcome} {one.check} ({one.mode}): {plain(one.reason, 300)}", colour
            yield from ((f"    {plain(line, 300)}", colour) for line in one.details[:_SHOWN_DETAILS])
    cause = likeliest_cause(results)
    if cause is not None:
        yield f"  likely cause: {plain(str(cause), 400)}", "red"

"""Tell how much of a verdict is noise: what repeats of the run changed, and which cases are kept out of it for that."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_modelgate.records import Json
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.report.words import counted


def repeat_heads(outcome: RunOutcome) -> Iterator[str]:
    """Yield what the repeats found, one line for each target; nothing where the run was not repeated."""
    found = outcome.repeats
    if found is None:
        return
    for target in outcome.release.targets:
        cases = len(outcome.of(target.id))
        flips = sum(key[0] == target.id for key in found.cases)
        words = max(0, found.texts.get(target.id, 0) - flips)
        silent = found.unanswered.get(target.id, 0)
        gates = sum(key[1] == target.id for key in found.gates)
        where = f" of {target.id}" if len(outcome.release.targets) > 1 else ""
        judged = (
            f"; {gates or 'no'} {'gates' if gates > 1 else 'gate'} changed" if target in outcome.release.judged else ""
        )
        missing = f"; {counted(silent, 'answer')} missing" if silent else ""
        yield (
            f"{found.repeats} repeats{where}: {flips} of {cases} cases changed their outcome, "
            f"{words} only their wording{judged}{missing}"
        )


def flips(outcome: RunOutcome) -> Iterator[tuple[str, str]]:
    """Yield each case and gate that changed between repeats, and what it was each time."""
    if outcome.repeats is None:
        return
    for (target, suite, case), outcomes in outcome.repeats.cases.items():
        yield f"{suite}/{case}[{target}]", ", ".join(outcomes)
    for (name, of), outcomes in outcome.repeats.gates.items():
        yield f"gate {name}[{of}]" if of else f"gate {name}", ", ".join(outcomes)


def quarantined(outcome: RunOutcome) -> Iterator[tuple[str, str]]:
    """Yield each case that does not count, and why and until when."""
    for (suite, case), reason in outcome.release.rules.quarantine.active.items():
        yield f"{suite}/{case}", reason


def expired(outcome: RunOutcome) -> Iterator[tuple[str, str]]:
    """Yield each case whose quarantine is over, and since when: it counts again."""
    for (suite, case), reason in outcome.release.rules.quarantine.expired.items():
        yield f"{suite}/{case}", reason


def quarantine_json(outcome: RunOutcome) -> Json:
    """Return what report.json holds of the quarantine."""
    return {
        "active": [{"case": case, "reason": reason} for case, reason in quarantined(outcome)],
        "expired": [{"case": case, "reason": reason} for case, reason in expired(outcome)],
    }

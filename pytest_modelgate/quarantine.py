"""Keep cases that are proved to flip out of the verdict, for a while and never a critical one."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from pytest_modelgate.cases import Case
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.gates_file import GatesFile
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.records import Outcome

CaseKey = tuple[str, str]

_OUTCOMES = frozenset(get_args(Outcome))


MOST_DAYS = 90
"""How far ahead a quarantine may end."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """
    Hold the cases that do not count, and why; and those whose time is over, which count again.

    Both by suite and id.
    """

    active: Mapping[CaseKey, str]
    expired: Mapping[CaseKey, str]


def read_quarantine(gates_file: GatesFile, cases: Sequence[Case], today: dt.date | None = None) -> Quarantine:
    """
    Check every ``[quarantine."suite/case"]`` of gates.toml.

    Raises :class:`~pytest_modelgate.errors.GatesFileError` for a case that is unknown or critical, and for one that its
    evidence does not show to flip: nobody may call a case flaky because a model fails it.
    """
    by_name = {f"{case.suite}/{case.id}": case for case in cases}
    active: dict[CaseKey, str] = {}
    expired: dict[CaseKey, str] = {}
    for name, table in gates_file.quarantine.items():
        where = gates_file.where("quarantine", f'"{name}"')
        case = by_name.get(name)
        if case is None:
            raise GatesFileError(f"{where} no such case{did_you_mean(name, by_name)}; it is written suite/case")
        if case.critical:
            raise GatesFileError(f"{where} the case is critical; a critical case is never quarantined")
        if not (flips := _flips(gates_file, table.evidence, name, where)):
            raise GatesFileError(f"{where} evidence: {table.evidence} does not show that the case flips")
        key = (case.suite, case.id)
        now = today or dt.datetime.now(dt.UTC).date()
        if table.until > now + dt.timedelta(days=MOST_DAYS):
            raise GatesFileError(f"{where} until: {table.until} is more than {MOST_DAYS} days ahead")
        if (today or dt.datetime.now(dt.UTC).date()) > table.until:
            expired[key] = f"quarantine ended on {table.until}"
        else:
            active[key] = f"{table.reason} ({flips}; until {table.until})"
    for suite in sorted({suite for suite, _ in active}):
        most = max(1, sum(case.suite == suite for case in cases) // 10)
        if (held := sum(key[0] == suite for key in active)) > most:
            where = gates_file.where("quarantine")
            raise GatesFileError(
                f"{where} {held} cases of suite {suite!r} are quarantined; at most {most}, a tenth, may be"
            )
    return Quarantine(active, expired)


def _flips(gates_file: GatesFile, evidence: str, name: str, where: str) -> str:
    """Return what the evidence says of the case: its outcomes, where they differ; nothing where they do not."""
    try:
        data = json.loads((gates_file.root / evidence).read_text(encoding="utf-8"))
        if data["modelgate_repeat"] != 1:
            raise ValueError(f"version {data['modelgate_repeat']!r}, known is 1")
        rows = [row for row in data["flipping_cases"] if row["role"] == "model"]
        shown = [row["outcomes"] for row in rows if f"{row['suite']}/{row['case']}" == name]
        if not all(isinstance(outcomes, list) and _OUTCOMES.issuperset(outcomes) for outcomes in shown):
            raise ValueError(f"outcomes must be a list of {', '.join(sorted(_OUTCOMES))}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GatesFileError(
            f"{where} evidence: {evidence} is no file that --modelgate-repeat wrote: {error}"
        ) from None
    # On several targets at once: whichever flips. An engine that gave no answer did not change its mind.
    flips = (outcomes for outcomes in shown if len(set(outcomes) - {"error"}) > 1)
    return next((", ".join(f"{one.count(each)} x {each}" for each in sorted(set(one))) for one in flips), "")

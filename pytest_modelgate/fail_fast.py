"""Tell, while cases still run, that a gate cannot pass any more whatever the rest brings: arithmetic, no statistics."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from pytest_modelgate.decision import clears
from pytest_modelgate.gates import Gate
from pytest_modelgate.records import Record
from pytest_modelgate.specs import TargetKind


class FailFast:
    """
    Count what speaks against each blocking gate.

    Only shares and counts can be decided early: every case that is left can at best be right, so that the best value
    still to come is known. An interval is never looked at on the way, which would raise the rate of false alarms.
    """

    def __init__(self, gates: Sequence[Gate]) -> None:
        self._gates = [gate for gate in gates if _can_be_lost(gate)]
        self._against: Counter[tuple[str, str]] = Counter()
        self._out: Counter[tuple[str, str]] = Counter()
        self._seen: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)

    def add(self, record: Record, kind: TargetKind) -> str | None:
        """Take a record in; return why its target cannot pass any more, or None."""
        key = (record.suite, record.case)
        if key in self._seen[record.target]:
            return None
        self._seen[record.target].add(key)
        for gate in self._gates:
            if key in gate.cases and gate.applies_to(kind) and (reason := self._decided(gate, record)):
                return f"gate {gate.name}[{record.target}] cannot pass any more: {reason}"
        return None

    def _decided(self, gate: Gate, record: Record) -> str | None:
        """Say why the gate is lost with this record, or return None."""
        if record.outcome == "error" or gate.metric.flag is None:
            return None  # an engine that failed may be started again; the gate will be incomplete
        told = gate.metric.flag(record, *gate.arguments)
        name = (gate.name, record.target)
        if told is None:
            self._out[name] += 1
            return None
        self._against[name] += bool(told) != (gate.metric.better == "higher")
        against, n = self._against[name], len(gate.cases) - self._out[name]
        if gate.metric.is_count:
            limit = gate.table.max
            return f"{against} > {limit:g}" if limit is not None and not clears(against, "max", limit) else None
        if gate.metric.better == "higher":
            least = gate.table.min
            best = (n - against) / n
            lost = least is not None and not clears(best, "min", least)
            return f"{against} of {n} cases are wrong, at best {best:.4g} < {least:g}" if lost else None
        most = gate.table.max
        lost = most is not None and not clears(against / n, "max", most)
        return f"{against} of {n} cases, at least {against / n:.4g} > {most:g}" if lost else None


def _can_be_lost(gate: Gate) -> bool:
    """Say whether some records of one target can block the gate for certain, whatever the others are."""
    table, metric = gate.table, gate.metric
    if (
        table.severity == "warn"
        or metric.flag is None
        or metric.is_own
        or (metric.is_count and metric.better == "higher")
    ):
        return False
    # What is too few cases or too wide an interval is inconclusive, which is not always blocked.
    return table.on_inconclusive == "block" or (table.confidence is None and table.min_n == 1)

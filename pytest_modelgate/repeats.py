"""Measure how much of a verdict is noise: the same model, asked several times (an A/A test)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_modelgate.evaluation import Findings, evaluate
from pytest_modelgate.gates import Gate, GateResult
from pytest_modelgate.records import Json, Record


@dataclass(frozen=True, slots=True)
class RepeatFindings:
    """
    Hold what changed between repeats of one run.

    ``cases``: for each case that changed its outcome on a target, the outcomes in order. ``texts``: how many cases
    changed their answer at all, by target. ``gates``: for each gate result that changed, its outcomes. A repeat that
    the engine did not answer changes nothing: ``unanswered`` counts them by target. ``controls``: those among the
    targets whose flips are no evidence for a quarantine.
    """

    repeats: int
    cases: Mapping[tuple[str, str, str], tuple[str, ...]]
    texts: Mapping[str, int]
    gates: Mapping[tuple[str, str | None], tuple[str, ...]]
    unanswered: Mapping[str, int] = field(default_factory=dict)
    controls: tuple[str, ...] = ()

    def reasons(self, gates: Sequence[GateResult], judged: Sequence[str]) -> list[str]:
        """Return why the repeats block the release: a critical case or a blocking gate that was not always green."""
        told = [
            f"critical case {suite}/{case}[{target}] failed in {outcomes.count('failed')} of {len(outcomes)} repeats"
            for (target, suite, case), outcomes in self.cases.items()
            if target in judged and "failed" in outcomes
        ]
        blocking = {(gate.name, gate.target) for gate in gates if gate.severity == "block"}
        told += [
            f"gate {name}[{target}] was {', '.join(outcomes)} in the repeats"
            for (name, target), outcomes in self.gates.items()
            if (name, target) in blocking
        ]
        return told

    def to_json(self) -> Json:
        """Return the evidence that a quarantine needs, as primitives."""
        return {
            "modelgate_repeat": 1,
            "repeats": self.repeats,
            "changed_answers": dict(self.texts),
            "unanswered": dict(self.unanswered),
            "flipping_cases": [
                {
                    "target": target,
                    "role": "control" if target in self.controls else "model",
                    "suite": suite,
                    "case": case,
                    "outcomes": list(outcomes),
                }
                for (target, suite, case), outcomes in self.cases.items()
            ],
            "flipping_gates": [
                {"gate": name, "target": target, "outcomes": list(outcomes)}
                for (name, target), outcomes in self.gates.items()
            ],
        }


def compare_repeats(gates: Sequence[Gate], findings: Findings, rounds: Sequence[Sequence[Record]]) -> RepeatFindings:
    """
    Return what changed between ``rounds``, the records of every case in each repeat; the first is the run's own.

    Gates on speed are measured once and cannot change here.
    """
    by_case: dict[tuple[str, str, str], list[Record]] = {}
    for records in rounds:
        for record in records:
            by_case.setdefault((record.target, record.suite, record.case), []).append(record)
    texts = dict.fromkeys(findings.ids, 0)
    unanswered = dict.fromkeys(texts, 0)
    flipping = {}
    for key, tries in by_case.items():
        answered = [record for record in tries if record.outcome != "error"]
        texts[key[0]] += len({record.output for record in answered}) > 1
        unanswered[key[0]] += len(rounds) - len(answered)
        if len({record.outcome for record in answered}) > 1:
            flipping[key] = tuple(record.outcome for record in tries)
    outcomes: dict[tuple[str, str | None], list[str]] = {}
    for records in rounds:
        for result in evaluate(gates, replace(findings, records=records)):
            outcomes.setdefault((result.name, result.target), []).append(result.outcome)
    changed = {key: tuple(found) for key, found in outcomes.items() if len({*found} - {"incomplete"}) > 1}
    others = tuple(name for name in findings.ids if name not in findings.targets)
    return RepeatFindings(len(rounds), flipping, texts, changed, unanswered, others)

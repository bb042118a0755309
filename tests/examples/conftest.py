"""Load the suites that ship, and run pytest on recorded answers to them in a copy of their folder."""

from __future__ import annotations

import functools
import itertools
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.cases import Case
from pytest_modelgate.evaluation import Findings, evaluate
from pytest_modelgate.gates import CaseKey, Gate
from pytest_modelgate.judgement import judge
from pytest_modelgate.records import Generation, Record
from pytest_modelgate.release import load_rules
from tests.conftest import LEFT_OUT

ROOT = Path(__file__).parent.parent.parent
SUITES = ("golden", "adversarial", "heldout")
FOLDERS = {"support": ROOT} | {
    name: ROOT / "examples" / name for name in ("ci_failure", "incident", "invoice", "postmortem", "smart_home")
}
ANY_ANSWER = {
    "support": '{"intent": "general_question", "sentiment": "neutral", "urgency": "low"}',
    "ci_failure": "Root Cause: The log names no step that failed, so it does not say why this run ended.\n"
    "Fix: Run the job again with debug output and read the whole log.",
    "postmortem": "The timeline tells of no incident, so there is no root cause to give.",
}
"""Answers that keep the contract, for cases that expect none in particular."""

Answers = Mapping[CaseKey, Generation]
Breaker = Callable[["Example", Case], Generation | None]
"""Return a wrong answer to a case, or None where the case cannot be got wrong in this way."""


class Example:
    """Hold the rules of one example, and its right answers, judged."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = FOLDERS[name]
        self.rules = load_rules(self.folder / "gates.toml")
        assert [str(file.error) for file in self.rules.files if file.error] == []
        self.cases = {(case.suite, case.id): case for case in self.rules.cases}
        self._seen: dict[tuple[CaseKey, Generation], Record] = {}
        self.right = {key: Generation(self.answer(case)) for key, case in self.cases.items()}
        self._judged = {key: self.judge(key, generation) for key, generation in self.right.items()}

    @property
    def right_records(self) -> list[Record]:
        """Return the records of the right answers."""
        return list(self._judged.values())

    @property
    def judging(self) -> list[Gate]:
        """Return the gates that judge a replay by itself: not its speed, nor how it compares with a baseline."""
        alone = [gate for gate in self.rules.gates if gate.table.min is not None or gate.table.max is not None]
        return [gate for gate in alone if gate.applies_to("replay") and gate.metric.source == "records"]

    def gate(self, name: str) -> Gate:
        """Return a gate by name."""
        return next(gate for gate in self.rules.gates if gate.name == name)

    def answer(self, case: Case) -> str:
        """Return a right answer."""
        return self.rules.tasks[case.task].judge.answer(case) or ANY_ANSWER[self.name]

    def judge(self, key: CaseKey, generation: Generation) -> Record:
        """Judge one answer."""
        case = self.cases[key]
        if (key, generation) not in self._seen:
            self._seen[key, generation] = judge(self.rules.tasks[case.task], case, "any", generation)
        return self._seen[key, generation]

    def keeps_contract(self, case: Case, text: str) -> bool:
        """Say whether an answer breaks no contract, so that only what it says is wrong."""
        return not self.judge((case.suite, case.id), Generation(text)).violations

    def just_enough(self, gate: Gate, break_case: Breaker) -> Answers:
        """
        Return wrong answers to as few cases as make ``gate`` fail, the first ones in its slice.

        Critical cases are spared, which would fail the run by themselves, unless the gate is about them.
        """
        keys = (key for key in gate.cases if gate.metric.needs == "critical" or not self.cases[key].critical)
        broken = ((key, wrong) for key in keys if (wrong := break_case(self, self.cases[key])) is not None)
        answers: list[tuple[CaseKey, Generation]] = []
        records: dict[CaseKey, Record] = {}

        def fails(number: int) -> bool:
            chosen = self._judged | {key: records[key] for key, _ in answers[:number]}
            result, *_ = evaluate([gate], Findings({"any": "replay"}, list(chosen.values())))
            return result.outcome == "failed"

        too_few = 0
        while not fails(len(answers)):
            too_few = len(answers)
            answers += itertools.islice(broken, too_few or 1)
            assert len(answers) > too_few, f"{gate.name} passes with all of {too_few} cases broken"
            records |= {key: self.judge(key, wrong) for key, wrong in answers[too_few:]}
        enough = len(answers)
        while enough - too_few > 1:
            middle = (too_few + enough) // 2
            too_few, enough = (too_few, middle) if fails(middle) else (middle, enough)
        return dict(answers[:enough])


class Session:
    """Hold a copy of an example's folder in which pytest replays recorded answers."""

    def __init__(self, pytester: pytest.Pytester, example: Example) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.example = example
        beside = [path.name for path in example.folder.iterdir() if path.suffix in {".json", ".txt"}]
        for name in (*SUITES, "prompts", "gates.toml", *beside):
            if (example.folder / name).is_dir():
                shutil.copytree(example.folder / name, self.path / name)
            elif (example.folder / name).exists():
                shutil.copy(example.folder / name, self.path)

    def run(self, targets: Mapping[str, Answers]) -> pytest.RunResult:
        """Run ``pytest --model replay:journal.jsonl#target`` on right answers, but for each target's wrong ones."""
        with (self.path / "journal.jsonl").open("w", encoding="utf-8") as file:
            for target, wrong in targets.items():
                for (suite, case), generation in (self.example.right | dict(wrong)).items():
                    told = {"text": generation.text, "finish_reason": generation.finish_reason}
                    row = {"target": target, "suite": suite, "case": case, "generation": told}
                    file.write(json.dumps(row) + "\n")
        models = [part for target in targets for part in ("--model", f"replay:journal.jsonl#{target}")]
        return self.pytester.runpytest_inprocess(*LEFT_OUT, "-q", *models)

    @property
    def report(self) -> dict[str, Any]:
        """Return report.json."""
        document: dict[str, Any] = json.loads((self.path / ".modelgate" / "report.json").read_bytes())
        return document


@functools.cache
def load_example(name: str) -> Example:
    """Return an example; each is loaded once."""
    return Example(name)


@pytest.fixture(params=FOLDERS)
def example(request: pytest.FixtureRequest) -> Example:
    """Return each of the examples."""
    return load_example(request.param)


@pytest.fixture
def session(pytester: pytest.Pytester, example: Example, monkeypatch: pytest.MonkeyPatch) -> Session:
    """Return a copy of the example, away from this run's own environment."""
    for name in ("GITHUB_STEP_SUMMARY", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    return Session(pytester, example)

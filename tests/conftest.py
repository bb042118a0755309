"""Give tests a tiny project with suites, gates and recorded answers, and run pytest in it as a user would."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

# Pytester forgets modules that an in-process run imported, and numpy cannot be imported twice in one process.
import pytest_modelgate.activation
import pytest_modelgate.report.files  # noqa: F401

pytest_plugins = ["pytester"]

# `pytest --model demo` in this checkout reads this file too, where nothing but the gate is installed.
with contextlib.suppress(ModuleNotFoundError):
    from hypothesis import settings

    settings.register_profile("tests", database=None, deadline=None, derandomize=True)
    settings.load_profile("tests")

HEAD = """\
version = 1

[tasks.support]
kind = "classification"
system = "golden/system.txt"
schema = "golden/schema.json"
fields = ["intent", "urgency"]
primary = "intent"
"""
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "intent": {"enum": ["billing", "bug", "refund"]},
        "urgency": {"enum": ["low", "high"]},
    },
    "required": ["intent", "urgency"],
    "additionalProperties": False,
}
# Loaded in this environment, not needed here, and slow to import in every run.
LEFT_OUT = [part for name in ("hypothesispytest", "benchmark", "timeout", "anyio") for part in ("-p", f"no:{name}")]
MODES: dict[str, tuple[str, ...]] = {"plain": (), "n2": ("-n", "2")}


def label(intent: str = "billing", urgency: str = "low") -> dict[str, str]:
    """Return an answer of the support task."""
    return {"intent": intent, "urgency": urgency}


class Project:
    """
    Hold a project with three suites of two or three cases, gates that right answers pass, and recordings.

    Each ``write_`` method replaces what was there before; ``run`` is ``pytest --model replay:...`` in its folder.
    """

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        self.out = self.path / ".modelgate"
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.write("golden/schema.json", json.dumps(SCHEMA))
        self.write("golden/system.txt", "Label the message.")
        self.write_cases(
            "golden",
            self.case("late", critical=True, tags=["payment"]),
            self.case("crash", "bug", "high", tags=["payment", "app"]),
            self.case("money-back", "refund", "high", group="refunds"),
        )
        self.write_cases("adversarial", self.case("shouting", "bug"), {"id": "empty", "input": ""})
        self.write_cases("heldout", self.case("late", "refund"), self.case("other"))
        self.write_gates()
        self.record()

    @staticmethod
    def case(name: str, intent: str = "billing", urgency: str = "low", **more: Any) -> dict[str, Any]:
        """Return a case that expects these labels."""
        return {"id": name, "input": f"About {name}.", "expected": label(intent, urgency)} | more

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of the project."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def write_cases(self, suite: str, *rows: dict[str, Any] | str, file: str = "support.jsonl") -> Path:
        """Write a file of a suite; a text stands for a raw line."""
        self.rows[suite] = [row for row in rows if isinstance(row, dict)]
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        return self.write(f"{suite}/{file}", "".join(f"{line}\n" for line in lines))

    def write_gates(self, *, head: str = HEAD, **gates: str) -> Path:
        """Write gates.toml; each gate is the text of its table."""
        tables = gates or {
            "form": 'metric = "schema_validity"\nmin = 0.99',
            "critical": 'metric = "critical_failures"\nmax = 0\nsuites = ["golden"]',
            "intent": 'metric = "accuracy.intent"\nmin = 0.6\nsuites = ["golden", "heldout"]',
        }
        return self.write("gates.toml", head + "".join(f"\n[gates.{name}]\n{text}\n" for name, text in tables.items()))

    def record(self, answers: Mapping[str, str] | None = None, *, target: str = "cand", **generation: Any) -> None:
        """
        Append recorded generations of ``target`` to journal.jsonl: right answers, except those given.

        ``answers`` maps ``suite/case`` to the text that the model is said to have written.
        """
        given = answers or {}
        recorded = []
        for suite, rows in self.rows.items():
            for row in rows:
                text = given.get(f"{suite}/{row['id']}", json.dumps(row.get("expected", label())))
                recorded.append(
                    {"target": target, "suite": suite, "case": row["id"], "generation": {"text": text, **generation}}
                )
        journal = self.path / "journal.jsonl"
        with journal.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in recorded)

    def run(
        self, *arguments: str, target: str = "cand", models: Sequence[str] | None = None, fresh: bool = False
    ) -> pytest.RunResult:
        """Run ``pytest --model replay:journal.jsonl#target``; ``fresh``: in a process of its own."""
        specs = [f"replay:journal.jsonl#{target}"] if models is None else models
        given = [*LEFT_OUT, *(part for spec in specs for part in ("--model", spec)), *arguments]
        if fresh:
            return self.pytester.runpytest_subprocess(*given)
        return self.pytester.runpytest_inprocess(*given)

    @property
    def report(self) -> dict[str, Any]:
        """Return report.json."""
        document: dict[str, Any] = json.loads((self.out / "report.json").read_bytes())
        return document

    @property
    def outcomes(self) -> dict[str, str]:
        """Return each case's outcome in report.json by ``suite/case[target]``."""
        return {f"{row['suite']}/{row['id']}[{row['target']}]": row["outcome"] for row in self.report["cases"]}

    @property
    def gates(self) -> dict[str, str]:
        """Return each gate's outcome in report.json by ``name[target]``."""
        return {f"{gate['name']}[{gate['target']}]": gate["outcome"] for gate in self.report["gates"]}

    @staticmethod
    def gate_lines(result: pytest.RunResult) -> list[str]:
        """Return the summary's lines from the gates to the verdict's reasons."""
        lines = [line.rstrip() for line in result.outlines]
        start = next(number for number, line in enumerate(lines) if line.startswith("=") and " modelgate " in line)
        end = next(number for number, line in enumerate(lines) if line.startswith(("report: ", "report could")))
        return lines[start + 1 : end]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project whose run is green, away from this run's own environment."""
    for name in ("GITHUB_STEP_SUMMARY", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)
    return Project(pytester)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return pytest's arguments for one process and for two workers."""
    return MODES[request.param]


def pytest_unconfigure() -> None:
    """Close the files that llama_cpp leaves open for good, else Python complains of them after pytest's last line."""
    if llama_cpp := sys.modules.get("llama_cpp._utils"):
        llama_cpp.outnull_file.close()
        llama_cpp.errnull_file.close()

"""Decide: gather records from the reports, judge the gates once, and let pytest report each as a test."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections import defaultdict
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from pytest_modelgate import latency
from pytest_modelgate.collect import REPORT_ATTRIBUTE
from pytest_modelgate.gates import GateResult, evaluate
from pytest_modelgate.options import Settings
from pytest_modelgate.records import Json, Performance, Record
from pytest_modelgate.release import Release
from pytest_modelgate.report.escape import plain
from pytest_modelgate.report.files import REPORT, clear_old_report, write_report
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.report.terminal import gate_id, summary_lines

GATE_ATTRIBUTE = "modelgate_gate"
"""The attribute of a gate's own TestReport that holds its outcome."""

_LETTERS = {
    "passed": ("passed", ".", "PASSED"),
    "missed": ("missed", "m", ("MISSED", {"yellow": True})),
    "failed": ("failed", "F", "FAILED"),
    "error": ("error", "E", "ERROR"),
}
"""Category, letter and word for each outcome of a case."""


class Controller:
    """Hold what the deciding process knows: the only one without xdist, the one that starts workers with it."""

    def __init__(self, config: pytest.Config, release: Release, settings: Settings) -> None:
        self._config = config
        self._release = release
        self._settings = settings
        self._records: dict[tuple[str, str, str], Record] = {}
        self._engines: dict[str, Json] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._outcome: RunOutcome | None = None
        self._write_error: str | None = None
        self._started = time.time()
        self._clock = time.monotonic()

    # Before the run

    def pytest_report_header(self) -> str:
        """Say what is judged by what."""
        targets = ", ".join(f"{target.id} ({target.spec.kind})" for target in self._release.targets)
        return (
            f"modelgate: {targets}; {len(self._release.cases)} cases, {len(self._release.gates)} gates "
            f"from {self._release.gates_file.path.name}"
        )

    # During the run

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather the record that rides on a case's report."""
        carried: Json | None = getattr(report, REPORT_ATTRIBUTE, None)
        if carried is None:
            return
        record = Record.from_json(carried["record"])
        self._records[record.target, record.suite, record.case] = record
        self._seconds[record.target] += report.duration
        if carried["engine"] is not None:
            self._engines[record.target] = carried["engine"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, Any] | None:
        """Give cases and gates their own letters: m for a miss, g and G for gates."""
        gate: str | None = getattr(report, GATE_ATTRIBUTE, None)
        if gate is not None and report.when == "call":
            if report.failed:
                return "failed", "G", f"GATE {gate.upper()}"
            green = gate == "passed"
            return (
                ("passed", "g", "GATE PASSED") if green else ("warned", "w", (f"GATE {gate.upper()}", {"yellow": True}))
            )
        carried: Json | None = getattr(report, REPORT_ATTRIBUTE, None)
        if carried is None:
            return None
        if report.failed and carried["record"]["outcome"] == "missed":
            return _LETTERS["failed"]  # --modelgate-strict
        return _LETTERS[carried["record"]["outcome"]]

    # After the cases

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Judge the gates when all items are done: later is too late to change the exit code."""
        result = yield
        if not session.config.option.collectonly:
            self._finish(session, stopped=None)
        return result

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write what is known of a run that ended before its gates could be judged."""
        if session.config.option.collectonly:
            if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED  # nothing to judge is never a status of its own
        elif self._outcome is None and exitstatus != pytest.ExitCode.USAGE_ERROR:
            self._finish(session, stopped="the run stopped before all cases were done: gates were not judged in full")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the gates, the misses worth looking at and the verdict."""
        if self._outcome is None:
            return
        terminalreporter.section("modelgate")
        for line, colour in summary_lines(self._outcome):
            terminalreporter.write_line(line, **({colour: True} if colour else {}))
        shown = self._settings.out / REPORT
        terminalreporter.write_line(f"report: {shown}" if self._write_error is None else self._write_error)

    def _finish(self, session: pytest.Session, stopped: str | None) -> None:
        """Measure speed, judge, write the report, and hand every gate to pytest as a test of its own."""
        performances = {} if stopped else self._measure()
        records = self._records_in_order()
        results = evaluate(self._release.gates, self._release.kinds, records, performances)
        self._outcome = RunOutcome(
            release=self._release,
            records=records,
            gates=tuple(results),
            performances=performances,
            engines=self._engines,
            seconds=self._seconds,
            created=self._started,
            duration_s=time.monotonic() - self._clock,
            command=shlex.join(["pytest", *map(str, self._config.invocation_params.args)]),
            stopped=stopped,
            strict=self._settings.strict,
        )
        try:
            write_report(self._outcome, self._settings.out)
        except OSError as error:
            where = error.filename or self._settings.out
            self._write_error = f"report could not be written: {where}: {error.strerror}"
            self._outcome = replace(self._outcome, stopped=self._write_error)
            with contextlib.suppress(OSError):
                clear_old_report(self._settings.out)  # half of a report, which may say passed
        if stopped is None:
            self._report_gates(session, results)

    def _records_in_order(self) -> tuple[Record, ...]:
        """Return the records as the suites list them, whatever order workers sent them in."""
        keys = ((target.id, case.suite, case.id) for target in self._release.targets for case in self._release.cases)
        return tuple(self._records[key] for key in keys if key in self._records)

    def _measure(self) -> dict[str, Performance]:
        """Run the latency phase for every target that a gate judges by its speed or memory."""
        performances = {}
        terminal: pytest.TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        for target in latency.targets_to_measure(self._release):
            if all(record.outcome == "error" for record in self._records.values() if record.target == target.id):
                continue  # an engine that answered nothing has no speed
            if terminal is not None and self._config.get_verbosity() >= 0:
                terminal.write_line("")
                terminal.write_line(f"measuring {target.id}, one request at a time")
            performances[target.id] = latency.measure(self._release, target)
        return performances

    def _report_gates(self, session: pytest.Session, results: list[GateResult]) -> None:
        """Emit one report per gate result, so that terminal, JUnit and exit code follow by themselves."""
        path = self._release.gates_file.path
        root = self._config.rootpath
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        # Progress would exceed 100 % if gates were not counted as collected.
        session.testscollected += len(results) + bool(self._write_error)
        for result in results:
            outcome = result.outcome if result.blocks or result.outcome == "passed" else f"{result.outcome}, warns only"
            self._emit(f"{name}::{gate_id(result)}", outcome, plain(result.reason) if result.blocks else None)
        if self._write_error is not None:
            self._emit(f"{name}::report", "failed", self._write_error)
        if self._outcome is not None and self._outcome.verdict == "blocked" and not session.testsfailed:
            # Whatever made a failing case look otherwise to pytest (an xfail mark, another plugin): blocked is not 0.
            session.testscollected += 1
            self._emit(f"{name}::verdict", "failed", "\n".join(plain(reason) for reason in self._outcome.reasons))

    def _emit(self, nodeid: str, outcome: str, failure: str | None) -> None:
        """Report a test that did not run as an item."""
        path, _, name = nodeid.partition("::")
        for when in ("setup", "call", "teardown"):
            failed = failure if when == "call" else None
            report = pytest.TestReport(
                nodeid=nodeid,
                location=(path, None, name),
                keywords={},
                outcome="failed" if failed is not None else "passed",
                longrepr=failed,
                when=when,
            )
            setattr(report, GATE_ATTRIBUTE, outcome)
            self._config.hook.pytest_runtest_logreport(report=report)

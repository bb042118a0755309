"""Decide: gather records from the reports, judge the gates once, and let pytest report each as a test."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate import benchmark, latency
from pytest_modelgate.acceptance import accept, why_not
from pytest_modelgate.carried import carried_by
from pytest_modelgate.clearing import Preflight
from pytest_modelgate.errors import JournalError
from pytest_modelgate.evaluation import Findings, evaluate
from pytest_modelgate.fail_fast import FailFast
from pytest_modelgate.gates import GateResult, gate_id
from pytest_modelgate.journal import JOURNAL, Journal
from pytest_modelgate.machine import describe_machine
from pytest_modelgate.options import Settings
from pytest_modelgate.records import Json, Performance, Record
from pytest_modelgate.release import Release
from pytest_modelgate.repeats import RepeatFindings, compare_repeats
from pytest_modelgate.report.escape import plain
from pytest_modelgate.report.files import REPORT, clear_old_report, write_report
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.report.terminal import summary_lines
from pytest_modelgate.synthetic import emit
from pytest_modelgate.targets import Target

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

    def __init__(self, config: pytest.Config, release: Release, settings: Settings, preflight: Preflight) -> None:
        self._preflight = preflight
        self._config = config
        self._release = release
        self._settings = settings
        self._records: dict[tuple[str, str, str], Record] = {}
        self._repeats: dict[tuple[str, str, str], list[Record]] = {}
        self._roles = {target.id: target.spec.role for target in release.targets}
        self._fail_fast = FailFast(release.gates) if settings.fail_fast else None
        self._session: pytest.Session | None = None
        self._lost: str | None = None
        self._engines: dict[str, Json] = {}
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._outcome: RunOutcome | None = None
        self._write_error: str | None = None
        self._started = time.time()
        self._clock = time.monotonic()

    # Before the run

    def pytest_report_header(self) -> str:
        """Say what is judged by what."""
        judged = ", ".join(f"{target.id} ({target.spec.kind})" for target in self._release.judged)
        controls = ", ".join(target.id for target in self._release.controls)
        against = f" against {controls}" if controls else ""
        if self._release.references:
            against += f", made from {' -> '.join(target.id for target in self._release.references)}"
        return (
            f"modelgate: {judged}{against}; {len(self._release.cases)} cases, {len(self._release.gates)} gates "
            f"from {self._release.gates_file.path.name}"
        )

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember what a run is stopped by."""
        self._session = session

    # During the run

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Gather the record that rides on a case's report."""
        carried = carried_by(report)
        if carried is None:
            return
        record = carried.record
        self._records[record.target, record.suite, record.case] = record
        self._seconds[record.target] += report.duration
        if carried.repeats:
            self._repeats[record.target, record.suite, record.case] = list(carried.repeats)
        if carried.engine is not None:
            self._engines[record.target] = carried.engine
        if self._fail_fast is not None and self._lost is None and self._roles[record.target] == "model":
            self._stop_if_lost(self._fail_fast.add(record, self._release.kinds[record.target]))

    def _stop_if_lost(self, reason: str | None) -> None:
        """End the run when the verdict is certain."""
        if reason is None:
            return
        self._lost = f"stopped early: {reason}"
        # Under xdist its own session decides; without it, pytest's.
        session: Any = self._config.pluginmanager.get_plugin("dsession") or self._session
        session.shouldstop = self._lost

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
        carried = carried_by(report)
        if carried is None:
            return None
        record = carried.record
        if (role := self._roles[record.target]) != "model":
            return role, role[0], (role.upper(), {"purple": True})
        if (record.suite, record.case) in self._release.rules.quarantine.active:
            return "quarantined", "q", ("QUARANTINED", {"yellow": True})
        if self._settings.any_of and record.outcome == "failed":
            return "missed", "m", ("MISSED", {"yellow": True})
        if report.failed and record.outcome in {"passed", "missed"}:
            return _LETTERS["failed"]  # in a repeat, or by --modelgate-strict
        return _LETTERS[record.outcome]

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
            stopped = "the run stopped before all cases were done: gates were not judged in full"
            self._finish(session, stopped=self._lost or stopped)
            if self._lost is not None:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED  # nobody interrupted: the release is blocked

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
        if (line := self._config.pluginmanager.get_plugin("modelgate-progress")) is not None:
            line.stop()
        performances = {} if stopped else self._measure()
        records = self._records_in_order(self._records)
        findings = Findings(
            targets=self._release.kinds,
            records=records,
            performances=performances,
            controls=tuple(target.id for target in self._release.controls),
            evidence=self._release.evidence,
            baseline=self._release.rules.baseline,
            accepting=self._settings.accept is not None,
            reference=None if self._release.reference is None else self._release.reference.id,
            figures=self._figures(),
        )
        results = evaluate(self._release.gates, findings)
        self._outcome = RunOutcome(
            release=self._release,
            records=records,
            gates=tuple(results),
            performances=performances,
            preflight=self._preflight.results,
            engines=self._engines,
            seconds=self._seconds,
            repeats=self._compare_repeats(findings),
            created=self._started,
            duration_s=time.monotonic() - self._clock,
            command=shlex.join(["pytest", *map(str, self._config.invocation_params.args)]),
            stopped=stopped,
            strict=self._settings.strict,
            any_of=self._settings.any_of,
        )
        if self._settings.accept is not None:
            self._outcome = self._accept(self._outcome, session, self._settings.accept)
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

    def _accept(self, outcome: RunOutcome, session: pytest.Session, reason: str) -> RunOutcome:
        """Make this run the baseline, or say why not."""
        refused = why_not(outcome) or ("another test failed" if session.testsfailed else None)
        try:
            told = f"baseline not written: {refused}" if refused else _accepted(accept(outcome, reason))
            if refused and outcome.verdict == "passed":
                outcome = replace(outcome, stopped=told)  # what was asked for was not done
        except OSError as error:
            told = f"baseline could not be written: {error.filename}: {error.strerror}"
            outcome = replace(outcome, stopped=told)
        return replace(outcome, accepted=told)

    def _figures(self) -> dict[str, dict[str, float]]:
        """Return what preflight measured of each target."""
        figures: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for one in self._preflight.results:
            figures[one.target] |= one.figures
        return figures

    def _compare_repeats(self, findings: Findings) -> RepeatFindings | None:
        """Say what --modelgate-repeat found."""
        if self._settings.repeats == 1 or not self._repeats:
            return None
        rounds = [findings.records]
        for number in range(self._settings.repeats - 1):
            this = {key: records[number] for key, records in self._repeats.items() if number < len(records)}
            rounds.append(self._records_in_order(this))
        return compare_repeats(self._release.gates, findings, rounds)

    def _records_in_order(self, found: Mapping[tuple[str, str, str], Record]) -> tuple[Record, ...]:
        """Return records as the suites list them, whatever order workers sent them in."""
        keys = ((target.id, case.suite, case.id) for target in self._release.targets for case in self._release.cases)
        return tuple(found[key] for key in keys if key in found)

    def _measure(self) -> dict[str, Performance]:
        """Run the latency phase for every target that a gate judges by its speed or memory."""
        performances = {}
        for target in latency.targets_to_measure(self._release):
            if all(record.outcome == "error" for record in self._records.values() if record.target == target.id):
                continue  # an engine that answered nothing has no speed
            self._tell(f"measuring {target.id}, one request at a time")
            performances[target.id] = latency.measure(self._release, target, self._release.baseline_model, self._tell)
            self._keep(target, performances[target.id])
        benchmark.show_speed(self._config, self._release, performances, self._release.baseline_model)
        return performances

    def _tell(self, line: str) -> None:
        """Show a line at once: what follows may take long."""
        terminal: pytest.TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and self._config.get_verbosity() >= 0:
            begun = bool(self._config.get_terminal_writer().width_of_current_line)
            terminal.write("\n" * begun + f"{line}\n", flush=True)

    def _keep(self, target: Target, measured: Performance) -> None:
        """Write measured times into the journal, so that a regate on this machine need not measure again."""
        if not self._settings.use_journal or not target.is_reusable or measured.error is not None:
            return
        about = {"target": target.id, "identity": target.identity, "machine": describe_machine()}
        with contextlib.suppress(JournalError), Journal(self._settings.out / JOURNAL) as journal:
            journal.append_performance(about, measured)

    def _report_gates(self, session: pytest.Session, results: list[GateResult]) -> None:
        """Emit one report per gate result, so that terminal, JUnit and exit code follow by themselves."""
        path = self._release.gates_file.path
        root = self._config.rootpath
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
        # Progress would exceed 100 % if gates were not counted as collected.
        session.testscollected += len(results) + bool(self._write_error)
        may_fail = self._outcome is None or self._outcome.verdict == "blocked" or not self._settings.any_of
        self._preflight.report(session, may_fail=may_fail)
        for result in results:
            blocks = result.blocks and may_fail
            outcome = result.outcome if blocks or result.outcome == "passed" else f"{result.outcome}, warns only"
            self._emit(f"{name}::{gate_id(result)}", outcome, plain(result.reason) if blocks else None)
        if self._write_error is not None:
            self._emit(f"{name}::report", "failed", self._write_error)
        if self._outcome is not None and self._outcome.verdict == "blocked" and not session.testsfailed:
            # Whatever made a failing case look otherwise to pytest (an xfail mark, another plugin): blocked is not 0.
            session.testscollected += 1
            self._emit(f"{name}::verdict", "failed", "\n".join(plain(reason) for reason in self._outcome.reasons))

    def _emit(self, nodeid: str, outcome: str, failure: str | None) -> None:
        """Report a gate."""
        emit(self._config, nodeid, GATE_ATTRIBUTE, outcome, failure)


def _accepted(files: Sequence[Path]) -> str:
    """Say where the baseline stands."""
    return f"accepted as the baseline: {', '.join(f'{file.parent.name}/{file.name}' for file in files)}; commit it"

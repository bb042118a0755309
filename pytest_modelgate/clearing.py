"""Let pytest show and report a preflight: before the first case is generated, and as tests of their own."""

from __future__ import annotations

from collections.abc import Generator
from itertools import groupby

import pytest

from pytest_modelgate.options import Settings
from pytest_modelgate.preflight.check import CheckResult
from pytest_modelgate.preflight.release import check_release
from pytest_modelgate.release import Release
from pytest_modelgate.report.escape import plain
from pytest_modelgate.report.preflight import check_lines
from pytest_modelgate.synthetic import emit

CHECK_ATTRIBUTE = "modelgate_check"
"""The attribute of a check's own TestReport that holds its outcome."""

_LETTERS = {
    "passed": ("passed", ".", ("CHECK PASSED", {"green": True})),
    "warned": ("warned", "w", ("CHECK WARNED", {"yellow": True})),
    "not checked": ("not checked", "-", ("NOT CHECKED", {"yellow": True})),
    "failed": ("failed", "P", ("CHECK FAILED", {"red": True})),
}
"""Category, letter and word for each outcome of a check."""


class Preflight:
    """Check the targets in the deciding process before any case runs; :attr:`results` holds what was found."""

    def __init__(self, config: pytest.Config, release: Release, settings: Settings) -> None:
        self.results: tuple[CheckResult, ...] = ()
        self._config = config
        self._release = release
        self._stops = settings.fail_fast

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Check first: a broken export is told in seconds, with its cause."""
        if not session.config.option.collectonly and not session.testsfailed and self._release.gates:
            self.results = tuple(self._checked())
            if any(one.outcome == "failed" for one in self.results) and (
                self._stops or session.config.getvalue("maxfail")
            ):
                raise session.Failed("preflight failed")
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, object] | None:
        """Give checks their own letters: P for one that failed, - for one that could not be done."""
        outcome: str | None = getattr(report, CHECK_ATTRIBUTE, None)
        return None if outcome is None or report.when != "call" else _LETTERS[outcome]

    def report(self, session: pytest.Session, *, may_fail: bool) -> None:
        """Hand every check to pytest as a test; ``may_fail``: one that failed fails the run."""
        session.testscollected += len(self.results)
        for one in self.results:
            failure = "\n".join(plain(line, 500) for line in (f"{one.mode}: {one.reason}", *one.details))
            is_failure = one.outcome == "failed" and may_fail
            outcome = "warned" if one.outcome == "failed" and not may_fail else one.outcome
            emit(self._config, one.id, CHECK_ATTRIBUTE, outcome, failure if is_failure else None)

    def _checked(self) -> Generator[CheckResult]:
        """Yield each result, and show what matters of a target's as soon as they are all there."""
        terminal: pytest.TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        is_shown = terminal is not None and self._config.get_verbosity() >= 0
        for target, found in groupby(check_release(self._release), key=lambda one: one.target):
            results = []
            for one in found:
                results.append(one)
                yield one
            if is_shown and terminal is not None:
                for line, colour in check_lines(target, results):
                    terminal.write_line(line, **({colour: True} if colour else {}))

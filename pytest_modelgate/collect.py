"""Turn the cases of a suite file into pytest items, one for each target, and run them."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.carried import Carried
from pytest_modelgate.cases import Case, SuiteFile
from pytest_modelgate.errors import JournalError
from pytest_modelgate.journal import JOURNAL, Journal
from pytest_modelgate.options import Settings
from pytest_modelgate.records import EngineInfo, Json, Record
from pytest_modelgate.release import Release
from pytest_modelgate.report.misses import describe_miss
from pytest_modelgate.runner import TargetRun, Watcher
from pytest_modelgate.targets import Target


class CaseFailedError(Exception):
    """Carry the record of a case that fails the run into pytest's failure report."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.case)
        self.record = record


class Collector:
    """Collect the release suites and hand each item its record; lives in every process that runs items."""

    def __init__(self, release: Release, settings: Settings, watcher: Watcher | None = None) -> None:
        self._watcher = watcher
        self._release = release
        self._settings = settings
        self._files = {file.path: file for file in release.files}
        self._runs: dict[str, TargetRun] = {}
        self._journal: Journal | None = None
        self._engines: dict[str, tuple[EngineInfo, Json]] = {}

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> SuiteNode | None:
        """Collect the files of the suites."""
        file = self._files.get(file_path)
        if file is None:
            return None
        node: SuiteNode = SuiteNode.from_parent(
            parent, path=file_path, suite_file=file, targets=self._release.targets, collector=self
        )
        return node

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the cases of one target together, so that one model is loaded at a time; critical ones first."""
        order = {target.id: number for number, target in enumerate(self._release.targets)}
        first = self._settings.fail_fast

        def place(item: pytest.Item) -> tuple[int, bool]:
            if not isinstance(item, CaseItem):
                return -1, False
            return order[item.target.id], first and not item.case.critical

        items.sort(key=place)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Plan every target's selected cases together, so that its engine can work ahead."""
        if session.config.option.collectonly:
            return
        try:
            if self._settings.use_journal and any(target.is_reusable for target in self._release.targets):
                self._journal = Journal(self._settings.out / JOURNAL)
        except JournalError as error:
            raise pytest.UsageError(str(error)) from None
        for target in self._release.targets:
            cases = [item.case for item in session.items if isinstance(item, CaseItem) and item.target is target]
            self._runs[target.id] = TargetRun(
                self._release, target, cases, self._journal, self._settings.repeats, self._watcher
            )

    def record(self, item: CaseItem) -> Record:
        """Return the item's record, waiting for its engine."""
        return self._runs[item.target.id].record(item.case)

    def repeats(self, item: CaseItem) -> list[Record]:
        """Return the records of the item's repeats."""
        run = self._runs[item.target.id]
        return [run.record(item.case, repeat) for repeat in range(1, self._settings.repeats)]

    def is_failure(self, item: CaseItem, record: Record) -> bool:
        """
        Say whether the case by itself fails the run.

        No control's, reference's or quarantined one does; nor any where one target that passes is enough, before all
        are known.
        """
        key = (item.case.suite, item.case.id)
        if item.target.spec.role != "model" or key in self._release.rules.quarantine.active:
            return False
        if self._settings.any_of:
            return False
        return record.fails_run(strict=self._settings.strict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the record ride on the item's report."""
        report = yield
        if isinstance(item, CaseItem) and report.when == "call" and item.record is not None:
            Carried(item.record, tuple(item.repeats), self._engine_json(item.target.id)).put_on(report)
        return report

    def _engine_json(self, target: str) -> Json | None:
        """Return what runs a target as primitives, made once: it rides on every report."""
        info = self._runs[target].engine_info
        if info is None:
            return None
        known = self._engines.get(target)
        if known is None or known[0] is not info:
            known = self._engines[target] = (info, info.to_json())
        return known[1]

    def pytest_unconfigure(self) -> None:
        """End the engines and the journal, however the run ends."""
        for run in self._runs.values():
            run.close()
        if self._journal is not None:
            self._journal.close()


class SuiteNode(pytest.File):
    """Collect one suite file."""

    def __init__(
        self, *, suite_file: SuiteFile, targets: tuple[Target, ...], collector: Collector, **pytest_arguments: Any
    ) -> None:
        super().__init__(**pytest_arguments)
        self._suite_file = suite_file
        self._targets = targets
        self._collector = collector

    def collect(self) -> Iterable[CaseItem]:
        """Yield an item for each target and case; a bad line is one line of error."""
        if self._suite_file.error is not None:
            raise self.CollectError(str(self._suite_file.error))
        for target in self._targets:
            for case in self._suite_file.cases:
                name = f"{case.id}[{target.id}]"
                # Written out, because pytest 9.2 would take the brackets as a part of the name here, and as
                # parameters where it reads the id back: --lf then finds no case again.
                nodeid = f"{self.nodeid}::{name}"
                yield CaseItem.from_parent(
                    self, name=name, nodeid=nodeid, case=case, target=target, collector=self._collector
                )


class CaseItem(pytest.Item):
    """Run one case on one target; selected by the marks and keywords of its suite, task, target and tags."""

    def __init__(self, *, case: Case, target: Target, collector: Collector, **pytest_arguments: Any) -> None:
        super().__init__(**pytest_arguments)
        self.case = case
        self.target = target
        self.record: Record | None = None
        self.repeats: list[Record] = []
        self._collector = collector
        for name in ("modelgate", case.suite, *(["critical"] if case.critical else [])):
            self.add_marker(name)
        self.extra_keyword_matches.update((case.task, target.id, *case.tags))

    def runtest(self) -> None:
        """Wait for the record; fail if it fails the run."""
        self.record = self._collector.record(self)
        self.repeats = self._collector.repeats(self)
        # Wrong once is wrong; a repeat without an answer changes nothing.
        for record in (self.record, *(again for again in self.repeats if again.outcome == "failed")):
            if self._collector.is_failure(self, record):
                raise CaseFailedError(record)

    def repr_failure(  # type: ignore[override]  # a text is all that a case has to say
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> str:
        """Describe a failed case in the words of its suite; leave other errors to pytest."""
        if isinstance(excinfo.value, CaseFailedError):
            return "\n".join(describe_miss(excinfo.value.record))
        if isinstance(excinfo.value, JournalError):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Say where the case stands."""
        return self.path, self.case.line - 1, f"{self.case.suite} {self.case.id} on {self.target.id}"

"""Hand pytest the report of a test that did not run as an item: a gate, a check of a preflight."""

from __future__ import annotations

import pytest


def emit(config: pytest.Config, nodeid: str, attribute: str, value: str, failure: str | None) -> None:
    """
    Report setup, call and teardown of ``nodeid``; ``failure``: why it failed, None where it did not.

    ``attribute`` is set to ``value`` on each report, for whoever chooses its letter.
    """
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
        setattr(report, attribute, value)
        config.hook.pytest_runtest_logreport(report=report)

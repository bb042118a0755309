"""A user's check can neither crash nor hang the run."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pytest_modelgate.contracts import bounded
from pytest_modelgate.contracts.bounded import run_check
from pytest_modelgate.contracts.schema import load_schema_check


def test_a_check_that_raises_is_a_reason() -> None:
    """What a validator raises on an output is told as the output's fault."""

    def check(value: object) -> str | None:
        return {"known": None}[str(value)]

    assert run_check(check, "known") is None
    assert run_check(check, "other") == "the check raised KeyError: 'other'"


def test_a_regex_that_backtracks_forever_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A pattern that would take longer than the universe lasts costs the time limit."""
    monkeypatch.setattr(bounded, "SECONDS", 0.2)
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({"type": "string", "pattern": "^(a+)+$"}), encoding="utf-8")
    started = time.monotonic()

    reason = run_check(load_schema_check(path, "schema"), "a" * 60 + "!")

    assert reason == "the check was not done after 0.2 s"
    assert time.monotonic() - started < 5


def test_the_time_limit_of_somebody_else_goes_on() -> None:
    """An alarm that was set before is still set afterwards."""
    import signal

    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 100)
    try:
        assert run_check(lambda _: None, 1) is None

        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_IGN
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

"""Run a user's check so that no output can crash or hang the run: a schema's regex, a class's own validator."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pytest_modelgate.contracts.schema import ValueCheck

SECONDS = 5.0
"""Time after which a check of one output is given up."""


def run_check(check: ValueCheck, value: Any) -> str | None:
    """Return why ``value`` is not acceptable, or None; a check that raises or is not done in time is a reason too."""
    try:
        with deadline(SECONDS):
            return check(value)
    except OutOfTimeError:
        return f"the check was not done after {SECONDS:g} s"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's validator may raise anything on what a model wrote
        return f"the check raised {type(error).__name__}: {error}"


class OutOfTimeError(BaseException):
    """Interrupt a check; no Exception, so that the check itself cannot catch it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """
    Raise OutOfTimeError inside the block when it takes longer than ``seconds``.

    Python's regex engine looks for signals while it backtracks, so that an alarm ends even that. Signals reach the main
    thread of a Unix process only; elsewhere there is no bound.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise OutOfTimeError

    # Another plugin's time limit (pytest-timeout) uses the same alarm; it goes on with what was left of it.
    handler = signal.signal(signal.SIGALRM, interrupt)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, handler)

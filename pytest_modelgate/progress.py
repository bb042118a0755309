"""
Show how far a run is while targets answer: a live text behind pytest's dots, or a plain line every half minute in CI.

The deciding process shows it: told by the run of a target where that runs in the same process, else by the reports that
workers send. The live text stands behind the cursor and is taken away before pytest writes its next character, so that
what stays on the screen is pytest's own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_modelgate.carried import carried_by
from pytest_modelgate.records import Failure, Generation

PLAIN_EVERY_S = 30.0
LIVE_EVERY_S = 0.2

_SAVE, _RESTORE, _CLEAR = "\x1b7", "\x1b8", "\x1b[K"
_EDGE = 9  # pytest writes " [100%]" at the end of a line
_SHORTEST = 12


@dataclass(slots=True)
class Tally:
    """
    Count what one target has answered of what it has to generate.

    ``first_at``: when its first answer came, in seconds of the clock: speed counts from there, because before it the
    model was loaded. ``tokens``: of the answers after the first.
    """

    planned: int
    first_at: float = 0.0
    done: int = 0
    tokens: int = 0
    drafted: int = 0
    accepted: int = 0


@dataclass(slots=True)
class Progress:
    """Hold the tallies of the targets that are at work, by id."""

    clock: Callable[[], float] = time.monotonic
    tallies: dict[str, Tally] = field(default_factory=dict)

    def start(self, target: str, planned: int) -> None:
        """Say that a target is going to answer so many requests."""
        self.tallies[target] = Tally(planned)

    def add(self, target: str, tokens: int, drafted: int = 0, accepted: int = 0) -> None:
        """Count one answer; the target is no longer shown after its last."""
        tally = self.tallies.get(target)
        if tally is None:
            return
        if tally.done:
            tally.tokens += tokens
        else:
            tally.first_at = self.clock()
        tally.done += 1
        tally.drafted += drafted
        tally.accepted += accepted
        if tally.done >= tally.planned:
            self.end(target)

    def skip(self, target: str) -> None:
        """Say that one request less is to be answered: the journal had it."""
        tally = self.tallies.get(target)
        if tally is not None:
            tally.planned -= 1
            if tally.done >= tally.planned:
                self.end(target)

    def end(self, target: str) -> None:
        """Say that a target answers no more, however it ended."""
        self.tallies.pop(target, None)

    def text(self, width: int = 200) -> str:
        """Return the longest text that fits into ``width`` characters; nothing where nobody is at work or none fits."""
        *rates, left = self._rates() or [""]
        working = self.tallies.items()
        counts = ", ".join(
            f"{name}: {f'{t.done} of {t.planned} cases' if t.done else 'starting'}" for name, t in working
        )
        short = ", ".join(f"{t.done}/{t.planned}" for _, t in working)
        forms = ((counts, *rates, left), (counts, left), (short, *rates[:1], left), (short, left), (left,))
        texts = (", ".join(part for part in form if part) for form in forms)
        return next((text for text in texts if len(text) <= width), "")

    def _rates(self) -> list[str]:
        """Return tokens a second, the share of drafts that was right, and the time left, as far as they are known."""
        now = self.clock()
        working = [tally for tally in self.tallies.values() if tally.done > 1]
        if not working:
            return []
        seconds = [max(now - tally.first_at, 1e-3) for tally in working]
        speed = sum(tally.tokens / elapsed for tally, elapsed in zip(working, seconds, strict=True))
        left = max((t.planned - t.done) * elapsed / (t.done - 1) for t, elapsed in zip(working, seconds, strict=True))
        drafted, accepted = (sum(getattr(tally, name) for tally in working) for name in ("drafted", "accepted"))
        return [
            *([f"{speed:.0f} tokens/s"] if speed >= 1 else []),
            *([f"{accepted / drafted:.0%} of drafts accepted"] if drafted else []),
            f"{duration(left)} left",
        ]


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    minutes = round(seconds / 60)
    if seconds < 99.5:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004


class ProgressLine:
    """Show the progress on pytest's terminal; register it in the deciding process, tell :meth:`start` and :meth:`answered`."""

    def __init__(self, config: pytest.Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._progress = Progress(clock)
        self._planned: dict[str, int] = {}
        self._is_live = False
        self._is_drawn = False
        self._shown_at = clock()

    # Told by the run of a target in this process

    def start(self, target: str, planned: int) -> None:
        """Say that a target is going to answer so many requests; its model is not loaded yet."""
        self._progress.start(target, planned)
        self._show()

    def answered(self, target: str, result: Generation | Failure) -> None:
        """Count one answer."""
        tokens = result.output_tokens if isinstance(result, Generation) else 0
        drafts = (getattr(result, name, 0) for name in ("drafted_tokens", "accepted_tokens"))
        self._progress.add(target, tokens, *drafts)
        self._show()

    def end(self, target: str) -> None:
        """Say that a target answers no more."""
        self._progress.end(target)

    # Told by workers

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Learn how many cases each target has: node ids end with the target's id in brackets."""
        self._planned = {}
        for nodeid in ids:
            name = nodeid.rpartition("[")[2].removesuffix("]")
            self._planned[name] = self._planned.get(name, 0) + 1

    def _count(self, report: pytest.TestReport) -> None:
        """Count the answers that a worker's report carries; a case without one counts as well."""
        carried = carried_by(report)
        if carried is None or not self._config.pluginmanager.has_plugin("dsession"):
            return
        target = carried.record.target
        if target in self._planned:
            self._progress.start(target, self._planned.pop(target))
        if not carried.record.replayed:
            tokens = sum(one.output_tokens for one in (carried.record, *carried.repeats))
            self._progress.add(target, tokens)
        else:
            self._progress.skip(target)

    # Around what pytest writes

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None]:
        """Take the live text away before pytest writes its letter, and put it back behind it."""
        self._erase()
        self._count(report)
        yield
        if carried_by(report) is not None:
            self._show()
        self._put_back()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self) -> Generator[None]:
        """Make room for the name of a file or of a case."""
        self._erase()
        yield
        self._put_back()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logfinish(self) -> Generator[None]:
        """Make room for the percentage at the end of a line."""
        self._erase()
        yield
        self._put_back()

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self) -> None:
        """Leave nothing behind."""
        self.stop()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Leave nothing behind."""
        self.stop()

    def stop(self) -> None:
        """Take away what is shown and show no more: the cases are over, whatever some of them lack."""
        self._erase()
        self._progress.tallies.clear()
        self._is_live = False

    def _show(self) -> None:
        """Write what is new if it is time."""
        terminal: pytest.TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is None or self._config.get_verbosity() < 0:
            return
        is_terminal = terminal.isatty() and os.environ.get("TERM") != "dumb"
        if self._clock() - self._shown_at < (LIVE_EVERY_S if is_terminal else PLAIN_EVERY_S):
            return
        if is_terminal:
            self._is_live = True
            self._shown_at = self._clock()
            self._put_back()
        else:
            self._write_plain(terminal)

    def _put_back(self) -> None:
        """Write the live text behind the cursor, as much of it as the line has room for."""
        if not self._is_live:
            return
        writer = self._config.get_terminal_writer()
        room = writer.fullwidth - writer.width_of_current_line - _EDGE
        text = self._progress.text(room) if room >= _SHORTEST else ""
        if text:
            self._write(f"{_SAVE}{_CLEAR}  {text}{_RESTORE}")
            self._is_drawn = True
        else:
            self._erase()
            self._is_live = bool(self._progress.tallies)

    def _erase(self) -> None:
        """Take the live text away."""
        if self._is_drawn:
            self._is_drawn = False
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        """Write to the terminal past pytest, which counts the width of what it wrote itself."""
        with self._uncaptured():
            sys.stdout.write(text)
            sys.stdout.flush()

    def _write_plain(self, terminal: pytest.TerminalReporter) -> None:
        """Write a line of its own between the dots; with -v every case has a line already."""
        text = self._progress.text()
        if not text or self._config.get_verbosity() > 0:
            return
        self._shown_at = self._clock()
        with self._uncaptured():
            # The dots go on below, as they do where a line is full.
            terminal.write(f"\nmodelgate: {text}\n", flush=True)

    def _uncaptured(self) -> AbstractContextManager[None]:
        """Let what is written reach the terminal, also while a case runs."""
        capture: Any = self._config.pluginmanager.get_plugin("capturemanager")
        return nullcontext() if capture is None else capture.global_and_fixture_disabled()

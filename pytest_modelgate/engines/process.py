"""
Host a native engine in a process of its own, and outlive that process.

llama.cpp ends its process on some files and inputs, and the kernel ends it when memory runs out. The requests that were
then in flight are tried once more, each alone; one with which the process ends again is given up, the others go on.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Self

import pytest_modelgate
from pytest_modelgate.engines import EngineSettings, Result
from pytest_modelgate.errors import EngineDiedError, EngineStartError
from pytest_modelgate.records import EngineInfo, Failure, Generation, Json, Request

__all__ = ["Child", "ProcessEngine", "StoppedError"]

_ENVIRONMENT = {
    "GGML_NO_BACKTRACE": "1",  # else an abort starts a debugger, which takes 20 s
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
}

# OpenMP's threads spin while they wait for each other, 300,000 turns by default: where other programs are busy too, they
# take the processor from the thread they wait for (a 90M model on two busy cores: 8 tokens/s, 130 to 170 without
# spinning). Not spinning at all makes an idle machine slow instead (2M model: 32 ms an answer, 3 ms with these turns).
_DEFAULTS = {"GOMP_SPINCOUNT": "20000"}

# The worker runs this very package, installed or not, and finds nothing else in the current folder (-P): a user's
# own `datasets/` must not shadow a library.
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, {root!r}); import pytest_modelgate; del sys.path[0]; "
    "from pytest_modelgate.engines.worker import main; main()"
)

_MAX_STOPS_BEFORE_ANSWER = 6  # three requests, two tries each
_MAX_STOPS_IN_A_ROW = 20


class StoppedError(Exception):
    """Report that the process ended by itself (``died``) or had to be ended (``hung``)."""

    def __init__(self, kind: Literal["died", "hung"], how: str) -> None:
        super().__init__(how)
        self.kind = kind
        self.how = how


class ProcessEngine:
    """
    Run an engine of ``kind`` (``gguf``, ``adapter``) in a child process.

    ``arguments`` are primitives that the worker makes the engine from. ``on_started`` is called with a request's key
    when the engine takes it up. The process starts with the first use and again after each end.
    """

    def __init__(self, kind: str, arguments: Json, settings: EngineSettings) -> None:
        self.on_started: Callable[[str], None] = _ignore
        self._first: Json = {"kind": kind, "arguments": arguments, "settings": settings.to_json()}
        self._timeout_s = settings.timeout_s
        self._child: Child | None = None
        self._info: EngineInfo | None = None
        self._peak_rss_bytes: int | None = None
        self._tells_starts = False
        self._is_busy = False
        self._answered = False
        self._stops_in_a_row = 0

    @property
    def pid(self) -> int | None:
        """Return the id of the process, None when none runs."""
        return None if self._child is None else self._child.pid

    def describe(self) -> EngineInfo:
        """Start the process if need be, and say what it loaded."""
        if self._info is None:
            self._running_child()
        assert self._info is not None  # noqa: S101  # set by the line above
        return self._info

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """
        Yield one result for each request as it comes in; keys must differ.

        Raises :class:`~pytest_modelgate.errors.EngineStartError` when the engine cannot be started or never answers
        anything, :class:`~pytest_modelgate.errors.EngineDiedError` when it dies without end later on.
        """
        waiting = {request.key: request for request in requests}
        in_flight: list[str] = []
        try:
            while waiting:
                try:
                    yield from self._run(waiting, in_flight)
                except StoppedError as stopped:
                    self._note_stop(stopped)
                    # An engine that does not tell what it took up may have died of any of them.
                    suspects = list(in_flight) if self._tells_starts else list(waiting)
                    for key in suspects:
                        yield self._run_alone(waiting.pop(key))
        finally:
            if self._is_busy:  # the caller gave up; what still comes in must not be taken for another call's
                self._end_child()

    def peak_rss_bytes(self) -> int | None:
        """Return the largest resident memory that the process said it had, restarts included."""
        return self._peak_rss_bytes

    def close(self) -> None:
        """End the process."""
        self._end_child()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, waiting: dict[str, Request], in_flight: list[str]) -> Iterator[Result]:
        """
        Send all that waits and yield what comes back, removing it from ``waiting``.

        ``in_flight`` is kept up to date with the keys that were started and have no result yet.
        """
        in_flight.clear()
        child = self._running_child()
        self._is_busy = True
        child.send({"requests": [request.to_json() for request in waiting.values()]})
        while (event := child.receive(self._timeout_s))["event"] != "done":
            if event["event"] == "info":
                self._info = EngineInfo(**event["info"])
                continue
            key = event["key"]
            if event["event"] == "started":
                self._tells_starts = True
                in_flight.append(key)
                self.on_started(key)
            else:
                if key in in_flight:
                    in_flight.remove(key)
                del waiting[key]
                yield key, self._result(event)
        self._is_busy = False
        self._note_peak(event)
        for key in list(waiting):  # no engine should leave one out; waiting for it would be endless
            del waiting[key]
            yield key, Failure("missing", "the engine gave no result for this case")

    def _run_alone(self, request: Request) -> Result:
        """Run a request with which the process ended once more."""
        try:
            (result,) = self._run({request.key: request}, [])
        except StoppedError as stopped:
            self._note_stop(stopped)
            hint = "; did memory run out?" if "SIGKILL" in stopped.how else ""
            return request.key, Failure(stopped.kind, f"engine process {stopped.how} twice while on this case{hint}")
        return result

    def _result(self, event: Json) -> Generation | Failure:
        """Rebuild a result; a generation proves that the engine works."""
        if "failure" in event:
            return Failure(**event["failure"])
        self._answered = True
        self._stops_in_a_row = 0
        return Generation.from_json(event["generation"])

    def _note_stop(self, stopped: StoppedError) -> None:
        """Put the ended process away; give up on an engine that only ever dies."""
        self._end_child()
        self._stops_in_a_row += 1
        if not self._answered and self._stops_in_a_row >= _MAX_STOPS_BEFORE_ANSWER:
            raise EngineStartError(
                f"{self._target()}: engine process {stopped.how}, {self._stops_in_a_row} times without one answer"
            )
        if self._stops_in_a_row >= _MAX_STOPS_IN_A_ROW:
            raise EngineDiedError(
                f"{self._target()}: engine process {stopped.how}, {self._stops_in_a_row} times in a row"
            )

    def _running_child(self) -> Child:
        """Return the process, started and loaded."""
        if self._child is not None:
            return self._child
        self._child = child = Child()
        try:
            child.send(self._first)
            event = child.receive(self._timeout_s)
            if event["event"] == "start_error":
                raise EngineStartError(event["message"])
        except StoppedError as stopped:
            tail = child.stderr_tail()
            self._end_child()
            raise EngineStartError(f"{self._target()}: engine process {stopped.how} while loading{tail}") from None
        except BaseException:
            self._end_child()
            raise
        self._info = EngineInfo(**event["info"])
        self._note_peak(event)
        return child

    def _note_peak(self, event: Json) -> None:
        """Keep the largest peak memory, in bytes."""
        self._peak_rss_bytes = max(event["peak_rss_bytes"] or 0, self._peak_rss_bytes or 0) or None

    def _end_child(self) -> None:
        """End the process, if there is one, and wait for it."""
        child, self._child = self._child, None
        self._is_busy = False
        if child is not None:
            child.end()

    def _target(self) -> str:
        """Name the target in errors."""
        return str(self._first["arguments"].get("path", self._first["kind"]))


class Child:
    """
    Hold one worker process with a thread for each of its pipes.

    The threads keep both sides from ever waiting for each other with full pipes, and let the watchdog run while
    a hung process takes nothing in.
    """

    def __init__(self) -> None:
        root = str(Path(pytest_modelgate.__file__).parent.parent)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # closed by end()
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOTSTRAP.format(root=root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=_DEFAULTS | os.environ | _ENVIRONMENT,
        )
        self.pid = self._process.pid
        self._events: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
        self._outgoing: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._write)]
        for thread in self._threads:
            thread.start()

    def send(self, message: Json) -> None:
        """Send a message; never waits."""
        self._outgoing.put(message)

    def receive(self, timeout_s: float) -> Json:
        """Return the next event; raise StoppedError when none comes within ``timeout_s`` seconds, or ever."""
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            raise StoppedError("hung", f"gave no answer for {timeout_s:g} s and was ended") from None
        if event is None or event["event"] == "fatal":
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
            self._process.kill()  # of no effect on one that is gone
            raise StoppedError("died", _how_ended(self._process.wait(), event))
        return event

    def stderr_tail(self) -> str:
        """Return the last line that the process wrote to stderr as the end of an error message."""
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 4096))
        lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1].strip()}" if lines else ""

    def end(self) -> None:
        """Kill the process and wait until it, and the threads, are gone."""
        self._process.kill()
        self._process.wait()
        self._outgoing.put(None)
        for thread in self._threads:
            thread.join(timeout=5)
        self._stderr.close()

    def _read(self) -> None:
        """Queue what the process sends, and None at its end."""
        assert self._process.stdout is not None  # noqa: S101  # it is a pipe
        with self._process.stdout as pipe, suppress(ValueError):  # a line that was torn by a kill
            for line in pipe:
                self._events.put(json.loads(line))
        self._events.put(None)

    def _write(self) -> None:
        """Write what is queued until None comes or the process is gone."""
        assert self._process.stdin is not None  # noqa: S101  # it is a pipe
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            while (message := self._outgoing.get()) is not None:
                pipe.write(json.dumps(message, ensure_ascii=True).encode("ascii") + b"\n")
                pipe.flush()


def _how_ended(code: int, fatal: Json | None) -> str:
    """Say how a process ended, from its return code and its last words."""
    if code >= 0:
        return f"ended with exit code {code}" + (f" ({fatal['message']})" if fatal else "")
    number = -code
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "signal"
    return f"ended with signal {name} ({number})"


def _ignore(_key: str) -> None:
    """Do nothing about a request that is started."""

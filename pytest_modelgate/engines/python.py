"""
Answer with a Python function: a deterministic control, such as a keyword rule or a classic classifier.

The function gets the messages as ``[{"role", "content"}, ...]`` and returns the answer's text. A long input is given to it
whole, whatever the task's rule: it has neither a tokenizer nor a context. It runs in this process and is never taken
from the journal: what it imports may change without its own file changing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pytest_modelgate.engines import Result
from pytest_modelgate.records import EngineInfo, Failure, Generation, Request


class PythonEngine:
    """Ask ``function`` for every request, one after the other."""

    def __init__(self, name: str, function: Callable[[list[dict[str, str]]], Any]) -> None:
        self._name = name
        self._function = function

    def describe(self) -> EngineInfo:
        """Say which function answers."""
        return EngineInfo("python", "1", facts={"function": self._name})

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """Yield the function's answers; what it raises, or returns that is no text, is no answer."""
        for request in requests:
            messages = [{"role": turn.role, "content": turn.content} for turn in request.messages or ()]
            started = time.perf_counter()
            try:
                text = self._function(messages)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's function may raise anything
                yield request.key, Failure("refused", f"{self._name} raised {type(error).__name__}: {error}")
                continue
            seconds = time.perf_counter() - started
            if not isinstance(text, str):
                yield request.key, Failure("refused", f"{self._name} must return text, got {type(text).__name__}")
            else:
                yield request.key, Generation(text, ttft_s=seconds, total_s=seconds)

    def peak_rss_bytes(self) -> int | None:
        """Return None: it has no process of its own."""
        return None

    def close(self) -> None:
        """Do nothing."""

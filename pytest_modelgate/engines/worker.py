"""
Host a native engine in a process of its own: the other end of :mod:`~pytest_modelgate.engines.process`.

One JSON object a line comes in on stdin and goes out on stdout. In: first ``{kind, arguments, settings}``, then
``{requests: [...]}`` for each call of ``generate``; of a probe, whose first line says ``probe``, ``{call, arguments}``
for each call of its methods, answered by ``value`` or ``error``. Out, as ``event``: ``ready`` or ``start_error``, then for each call
``started`` and ``result`` for its requests, and ``done``; ``fatal`` before an end that was not asked for.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from pytest_modelgate.engines import Engine, EngineSettings
from pytest_modelgate.engines.probe import Probe, ScoreRow
from pytest_modelgate.errors import ModelgateError
from pytest_modelgate.machine_lock import alone_on_this_machine
from pytest_modelgate.records import Generation, Json, Message, Request


def _gguf(arguments: Json, settings: EngineSettings) -> Engine:
    """Make the engine of a GGUF."""
    from pytest_modelgate.engines.gguf import GgufEngine

    lora = arguments.get("lora")
    return GgufEngine(Path(arguments["path"]), settings, None if lora is None else Path(lora))


def _adapter(arguments: Json, settings: EngineSettings) -> Engine:
    """Make the engine of an adapter or a Hugging Face folder."""
    from pytest_modelgate.engines.adapter import AdapterEngine

    base = arguments.get("base")
    return AdapterEngine(path=Path(arguments["path"]), base=None if base is None else Path(base), settings=settings)


def _gguf_probe(arguments: Json, settings: EngineSettings) -> Probe:
    """Make the probe of a GGUF."""
    from pytest_modelgate.engines.gguf_probe import GgufProbe

    lora = arguments.get("lora")
    return GgufProbe(Path(arguments["path"]), None if lora is None else Path(lora), settings)


def _adapter_probe(arguments: Json, settings: EngineSettings) -> Probe:
    """Make the probe of an adapter or a Hugging Face folder."""
    from pytest_modelgate.engines.adapter_probe import AdapterProbe

    base = arguments.get("base")
    return AdapterProbe(Path(arguments["path"]), None if base is None else Path(base), settings)


PROBES: dict[str, Callable[[Json, EngineSettings], Probe]] = {"gguf": _gguf_probe, "adapter": _adapter_probe}
"""What makes each kind of probe."""

FACTORIES: dict[str, Callable[[Json, EngineSettings], Engine]] = {"gguf": _gguf, "adapter": _adapter}
"""What makes each kind of engine."""


def main() -> None:
    """Serve until stdin ends."""
    # An interrupt at the terminal reaches this process too; what then happens is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    commands, emit = _take_over_pipes()
    try:
        first = commands.get()
        if first.get("probe"):
            _probe(first, commands, emit)
        engine = _start(first, emit)
        while True:
            _serve(engine, [Request.from_json(data) for data in commands.get()["requests"]], emit)
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:  # noqa: BLE001  # whatever it is, the parent must learn of it
        emit({"event": "fatal", "message": _one_line(error)})
        os._exit(1)


def _take_over_pipes() -> tuple[queue.SimpleQueue[Json], Callable[[Json], None]]:
    """
    Keep stdin and stdout for the protocol, away from what native libraries read and print.

    Returns the incoming commands and a function that sends an event. A thread reads stdin all the time, so the parent
    never waits to write, and ends this process when its parent is gone, however it went.
    """
    incoming = os.fdopen(os.dup(0), encoding="ascii")
    outgoing = os.fdopen(os.dup(1), "w", encoding="ascii")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    commands: queue.SimpleQueue[Json] = queue.SimpleQueue()

    def read() -> None:
        for line in incoming:
            commands.put(json.loads(line))
        os._exit(0)

    def emit(event: Json) -> None:
        outgoing.write(json.dumps(event, ensure_ascii=True) + "\n")
        outgoing.flush()

    threading.Thread(target=read, daemon=True).start()
    return commands, emit


def _start(first: Json, emit: Callable[[Json], None]) -> Engine:
    """Make and load the engine; tell how it went."""
    try:
        # One after the other, so that each sees what the one before it took.
        with alone_on_this_machine("loading"):
            engine = FACTORIES[first["kind"]](first["arguments"], EngineSettings(**first["settings"]))
            info = engine.describe()
    except ModelgateError as error:
        emit({"event": "start_error", "message": str(error)})
        os._exit(1)
    emit({"event": "ready", "info": info.to_json(), "peak_rss_bytes": engine.peak_rss_bytes()})
    return engine


def _probe(first: Json, commands: queue.SimpleQueue[Json], emit: Callable[[Json], None]) -> NoReturn:
    """Answer the calls of a probe's methods until stdin ends."""
    probe: Probe | None = None
    while True:
        try:
            if probe is None:
                probe = PROBES[first["kind"]](first["arguments"], EngineSettings(**first["settings"]))
                emit({"event": "ready"})
            command = commands.get()
            emit({"event": "value", "value": _called(probe, command["call"], command["arguments"])})
        except ModelgateError as error:
            emit({"event": "error", "message": str(error)})
            if probe is None:
                os._exit(1)


def _called(probe: Probe, name: str, arguments: Json) -> Any:
    """Return what one of a probe's methods gives, as primitives."""
    if name == "facts":
        return probe.facts().to_json()
    if name == "encode":
        conversations = [[Message(**message) for message in one] for one in arguments["conversations"]]
        found = probe.encode(conversations, add_generation_prompt=arguments["add_generation_prompt"])
        return [asdict(one) for one in found]
    if name == "score":
        rows = [ScoreRow(row["key"], tuple(row["prompt_ids"]), tuple(row["answer_ids"])) for row in arguments["rows"]]
        return [str(path) for path in probe.score(rows, Path(arguments["folder"]))]
    if name == "tokenize":
        return probe.tokenize(arguments["texts"])
    return probe.pieces(arguments["ids"])


def _serve(engine: Any, requests: list[Request], emit: Callable[[Json], None]) -> None:
    """Run the requests of one call of ``generate``."""
    # Engines that say which requests they took up call this; of the others all requests count as in flight.
    engine.on_started = lambda key: emit({"event": "started", "key": key})
    for number, (key, result) in enumerate(engine.generate(requests), 1):
        if number == len(requests):  # before the last result: nobody may wait for what comes after it
            emit({"event": "info", "info": engine.describe().to_json()})
        kind = "generation" if isinstance(result, Generation) else "failure"
        emit({"event": "result", "key": key, kind: result.to_json()})
    emit({"event": "done", "peak_rss_bytes": engine.peak_rss_bytes()})


def _one_line(error: Exception) -> str:
    """Return an error's type and text on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


if __name__ == "__main__":
    main()

"""The engine in a process of its own: nothing is lost when that process dies, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import pytest

from pytest_modelgate.engines import EngineSettings, Result
from pytest_modelgate.engines.gguf import GgufEngine
from pytest_modelgate.engines.process import ProcessEngine
from pytest_modelgate.errors import EngineStartError
from pytest_modelgate.records import Failure, Generation, Message, Request
from tests.engines.conftest import answered, failed

SETTINGS = EngineSettings(n_ctx=8192, n_threads=1)
ROOT = Path(__file__).parents[2]


def request_of(index: int, max_tokens: int = 100) -> Request:
    """Make the request ``k<index>``; 8,000 tokens take a second or more, long enough to be killed in."""
    return Request(f"k{index}", max_tokens, messages=(Message("user", f"hello {index}"),))


def requests_of(count: int) -> list[Request]:
    """Make short requests."""
    return [request_of(index) for index in range(count)]


def texts(results: Iterable[Result]) -> dict[str, str]:
    """Return answers by key, checked to be no failures."""
    return {key: answered(result).text for key, result in results}


def pid_of(engine: ProcessEngine) -> int:
    """Return the id of the engine's process, checked to be there."""
    assert engine.pid is not None
    return engine.pid


def is_running(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def engine(random_gguf: Path) -> Iterator[ProcessEngine]:
    """Give an engine on the random model."""
    with ProcessEngine("gguf", {"path": str(random_gguf)}, SETTINGS) as engine:
        yield engine


@pytest.fixture(scope="module")
def expected(random_gguf: Path) -> dict[str, str]:
    """Give what an undisturbed engine answers."""
    engine = GgufEngine(random_gguf, SETTINGS)
    answers = texts(engine.generate(requests_of(5)))
    engine.close()
    return answers


def test_same_as_in_process(engine: ProcessEngine, expected: dict[str, str]) -> None:
    """The answers are those of the engine itself, call after call; each start is told."""
    started: list[str] = []
    engine.on_started = started.append
    assert expected == texts(engine.generate(requests_of(5)))
    first = engine.pid
    assert expected == texts(engine.generate(requests_of(5)))
    assert first == engine.pid
    assert [f"k{index}" for index in range(5)] * 2 == started
    assert engine.describe().name == "llama.cpp"
    assert 10_000_000 < (engine.peak_rss_bytes() or 0) < 1_000_000_000


def test_lone_surrogates_cross_the_pipe(engine: ProcessEngine) -> None:
    """A prompt that is no text comes back as a refusal."""
    ((_, result),) = engine.generate([Request("k", 4, messages=(Message("user", "\ud800\n\u2028"),))])
    assert failed(result).message.endswith("lone surrogate U+D800, which is no valid text")


def test_many_long_requests_do_not_block(engine: ProcessEngine) -> None:
    """More than any pipe holds is sent and answered."""
    requests = [Request(f"k{index}", 1, messages=(Message("user", "x" * 100_000),)) for index in range(40)]
    results = dict(engine.generate(requests))
    assert len(results) == 40
    assert {"refused"} == {failed(result).kind for result in results.values()}


def test_kill_in_mid_run_loses_nothing(engine: ProcessEngine, expected: dict[str, str]) -> None:
    """One death costs nothing: the case in flight is run again, the others go on."""
    pids: list[int] = []

    def kill_once(key: str) -> None:
        pids.append(pid_of(engine))
        if key == "k2" and len(set(pids)) == 1:
            os.kill(pid_of(engine), signal.SIGKILL)

    engine.on_started = kill_once
    assert expected == texts(engine.generate(requests_of(5)))
    assert len(set(pids)) == 2
    assert not is_running(pids[0])


def test_case_that_kills_twice_is_given_up(engine: ProcessEngine, expected: dict[str, str]) -> None:
    """The case is named with the signal; every other one is answered."""

    def kill(key: str) -> None:
        if key == "k1":
            os.kill(pid_of(engine), signal.SIGKILL)

    engine.on_started = kill
    requests = requests_of(5)
    requests[1] = request_of(1, 8000)
    results = dict(engine.generate(requests))
    assert results.pop("k1") == Failure(
        "died", "engine process ended with signal SIGKILL (9) twice while on this case; did memory run out?"
    )
    del expected["k1"]
    assert expected == texts(results.items())


def test_engine_that_only_dies_is_given_up(engine: ProcessEngine) -> None:
    """After three requests in a row without one answer, the fault is the engine's."""
    engine.on_started = lambda _key: os.kill(pid_of(engine), signal.SIGABRT)
    results: dict[str, Generation | Failure] = {}
    with pytest.raises(EngineStartError, match=r"ended with signal SIGABRT \(6\), 6 times without one answer"):
        results.update(engine.generate([request_of(index, 8000) for index in range(5)]))
    assert engine.pid is None


def test_hung_engine_is_ended(random_gguf: Path) -> None:
    """An engine that gives no answer is ended by the watchdog, and the case with it the second time."""
    settings = EngineSettings(n_ctx=8192, n_threads=1, timeout_s=2)
    with ProcessEngine("gguf", {"path": str(random_gguf)}, settings) as engine:

        def stop(key: str) -> None:
            if key == "k1":
                os.kill(pid_of(engine), signal.SIGSTOP)

        engine.on_started = stop
        results = dict(engine.generate([request_of(0), request_of(1, 8000), request_of(2)]))
    hung = failed(results["k1"])
    assert hung.kind == "hung"
    assert hung.message == "engine process gave no answer for 2 s and was ended twice while on this case"
    assert 100 == answered(results["k0"]).output_tokens == answered(results["k2"]).output_tokens


def test_abandoned_run_does_not_leak_into_the_next(engine: ProcessEngine, expected: dict[str, str]) -> None:
    """What an abandoned call had in flight is not taken for the next one's answer."""
    results = engine.generate(requests_of(5))
    next(results)
    assert isinstance(results, Generator)
    results.close()
    assert {"k3": expected["k3"]} == texts(engine.generate(requests_of(4)[3:]))


def test_close(random_gguf: Path) -> None:
    """After close nothing runs, however often it is called, whatever was going on."""
    engine = ProcessEngine("gguf", {"path": str(random_gguf)}, SETTINGS)
    engine.close()
    engine.describe()
    pid = pid_of(engine)
    results = engine.generate([request_of(0), request_of(1, 8000)])
    next(results)
    engine.close()
    engine.close()
    assert not is_running(pid)
    assert engine.pid is None


@pytest.mark.parametrize(
    ("content", "part"),
    [(None, "no such file"), (b"text", "not a GGUF file"), (b"GGUF\x03\0\0\0" + bytes(16), "holds no tensors")],
)
def test_start_error(tmp_path: Path, content: bytes | None, part: str) -> None:
    """A file that is no model is one clear line."""
    path = tmp_path / "a.gguf"
    if content is not None:
        path.write_bytes(content)
    with ProcessEngine("gguf", {"path": str(path)}, SETTINGS) as engine:
        with pytest.raises(EngineStartError, match=part) as caught:
            engine.describe()
        assert "\n" not in str(caught.value)
        assert engine.pid is None


def test_death_while_loading_tells_the_last_words(random_gguf: Path) -> None:
    """A process that dies before it is ready is named with its end and its last line."""
    with (
        ProcessEngine("no such kind", {"path": str(random_gguf)}, SETTINGS) as engine,
        pytest.raises(EngineStartError, match=r"ended with exit code 1 \(KeyError: 'no such kind'\) while loading"),
    ):
        engine.describe()


def test_worker_ends_with_its_parent(random_gguf: Path) -> None:
    """A parent killed without warning leaves no process behind, busy or idle."""
    code = f"""
        import sys
        from pytest_modelgate.engines import EngineSettings
        from pytest_modelgate.engines.process import ProcessEngine
        from pytest_modelgate.records import Message, Request
        engine = ProcessEngine("gguf", {{"path": {str(random_gguf)!r}}}, EngineSettings(n_ctx=8192, n_threads=1))
        engine.describe()
        print(engine.pid, flush=True)
        if sys.argv[1] == "busy":
            list(engine.generate([Request(str(i), 8000, messages=(Message("user", "a"),)) for i in range(99)]))
        sys.stdin.read()
    """
    for state in ("busy", "idle"):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), state],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as parent:
            assert parent.stdout is not None
            worker = int(parent.stdout.readline())
            assert is_running(worker)
            time.sleep(0.2)
            parent.kill()
        deadline = time.monotonic() + 5
        while is_running(worker) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_running(worker), state


def test_no_thread_stays_behind(random_gguf: Path) -> None:
    """Closing ends the threads that served the pipes."""
    import threading

    before = threading.active_count()
    with ProcessEngine("gguf", {"path": str(random_gguf)}, SETTINGS) as engine:
        engine.describe()
        assert before + 2 == threading.active_count()
    assert before == threading.active_count()

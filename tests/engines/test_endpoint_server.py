"""A real server: llama-cpp-python's own, which is asked what its file is asked directly."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.endpoint import EndpointEngine
from pytest_modelgate.engines.gguf import GgufEngine
from pytest_modelgate.engines.probe_process import open_probe
from pytest_modelgate.errors import EngineStartError
from pytest_modelgate.preflight.check import Finding
from pytest_modelgate.preflight.served import check_served_prompts
from pytest_modelgate.records import Generation, Message, Request
from tests.engines.conftest import CHATML, TinyModel, answered

pytest.importorskip("fastapi")
pytestmark = pytest.mark.model

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "examples/support/support-Q8_0.gguf"
START_S = 120.0
PLAIN_CHATML = (  # what llama-cpp-python knows by heart, to the letter
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Served:
    """Hold where a server is, and the file of each model that it serves."""

    url: str
    files: dict[str, Path]

    def engine(self, model: str, *, batch_size: int = 4, stream: bool | None = False) -> EndpointEngine:
        """Return an engine that asks for a model."""
        return EndpointEngine(self.url, model, EngineSettings(batch_size=batch_size), stream=stream)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the support model, the same with another template, and two tiny ones, one after the other as asked for."""
    folder = tmp_path_factory.mktemp("served")
    files = {
        "support": SUPPORT,
        "support-as-llama-2": SUPPORT,
        "plain-chatml": TinyModel(template=PLAIN_CHATML).write(folder / "plain.gguf"),
        "chatml": TinyModel(template=CHATML).write(folder / "chatml.gguf"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = [{"model": str(path), "model_alias": name, "n_ctx": 1024, "n_threads": 1} for name, path in files.items()]
    models[1]["chat_format"] = "llama-2"
    config = folder / "server.json"
    config.write_text(json.dumps({"host": "127.0.0.1", "port": port, "models": models}), encoding="utf-8")
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "llama_cpp.server", "--config_file", str(config)], stdout=log, stderr=log
    )
    try:
        url = f"http://127.0.0.1:{port}/v1"
        wait_for(url, process, folder / "server.log")
        yield Served(url, files)
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers."""
    until = time.monotonic() + START_S
    with httpx.Client(trust_env=False) as client:
        while time.monotonic() < until and process.poll() is None:
            try:
                client.get(f"{url}/models")
            except httpx.HTTPError:
                time.sleep(0.1)
            else:
                return
    pytest.fail(f"the server did not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def golden() -> list[Request]:
    """Return the golden support cases as requests."""
    system = (ROOT / "golden/support.system.txt").read_text(encoding="utf-8").strip()
    (path,) = (ROOT / "golden").glob("*.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Request(f"golden/{row['id']}", 64, (Message("system", system), Message("user", row["input"]))) for row in rows
    ]


BARE = {
    "user": (Message("user", "hello"),),
    "turns": (Message("user", "hello"), Message("assistant", "Größe 😀"), Message("user", "hell")),
}
WITH_SYSTEM = {"system": (Message("system", "be brief"), Message("user", "hello"))}


@pytest.fixture(scope="module")
def own() -> dict[str, Generation]:
    """Return the answers of the file itself."""
    engine = GgufEngine(SUPPORT, EngineSettings(n_ctx=1024, n_threads=1))
    found = {key: answered(result) for key, result in engine.generate(golden())}
    engine.close()
    return found


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_golden_answers_are_those_of_the_file(served: Served, own: dict[str, Generation], stream: bool) -> None:
    """Asked greedily, without the server's own penalty, every golden case has the file's own answer and end."""
    # One at a time where it streams, as in the serial phase: this server breaks a stream off when another request comes.
    engine = served.engine("support", stream=stream, batch_size=1 if stream else 4)
    found = {key: answered(result) for key, result in engine.generate(golden())}
    engine.close()
    assert len(found) >= 100
    assert {key: (one.text, one.finish_reason) for key, one in found.items()} == {
        key: (one.text, one.finish_reason) for key, one in own.items()
    }
    # The server counts no end of turn.
    assert {key: one.output_tokens + 1 for key, one in found.items()} == {
        key: one.output_tokens for key, one in own.items()
    }
    if not stream:
        assert {key: one.prompt_tokens for key, one in found.items()} == {
            key: one.prompt_tokens for key, one in own.items()
        }


def test_first_token_comes_before_the_last(served: Served) -> None:
    """In the serial phase the time to the first token is seen."""
    engine = served.engine("support", batch_size=1, stream=None)
    times = [answered(result) for _, result in engine.generate(golden()[:5])]
    engine.close()
    assert all(0 < one.ttft_s < one.total_s for one in times)


def test_server_is_described(served: Served) -> None:
    """The server's list of models is read, and a name that is not in it is refused: it would answer with another one."""
    engine = served.engine("support")
    assert engine.describe().facts == {"url": served.url, "model": "support", "id": "support", "owned_by": "me"}
    engine.close()

    engine = served.engine("suport")
    with pytest.raises(EngineStartError, match="serves no model 'suport'; it lists support, "):
        engine.describe()
    engine.close()


def test_prompt_that_is_too_long(served: Served) -> None:
    """A prompt that the server's context does not hold is a failure of that case."""
    engine = served.engine("support")
    long = Request("golden/long", 8, (Message("user", "word " * 5000),))
    results = dict(engine.generate([long, *golden()[:2]]))
    engine.close()
    assert [key for key, result in results.items() if not isinstance(result, Generation)] == ["golden/long"]


def compared(served: Served, model: str, prompts: Mapping[str, tuple[Message, ...]]) -> Finding:
    """Return what is found when a served model is compared with its file."""
    engine, probe = served.engine(model), open_probe("gguf", served.files[model])
    finding = check_served_prompts(engine, probe, prompts)
    engine.close()
    probe.close()
    return finding


def prompts() -> dict[str, tuple[Message, ...]]:
    """Return the golden prompts by key."""
    return {request.key: request.messages or () for request in golden()}


def test_same_template_has_the_same_counts(served: Served) -> None:
    """Served with the file's own template, prompts have as many tokens as ours."""
    finding = compared(served, "support", prompts() | BARE)
    assert finding.outcome == "passed", finding
    assert finding.figures == {"prompts": 20.0}


def test_other_template_is_found(served: Served) -> None:
    """Served with another template, the first differing case is named with both counts."""
    finding = compared(served, "support-as-llama-2", prompts())
    assert (finding.outcome, finding.mode) == ("failed", "F01")
    assert finding.reason.startswith("golden/")
    assert " tokens of the prompt, the model's own template " in finding.reason


def test_empty_system_turn_is_found(served: Served) -> None:
    """A template that equals plain ChatML to the letter is replaced by llama-cpp-python, which adds an empty system turn."""
    finding = compared(served, "plain-chatml", BARE | WITH_SYSTEM)
    assert (finding.outcome, finding.mode) == ("failed", "F05")
    assert "likely it puts an empty system turn before a conversation that has none" in finding.reason
    assert finding.figures == {"prompts": 3.0, "different": 2.0}


def test_plain_chatml_with_a_system_turn(served: Served) -> None:
    """With a system turn in every case that replacement changes nothing."""
    assert compared(served, "plain-chatml", WITH_SYSTEM).outcome == "passed"


def test_chatml_of_other_letters_is_kept(served: Served) -> None:
    """The same template written differently is used as it is."""
    assert compared(served, "chatml", BARE | WITH_SYSTEM).outcome == "passed"

"""A served model goes through a whole run like any other target, and leaves no key behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project

KEY = "sk-0123456789abcdef"
RIGHT = '{"intent": "billing", "urgency": "low"}'


class Handler(BaseHTTPRequestHandler):
    """Answer every question with one label, whole or in pieces, to whoever has the key."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    asked: list[dict[str, Any]]

    def do_GET(self) -> None:
        """List the models."""
        self.reply(json.dumps({"object": "list", "data": [{"id": "labels"}]}))

    def do_POST(self) -> None:
        """Answer."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            self.reply(f"wrong key {KEY}", 401)
            return
        self.asked.append(asked)
        if not asked.get("stream"):
            usage = {"prompt_tokens": 9, "completion_tokens": 7}
            choice = {"message": {"role": "assistant", "content": RIGHT}, "finish_reason": "stop"}
            self.reply(json.dumps({"choices": [choice], "usage": usage}))
            return
        pieces: list[Any] = [{"delta": {"content": piece}, "finish_reason": None} for piece in (RIGHT[:9], RIGHT[9:])]
        events = [{"choices": [piece]} for piece in [*pieces, {"delta": {}, "finish_reason": "stop"}]]
        self.reply("".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n")

    def reply(self, text: str, status: int = 200) -> None:
        """Send an answer."""
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Keep quiet."""


class Server:
    """Hold a server's address and what it was asked."""

    def __init__(self, port: int, asked: list[dict[str, Any]]) -> None:
        self.spec = f"http://127.0.0.1:{port}/v1#labels"
        self.asked = asked


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve on a free port, with the key in the environment."""
    monkeypatch.setenv("MODELGATE_API_KEY", KEY)
    asked: list[dict[str, Any]] = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"asked": asked}))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Server(http.server_address[1], asked)
    http.shutdown()
    thread.join()
    http.server_close()


def texts(folder: Path) -> str:
    """Return everything that a run wrote."""
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return "\n".join(path.read_bytes().decode("utf-8", "replace") for path in files)


@pytest.fixture
def served_project(project: Project) -> Project:
    """Return a project whose one label is always right."""
    project.write_cases("golden", project.case("late", critical=True), project.case("other"))
    project.write_cases("adversarial", project.case("shouting"))
    project.write_cases("heldout", project.case("third"))
    return project


def test_served_model_is_judged(served_project: Project, server: Server) -> None:
    """Every case is asked once and judged; the report names the server, and nothing that was written holds the key."""
    result = served_project.run(models=[server.spec])
    assert result.ret == 0, result.outlines
    assert set(served_project.outcomes) == {
        "golden/late[labels]",
        "golden/other[labels]",
        "adversarial/shouting[labels]",
        "heldout/third[labels]",
    }
    assert set(served_project.outcomes.values()) == {"passed"}
    assert len(server.asked) == 4
    written = texts(served_project.path)
    assert server.spec.partition("#")[0] in written
    assert KEY not in written
    assert KEY not in "\n".join([*result.outlines, *result.errlines])


def test_served_answers_are_not_reused(served_project: Project, server: Server) -> None:
    """The same run again asks again: a server may serve another model under the same name."""
    for times in (1, 2):
        assert served_project.run(models=[server.spec]).ret == 0
        assert len(server.asked) == 4 * times


def test_speed_of_a_served_model(served_project: Project, server: Server) -> None:
    """The serial phase streams, so that the time to the first token is measured."""
    form = 'metric = "schema_validity"\nmin = 0.99'
    served_project.write_gates(form=form, ttft='metric = "ttft_ms.p50"\nmax = 60000\nmin_n = 1')
    result = served_project.run(models=[server.spec])
    assert result.ret == 0, result.outlines
    assert served_project.gates["ttft[labels]"] == "passed"
    assert any(asked.get("stream") for asked in server.asked)


def test_wrong_key(served_project: Project, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that the server refuses makes every case an error that names the variable, and neither key is shown."""
    monkeypatch.setenv("MODELGATE_API_KEY", "another-key-012345")
    result = served_project.run(models=[server.spec])
    assert result.ret != 0
    assert set(served_project.outcomes.values()) == {"error"}
    shown = "\n".join([*result.outlines, texts(served_project.out)])
    assert "the key is read from MODELGATE_API_KEY, which is set" in shown
    assert "another-key-012345" not in shown


def test_nobody_listens(served_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not there is told in one line, and nothing is green."""
    monkeypatch.setattr("pytest_modelgate.engines.endpoint_client.PAUSE_S", 0.0)
    result = served_project.run(models=["http://127.0.0.1:9/v1#labels"])
    assert result.ret != 0
    assert set(served_project.outcomes.values()) == {"error"}
    assert "http://127.0.0.1:9/v1 failed after 4 tries: cannot be reached" in texts(served_project.out)

"""A served model is asked in the open: what is sent is said, and what is no answer is a failure of one line."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.engines import EngineSettings, endpoint_client
from pytest_modelgate.engines.endpoint import EndpointEngine
from pytest_modelgate.errors import EngineDiedError, EngineStartError, MissingExtraError
from pytest_modelgate.records import Failure, Generation, InputSpan, LongInput, Message, Request

URL = "http://localhost:8080/v1"
KEY = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_client, "PAUSE_S", 0.0)
    monkeypatch.delenv("MODELGATE_API_KEY", raising=False)


def completion(
    content: Any = "yes", finish: Any = "stop", usage: Any = None, status: int = 200, **message: Any
) -> httpx.Response:
    """Return a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return httpx.Response(status, json={"choices": [choice], "usage": usage})


def streamed(*pieces: Any, finish: Any = "stop", end: str = "data: [DONE]\n\n", **last: Any) -> httpx.Response:
    """Return a chat completion in pieces."""
    deltas: list[Any] = [{"role": "assistant"}, *({"content": piece} for piece in pieces)]
    events = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    events.append({"choices": [{"delta": {}, "finish_reason": finish}]})
    if last:
        events.append({"choices": [], **last})
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return httpx.Response(200, content=(": still here\r\n\r\nevent: x\n" + "".join(lines) + end).encode())


Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Server:
    """Answer requests one after the other, the last answer again and again, and keep what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Take one request."""
        with self._lock:
            self.requests.append(request)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        found = answer if isinstance(answer, httpx.Response) else answer(request)
        if found.is_stream_consumed:  # what comes over a line is not there yet
            return httpx.Response(found.status_code, headers=found.headers, content=iter([found.content]))
        return found

    def engine(
        self, *, batch_size: int = 2, timeout_s: float = 300.0, url: str = URL, **options: Any
    ) -> EndpointEngine:
        """Return an engine that asks here."""
        settings = EngineSettings(batch_size=batch_size, timeout_s=timeout_s)
        return EndpointEngine(url, "some-model", settings, transport=httpx.MockTransport(self), **options)

    def answer(self, text: str = "Hello", **options: Any) -> Generation | Failure:
        """Return what an engine makes of one question."""
        engine = self.engine(**options)
        ((key, result),) = engine.generate([question(text)])
        engine.close()
        assert key == "golden/1"
        return result

    def generation(self, **options: Any) -> Generation:
        """Return the answer to one question."""
        result = self.answer(**options)
        assert isinstance(result, Generation), result
        return result

    def failure(self, **options: Any) -> Failure:
        """Return why one question has no answer; the reason is always one line."""
        result = self.answer(**options)
        assert isinstance(result, Failure), result
        assert len(result.message.splitlines()) == 1
        assert len(result.message) < 700
        return result

    def body(self, number: int = 0) -> dict[str, Any]:
        """Return what was sent."""
        sent: dict[str, Any] = json.loads(self.requests[number].content)
        return sent


def question(text: str = "Hello", key: str = "golden/1", **options: Any) -> Request:
    """Return a request with a system and a user turn."""
    return Request(key, 16, (Message("system", "Be brief."), Message("user", text)), **options)


def test_request() -> None:
    """Everything that shapes the answer is said: the turns as they are, the limit, and greedy decoding without penalty."""
    server = Server(completion())
    server.generation(text=" Größe 😀\n")

    assert str(server.requests[0].url) == "http://localhost:8080/v1/chat/completions"
    assert server.body() == {
        "model": "some-model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Größe 😀\n"}],
        "max_tokens": 16,
        "temperature": 0,
        "top_p": 1,
        "seed": 0,
        "repeat_penalty": 1.0,
        "repetition_penalty": 1.0,
    }
    assert "Authorization" not in server.requests[0].headers


def test_answer() -> None:
    """Text, end and token counts are the server's; the first token is not seen before the last."""
    usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    found = Server(completion("a\nb", "length", usage)).generation()
    assert (found.text, found.finish_reason, found.prompt_tokens, found.output_tokens) == ("a\nb", "length", 11, 3)
    assert 0 < found.ttft_s == found.total_s


def test_stream_shows_the_first_token() -> None:
    """One request at a time is streamed, and the time to its first piece is told apart from the whole."""
    server = Server(streamed("a", "", "b", "c"))
    found = server.generation(batch_size=1)
    assert (found.text, found.finish_reason, found.output_tokens) == ("abc", "stop", 3)
    assert 0 < found.ttft_s <= found.total_s
    assert server.body()["stream"] is True
    assert server.body()["stream_options"] == {"include_usage": True}


def test_stream_tells_tokens_at_its_end() -> None:
    """Counts that a server tells of a stream are taken rather than the number of pieces."""
    usage = {"prompt_tokens": 7, "completion_tokens": 9}
    found = Server(streamed("ab", usage=usage)).generation(stream=True)
    assert (found.prompt_tokens, found.output_tokens) == (7, 9)


@given(st.lists(st.text(st.characters(codec="utf-8"))), st.integers(1, 9))
def test_stream_is_the_same_text_however_it_is_cut(pieces: list[str], size: int) -> None:
    """Neither the pieces of a stream nor the packets that bring them change the answer."""
    content = streamed(*pieces).content

    def parts() -> Iterable[bytes]:
        yield from (content[start : start + size] for start in range(0, len(content), size))

    found = Server(lambda _: httpx.Response(200, content=parts())).generation(stream=True)
    assert found.text == "".join(pieces)


def test_half_characters_are_joined() -> None:
    """Halves of a surrogate pair in two pieces are one character; a half that stays alone becomes U+FFFD."""
    assert Server(streamed("\ud83d", "\ude00", "\ud800!")).generation(stream=True).text == "😀\ufffd!"
    half = json.dumps({"choices": [{"message": {"content": "\udc00x"}, "finish_reason": "stop"}]})
    assert Server(httpx.Response(200, text=half)).generation().text == "\ufffdx"


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": -1, "completion_tokens": 1}, {"prompt_tokens": True}])
def test_counts_that_are_none(usage: Any) -> None:
    """A server that does not tell its counts, or tells nonsense, has told none."""
    found = Server(completion(usage=usage)).generation()
    assert (found.prompt_tokens, found.output_tokens) == (0, 0)


PASSING: dict[str, Callable[[], Answer]] = {
    "nobody listens": lambda: httpx.ConnectError("connection refused"),
    "nobody comes to the door": lambda: httpx.ConnectTimeout("too late"),
    "connection lost": lambda: httpx.ReadError("reset by peer"),
    "connection closed": lambda: httpx.RemoteProtocolError("peer closed connection"),
    "busy": lambda: httpx.Response(503, text="loading model"),
    "broken": lambda: httpx.Response(500, text="oops"),
    "too many": lambda: httpx.Response(429, text="slow down"),
    "no JSON": lambda: httpx.Response(200, text="<html>"),
    "no UTF-8": lambda: httpx.Response(200, content=b'"\xff\xfe"'),
    "deep": lambda: httpx.Response(200, text="[" * 100_000),
    "huge number": lambda: httpx.Response(200, text="1" * 10_000),
}


@pytest.mark.parametrize("trouble", PASSING.values(), ids=PASSING)
def test_what_may_pass_is_tried_again(trouble: Callable[[], Answer]) -> None:
    """An answer that comes at a later try counts; after the last try the case has none."""
    assert Server(trouble(), trouble(), completion("late")).generation().text == "late"

    server = Server(trouble())
    assert "failed after 4 tries" in server.failure().message
    assert len(server.requests) == 4


@pytest.mark.parametrize("end", ["", "data: [DO"])
def test_stream_that_breaks_off(end: str) -> None:
    """A stream without its end is asked for again, and is no answer however complete it looks."""
    assert Server(streamed("a", end=end), streamed("b")).generation(stream=True).text == "b"
    assert Server(streamed("a", end=end)).failure(stream=True).kind == "died"


FINAL: dict[str, tuple[Callable[[], Answer], str]] = {
    "too long": (lambda: httpx.Response(400, json={"error": "context\nlength"}), "status 400"),
    "unknown model": (lambda: httpx.Response(404, text="no such model"), "status 404: no such model"),
    "wrong key": (lambda: httpx.Response(401, text="no"), "MODELGATE_API_KEY, which is not set"),
    "redirect": (
        lambda: httpx.Response(307, headers={"Location": "http://elsewhere/v1"}),
        "redirects elsewhere, which is not followed",
    ),
    "nothing": (lambda: httpx.Response(204), "status 204"),
    "packed": (
        lambda: lambda _: httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=iter([b"x"])),
        "packs its answer",
    ),
    "a list": (lambda: httpx.Response(200, json=[]), "no chat completion"),
    "no choice": (lambda: httpx.Response(200, json={"choices": []}), "no chat completion"),
    "no text": (lambda: completion(None), "holds no text"),
    "tool calls": (lambda: completion(None, "tool_calls", tool_calls=[{}]), "without a parser of tools"),
    "reasoning": (lambda: completion(None, reasoning_content="hm"), "without a parser of reasoning"),
    "filtered": (lambda: completion("", "content_filter"), 'none of a model\'s own: "content_filter"'),
    "no reason to end": (lambda: completion("yes", None), "none of a model's own: null"),
}


@pytest.mark.parametrize(("answer", "part"), FINAL.values(), ids=FINAL)
def test_what_is_no_answer(answer: Callable[[], Answer], part: str) -> None:
    """What would be the same again is asked once, and is a refusal."""
    server = Server(answer())
    failure = server.failure()
    assert failure.kind == "refused"
    assert part in failure.message
    assert len(server.requests) == 1


STREAMS_WITHOUT_ANSWER = {
    "no reason to end": (streamed("a", finish=None), "without a reason to finish"),
    "failed": (streamed("a", finish=None, error={"message": "out of memory"}), "out of memory"),
    "filtered": (streamed("a", finish="content_filter"), "none of a model's own"),
}


@pytest.mark.parametrize(("answer", "part"), STREAMS_WITHOUT_ANSWER.values(), ids=STREAMS_WITHOUT_ANSWER)
def test_stream_that_is_no_answer(answer: httpx.Response, part: str) -> None:
    """A stream is held to the same."""
    assert part in Server(answer).failure(stream=True).message


def test_server_that_does_not_know_a_penalty() -> None:
    """A parameter that only some servers have is left out from then on where one refuses it."""
    server = Server(
        httpx.Response(400, json={"error": {"message": "Unrecognized request argument supplied: repeat_penalty"}}),
        completion("yes"),
    )
    engine = server.engine(batch_size=1, stream=False)
    results = dict(engine.generate([question(key="a"), question(key="b")]))
    engine.close()
    assert [isinstance(result, Generation) for result in results.values()] == [True, True]
    assert ["repeat_penalty" in server.body(number) for number in range(3)] == [True, False, False]
    assert ["repetition_penalty" in server.body(number) for number in range(3)] == [True, True, True]


class Clock:
    """Note how long was to be waited, and do not wait."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def client(self, *answers: Answer) -> endpoint_client.EndpointClient:
        """Return a client that waits here."""
        transport = httpx.MockTransport(Server(*answers))
        return endpoint_client.EndpointClient(URL, timeout_s=5, sleep=self.waits.append, transport=transport)


def test_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each later try waits twice as long."""
    monkeypatch.setattr(endpoint_client, "PAUSE_S", 0.5)
    clock = Clock()
    with pytest.raises(endpoint_client.EndpointError, match="status 500"):
        clock.client(httpx.Response(500)).post("/x", {})
    assert clock.waits == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(
    ("header", "waits"),
    [
        ("7", [7.0]),
        ("0", [0.0]),
        ("Fri, 01 Jan 2021 00:00:00 GMT", [0.0]),
        ("soon", [0.0]),
        ("-3", [0.0]),
        ("", [0.0]),
    ],
)
def test_retry_after(header: str, waits: list[float]) -> None:
    """A server that says when to come again is obeyed; nonsense is as if it had said nothing."""
    clock = Clock()
    busy = httpx.Response(429, headers=[("Retry-After", header)])
    assert clock.client(busy, httpx.Response(200, json={"a": 1})).post("/x", {}).data == {"a": 1}
    assert clock.waits == waits


def test_retry_after_too_long() -> None:
    """Nobody waits for an hour: a longer wait than the limit ends the tries, and is told."""
    clock = Clock()
    with pytest.raises(endpoint_client.EndpointError, match=r"at the first try: status 503: .*asks to wait 3600 s"):
        clock.client(httpx.Response(503, headers={"Retry-After": "3600"})).post("/x", {})
    assert clock.waits == []


def test_too_late() -> None:
    """An answer that is not there in time is a hang, and not asked for again."""
    server = Server(httpx.ReadTimeout("timed out"))
    failure = server.failure(timeout_s=2.0)
    assert (failure.kind, failure.message) == ("hung", f"{URL}: no answer within 2 s")
    assert len(server.requests) == 1


def test_answer_that_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time limit is for the whole answer, however often a byte comes."""
    now = iter(range(1000))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(now)))

    def drops() -> Iterable[bytes]:
        while True:
            yield b" "

    failure = Server(lambda _: httpx.Response(200, content=drops())).failure(timeout_s=5.0)
    assert failure.kind == "hung"
    assert "not complete after 5 s" in failure.message


def test_giant_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is read of an answer than its limit, nor of what a refusal says."""
    monkeypatch.setattr(endpoint_client, "MAX_BYTES", 100_000)
    n_sent = 0

    def endless() -> Iterable[bytes]:
        nonlocal n_sent
        while True:
            n_sent += 10_000
            yield b"x" * 10_000

    assert "more than 100000 bytes" in Server(lambda _: httpx.Response(200, content=endless())).failure().message
    assert n_sent <= 120_000
    n_sent = 0
    assert "status 400" in Server(lambda _: httpx.Response(400, content=endless())).failure().message
    assert n_sent <= 20_000


def test_lone_surrogate_is_not_sent() -> None:
    """A prompt that is no valid text is refused before anything is sent."""
    server = Server(completion())
    assert "lone surrogate U+D800" in server.failure(text="a\ud800").message
    assert server.requests == []


def test_token_ids_are_refused() -> None:
    """Completions of chats take messages."""
    engine = Server(completion()).engine()
    ((_, result),) = engine.generate([Request("a", 4, prompt_ids=(1, 2))])
    engine.close()
    assert result == Failure("refused", "an endpoint takes messages, not token ids")


def spanned(text: str, tokens: int) -> Request:
    """Return a request whose user turn is an input with a limit."""
    return question(text, input_span=InputSpan(LongInput(tokens, "cut"), 1, 0, len(text)))


def test_long_input_without_a_tokenizer() -> None:
    """An input that is surely short enough is sent; one that may be too long is refused, never sent whole."""
    server = Server(completion())
    engine = server.engine()
    results = dict(engine.generate([spanned("ä" * 4, 9)]))
    assert isinstance(results["golden/1"], Generation)
    results = dict(engine.generate([spanned("ä" * 4, 8)]))
    engine.close()
    assert isinstance(failure := results["golden/1"], Failure)
    assert "may be longer than the 8 tokens" in failure.message
    assert len(server.requests) == 1


def test_long_input_with_a_tokenizer() -> None:
    """With the model's tokenizer at hand the input is shortened as for any engine."""
    server = Server(completion())
    engine = server.engine(count_tokens=lambda text: len(text.split()))
    ((_, result),) = engine.generate([spanned("one\n" + "x y z\n" * 20 + "end\n", 20)])
    engine.close()
    assert isinstance(result, Generation)
    assert result.input_tokens_dropped > 0
    assert "left out" in server.body()["messages"][1]["content"]


def test_as_many_at_once_as_asked_for() -> None:
    """``batch_size`` requests are under way at once, and no more."""
    together = threading.Barrier(3)
    most, under_way, lock = 0, 0, threading.Lock()

    def busy(_: httpx.Request) -> httpx.Response:
        nonlocal most, under_way
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(timeout=10)  # only three at once get through
        with lock:
            under_way -= 1
        return completion()

    engine = Server(busy).engine(batch_size=3)
    results = dict(engine.generate([question(key=str(number)) for number in range(9)]))
    engine.close()
    assert len(results) == 9
    assert all(isinstance(result, Generation) for result in results.values())
    assert most == 3


def test_one_failure_leaves_the_others() -> None:
    """A request that fails does not touch those around it."""

    def answer(request: httpx.Request) -> httpx.Response:
        text = json.loads(request.content)["messages"][1]["content"]
        return httpx.Response(400, text="no") if text == "3" else completion(text.upper())

    engine = Server(answer).engine(batch_size=4)
    results = dict(engine.generate([question(str(number), str(number)) for number in range(8)]))
    engine.close()
    assert [key for key, result in sorted(results.items()) if isinstance(result, Failure)] == ["3"]


def test_server_that_goes_away() -> None:
    """When nothing comes back any more, not every case is tried: the engine has died."""
    server = Server(completion(), httpx.ConnectError("connection refused"))
    engine = server.engine(batch_size=1, stream=False)
    results = engine.generate([question(key=str(number)) for number in range(50)])
    assert isinstance(next(results)[1], Generation)
    with pytest.raises(EngineDiedError, match="cannot be reached: connection refused; given up after 3 requests"):
        list(results)
    engine.close()
    assert len(server.requests) < 150  # all would be 197


def test_caller_who_goes_away() -> None:
    """Requests that nobody waits for any more are not sent."""
    server = Server(completion())
    engine = server.engine(batch_size=1, stream=False)
    results = engine.generate([question(key=str(number)) for number in range(2000)])
    next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    engine.close()
    engine.close()
    assert len(server.requests) < 2000


def models(*entries: Any) -> httpx.Response:
    """Return a list of models."""
    return httpx.Response(200, json={"object": "list", "data": list(entries)})


def test_describe() -> None:
    """What the server tells of the model is shown, as far as it is short and plain."""
    meta = {"n_ctx_train": 2048, "size": 10**30, "vocab_type": 2}
    entry = {"id": "some-model", "owned_by": "x" * 1000, "created": 5, "max_model_len": {"a": 1}, "meta": meta}
    server = Server(models({"id": "other"}, 7, entry))
    engine = server.engine()
    info = engine.describe()
    engine.close()
    assert server.requests[0].url.path == "/v1/models"
    assert info.name == "endpoint"
    assert info.settings["temperature"] == 0
    assert info.facts == {
        "url": URL,
        "model": "some-model",
        "id": "some-model",
        "owned_by": "x" * 200 + "…",
        "created": 5,
        "n_ctx_train": 2048,
    }


@pytest.mark.parametrize("answer", [httpx.Response(404), httpx.Response(200, json={"models": []})])
def test_describe_without_a_list(answer: httpx.Response) -> None:
    """A server need not list its models."""
    engine = Server(answer).engine()
    assert engine.describe().facts == {"url": URL, "model": "some-model"}
    engine.close()


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (models({"id": "another"}), r"serves no model 'some-model'; it lists another$"),
        (httpx.Response(401, text="who are you"), r"status 401: who are you \(the key is read from MODELGATE_API_KEY"),
        (httpx.ConnectError("connection refused"), r"cannot be reached: connection refused$"),
        (httpx.ReadTimeout("late"), r"no answer within 300 s$"),
    ],
)
def test_describe_fails(answer: Answer, part: str) -> None:
    """A server that does not answer, or not with this model, cannot be started: one line."""
    engine = Server(answer).engine()
    with pytest.raises(EngineStartError, match=part) as caught:
        engine.describe()
    engine.close()
    assert "\n" not in str(caught.value)


def test_name_without_a_tag() -> None:
    """A name that stands for its latest version is found."""
    engine = Server(models({"id": "some-model:latest"})).engine()
    assert engine.describe().facts["id"] == "some-model:latest"
    engine.close()


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("ftp://host/v1", "is reached by http"),
        ("host/v1", "is reached by http"),
        ("http://", "is reached by http"),
        ("http://host:port/v1", "is wrong"),
        (f"http://me:{KEY}@host/v1", "put the key into MODELGATE_API_KEY"),
        (f"http://host/v1?key={KEY}", r"without \? or #"),
        (f"http://host/v1#{KEY}", r"without \? or #"),
    ],
)
def test_wrong_address(url: str, part: str) -> None:
    """Only http and https are spoken, and no key stands in an address; the message does not repeat one."""
    with pytest.raises(EngineStartError, match=part) as caught:
        Server(completion()).engine(url=url)
    assert KEY not in str(caught.value)


def test_slash_at_the_end() -> None:
    """A slash at the end of the address changes nothing."""
    server = Server(completion())
    server.generation(url=f"{URL}/")
    assert str(server.requests[0].url) == f"{URL}/chat/completions"


class TestKey:
    """The key comes from the environment and goes to the server, and nowhere else."""

    @pytest.fixture(autouse=True)
    def _key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODELGATE_API_KEY", f" {KEY}\n")

    def test_sent(self) -> None:
        """It is sent as a bearer token."""
        server = Server(completion())
        server.generation()
        assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(401, text=f"wrong key {KEY}"),
            httpx.Response(500, text=f"oops {KEY}"),
            httpx.Response(302, headers={"Location": f"http://elsewhere/{KEY}"}),
            httpx.ConnectError(f"cannot send {KEY}"),
            httpx.ReadError(f"cannot send {KEY}"),
            httpx.Response(200, text=KEY),
            httpx.Response(200, json={"said": KEY}),
            completion("x", KEY),
            completion(f"the key is {KEY}!"),
        ],
    )
    def test_never_told(self, answer: Answer) -> None:
        """Whatever the server does with it, it stands in no message and in no answer."""
        failure = Server(answer).failure()
        assert KEY not in repr(failure)
        engine = Server(answer).engine()
        try:
            info = repr(engine.describe())
        except EngineStartError as error:
            info = repr(error)
        engine.close()
        assert KEY not in info

    @pytest.mark.parametrize("answer", [streamed("it is ", KEY[:5], KEY[5:]), streamed("x", error=KEY)])
    def test_never_told_in_pieces(self, answer: httpx.Response) -> None:
        """A stream may not bring it in pieces either."""
        assert KEY not in repr(Server(answer).answer(stream=True))

    def test_never_listed(self) -> None:
        """Nor may it stand among what a server tells of a model."""
        engine = Server(models({"id": "some-model", "owned_by": KEY})).engine()
        with pytest.raises(EngineStartError, match="repeats the key") as caught:
            engine.describe()
        engine.close()
        assert KEY not in str(caught.value)

    @pytest.mark.parametrize("key", ["two words", "ключ", "a\x00b", "a\nb: c"])
    def test_unusable(self, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key that no header can hold is told by the name of its variable."""
        if "\x00" in key:
            monkeypatch.setattr("os.environ", {"MODELGATE_API_KEY": key})
        else:
            monkeypatch.setenv("MODELGATE_API_KEY", key)
        with pytest.raises(EngineStartError, match="MODELGATE_API_KEY holds") as caught:
            Server(completion()).engine()
        assert key not in str(caught.value)

    def test_placeholder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A short word that stands for no key does not make answers that hold it unusable."""
        monkeypatch.setenv("MODELGATE_API_KEY", "EMPTY")
        assert Server(completion("EMPTY")).generation().text == "EMPTY"


def test_proxies_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a proxy nor a .netrc of the environment is used."""
    seen: dict[str, Any] = {}

    class Client(httpx.Client):
        def __init__(self, **options: Any) -> None:
            seen.update(options)
            super().__init__(**options)

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(httpx, "Client", Client)
    engine = EndpointEngine(URL, "m", EngineSettings())
    engine.close()
    assert seen["trust_env"] is False
    assert seen["follow_redirects"] is False


def test_without_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"an endpoint needs httpx.*pytest-modelgate\[endpoint\]"):
        EndpointEngine(URL, "m", EngineSettings())

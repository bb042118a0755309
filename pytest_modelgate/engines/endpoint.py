"""
Ask a server for chat completions: llama-server, vLLM, Ollama, llama-cpp-python's, or any other with OpenAI's interface.

This is the served form, as deployed: the server renders the messages with the template that it thinks right, and what it
answers with can change from one minute to the next. So nothing of it is reused, and
:mod:`pytest_modelgate.preflight.served` compares how many tokens it makes of a prompt with what the model's own template
gives.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from pytest_modelgate.engines import EngineSettings, Result
from pytest_modelgate.engines.endpoint_answer import Answer, read_stream, read_whole, short, whole_text
from pytest_modelgate.engines.endpoint_client import (
    EndpointClient,
    EndpointError,
    RefusedError,
    SlowError,
    UnreachableError,
)
from pytest_modelgate.errors import EngineDiedError, EngineError, EngineStartError
from pytest_modelgate.records import EngineInfo, Failure, Generation, Json, Message, Request
from pytest_modelgate.truncation import CountTokens, fit_request

__all__ = ["EndpointEngine"]

GREEDY: Json = {"temperature": 0, "top_p": 1, "seed": 0}
"""How every answer is decoded, said in each request: a server's own defaults are others."""
NO_PENALTY: Json = {"repeat_penalty": 1.0, "repetition_penalty": 1.0}
"""
The names that llama.cpp and vLLM have for a penalty on repetition, which OpenAI's interface does not know.

llama-cpp-python's server has 1.1 where nothing is said, vLLM what the model's generation_config.json says. Left out where a
server refuses them.
"""

_MAX_UNREACHABLE = 3
"""So many requests without an answer one after the other, each tried several times, and the server is given up."""
_FACTS = ("id", "owned_by", "created", "root", "parent", "max_model_len")
_FACTS_OF_LLAMA_SERVER = ("n_vocab", "n_ctx_train", "n_embd", "n_params", "size")
_LARGEST = 1 << 53


class EndpointEngine:
    """
    Ask ``model`` at ``url`` (``http://host:port/v1``), ``settings.batch_size`` requests at once.

    ``stream``: take the answer piece by piece, so that the time to the first token is seen; None: where one request is
    asked at a time, as in the latency phase. Otherwise ``ttft_s`` is ``total_s``. Token counts are those that the server
    tells; where it tells none of a streamed answer, its pieces are counted. ``count_tokens``: counts as the model's
    tokenizer does, for tasks with a rule for long inputs; without it an input that might be too long is refused.
    ``settings.timeout_s``: for one try of one request. ``transport``: an httpx transport, for tests.

    Raises as :class:`~pytest_modelgate.engines.endpoint_client.EndpointClient` does.
    """

    def __init__(
        self,
        url: str,
        model: str,
        settings: EngineSettings,
        *,
        stream: bool | None = None,
        count_tokens: CountTokens | None = None,
        transport: Any = None,
    ) -> None:
        self.on_started: Callable[[str], None] = _ignore
        self._model = model
        self._settings = settings
        self._streams = settings.batch_size == 1 if stream is None else stream
        self._count_tokens = count_tokens
        self._counting = threading.Lock()
        self._closed = threading.Event()
        self._extra = dict(NO_PENALTY)
        self._client = EndpointClient(
            url,
            timeout_s=settings.timeout_s,
            n_connections=settings.batch_size,
            sleep=self._closed.wait,
            transport=transport,
        )

    def describe(self) -> EngineInfo:
        """
        Say what the server tells of the model.

        Raises :class:`~pytest_modelgate.errors.EngineStartError` where nobody answers, or where the server lists its models
        and this one is not among them: some servers answer with another one then.
        """
        try:
            facts = self._facts()
        except EndpointError as error:
            raise EngineStartError(self._client.without_key(str(error))) from None
        settings = {name: getattr(self._settings, name) for name in ("batch_size", "timeout_s")}
        return EngineInfo("endpoint", "1", settings=settings | GREEDY | self._extra, facts=facts)

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """
        Yield the results as they come in.

        Raises :class:`~pytest_modelgate.errors.EngineDiedError` when several requests in a row got no answer.
        """
        todo: queue.SimpleQueue[Request] = queue.SimpleQueue()
        for request in requests:
            todo.put(request)
        results: queue.SimpleQueue[tuple[str, Generation | EngineError]] = queue.SimpleQueue()
        stop = threading.Event()
        # Daemons: a server that keeps a request for minutes must not keep an interrupted run from ending.
        for _ in range(min(self._settings.batch_size, len(requests))):
            threading.Thread(target=self._work, args=(todo, results, stop), daemon=True).start()
        n_unreachable = 0
        try:
            for _ in requests:
                key, result = results.get()
                n_unreachable = n_unreachable + 1 if isinstance(result, UnreachableError) else 0
                if isinstance(result, Generation):
                    yield key, result
                    continue
                failure = Failure(_kind(result), self._client.without_key(str(result)))
                if n_unreachable >= _MAX_UNREACHABLE:
                    raise EngineDiedError(f"{failure.message}; given up after {n_unreachable} requests in a row")
                yield key, failure
        finally:
            stop.set()

    def peak_rss_bytes(self) -> int | None:
        """Return None: what a server uses cannot be seen from here."""
        return None

    def close(self) -> None:
        """Close the connections; calling it twice is harmless."""
        self._closed.set()
        self._client.close()

    def _work(
        self,
        todo: queue.SimpleQueue[Request],
        results: queue.SimpleQueue[tuple[str, Generation | EngineError]],
        stop: threading.Event,
    ) -> None:
        """Answer requests until none is left or the caller has gone."""
        while not (stop.is_set() or self._closed.is_set()):
            try:
                request = todo.get_nowait()
            except queue.Empty:
                return
            try:
                self.on_started(request.key)
                results.put((request.key, self._answer(request)))
            except EngineError as error:
                results.put((request.key, error))
            except Exception as error:  # noqa: BLE001  # a result that never comes would be waited for without end
                results.put((request.key, EndpointError(f"{type(error).__name__}: {error}")))

    def _answer(self, request: Request) -> Generation:
        """Run one request; raise EngineError where there is no answer."""
        if request.messages is None:
            raise RefusedError("an endpoint takes messages, not token ids")
        messages, dropped = self._fitted(request)
        asked: Json = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": request.max_tokens,
            **GREEDY,
        }
        answer = self._ask(asked)
        text = whole_text(answer.text)
        self._client.refuse_key(text)
        return Generation(
            text=text,
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            output_tokens=answer.output_tokens,
            ttft_s=answer.ttft_s,
            total_s=answer.total_s,
            input_tokens_dropped=dropped,
        )

    def _fitted(self, request: Request) -> tuple[Sequence[Message], int]:
        """Return the messages with the input made to fit its task's rule, and by how many tokens it became shorter."""
        span = request.input_span
        if self._count_tokens is not None:
            with self._counting:  # whoever counts may be one process with one pipe
                return fit_request(request, self._count_tokens)
        messages = request.messages or ()
        if span is not None:
            content = messages[span.turn].content[span.start : span.end]
            # No tokenizer makes more tokens than bytes of a text, and one for a space that some put in front.
            if len(content.encode("utf-8", "replace")) + 1 > span.rule.tokens:
                raise RefusedError(
                    f"the input may be longer than the {span.rule.tokens} tokens of its task's rule, "
                    f"and an endpoint has no tokenizer to count them with"
                )
        return messages, 0

    def _ask(self, asked: Json) -> Answer:
        """Send a request, without what this server turns out not to know."""
        while True:
            extra = dict(self._extra)
            body = asked | extra
            try:
                if not self._streams:
                    return read_whole(self._client.post("/chat/completions", body))
                options = {"stream": True, "stream_options": {"include_usage": True}}
                return read_stream(self._client.stream("/chat/completions", body | options))
            except RefusedError as error:
                unknown = [name for name in extra if name in str(error)] if error.status in {400, 422} else []
                if not unknown:
                    raise
                self._extra = {name: value for name, value in self._extra.items() if name not in unknown}

    def _facts(self) -> Json:
        """Return what the server tells of the model."""
        try:
            listed = self._client.get("/models")
        except RefusedError as error:
            if error.status in {404, 405, 501}:
                return {"url": self._client.url, "model": self._model}
            raise
        found = listed.get("data") if isinstance(listed, dict) else None
        models = [entry for entry in found or () if isinstance(entry, dict) and isinstance(entry.get("id"), str)]
        mine = [entry for entry in models if entry["id"] in {self._model, f"{self._model}:latest"}]
        if models and not mine:
            names = ", ".join(short(entry["id"]) for entry in models[:5]) + (", …" if len(models) > 5 else "")  # noqa: PLR2004
            raise RefusedError(f"{self._client.url} serves no model {self._model!r}; it lists {names}")
        entry = mine[0] if mine else {}
        meta = entry.get("meta")
        told = {name: entry.get(name) for name in _FACTS}
        told |= {name: meta.get(name) for name in _FACTS_OF_LLAMA_SERVER} if isinstance(meta, dict) else {}
        facts = {
            name: short(value) if isinstance(value, str) else value
            for name, value in told.items()
            if isinstance(value, str) or (type(value) is int and abs(value) < _LARGEST)
        }
        self._client.refuse_key(json.dumps(facts, ensure_ascii=False))
        return {"url": self._client.url, "model": self._model, **facts}


def _kind(error: EngineError) -> Literal["refused", "died", "hung"]:
    """Return the kind of failure that an error is."""
    if isinstance(error, UnreachableError):
        return "died"
    return "hung" if isinstance(error, SlowError) else "refused"


def _ignore(_key: str) -> None:
    """Do nothing about a request that is started."""

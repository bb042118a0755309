"""Run a GGUF with llama.cpp, in this process."""

from __future__ import annotations

import codecs
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.engines import EngineSettings, Result, host
from pytest_modelgate.engines.gguf_prompt import encoded_text, rendered
from pytest_modelgate.engines.llama import Entry, LlamaModel, build_id, version
from pytest_modelgate.errors import EngineDiedError, EngineError
from pytest_modelgate.gguf_file import read_gguf_facts
from pytest_modelgate.records import EngineInfo, Failure, FinishReason, Generation, Request
from pytest_modelgate.truncation import fit_request

__all__ = ["GgufEngine", "text_decoder"]


class GgufEngine:
    """
    Decode greedily, one request after the other, each in an empty context: the order of requests changes nothing.

    An input that is too long for its task's rule is shortened first, counted by the file's own tokenizer. The prompt is
    rendered with the file's own template and tokenised without adding anything. Generation ends at any
    end-of-generation token, whose text is left out; every other special token is written into the text by its name,
    so that a broken end of turn can be seen. ``on_started`` is called with a request's key when its turn comes. A
    request's ``draft`` is not used.
    """

    def __init__(self, path: Path, settings: EngineSettings, lora: Path | None = None) -> None:
        self.on_started: Callable[[str], None] = _ignore
        self._path = path
        self._lora = lora
        self._settings = settings
        self._facts = read_gguf_facts(path)
        self._model: LlamaModel | None = None

    def describe(self) -> EngineInfo:
        """Say what was loaded and what llama.cpp warned of."""
        model, facts = self._load(), self._facts
        return EngineInfo(
            name="llama.cpp",
            version=f"llama-cpp-python {version()}",
            settings=self._settings.to_json(),
            facts={
                "build_id": build_id(),
                "n_threads": model.n_threads,
                "architecture": facts.architecture,
                "name": facts.name,
                "n_vocab": facts.n_vocab,
                "n_ctx_train": facts.n_ctx_train,
                "quantization": facts.quantization,
                "bits_per_weight": round(facts.bits_per_weight, 3),
                "size_bytes": facts.size_bytes,
                "warnings": list(model.load_warnings),
            },
        )

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """Yield the results in the order of the requests."""
        model = self._load()
        for request in requests:
            self.on_started(request.key)
            try:
                yield request.key, self._answer(model, request)
            except EngineDiedError:
                raise
            except EngineError as error:
                yield request.key, Failure("refused", str(error))

    def peak_rss_bytes(self) -> int | None:
        """Return the largest resident memory of this process."""
        return host.peak_rss_bytes()

    def close(self) -> None:
        """Free the model."""
        if self._model is not None:
            self._model.close()
            self._model = None

    def _load(self) -> LlamaModel:
        """Load the model once."""
        if self._model is None:
            settings = self._settings
            self._model = LlamaModel(
                self._path,
                n_ctx=settings.n_ctx,
                n_threads=settings.n_threads,
                n_gpu_layers=settings.n_gpu_layers,
                lora=self._lora,
            )
        return self._model

    def _answer(self, model: LlamaModel, request: Request) -> Generation:
        """Run one request; raise EngineError with the reason where it cannot be run."""
        started = time.perf_counter()
        prompt, input_tokens_dropped = self._prompt(model, request)
        model.clear()
        decoder = text_decoder()
        text = ""
        finish: FinishReason = "length"
        tokens: list[int] = []
        logprobs: list[float] = []
        margins: list[float] = []
        ends: list[int] = []
        ttft_s = 0.0
        entries = [Entry(token, position) for position, token in enumerate(prompt[:-1])]
        entries.append(Entry(prompt[-1], len(prompt) - 1, wants_logits=True))
        while len(tokens) < request.max_tokens:
            token, logprob, margin = choose(model.decode(entries)[0])
            if not tokens:
                ttft_s = time.perf_counter() - started
            tokens.append(token)
            logprobs.append(logprob)
            margins.append(margin)
            if model.is_eog(token):
                finish = "stop"
                ends.append(len(text))
                break
            text += decoder.decode(model.token_bytes(token))
            ends.append(len(text))
            entries = [Entry(token, len(prompt) + len(tokens) - 1, wants_logits=True)]
        return Generation(
            text=text + decoder.decode(b"", final=True),
            finish_reason=finish,
            token_ids=tuple(tokens),
            logprobs=tuple(logprobs),
            margins=tuple(margins),
            ends=tuple(ends),
            prompt_tokens=len(prompt),
            output_tokens=len(tokens),
            ttft_s=ttft_s,
            total_s=time.perf_counter() - started,
            input_tokens_dropped=input_tokens_dropped,
        )

    def _prompt(self, model: LlamaModel, request: Request) -> tuple[Sequence[int], int]:
        """
        Return the token ids of a request's prompt, checked against vocabulary and context.

        With them comes by how many tokens the input was shortened.
        """
        dropped = 0
        if request.prompt_ids is not None:
            prompt: Sequence[int] = request.prompt_ids
            if not all(0 <= token < model.n_vocab for token in prompt):
                raise EngineError(f"prompt_ids holds a token outside the vocabulary of {model.n_vocab}")
        else:
            messages, dropped = fit_request(request, lambda text: len(model.tokenize(encoded_text(text))))
            prompt = model.tokenize(encoded_text(rendered(self._facts, messages)))
        if not prompt:
            raise EngineError("the prompt is empty")
        if len(prompt) + request.max_tokens > model.n_ctx:
            raise EngineError(
                f"prompt is {len(prompt)} tokens and max_tokens {request.max_tokens}, "
                f"together more than n_ctx {model.n_ctx}: raise n_ctx or shorten the case"
            )
        return prompt, dropped


def text_decoder() -> codecs.IncrementalDecoder:
    """
    Return a decoder of UTF-8 that is fed token by token.

    It holds an incomplete character back until its last byte comes; bytes that are no UTF-8 become U+FFFD.
    """
    return codecs.getincrementaldecoder("utf-8")("replace")


def choose(logits: NDArray[np.float32]) -> tuple[int, float, float]:
    """
    Choose the most probable token from logits of shape (n_vocab,).

    Returns it with the natural logarithm of its probability and its lead over the second best logit. Of equal ones the
    first is chosen, as by llama.cpp. Raises EngineError where the logits are not numbers.
    """
    best = int(np.argmax(logits))  # of an array with a NaN: the NaN
    highest = float(logits[best])
    if not math.isfinite(highest):
        what = "NaN" if math.isnan(highest) else "infinite"
        raise EngineError(
            f"logits are not numbers ({what}): weights of this file, or what is computed from them, overflow"
        )
    logprob = -math.log(float(np.sum(np.exp(logits - highest, dtype=np.float64))))
    second = float(np.max(np.delete(logits, best))) if len(logits) > 1 else -math.inf
    return best, logprob, highest - second


def _ignore(_key: str) -> None:
    """Do nothing about a request that is started."""

"""Run a GGUF with llama.cpp, in this process."""

from __future__ import annotations

import codecs
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pytest_modelgate.engines import EngineSettings, Result, host
from pytest_modelgate.engines.batching import Answer, Batcher, Job
from pytest_modelgate.engines.gguf_prompt import encoded_text, rendered
from pytest_modelgate.engines.llama import Entry, LlamaModel, build_id, version
from pytest_modelgate.engines.llama_batch import MAX_SEQUENCES, SharedContext
from pytest_modelgate.engines.llama_sampling import Grammars
from pytest_modelgate.engines.memory import check_gguf, kv_bytes
from pytest_modelgate.engines.near_ties import NearTies, largest_difference
from pytest_modelgate.engines.prefix_tree import shared_length
from pytest_modelgate.engines.raw_text import with_raw_texts
from pytest_modelgate.engines.sampling import Chooser, greedy
from pytest_modelgate.errors import EngineDiedError, EngineError
from pytest_modelgate.gguf_file import GgufFacts, read_gguf_facts
from pytest_modelgate.records import EngineInfo, Failure, FinishReason, Generation, Json, Request
from pytest_modelgate.truncation import fit_request

__all__ = ["GgufEngine", "choose", "text_decoder"]

choose = greedy
"""How a token is chosen where nothing else is asked for."""

_SEQUENCES = 16
_BATCH, _GPU_BATCH = 256, 512  # tokens in one pass: more is no faster on a CPU, and the logits take memory
_CELLS_STEP = 256  # llama.cpp's own
_CELLS_UNKNOWN = 1 << 15
_OWN_PROMPTS, _SMALL_BYTES = 8, 100_000_000


class GgufEngine:
    """
    Decode requests together, or one after the other, each in an empty context: the answers are the same.

    With a ``batch_size`` of 1, and for a single request, decoding is deployment's: one token at a time, nothing else in
    memory. Otherwise what prompts begin with is computed once, many sequences go through the model together, and drafts
    are verified instead of decoded (:mod:`~pytest_modelgate.engines.batching`). Results then come as they are ready, and
    their times are no latencies: a request shares the machine with others. An answer in which two choices were too near
    to each other (:mod:`~pytest_modelgate.engines.near_ties`) is given once more as in deployment, and marked.

    An input that is too long for its task's rule is shortened first, counted by the file's own tokenizer. The prompt is
    rendered with the file's own template and tokenised without adding anything. Generation ends at any
    end-of-generation token, whose text is left out; every other special token is written into the text by its name,
    so that a broken end of turn can be seen. ``on_started`` is called with a request's key when its turn comes.
    """

    def __init__(self, path: Path, settings: EngineSettings, lora: Path | None = None) -> None:
        self.on_started: Callable[[str], None] = _ignore
        self._path = path
        self._lora = lora
        self._settings = settings
        self._facts = read_gguf_facts(path)
        self._model: LlamaModel | None = None
        self._shared: SharedContext | None = None
        self._ties: NearTies | None = None
        self._counts: Counter[str] = Counter()
        self._batchers: list[Batcher] = []
        self._grammars: Grammars | None = None
        self._told: set[str] = set()

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
                **self._batching_facts(),
            },
        )

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """
        Yield the results; one by one in the order of the requests, else as they are ready.

        An answer that a grammar changed comes last: it is generated without it too.
        """
        self._told.clear()
        yield from with_raw_texts(requests, self._run)

    def _run(self, requests: Sequence[Request]) -> Iterator[Result]:
        """Yield the results, with the raw text where a grammar changed nothing."""
        model = self._load()
        if len(requests) > 1 and self._settings.batch_size > 1 and model.can_share:
            yield from self._together(model, requests)
            return
        for request in requests:
            self._tell(request.key)
            yield request.key, self._alone(model, request)

    def peak_rss_bytes(self) -> int | None:
        """Return the largest resident memory of this process."""
        return host.peak_rss_bytes()

    def close(self) -> None:
        """Free the model."""
        self._grammars = None
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        if self._model is not None:
            self._model.close()
            self._model = None

    def _load(self) -> LlamaModel:
        """Load the model once."""
        if self._model is None:
            settings = self._settings
            check_gguf(self._facts, settings)
            self._model = LlamaModel(
                self._path,
                n_ctx=settings.n_ctx,
                n_threads=settings.n_threads,
                n_gpu_layers=settings.n_gpu_layers,
                lora=self._lora,
            )
        return self._model

    def _alone(self, model: LlamaModel, request: Request) -> Generation | Failure:
        """Run one request as in deployment; say why where it cannot be run."""
        try:
            return self._answer(model, request)
        except EngineDiedError:
            raise
        except EngineError as error:
            return Failure("refused", str(error))

    def _answer(self, model: LlamaModel, request: Request) -> Generation:
        """Run one request; raise EngineError with the reason where it cannot be run."""
        started = time.perf_counter()
        prompt, dropped = self._prompt(model, request)
        model.clear()
        choices, answer = self._chooser(model, request), Answer()
        entries = [Entry(token, position) for position, token in enumerate(prompt[:-1])]
        entries.append(Entry(prompt[-1], len(prompt) - 1, wants_logits=True))
        while len(answer.tokens) < request.max_tokens:
            token, logprob, margin = choices.choose(model.decode(entries)[0])
            if not answer.tokens:
                answer.ttft_s = time.perf_counter() - started
            answer.tokens.append(token)
            answer.logprobs.append(logprob)
            answer.margins.append(margin)
            if model.is_eog(token):
                break
            choices.accept(token)
            entries = [Entry(token, len(prompt) + len(answer.tokens) - 1, wants_logits=True)]
        answer.total_s = time.perf_counter() - started
        return _knowing_raw(_generation(model, answer, len(prompt), dropped), request, choices)

    def _together(self, model: LlamaModel, requests: Sequence[Request]) -> Iterator[Result]:
        """Run requests in batches."""
        asked: dict[str, tuple[Request, int, Chooser]] = {}
        jobs: list[Job] = []
        for request in requests:
            try:
                prompt, dropped = self._prompt(model, request)
                choices = self._chooser(model, request)
            except EngineError as error:
                yield request.key, Failure("refused", str(error))
                continue
            asked[request.key] = request, dropped, choices
            drafts = [self._draft(model, text) for text in request.all_drafts]
            jobs.append(Job(request.key, array("i", prompt), request.max_tokens, choices, drafts))
        try:
            memory = self._memory(model, jobs)
            ties = self._near_ties(model, memory, jobs)
        except EngineDiedError:
            raise
        except EngineError as error:  # no memory for it, say: then one by one
            self._counts[f"not batched: {error}"] += 1
            for request, _, _ in asked.values():
                self._tell(request.key)
                yield request.key, self._alone(model, request)
            return
        self._batchers.append(batcher := Batcher(memory, model.is_eog, ties, self._tell))
        for job, answer in batcher.run(jobs):
            request, dropped, choices = asked[job.key]
            self._counts["answers"] += 1
            if answer.is_doubtful:
                self._counts["near_ties"] += 1
                result = self._alone(model, request)
                if isinstance(result, Generation):
                    same = _same(answer.tokens, result.token_ids)
                    ties.compare(answer.margins[:same], result.margins[:same])
                    result = replace(result, near_tie=True)
                yield job.key, result
            else:
                yield job.key, _knowing_raw(_generation(model, answer, len(job.prompt), dropped), request, choices)
            choices.close()

    def _chooser(self, model: LlamaModel, request: Request) -> Chooser:
        """Return what chooses the tokens of an answer; raise EngineError for a grammar that llama.cpp refuses."""
        settings = request.generation
        if settings is None or settings.grammar is None:
            return Chooser(settings, request.key)
        if self._grammars is None:
            self._grammars = Grammars(model)
        return Chooser(settings, request.key, self._grammars.constraint(settings.grammar))

    def _tell(self, key: str) -> None:
        """Say once that a request's turn has come: one that a grammar changed is taken up again without it."""
        if key not in self._told:
            self._told.add(key)
            self.on_started(key)

    def _memory(self, model: LlamaModel, jobs: Sequence[Job]) -> SharedContext:
        """Return the context in which ``jobs`` share what they begin with, made anew where they need a larger one."""
        sizes = sorted((len(job.prompt) + job.max_tokens for job in jobs), reverse=True)
        longest = max((len(job.prompt) for job in jobs), default=1)
        n_sequences = min(self._settings.n_seq or _SEQUENCES, MAX_SEQUENCES - 1, max(1, len(jobs)))
        # A prompt that several begin with takes one place: what is counted here is more than is ever needed.
        wanted = longest + sum(sizes[:n_sequences])
        n_cells = max(longest + max(sizes, default=1), min(wanted, _most_cells(self._facts)))
        n_cells = -(-n_cells // _CELLS_STEP) * _CELLS_STEP
        found = self._shared
        if found is None or found.n_cells < n_cells or found.n_sequences <= n_sequences:
            if found is not None:
                found.close()
                self._shared = None
            n_batch = _GPU_BATCH if self._settings.n_gpu_layers else _BATCH
            self._shared = SharedContext(model, n_cells=n_cells, n_sequences=n_sequences + 1, n_batch=n_batch)
        assert self._shared is not None  # noqa: S101  # made above
        return self._shared

    def _near_ties(self, model: LlamaModel, memory: SharedContext, jobs: Sequence[Job]) -> NearTies:
        """Return how near choices may be, measured before the first batch."""
        if self._ties is None:
            ties = NearTies()
            # A small model takes no time, so that it is tried on what it will be asked as well.
            own = [job.prompt for job in jobs[:_OWN_PROMPTS]] if self._facts.size_bytes < _SMALL_BYTES else []
            ties.learn(largest_difference(model, memory, own))
            self._ties = ties
        return self._ties

    def _draft(self, model: LlamaModel, text: str) -> list[int]:
        """Return the tokens of a text as of an answer that ends."""
        end = [] if model.eos_id is None else [model.eos_id]
        return model.tokenize(text.encode("utf-8", "replace")) + end

    def _batching_facts(self) -> Json:
        """Say how batching went, as far as there was any."""
        counts, ties = self._counts, self._ties
        if ties is None:
            return {}
        return {
            "batching": {
                "n_seq": None if self._shared is None else self._shared.n_sequences - 1,
                "n_cells": None if self._shared is None else self._shared.n_cells,
                "largest_logit_difference": round(ties.difference, 5),
                "near_tie_tolerance": round(ties.tolerance, 5),
                "answers": counts["answers"],
                "near_ties": counts["near_ties"],
                "computed": sum(batcher.computed for batcher in self._batchers),
                "generated": sum(batcher.generated for batcher in self._batchers),
                "draft_tokens": sum(batcher.proposed for batcher in self._batchers),
                "draft_tokens_accepted": sum(batcher.accepted for batcher in self._batchers),
            }
        }

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


def _knowing_raw(generation: Generation, request: Request, choices: Chooser) -> Generation:
    """Return a generation with its text as the raw one, where it had a grammar that never changed a choice."""
    settings = request.generation
    if settings is None or settings.grammar is None or choices.overridden:
        return generation
    return replace(generation, raw_text=generation.text)


def _generation(model: LlamaModel, answer: Answer, prompt_tokens: int, input_tokens_dropped: int) -> Generation:
    """Return an answer with its text."""
    decoder = text_decoder()
    finish: FinishReason = "length"
    text = ""
    ends: list[int] = []
    for token in answer.tokens:
        if model.is_eog(token):
            finish = "stop"
        else:
            text += decoder.decode(model.token_bytes(token))
        ends.append(len(text))
    return Generation(
        text=text + decoder.decode(b"", final=True),
        finish_reason=finish,
        token_ids=tuple(answer.tokens),
        logprobs=tuple(answer.logprobs),
        margins=tuple(answer.margins),
        ends=tuple(ends),
        prompt_tokens=prompt_tokens,
        output_tokens=len(answer.tokens),
        ttft_s=answer.ttft_s,
        total_s=answer.total_s,
        input_tokens_dropped=input_tokens_dropped,
    )


def _same(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens two answers begin with in common."""
    return shared_length(list(one), list(other))


def _most_cells(facts: GgufFacts) -> int:
    """Return for how many tokens a quarter of the free memory holds keys and values."""
    free, per_token = host.free_memory(), kv_bytes(facts)
    return _CELLS_UNKNOWN if free is None or not per_token else free.n_bytes // 4 // per_token


def _ignore(_key: str) -> None:
    """Do nothing about a request that is started."""

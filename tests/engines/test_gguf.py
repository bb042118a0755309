"""The llama.cpp engine in one process: prompts, decoding, stopping, refusals."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pytest_modelgate.engines import EngineSettings, llama
from pytest_modelgate.engines.gguf import GgufEngine, choose, text_decoder
from pytest_modelgate.engines.host import available_threads
from pytest_modelgate.engines.llama import Entry, LlamaModel, build_id, quantize
from pytest_modelgate.errors import EngineError, EngineStartError
from pytest_modelgate.records import Failure, Generation, Message, Request
from tests.engines.conftest import ChainMaker, TinyModel, answered, failed

SETTINGS = EngineSettings(n_ctx=1024, n_threads=1)


def ask(key: str = "k", content: str = "hello", max_tokens: int = 16, **fields: Any) -> Request:
    """Make a request of one user turn."""
    return Request(key, max_tokens, messages=(Message("user", content),), **fields)


def run(path: Path, request: Request, settings: EngineSettings = SETTINGS) -> Generation | Failure:
    """Run one request on a file."""
    engine = GgufEngine(path, settings)
    try:
        ((key, result),) = engine.generate([request])
    finally:
        engine.close()
    assert key == request.key
    return result


def answer(path: Path, request: Request) -> Generation:
    """Run one request that is answered."""
    return answered(run(path, request))


def refusal(path: Path, request: Request) -> Failure:
    """Run one request that is not answered."""
    return failed(run(path, request))


def test_decoder_never_breaks_characters() -> None:
    """Fed byte by byte, the decoder gives whole characters or nothing."""
    text = "aé€😀\u200d한z"
    decoder = text_decoder()
    pieces = [decoder.decode(bytes([byte])) for byte in text.encode()] + [decoder.decode(b"", final=True)]
    assert list(text) == [piece for piece in pieces if piece]


def test_decoder_replaces_what_is_no_text() -> None:
    """Invalid and unfinished bytes become U+FFFD."""
    decoder = text_decoder()
    assert decoder.decode(b"\xffa") == "\ufffda"
    assert decoder.decode(b"\xe2\x82") == ""
    assert decoder.decode(b"", final=True) == "\ufffd"


def test_choose() -> None:
    """The best token comes with its log-probability and its lead; of equal ones the first is taken."""
    token, logprob, margin = choose(np.log(np.array([0.2, 0.5, 0.3], np.float32)))
    assert token == 1
    assert math.log(0.5) == pytest.approx(logprob, abs=1e-6)
    assert math.log(0.5 / 0.3) == pytest.approx(margin, abs=1e-6)
    assert choose(np.array([0, 3, 3], np.float32))[::2] == (1, 0.0)


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "infinite")])
def test_choose_refuses_what_is_no_number(value: float, name: str) -> None:
    """One logit that is no number makes the whole position worthless."""
    with pytest.raises(EngineError, match=f"logits are not numbers .{name}."):
        choose(np.array([0, value, 1], np.float32))


def test_text_of_split_characters(says: ChainMaker) -> None:
    """Characters whose bytes are tokens of their own come out whole; the end of turn is no text."""
    generation = answer(says(*"é€".encode(), "hello", "<|im_end|>"), ask())
    assert (generation.text, generation.finish_reason) == ("é€hello", "stop")
    assert (*"é€".encode(), 259, 262) == generation.token_ids
    assert 7 == generation.output_tokens == len(generation.logprobs) == len(generation.margins)
    assert 0 < generation.ttft_s < generation.total_s


def test_other_end_tokens_stop_too(says: ChainMaker) -> None:
    """Any end-of-generation token ends the answer, not the file's EOS alone."""
    generation = answer(says("hello", "<|endoftext|>"), ask())
    assert (generation.text, generation.finish_reason) == ("hello", "stop")


def test_other_special_tokens_are_visible(says: ChainMaker) -> None:
    """A special token that does not end the answer is written by its name."""
    generation = answer(says("<|marker|>", "hello", "<|im_start|>", "<|im_end|>"), ask())
    assert generation.text == "<|marker|>hello<|im_start|>"


def test_invalid_bytes(says: ChainMaker) -> None:
    """Bytes that are no UTF-8 become U+FFFD, also at the end."""
    assert answer(says(0xC3, ord("x"), 0xE2, "<|im_end|>"), ask()).text == "\ufffdx\ufffd"


def test_length(says: ChainMaker) -> None:
    """An answer without an end is cut off at max_tokens."""
    generation = answer(says(ord("a"), ord("b"), ord("c"), ord("a")), ask(max_tokens=7))
    assert (generation.text, generation.finish_reason, generation.output_tokens) == ("abcabca", "length", 7)


def test_prompt_is_the_rendered_template(random_gguf: Path, tmp_path: Path, tiny_model: type[TinyModel]) -> None:
    """The prompt is the file's own template, its special tokens recognised, nothing added."""
    generation = answer(random_gguf, ask(content="hello"))
    user, assistant = [ord(letter) for letter in "user\n"], [ord(letter) for letter in "assistant\n"]
    user_ids = [261, *user, 259, 262, 10, 261, *assistant]
    assert len(user_ids) == generation.prompt_tokens
    by_ids = answer(random_gguf, Request("k", 16, prompt_ids=tuple(user_ids)))
    assert generation.token_ids == by_ids.token_ids
    bare = tiny_model(template="{{ messages[-1].content }}").write(tmp_path / "bare.gguf")
    assert answer(bare, ask(content="hello")).prompt_tokens == 1


def test_order_changes_nothing(random_gguf: Path) -> None:
    """A request's answer does not depend on what ran before it."""
    requests = [ask(f"k{index}", f"hello {index}" * (index + 1)) for index in range(6)]
    engine = GgufEngine(random_gguf, SETTINGS)
    forward = {key: answered(result).token_ids for key, result in engine.generate(requests)}
    backward = {key: answered(result).token_ids for key, result in engine.generate(requests[::-1])}
    engine.close()
    assert forward == backward
    assert len(set(forward.values())) == 6


def test_long_prompt_is_decoded_in_parts(random_gguf: Path) -> None:
    """A prompt longer than one decode call is right, not a crash."""
    request = ask(content="abc" * 300)
    assert answer(random_gguf, request).output_tokens == 16
    model = LlamaModel(random_gguf, n_ctx=1024, n_threads=1)
    ids = model.tokenize(b"abc" * 300)
    at_once = model.decode([Entry(token, place, 0, place == len(ids) - 1) for place, token in enumerate(ids)])
    model.clear()
    for place, token in enumerate(ids):
        one_by_one = model.decode([Entry(token, place, wants_logits=True)])
    model.close()
    assert at_once.argmax() == one_by_one.argmax()
    np.testing.assert_allclose(at_once, one_by_one, atol=0.5)  # the cache holds f16


def test_prompt_too_long(random_gguf: Path) -> None:
    """A request that does not fit is refused with all three numbers; the next one runs."""
    engine = GgufEngine(random_gguf, EngineSettings(n_ctx=64, n_threads=1))
    results = dict(engine.generate([ask("long", "x" * 40, max_tokens=32), ask("short")]))
    engine.close()
    assert results["long"] == Failure(
        "refused",
        "prompt is 59 tokens and max_tokens 32, together more than n_ctx 64: raise n_ctx or shorten the case",
    )
    assert answered(results["short"]).output_tokens == 16


def test_refusals(random_gguf: Path, tmp_path: Path, tiny_model: type[TinyModel]) -> None:
    """What cannot be run is refused in words, never with a crash."""
    bare = tiny_model(template="{{ messages[-1].content }}").write(tmp_path / "bare.gguf")
    without = tiny_model(template=None).write(tmp_path / "without.gguf")
    assert "U+D800" in refusal(random_gguf, ask(content="a\ud800b")).message
    assert refusal(bare, ask(content="")).message == "the prompt is empty"
    assert "no chat template" in refusal(without, ask()).message
    assert "outside the vocabulary of 264" in refusal(random_gguf, Request("k", 4, prompt_ids=(1, 264))).message
    assert "outside the vocabulary" in refusal(random_gguf, Request("k", 4, prompt_ids=(-1,))).message
    assert answer(random_gguf, ask(content="nul \0 in it")).output_tokens == 16


def test_nan(tmp_path: Path, tiny_model: type[TinyModel]) -> None:
    """Weights that are no numbers are named, not decoded to something."""
    result = refusal(tiny_model(has_nan=True).write(tmp_path / "nan.gguf"), ask())
    assert result.kind == "refused"
    assert result.message.startswith("logits are not numbers (NaN)")


def test_describe(random_gguf: Path) -> None:
    """The engine says what it is and how it runs."""
    engine = GgufEngine(random_gguf, EngineSettings(n_ctx=8192))
    info = engine.describe()
    engine.close()
    engine.close()
    assert info.name == "llama.cpp"
    assert info.version.startswith("llama-cpp-python 0.")
    assert info.facts["n_threads"] == 1  # so small a model is no faster with more
    assert any("n_ctx_seq (8192) > n_ctx_train (4096)" in line for line in info.facts["warnings"])
    assert not any("kv   0" in line for line in info.facts["warnings"])
    assert build_id() == info.facts["build_id"]
    assert (engine.peak_rss_bytes() or 0) > 1_000_000


def test_threads_follow_the_affinity_mask() -> None:
    """A process confined to one processor uses one thread, whatever the machine has."""
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_load_errors_are_one_line(tmp_path: Path) -> None:
    """What llama.cpp says of a file that it refuses is in the error."""
    path = tmp_path / "a.gguf"
    path.write_text("no model")
    with pytest.raises(EngineStartError, match=r"a\.gguf: llama\.cpp could not load it: .*error loading model"):
        LlamaModel(path, n_ctx=64)


def test_threads_follow_size_and_wish(random_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is not tiny gets every thread that this process may use; a wish comes first."""
    monkeypatch.setattr(llama, "_ONE_THREAD_BYTES", 1)

    models = [LlamaModel(random_gguf, n_ctx=64, n_threads=wish) for wish in (None, 3)]

    assert [model.n_threads for model in models] == [available_threads(), 3]
    assert available_threads() <= len(os.sched_getaffinity(0))
    for model in models:
        model.close()


def test_quantize(random_gguf: Path, tmp_path: Path) -> None:
    """A quantised file runs, and nothing else is left in the folder."""
    path = tmp_path / "q8.gguf"
    quantize(random_gguf, path, "Q8_0")
    assert [path] == list(tmp_path.iterdir())
    assert answer(path, ask()).output_tokens == 16


def test_quantize_errors(random_gguf: Path, tmp_path: Path) -> None:
    """Wrong types and files are named, and leave no file."""
    target = tmp_path / "out.gguf"
    with pytest.raises(EngineError, match=r"cannot quantise to 'Q4'; valid are F16, Q8_0, .*Q2_K"):
        quantize(random_gguf, target, "Q4")
    with pytest.raises(EngineError, match="no such file"):
        quantize(tmp_path / "none.gguf", target, "F16")
    source = tmp_path / "bad.gguf"
    source.write_text("no model")
    with pytest.raises(EngineError, match="could not quantise it to F16"):
        quantize(source, target, "F16")
    assert [source] == list(tmp_path.iterdir())

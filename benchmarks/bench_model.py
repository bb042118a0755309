"""
Make a model of real size whose every answer is known beforehand, for measuring speed.

It has Qwen2.5-0.5B's shape (output matrix untied) and Qwen2's own vocabulary, 630M weights in all. A word somewhere in
the prompt, its topic, decides the answer: a chain of words of a fixed length, then the end of the turn. Each token is
chosen with a wide lead, so that every quantisation and every way of decoding gives the same text.

    python -m benchmarks.bench_model DIR [--archive llama_cpp_python-0.3.36.tar.gz]

writes ``bench-f16.gguf``, ``bench-Q8_0.gguf`` and ``bench-Q4_K_M.gguf`` (2.4 GB) into DIR, and ``bench.json`` with each
topic's answer. The vocabulary is that of llama-cpp-python's source archive, which pip fetches.

How it works: a token's embedding is a random direction of its own, and a token's row of the output matrix is the
direction of the token before it. In the first layer every position attends to the topic alone and takes over a part of
its direction, which tells the first words of all chains apart. All other weights are small and random: they cost what
those of a trained model cost.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from modelgate_training.export import converter
from numpy.typing import NDArray

from pytest_modelgate.engines.llama import quantize
from pytest_modelgate.records import Message

__all__ = ["LENGTHS", "BenchCase", "make_bench_model", "make_cases"]

LENGTHS = {28: 96, 120: 48, 512: 16}
"""How many topics have an answer of so many tokens, the end of the turn included."""

_VOCABULARY = "ggml-vocab-qwen2.gguf"
_END, _BEFORE_ANSWER = "<|im_end|>", "Ċ"  # the template ends with "assistant" and a line break
_CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LAYERS, _WIDTH, _HEADS, _KV_HEADS, _FFN, _HEAD = 24, 896, 14, 2, 4864, 64
_CODE = _KV_HEADS * _HEAD  # what of a topic's direction is taken over
_OWN = _WIDTH - _CODE - 8  # of a token's own direction
_IS_TOPIC, _IS_LAST = _OWN, _OWN + 1
_UNTURNED = _HEAD // 2 - 1  # RoPE turns this half of a head, and its partner, by 1e-6 a position
_CODE_SHARE = 0.75  # of a first word's row, beside the direction of the token before it


@dataclass(frozen=True, slots=True)
class BenchCase:
    """Hold a conversation and the answer that the bench model gives to it."""

    id: str
    messages: tuple[Message, ...]
    answer: str


@dataclass
class _Plan:
    """Hold which token follows which, and which tokens are topics, first words and last words of an answer."""

    following: dict[int, int] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)
    last: list[int] = field(default_factory=list)
    answers: dict[str, list[list[str]]] = field(default_factory=dict)


def make_bench_model(folder: Path, archive: Path | None = None, types: Sequence[str] = ("Q8_0", "Q4_K_M")) -> Path:
    """
    Write the model as f16 and in ``types`` into ``folder``; return the path of the f16 file.

    ``archive``: the source archive of llama-cpp-python, None to fetch it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "bench-f16.gguf"
    with tempfile.TemporaryDirectory(prefix="modelgate-") as scratch:
        vocabulary = _read_vocabulary(archive or converter.download(converter.installed_version(), Path(scratch)))
    tokens = vocabulary["tokens"]
    plan = _make_plan(tokens)
    _write(path, vocabulary, plan)
    for name in types:
        quantize(path, folder / f"bench-{name}.gguf", name)
    (folder / "bench.json").write_text(json.dumps(plan.answers) + "\n", encoding="utf-8")
    return path


def make_cases(folder: Path, length: int, n: int, suite: Path, system: str, seed: int = 0) -> list[BenchCase]:
    """
    Return ``n`` conversations with answers of ``length`` tokens, one of :data:`LENGTHS`.

    ``suite``: a JSONL file whose inputs are asked; where it has fewer than ``n``, they come again with another number in
    front. The topic stands at the end of the user's turn, which changes nothing about how prompts overlap.
    """
    topics = json.loads((folder / "bench.json").read_text(encoding="utf-8"))[str(length)]
    lines = [json.loads(line)["input"] for line in suite.read_text(encoding="utf-8").splitlines() if line.strip()]
    random.Random(seed).shuffle(lines)  # noqa: S311  # no secret
    cases = []
    for number in range(n):
        topic, answer = topics[number % len(topics)]
        turn = number // len(lines)
        asked = f"{turn}. " * bool(turn) + f"{lines[number % len(lines)]}\nTopic: {topic}"
        cases.append(BenchCase(f"{length}-{number}", (Message("system", system), Message("user", asked)), answer))
    return cases


def _read_vocabulary(archive: Path) -> dict[str, Any]:
    """Return tokens, types and merges of the vocabulary that lies in the source archive."""
    with tempfile.TemporaryDirectory(prefix="modelgate-") as scratch:
        with tarfile.open(archive) as members:
            member = next(one for one in members if one.name.endswith(f"/models/{_VOCABULARY}"))
            member.name = _VOCABULARY
            members.extract(member, scratch, filter="data")
        reader = gguf.GGUFReader(Path(scratch) / _VOCABULARY)
        names = {"tokens": "tokens", "types": "token_type", "merges": "merges"}
        return {name: reader.fields[f"tokenizer.ggml.{key}"].contents() for name, key in names.items()}


def _make_plan(tokens: Sequence[str]) -> _Plan:
    """Choose topics and answers among the vocabulary's common words; each word has one place in one answer."""
    ids = {token: index for index, token in enumerate(tokens)}
    # Early merges are common words: whole tokens wherever they stand after a space.
    words = [token for token in tokens[:120_000] if re.fullmatch("Ġ[a-z]{3,9}", token)]
    random.Random(7).shuffle(words)  # noqa: S311  # no secret
    taken = iter(words)
    plan = _Plan()
    # Topics are long words, which no support message holds by chance.
    topics = [token for token in tokens[60_000:] if re.fullmatch("Ġ[a-z]{10,14}", token)]
    names = iter(topics)
    for length, count in LENGTHS.items():
        pairs = []
        for _ in range(count):
            topic = next(names)
            chain = [next(taken) for _ in range(length - 1)]
            steps = [ids[word] for word in chain]
            plan.first[ids[topic]] = steps[0]
            plan.following.update(pairwise(steps))
            plan.last.append(steps[-1])
            pairs.append([topic.replace("Ġ", ""), "".join(chain).replace("Ġ", " ")])
        plan.answers[str(length)] = pairs
    return plan


def _write(path: Path, vocabulary: dict[str, Any], plan: _Plan) -> None:
    """Write the f16 file, one tensor in memory at a time."""
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("modelgate bench")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(32768)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FFN)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_rope_freq_base(1_000_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary["tokens"])
    writer.add_token_types(vocabulary["types"])
    writer.add_token_merges(vocabulary["merges"])
    writer.add_eos_token_id(vocabulary["tokens"].index(_END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(_CHATML)
    n_vocab = len(vocabulary["tokens"])
    for name, shape in _shapes(n_vocab):
        dtype = np.dtype(np.float16 if len(shape) > 1 else np.float32)
        writer.add_tensor_info(name, shape, dtype, int(np.prod(shape)) * dtype.itemsize)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, shape in _shapes(n_vocab):
        data = _tensor(name, shape, vocabulary["tokens"], plan)
        writer.write_tensor_data(data.astype(np.float16 if len(shape) > 1 else np.float32))
    writer.close()


def _shapes(n_vocab: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield every tensor's name and shape, a matrix as (rows out, columns in)."""
    kv = _KV_HEADS * _HEAD
    yield "token_embd.weight", (n_vocab, _WIDTH)
    yield "output.weight", (n_vocab, _WIDTH)
    yield "output_norm.weight", (_WIDTH,)
    for layer in range(_LAYERS):
        for name, shape in {
            "attn_norm.weight": (_WIDTH,),
            "attn_q.weight": (_WIDTH, _WIDTH),
            "attn_q.bias": (_WIDTH,),
            "attn_k.weight": (kv, _WIDTH),
            "attn_k.bias": (kv,),
            "attn_v.weight": (kv, _WIDTH),
            "attn_v.bias": (kv,),
            "attn_output.weight": (_WIDTH, _WIDTH),
            "ffn_norm.weight": (_WIDTH,),
            "ffn_gate.weight": (_FFN, _WIDTH),
            "ffn_up.weight": (_FFN, _WIDTH),
            "ffn_down.weight": (_WIDTH, _FFN),
        }.items():
            yield f"blk.{layer}.{name}", shape


def _tensor(name: str, shape: tuple[int, ...], tokens: Sequence[str], plan: _Plan) -> NDArray[np.float32]:
    """Return one tensor's values."""
    if name == "token_embd.weight":
        embedding = np.zeros(shape, np.float32)
        embedding[:, :_OWN] = _directions(shape[0])
        embedding[list(plan.first), _IS_TOPIC] = 1.0
        embedding[plan.last, _IS_LAST] = 1.0
        return embedding
    if name == "output.weight":
        return _output(shape, tokens, plan)
    if "norm" in name:
        return np.ones(shape, np.float32)
    seed = np.frombuffer(name.encode(), np.uint8)
    drawn = np.random.default_rng(seed).standard_normal(shape, np.float32)
    if name.endswith("bias"):
        values = np.zeros(shape, np.float32)
        if name == "blk.0.attn_q.bias":
            values[_UNTURNED::_HEAD] = 12.0  # every head asks for a topic
        return values
    # Small enough that what all layers add is a fifth of a token's own direction.
    values = drawn * (0.02 if shape[1] == _WIDTH and "output" not in name else 1e-4)
    if name.endswith("attn_output.weight"):
        values *= 0.5
    if name == "blk.0.attn_k.weight":
        values[_UNTURNED::_HEAD] = 0.0
        values[_UNTURNED::_HEAD, _IS_TOPIC] = 1.0
    if name == "blk.0.attn_v.weight":
        values[:] = 0.0
        values[np.arange(_CODE), np.arange(_CODE)] = 1.0
    if name == "blk.0.attn_output.weight":
        places = np.arange(_HEAD)
        for kv_head in range(_KV_HEADS):  # of all heads that share its keys and values, the first one hands them on
            head = kv_head * (_HEADS // _KV_HEADS)
            values[_WIDTH - _CODE + kv_head * _HEAD + places, head * _HEAD + places] = 0.09
    return values


def _directions(n_vocab: int) -> NDArray[np.float32]:
    """Return each token's own direction, shape (n_vocab, _OWN), rows of length 1."""
    drawn = np.random.default_rng(11).standard_normal((n_vocab, _OWN), np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return drawn


def _output(shape: tuple[int, ...], tokens: Sequence[str], plan: _Plan) -> NDArray[np.float32]:
    """Return the output matrix: each row looks for the token that comes before its own."""
    own = _directions(shape[0])
    before = np.full(shape[0], -1)
    free = np.ones(shape[0], bool)  # tokens that nothing follows yet
    for token, following in plan.following.items():
        before[following], free[token] = token, False
    ids = {token: index for index, token in enumerate(tokens)}
    start = ids[_BEFORE_ANSWER]
    free[[start, *plan.last]] = False
    before[list(plan.first.values())] = start
    others = np.flatnonzero(before < 0)
    others = others[others != ids[_END]]
    leading = np.random.default_rng(13).permutation(np.flatnonzero(free))
    before[others[: len(leading)]] = leading[: len(others)]
    output = np.zeros(shape, np.float32)
    led = before >= 0
    output[led, :_OWN] = own[before[led]]
    for topic, first in plan.first.items():
        code = own[topic, :_CODE]
        output[first, -_CODE:] = code / np.linalg.norm(code) * _CODE_SHARE
    output[ids[_END], _IS_LAST] = 1.2
    return output


def main() -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description="Make the bench model.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--archive", type=Path, help="llama-cpp-python's source archive, instead of fetching it")
    options = parser.parse_args()
    make_bench_model(options.folder, options.archive)
    for path in sorted(options.folder.glob("bench-*.gguf")):
        print(f"{path.name}: {path.stat().st_size / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

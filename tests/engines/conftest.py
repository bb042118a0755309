"""Make tiny GGUF files that llama.cpp loads in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_modelgate.records import Failure, Generation

MERGES = ("h e", "l l", "he ll", "hell o")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|marker|>")
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_letters() -> dict[int, str]:
    """Return the printable character that GPT-2's vocabulary writes for each byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + index) for index, byte in enumerate(others)}


LETTERS = byte_letters()
VOCABULARY = [
    *(LETTERS[byte] for byte in range(256)),
    *(merge.replace(" ", "") for merge in MERGES),
    *SPECIAL,
]
TOKEN_IDS = {token: index for index, token in enumerate(VOCABULARY)}
"""Ids by text; the ids below 256 are the bytes themselves."""


@dataclass(frozen=True)
class TinyModel:
    """
    Describe a 2-layer Qwen2 of about 0.3M weights.

    ``chain`` makes it a table: after token ``i`` comes ``chain[i]``, whatever was before. Without one its weights are
    random: what it says depends on the whole prompt, and never ends by itself.
    """

    chain: dict[int, int] | None = None
    template: str | None = CHATML
    seed: int = 0
    n_ctx_train: int = 4096
    has_nan: bool = False
    tensors: bool = True
    values: dict[str, int | str] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Write the model as a GGUF in F32."""
        writer = gguf.GGUFWriter(path, "qwen2")
        n_embd, n_ff, n_head = (288, 64, 4) if self.chain else (64, 128, 4)
        writer.add_name("tiny")
        writer.add_file_type(gguf.LlamaFileType.ALL_F32)
        writer.add_context_length(self.n_ctx_train)
        writer.add_embedding_length(n_embd)
        writer.add_block_count(2)
        writer.add_feed_forward_length(n_ff)
        writer.add_head_count(n_head)
        writer.add_head_count_kv(2)
        writer.add_rope_freq_base(10000.0)
        writer.add_layer_norm_rms_eps(1e-6)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_list(VOCABULARY)
        controls = [gguf.TokenType.CONTROL] * len(SPECIAL)
        writer.add_token_types([gguf.TokenType.NORMAL] * (len(VOCABULARY) - len(SPECIAL)) + controls)
        writer.add_token_merges(MERGES)
        writer.add_bos_token_id(TOKEN_IDS["<|endoftext|>"])
        writer.add_eos_token_id(TOKEN_IDS["<|im_end|>"])
        writer.add_add_bos_token(False)
        for key, value in self.values.items():
            writer.add_key_value(
                key, value, gguf.GGUFValueType.STRING if isinstance(value, str) else gguf.GGUFValueType.INT32
            )
        if self.template is not None:
            writer.add_chat_template(self.template)
        for name, data in (self._weights(n_embd, n_ff, n_head) if self.tensors else {}).items():
            writer.add_tensor(name, data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def _weights(self, n_embd: int, n_ff: int, n_head: int) -> dict[str, NDArray[np.float32]]:
        """Return all tensors by name; a matrix is stored as (rows out, columns in)."""
        random = np.random.default_rng(self.seed)
        n_vocab, n_kv = len(VOCABULARY), n_embd // n_head * 2

        def matrix(rows: int, columns: int) -> NDArray[np.float32]:
            scale = 0.0 if self.chain else 2.0 / columns**0.5
            return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

        embedding = random.standard_normal((n_vocab, n_embd)).astype(np.float32)
        output = random.standard_normal((n_vocab, n_embd)).astype(np.float32)
        output[-len(SPECIAL) :] = 0.0
        if self.chain:
            embedding = np.eye(n_vocab, n_embd, dtype=np.float32)
            output = np.zeros((n_vocab, n_embd), np.float32)
            for token, following in self.chain.items():
                output[following, token] = 1.0
        ones = np.ones(n_embd, np.float32)
        tensors = {
            "token_embd.weight": embedding,
            "output_norm.weight": ones * np.nan if self.has_nan else ones,
            "output.weight": output,
        }
        for layer in range(2):
            tensors |= {
                f"blk.{layer}.{name}": data
                for name, data in {
                    "attn_norm.weight": ones,
                    "attn_q.weight": matrix(n_embd, n_embd),
                    "attn_q.bias": np.zeros(n_embd, np.float32),
                    "attn_k.weight": matrix(n_kv, n_embd),
                    "attn_k.bias": np.zeros(n_kv, np.float32),
                    "attn_v.weight": matrix(n_kv, n_embd),
                    "attn_v.bias": np.zeros(n_kv, np.float32),
                    "attn_output.weight": matrix(n_embd, n_embd),
                    "ffn_norm.weight": ones,
                    "ffn_gate.weight": matrix(n_ff, n_embd),
                    "ffn_up.weight": matrix(n_ff, n_embd),
                    "ffn_down.weight": matrix(n_embd, n_ff),
                }.items()
            }
        return tensors


class ChainMaker(Protocol):
    """Make files that always answer with the same tokens."""

    def __call__(self, *tokens: int | str, name: str = "chain.gguf") -> Path:
        """Make the file that answers with ``tokens``."""


def answered(result: Generation | Failure) -> Generation:
    """Return a result, checked to be an answer."""
    assert isinstance(result, Generation), result
    return result


def failed(result: Generation | Failure) -> Failure:
    """Return a result, checked to be a failure."""
    assert isinstance(result, Failure), result
    return result


@pytest.fixture(scope="session")
def token_ids() -> dict[str, int]:
    """Give token ids by text."""
    return TOKEN_IDS


@pytest.fixture(scope="session")
def tiny_model() -> type[TinyModel]:
    """Give the class that makes tiny models."""
    return TinyModel


@pytest.fixture(scope="session")
def random_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file whose answers depend on the whole prompt."""
    return TinyModel().write(tmp_path_factory.mktemp("gguf") / "random-F32.gguf")


@pytest.fixture
def says(tmp_path: Path) -> ChainMaker:
    """Give a function that makes a file which always answers with the given tokens."""

    def make(*tokens: int | str, name: str = "chain.gguf") -> Path:
        steps = [ord("\n"), *(TOKEN_IDS[token] if isinstance(token, str) else token for token in tokens)]
        return TinyModel(chain=dict(pairwise(steps))).write(tmp_path / name)

    return make

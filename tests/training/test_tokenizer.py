"""A tokenizer that was trained here gives the same ids everywhere."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from modelgate_training.errors import StageError
from modelgate_training.export.converter import find_converter
from modelgate_training.export.gguf import convert
from modelgate_training.tuning.tokenizer import CHATML, save_tokenizer, train_tokenizer

ODD = [
    "",
    " ",
    "Hello",
    " Hello  world   three    four",
    "tabs\tand\t\ttabs, CRLF\r\n\r\nand\n\n\nlines \n end ",
    *("7" * length for length in range(1, 11)),
    *(f"a{' ' * length}b" for length in range(1, 20)),
    "don't DON'T we'Ve I'm you'll he'd 's 'S 'LL ''s",
    "https://a.example/x?y=1&z=%20#frag user@host.example",
    '{"intent": "bug", "n": -1.5e-3, "x": [null, true]}',
    "\u00e9 e\u0301 \u00fc u\u0308 \ufb01 \u212b",
    "\u4f60\u597d\uff0c\u4e16\u754c \u0441\u043f\u0430\u0441\u0438\u0431\u043e \u0627\u0644\u0644\u063a\u0629 \u0e44\u0e17\u0e22",
    "\U0001f600\U0001f621\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2705",
    "\u00a0\u2003\u200b\u2028\u3000x",
    "\u0660\u0661\u0662 \u2167 \u00bd \u00b2",
    "_under_score_ snake_case camelCase ABCdef x1y2z3",
    "!?!?... --- *** ((())) <<>> `code` ~~",
    "\x00\x01\x7f",
    "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n<|endoftext|>",
    "<|im_start|> <|im_end <|im_end|>x",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tokenizer of 600 tokens and the configuration that names its model."""
    from transformers import Qwen2Config

    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer = train_tokenizer([text for text in ODD if "<|" not in text] * 3, 600)
    save_tokenizer(tokenizer, path)
    config = Qwen2Config(vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=1, num_attention_heads=1)
    config.architectures = ["Qwen2ForCausalLM"]
    config.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    """Return the tokenizer as transformers loads it from the folder."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder))


def test_transformers_loads_what_was_saved(tokenizer: Any) -> None:
    """Special tokens and template survive, and every text comes back as it was, in NFC."""
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert tokenizer.chat_template == CHATML
    for text in ODD:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)


def test_no_default_system_turn_is_rendered(tokenizer: Any) -> None:
    """A conversation without a system turn is rendered without one."""
    turns = [{"role": "user", "content": "hi"}]
    rendered = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert rendered == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.model
def test_llama_cpp_gives_the_same_ids(folder: Path, tokenizer: Any, tmp_path: Path) -> None:
    """Every odd text has the same ids in transformers and in the GGUF, and the template is the same text."""
    import llama_cpp

    try:
        find_converter()
    except StageError as missing:
        pytest.skip(str(missing))
    target = tmp_path / "vocab.gguf"
    convert(folder, target, own_tokenizer=True, vocab_only=True)
    model = llama_cpp.Llama(str(target), vocab_only=True)  # verbose: a quiet one leaks files
    for odd in ODD:
        text = unicodedata.normalize("NFC", odd)  # which llama.cpp does not do by itself
        ours = tokenizer(text, add_special_tokens=False)["input_ids"]
        theirs = model.tokenize(text.encode(), add_bos=False, special=True)
        assert ours == theirs, text
    assert model.metadata["tokenizer.chat_template"] == CHATML
    assert model.metadata["tokenizer.ggml.pre"] == "qwen2"

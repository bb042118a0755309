"""What a header says of a vocabulary is what llama.cpp makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from modelgate_training.export.vocabulary import read_vocabulary

from pytest_modelgate.gguf_file import read_gguf_values
from pytest_modelgate.modelfile.vocabulary import vocabulary_of
from tests.faults.gguf_edit import Edit, edit, metadata
from tests.preflight.static_subjects import Q8_0

TOKENS, EOS, PRE, ADD_BOS = (f"tokenizer.ggml.{name}" for name in ("tokens", "eos_token_id", "pre", "add_bos_token"))


def renamed(**others: str) -> list[str]:
    """Return the vocabulary with other texts in the place of single letters."""
    tokens = list(metadata(Q8_0, TOKENS))
    for old, new in others.items():
        tokens[tokens.index(old)] = new
    return tokens


@pytest.mark.model
@pytest.mark.parametrize(
    "what",
    [
        Edit(),
        Edit({EOS: 5}),
        Edit({TOKENS: renamed(A="</s>", B="<|file_sep|>", C="<|fim_pad|>", D="<|repo_name|>")}),
        Edit({TOKENS: renamed(A="<|end|>", B="<|return|>", C="<|call|>")}),
        Edit({TOKENS: renamed(A="<|end|>", B="<|calls|>", C="<|flush|>")}),
        Edit({TOKENS: renamed(A="</s>", B="<|tool_response>")}),
        Edit({TOKENS: renamed(A="<｜end▁of▁sentence｜>", B="<eos>")}),  # noqa: RUF001
        Edit(added={"tokenizer.ggml.eot_token_id": 7, "tokenizer.ggml.eom_token_id": 8}),
        Edit(added={"tokenizer.ggml.eot_token_id": 99_999}),
        Edit(added={"tokenizer.ggml.fim_pad_token_id": 9}),
        Edit({PRE: "llama-bpe"}),
        Edit({PRE: "tekken"}),
        Edit({PRE: "llama-bpe"}, {ADD_BOS: False}),
        Edit(added={ADD_BOS: True}),
    ],
)
def test_ends_and_bos_are_llama_cpp_s(what: Any, tmp_path: Path) -> None:
    """Where a text ends, and whether a BOS is put before it, is known without loading the file."""
    path = edit(Q8_0, tmp_path / "x.gguf", what)
    ours, theirs = vocabulary_of(read_gguf_values(path)), read_vocabulary(path)
    assert (ours.ends, ours.adds_bos) == (theirs.ends, theirs.adds_bos)


def test_a_header_without_a_vocabulary_has_no_ends() -> None:
    """What names no tokens ends nowhere."""
    assert vocabulary_of({}).ends == ()

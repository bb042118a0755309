"""
Say where llama.cpp stops with a GGUF, and whether it puts a BOS before a text, by the file's header alone.

The rules are those of ``src/llama-vocab.cpp`` in the llama.cpp that belongs to llama-cpp-python 0.3.36: ids that the header
names, and texts that are known to end a turn, whatever the header says of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Vocabulary", "vocabulary_of"]

_KEY = "tokenizer.ggml."
_ENDS = frozenset(
    {
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>"),
        *("<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>"),
        *("<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["),  # noqa: RUF001
    }
)
"""Texts of tokens at which llama.cpp stops by their name."""

_FILLED: Mapping[str, tuple[str, ...]] = {
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}
"""Tokens of fill-in-the-middle that end a text too, with the texts by which they are known where no id is named."""

_BOS_FIRST = frozenset(
    {
        *("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"),
        *("tekken", "chameleon"),
    }
)
"""Ways of splitting words whose texts begin with BOS where the header does not say whether they do."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """
    Hold what llama.cpp says of a vocabulary.

    ``ends``: texts of the tokens that end a generation, by id. ``adds_bos``: it begins a text with BOS by itself. ``bos``:
    the text of the token that it takes for BOS, some default where the file names none; None where there is none.
    """

    ends: tuple[str, ...]
    adds_bos: bool
    bos: str | None


def vocabulary_of(values: Mapping[str, Any]) -> Vocabulary:
    """
    Return what llama.cpp will make of a header's vocabulary, without asking it.

    ``values``: the header's values by key, as :func:`~pytest_modelgate.gguf_file.read_gguf_values` reads them. The BOS is
    None where the header names none.
    """
    found = values.get(f"{_KEY}tokens")
    tokens: Sequence[str] = found if isinstance(found, list) else ()
    ends = {number for number, text in enumerate(tokens) if text in _ENDS}
    ends |= {number for name in ("eos", "eot", "eom") if (number := _named(values, name, tokens)) is not None}
    for name, texts in _FILLED.items():
        number = _named(values, name, tokens)
        if number is None:
            number = next((place for place, text in enumerate(tokens) if text in texts), None)
        ends |= set() if number is None else {number}
    first = _named(values, "bos", tokens)
    return Vocabulary(
        ends=tuple(tokens[number] for number in sorted(_without_exceptions(ends, tokens))),
        adds_bos=_adds_bos(values),
        bos=None if first is None else tokens[first],
    )


def _named(values: Mapping[str, Any], name: str, tokens: Sequence[str]) -> int | None:
    """Return the id of a token that the header names, None where it names none that there is."""
    number = values.get(f"{_KEY}{name}_token_id")
    return number if isinstance(number, int) and 0 <= number < len(tokens) else None


def _without_exceptions(ends: set[int], tokens: Sequence[str]) -> set[int]:
    """Return the ends without those that are ordinary tokens in two families."""
    texts = {tokens[number] for number in ends}
    dropped = set()
    if {"<|return|>", "<|call|>"} <= texts or ("<|flush|>" in texts and texts & {"<|call|>", "<|calls|>"}):
        dropped.add("<|end|>")
    if texts & {"<|tool_response>", "<|plamo:eos|>"}:
        dropped.add("</s>")
    return {number for number in ends if tokens[number] not in dropped}


def _adds_bos(values: Mapping[str, Any]) -> bool:
    """Say whether a BOS is put before a text: as the header says, else as its kind of vocabulary has it."""
    model, pre = values.get(f"{_KEY}model"), values.get(f"{_KEY}pre")
    if pre == "gemma4":
        return True
    said = values.get(f"{_KEY}add_bos_token")
    if isinstance(said, bool):
        return said
    return model in {"llama", "bert"} or (model == "gpt2" and pre in _BOS_FIRST)

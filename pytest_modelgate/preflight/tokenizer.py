"""Compare prompts as text and as token ids with what the reference makes of them; no weights are loaded."""

from __future__ import annotations

from pytest_modelgate.preflight import rendering, token_ids, turn_ends
from pytest_modelgate.preflight.check import Check
from pytest_modelgate.preflight.probes import open_stage

__all__ = ["CHECKS", "open_stage"]

_EVERY = ("gguf", "adapter", "merged")


CHECKS: tuple[Check, ...] = (
    Check("load_warnings", "F31", "tokenizer", "llama.cpp warns of nothing when it loads the vocabulary", turn_ends.load_warnings),
    Check("chat_template", "F01", "tokenizer", "every prompt is the same text on both sides", rendering.chat_template, (), _EVERY),
    Check("system_prompt", "F05", "tokenizer", "the system text stands in the prompt once, and none is added", rendering.system_prompt, (), _EVERY),
    Check("generation_prompt", "F01", "tokenizer", "the prompt ends with the opening of the assistant's turn", rendering.generation_prompt, (), _EVERY),
    Check("end_of_turn", "F04", "tokenizer", "what ends an answer in training ends it in the file", turn_ends.end_of_turn, (), _EVERY),
    Check("bos", "F03", "tokenizer", "there is one BOS at most, and the same number on both sides", turn_ends.bos, (), _EVERY),
    Check("added_tokens", "F08", "tokenizer", "every token has the same id, text and type on both sides", token_ids.added_tokens, ("reference",), _EVERY),
    Check("token_ids", "F02", "tokenizer", "every prompt and text becomes the same token ids on both sides", token_ids.token_ids, ("reference",), _EVERY),
    Check("special_tokens", "F07", "tokenizer", "tells which control tokens a user can write", token_ids.special_tokens, (), _EVERY),
    Check("prompt_fits", "F15", "tokenizer", "every prompt and its answer fit the context", token_ids.prompt_fits, ("prompts",), _EVERY),
)  # fmt: skip
"""The checks of the stage."""

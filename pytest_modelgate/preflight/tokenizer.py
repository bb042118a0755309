"""
Compare prompts as text and as token ids with what the reference makes of them; no weights are loaded.

Both sides make them as they do when they answer: the file with its own template and llama.cpp, the reference with
transformers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from pytest_modelgate.engines.probe_process import open_probe
from pytest_modelgate.preflight.check import Check, Subject
from pytest_modelgate.preflight.context import prompt_fits
from pytest_modelgate.preflight.load_log import load_warnings
from pytest_modelgate.preflight.probes import Probes
from pytest_modelgate.preflight.rendering import chat_template, generation_prompt, system_prompt
from pytest_modelgate.preflight.token_ids import token_ids
from pytest_modelgate.preflight.turn_ends import bos, end_of_turn
from pytest_modelgate.preflight.vocabulary import added_tokens, special_tokens

__all__ = ["CHECKS", "Probes", "open_stage"]

_check = partial(Check, stage="tokenizer")
_ANY = ("gguf", "adapter", "merged")

CHECKS: tuple[Check, ...] = (
    _check(
        "load_warnings",
        "F31",
        about="llama.cpp warns of nothing when it loads the vocabulary",
        function=load_warnings,
    ),
    _check(
        "chat_template",
        "F01",
        about="every prompt is the same text on both sides",
        function=chat_template,
        kinds=_ANY,
    ),
    _check(
        "system_prompt",
        "F05",
        about="a system text stands in the prompt once, before the user's, and none is added",
        function=system_prompt,
    ),
    _check(
        "generation_prompt",
        "F01",
        about="the prompt ends with what opens the assistant's turn",
        function=generation_prompt,
    ),
    _check(
        "end_of_turn",
        "F04",
        about="what ends an answer in training ends a generation of the file",
        function=end_of_turn,
    ),
    _check(
        "bos",
        "F03",
        about="prompts begin with as many BOS on both sides, one at most",
        function=bos,
    ),
    _check(
        "added_tokens",
        "F08",
        about="every token has the same id, text and type on both sides",
        function=added_tokens,
        needs=("reference",),
        kinds=_ANY,
    ),
    _check(
        "token_ids",
        "F02",
        about="every prompt, and texts on which tokenizers are known to differ, become the same token ids",
        function=token_ids,
        needs=("reference",),
        kinds=_ANY,
    ),
    _check(
        "special_tokens",
        "F07",
        about="control tokens that a user can write are known, and tried by cases",
        function=special_tokens,
    ),
    _check(
        "prompt_fits",
        "F30",
        about="every prompt and its answer fit into the context, as it is served and as it was trained",
        function=prompt_fits,
        needs=("prompts",),
    ),
)
"""The checks of the stage, those that explain the others first."""


@contextmanager
def open_stage(subject: Subject) -> Iterator[Probes]:
    """Open the probes that the checks share, for as long as they run."""
    probes = Probes(subject, open_probe)
    try:
        yield probes
    finally:
        probes.close()

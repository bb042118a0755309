"""Give a file another chat template, another vocabulary, or another end of turn than the one it was trained with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults import gguf_faults
from tests.faults.candidate import BrokenCandidate, GoodCandidate
from tests.faults.gguf_edit import Edit, metadata

TOKENS, TYPES, MERGES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.merges"
TEMPLATE, PRE = "tokenizer.chat_template", "tokenizer.ggml.pre"
ADD_BOS, BOS, EOS = "tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"
NORMAL = 1
SYSTEM_TURN = r"{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"


def template_replaced(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Put the template of another family into the file."""
    return good.broken(gguf_faults.other_template(good.q8_0, folder / good.q8_0.name), "F01")


def template_stripped(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Leave the template out, so that every program guesses one."""
    return good.broken(gguf_faults.no_template(good.q8_0, folder / good.q8_0.name), "F01")


def generation_prompt_cut(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Cut off the part of the template that begins the assistant's turn."""
    return _with_template(good, folder, lambda old: old.split("{% if add_generation_prompt %}")[0], "F01", "F06")


def template_trims(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Let the template take white space off the ends of messages, as a newer revision of it does."""
    return _with_template(
        good, folder, lambda old: old.replace("message['content']", "(message['content'] | trim)"), "F01"
    )


def system_turn_inserted(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Let the template write a system turn of its own before all others."""
    return _with_template(good, folder, lambda old: SYSTEM_TURN + old, "F05")


def default_system_text(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Let the template write a system turn of its own where a conversation has none."""
    condition = "{% if messages[0]['role'] != 'system' %}" + SYSTEM_TURN + "{% endif %}"
    return _with_template(good, folder, lambda old: condition + old, "F05")


def add_bos_on(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Have a BOS put before every prompt, which no prompt of the training had."""
    return good.broken(good.edited(folder, Edit(added={ADD_BOS: True, BOS: 0})), "F03")


def double_bos(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Have a BOS put before every prompt, and one written by the template too."""
    template = "{{ bos_token }}" + metadata(good.q8_0, TEMPLATE)
    return good.broken(good.edited(folder, Edit({TEMPLATE: template}, {ADD_BOS: True, BOS: 0})), "F03")


def end_of_turn_renamed(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Rename the token that ends a turn, and name another as EOS."""
    return good.broken(gguf_faults.never_stops(good.q8_0, folder / good.q8_0.name), "F04")


def end_of_turn_normal(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Declare the token that ends a turn an ordinary one."""
    types = list(metadata(good.q8_0, TYPES))
    types[metadata(good.q8_0, EOS)] = NORMAL
    return good.broken(good.edited(folder, Edit({TYPES: types})), "F04")


def tokens_swapped(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Swap the texts of two frequent tokens."""
    tokens = list(metadata(good.q8_0, TOKENS))
    one, two = tokens.index("Ġmy"), tokens.index("Ġthe")
    tokens[one], tokens[two] = tokens[two], tokens[one]
    return good.broken(good.edited(folder, Edit({TOKENS: tokens})), "F02", "F08")


def pre_tokenizer_changed(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Name another way of splitting text into words."""
    return good.broken(good.edited(folder, Edit({PRE: "default"})), "F02")


def merges_lost(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Lose the last third of the merges."""
    merges = list(metadata(good.q8_0, MERGES))
    return good.broken(good.edited(folder, Edit({MERGES: merges[: len(merges) * 2 // 3]})), "F02")


def _with_template(
    good: GoodCandidate, folder: Path, change: Callable[[str], str], *modes: str, **others: Any
) -> BrokenCandidate:
    """Return the shipped file with a changed template."""
    old = metadata(good.q8_0, TEMPLATE)
    new = change(old)
    assert new != old
    return good.broken(good.edited(folder, Edit({TEMPLATE: new})), *modes, **others)

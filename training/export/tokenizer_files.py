"""
Take the base's tokenizer over into a merged folder, so that everybody who reads it meets the same one.

The files are copied, not saved again: transformers 5 writes fewer of them than it read, and what it leaves out
(tokenizer.model, added_tokens_decoder) is what llama.cpp's converter looks for.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pytest_modelgate.engines.adapter_files import read_template
from pytest_modelgate.errors import ModelgateError

from ..errors import StageError
from ..tuning.loading import load_tokenizer

_COPIED = (
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "merges.txt"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
)
_JINJA, _CONFIG = "chat_template.jinja", "tokenizer_config.json"

CORPUS = (
    "",
    "Hello, world!",
    "1 12 123 1234 12345 123456 1234567890",
    "two  three   four    blanks\tand\ttabs",
    "lines\nof\r\nboth\n\nkinds \n",
    "naïve café, cafe\u0301, ﬁ, Straße, ĲSSEL",
    "日本語 中文 한국어 العربية עברית ไทย हिन्दी",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 👍🏽",
    "def f(x): return {'a': [1, 2.5e-3], \"b\": None}  # comment",
    "https://example.org/a?b=c&d=%20#e user@example.org",
    "I'll don't they've WE'RE it's",
    "\u0000\u0007\u001b[0m\u200b\u202e\ufeff",
    "}{][)(><|/\\~^`@#$%&*_-+=",
)
"""Texts on which tokenizers differ: runs of digits and blanks, scripts, joined emoji, control characters, code."""


def one_template(folder: Path) -> str:
    """
    Return the folder's chat template.

    Raises StageError where there is none, or where two files hold two of them: transformers takes chat_template.jinja
    then, llama.cpp's converter tokenizer_config.json.
    """
    try:
        text = read_template(folder)
    except ModelgateError as error:
        raise StageError(str(error)) from error
    if not text:
        raise StageError(f"{folder}: the base has no chat template, so nobody knows how a conversation is written for it: "
                         f"take an instruct model, or put a {_JINJA} into its folder")  # fmt: skip
    if (folder / _JINJA).is_file() and "chat_template" in (config := _read_config(folder)):
        other = config["chat_template"]
        if isinstance(other, list):
            other = next((entry["template"] for entry in other if entry.get("name") == "default"), None)
        if other != text:
            raise StageError(f"{folder}: {_JINJA} and {_CONFIG} hold two different chat templates, and readers differ in "
                             f"which one they believe: take the wrong one out")  # fmt: skip
    return text


def copy_tokenizer(base: Path, folder: Path) -> list[str]:
    """Copy the tokenizer's files, and the one chat template in one file; return their names."""
    copied = [name for name in _COPIED if (base / name).is_file()]
    for name in copied:
        shutil.copyfile(base / name, folder / name)
    if _JINJA in copied:
        config = _read_config(folder)
        if config.pop("chat_template", None) is not None:
            text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
            (folder / _CONFIG).write_text(text, encoding="utf-8")
    return copied


def check_tokenizer(base: Path, folder: Path) -> None:
    """Raise unless the tokenizer of ``folder`` gives the ids of the base's, and has its chat template."""
    ours, theirs = load_tokenizer(folder), load_tokenizer(base)
    for text in (*CORPUS, *theirs.all_special_tokens):
        if (got := _ids(ours, text)) != (wanted := _ids(theirs, text)):
            raise StageError(f"{folder}: the tokenizer writes {text!r} as {got[:12]}, the base's as {wanted[:12]}")
    for name, tokenizer in ((folder, ours), (base, theirs)):
        if tokenizer.chat_template != (text := one_template(name)):
            raise StageError(
                f"{name}: transformers reads another chat template than the one in its files, {text[:60]!r}"
            )
    if one_template(folder) != one_template(base):
        raise StageError(f"{folder}: has another chat template than {base}")


def _ids(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of a text, with what the tokenizer adds by itself."""
    return list(tokenizer(text)["input_ids"])


def _read_config(folder: Path) -> dict[str, Any]:
    """Return what tokenizer_config.json says, nothing where it does not exist."""
    path = folder / _CONFIG
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

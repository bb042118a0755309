"""Look at the files of a tokenizer: is there one chat template, and all that llama.cpp's converter needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_modelgate.errors import SpecError
from pytest_modelgate.gguf_file import GgufHeader
from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.metadata import header_of, read_object, reference_folder, tokenizer_folder

__all__ = ["template_files", "tokenizer_files"]

_JINJA, _JSON, _CONFIG = "chat_template.jinja", "chat_template.json", "tokenizer_config.json"
_TEMPLATE, _TEMPLATES = "tokenizer.chat_template", "tokenizer.chat_templates"
_SENTENCEPIECE = frozenset({"gemma", "gemma2"})
"""Families that the converter reads from tokenizer.model alone."""

_NO_SCORE = -1000.0
"""What the converter writes for every token where it has no scores (``LlamaHfVocab`` of gguf-py)."""


def template_files(subject: Subject) -> Iterator[Finding]:
    """Look whether there is exactly one default template, in the target and in the folder that it was made from."""
    folders = [one for link in (subject.target, *subject.chain) if (one := tokenizer_folder(link)) is not None]
    for folder in dict.fromkeys(folders):
        yield from _in_folder(folder)
    if subject.target.kind == "gguf":
        yield from _in_header(header_of(subject.target.path))
    yield Finding("passed", "there is one chat template")


def tokenizer_files(subject: Subject) -> Iterator[Finding]:
    """Look whether a converter finds what it needs, and whether what it wrote is a whole vocabulary."""
    folder = next((one for link in (subject.target, *subject.chain) if (one := tokenizer_folder(link))), None)
    if subject.target.kind == "gguf":
        yield from _vocabulary(header_of(subject.target.path), folder)
    if folder is None:
        yield Finding("passed", "the file holds a whole vocabulary")
        return
    kind = (
        str((read_object(base / "config.json") or {}).get("model_type", ""))
        if (base := reference_folder(subject))
        else ""
    )
    has = {
        name for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt") if (folder / name).is_file()
    }
    if kind in _SENTENCEPIECE and "tokenizer.model" not in has:
        told = (
            f"{folder.name}: there is no tokenizer.model, without which llama.cpp's converter does not convert {kind}"
        )
        yield Finding("failed" if subject.target.kind != "gguf" else "warned", told)
    if not has & {"tokenizer.json", "tokenizer.model"} and not {"vocab.json", "merges.txt"} <= has:
        yield Finding("failed", f"{folder.name}: there is no tokenizer (tokenizer.json or tokenizer.model)")
    settings = read_object(folder / _CONFIG)
    if settings is None:
        yield Finding("warned", f"{folder.name}: there is no {_CONFIG}, which names the special tokens")
    elif subject.target.kind != "gguf":
        yield from _newer_forms(folder, settings, has)
    yield Finding("passed", f"{folder.name} holds what a converter needs: {', '.join(sorted(has))}")


def _in_folder(folder: Path) -> Iterator[Finding]:
    """Yield where a folder has two templates that differ, or names others."""
    config = (read_object(folder / _CONFIG) or {}).get("chat_template")
    jinja = folder / _JINJA
    text = jinja.read_text(encoding="utf-8") if jinja.is_file() else None
    other = _default(config)
    if text is not None and config is not None and other != text:
        told = f"{folder.name}: {_JINJA} and {_CONFIG} hold different chat templates"
        yield Finding("failed", f"{told}: transformers takes the first, llama.cpp's converter the second")
    legacy = _default((read_object(folder / _JSON) or {}).get("chat_template"))
    taken = other or text
    if legacy is not None and taken is not None and legacy != taken:
        yield Finding("warned", f"{folder.name}: {_JSON} holds another chat template, which some programs take")
    if taken is None and legacy is None:
        yield Finding("warned", f"{folder.name}: there is no chat template")
    more = [one.name for one in sorted((folder / "additional_chat_templates").glob("*.jinja"))]
    more += [str(one.get("name")) for one in config or () if isinstance(one, dict) and one.get("name") != "default"]
    if more:
        yield Finding(
            "warned", f"{folder.name}: there are further chat templates, which only some programs use: {_names(more)}"
        )


def _in_header(header: GgufHeader) -> Iterator[Finding]:
    """Yield where a header has no default template, or others besides."""
    text = header.values.get(_TEMPLATE)
    if not isinstance(text, str) or not text.strip():
        yield Finding(
            "failed", f"the file holds no chat template ({_TEMPLATE}): every program that serves it guesses one"
        )
    named = {str(one) for one in header.values.get(_TEMPLATES) or ()}
    named |= {key.removeprefix(f"{_TEMPLATE}.") for key in header.values if key.startswith(f"{_TEMPLATE}.")}
    if named:
        told = f"the file holds further chat templates, which only some programs use: {_names(sorted(named))}"
        yield Finding("warned", told)


def _vocabulary(header: GgufHeader, folder: Path | None) -> Iterator[Finding]:
    """Yield where scores or merges are lost."""
    model, scores = header.values.get("tokenizer.ggml.model"), header.values.get("tokenizer.ggml.scores")
    merges = header.values.get("tokenizer.ggml.merges")
    if model == "llama" and (not scores or all(score == _NO_SCORE for score in scores)):
        told = "the vocabulary has no scores (tokenizer.ggml.scores), so that text is split otherwise than in training"
        yield Finding("failed", f"{told}: convert from a folder that holds tokenizer.model", mode="F02")
    if model != "gpt2":
        return
    if not merges:
        yield Finding("failed", "the vocabulary has no merges (tokenizer.ggml.merges): all text is split into bytes")
        return
    theirs = _merges(folder) if folder is not None else None
    if theirs is not None and theirs != len(merges):
        yield Finding(
            "failed", f"the file has {len(merges)} merges, {folder and folder.name}'s tokenizer.json {theirs}"
        )


def _merges(folder: Path) -> int | None:
    """Return how many merges a tokenizer.json has, None where it has none."""
    found = (read_object(folder / "tokenizer.json") or {}).get("model")
    merges = found.get("merges") if isinstance(found, dict) else None
    return len(merges) if isinstance(merges, list) else None


def _newer_forms(folder: Path, settings: dict[str, Any], has: set[str]) -> Iterator[Finding]:
    """Yield what transformers 5 writes otherwise than what older programs read."""
    if isinstance(settings.get("extra_special_tokens"), list):
        told = f"{folder.name}: extra_special_tokens is a list, and readers before transformers 5 want an object"
        yield Finding("warned", told)
    if "tokenizer.model" in has and "added_tokens_decoder" not in settings:
        told = f"{folder.name}: {_CONFIG} has no added_tokens_decoder, from which the converter takes which tokens are special"
        yield Finding("warned", told)


def _default(given: object) -> str | None:
    """Return the default of what a file names as chat template."""
    if isinstance(given, list):
        found = [one.get("template") for one in given if isinstance(one, dict) and one.get("name") == "default"]
        given = found[0] if found else None
    if given is not None and not isinstance(given, str):
        raise SpecError(f"chat_template must be text or a list of named texts, got {type(given).__name__}")
    return given


def _names(names: list[str]) -> str:
    return ", ".join(names)

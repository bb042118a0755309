"""Compare what is said about generating: in the reference's generation_config.json, in the header, and by the gate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_modelgate.gguf_file import GgufHeader
from pytest_modelgate.modelfile.vocabulary import vocabulary_of
from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.metadata import header_of, read_object, reference_folder

__all__ = ["generation_config"]

_FILE = "generation_config.json"
_KEYS: Mapping[str, tuple[str, ...]] = {
    "temp": ("temperature",),
    "top_k": ("top_k",),
    "top_p": ("top_p",),
    "min_p": ("min_p",),
    "penalty_repeat": ("penalty_repeat", "repetition_penalty"),
}
"""What a header says under ``general.sampling``, by what the converter takes it from."""

_TOLERANCE = 1e-4


def generation_config(subject: Subject) -> Iterator[Finding]:
    """Compare ends and sampling, and warn where other programs will draw answers that the gate takes greedily."""
    folder = reference_folder(subject)
    config = read_object(folder / _FILE) if folder is not None else None
    if subject.target.kind != "gguf":
        yield from _draws(config or {}, f"{folder.name}/{_FILE}" if folder is not None else _FILE)
        yield Finding("passed", "generation is greedy by default" if config else f"there is no {_FILE}")
        return
    header = header_of(subject.target.path)
    said = {name: header.values.get(f"general.sampling.{name}") for name in _KEYS}
    if config is not None and folder is not None:
        yield from _ends(header, config, folder)
        yield from _sampling(said, config)
    yield from _deployed(said)
    where = f"as {_FILE} says" if config is not None else f"there is no {_FILE} to compare with"
    yield Finding("passed", f"the header names no sampling; {where}")


def _ends(header: GgufHeader, config: Mapping[str, Any], folder: Path) -> Iterator[Finding]:
    """Yield where the file ends an answer elsewhere than the model that it was made from."""
    told = config.get("eos_token_id")
    theirs = {told} if isinstance(told, int) else set(told) if isinstance(told, list) else set()
    if not theirs:
        return
    tokens = header.values.get("tokenizer.ggml.tokens") or []
    ours = header.values.get("tokenizer.ggml.eos_token_id")
    base = (read_object(folder / "config.json") or {}).get("eos_token_id")
    known = theirs | ({base} if isinstance(base, int) else set(base) if isinstance(base, list) else set())
    if isinstance(ours, int) and ours not in known:
        told = f"EOS is {_text(tokens, ours)} ({ours}), {_FILE} ends an answer with {_texts(tokens, theirs)}"
        yield Finding("failed", told, mode="F04")
    ends = set(vocabulary_of(header.values).ends)
    lost = {one for one in theirs if isinstance(one, int) and one < len(tokens) and tokens[one] not in ends}
    if lost:
        told = f"{_FILE} also ends an answer with {_texts(tokens, lost)}, at which llama.cpp does not stop"
        yield Finding("failed" if lost == theirs else "warned", told, mode="F04")


def _sampling(said: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield where the header's sampling is not that of generation_config.json."""
    for name, keys in _KEYS.items():
        theirs, ours = next((config[key] for key in keys if config.get(key) is not None), None), said[name]
        if ours is not None and theirs is not None and abs(ours - theirs) > _TOLERANCE:
            yield Finding("warned", f"general.sampling.{name} is {ours:g}, {_FILE} says {theirs:g}")


def _deployed(said: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield where llama.cpp's own programs will answer otherwise than greedily."""
    temperature, penalty = said["temp"], said["penalty_repeat"]
    if temperature and said["top_k"] != 1:
        told = f"the header names a temperature (general.sampling.temp {temperature:g})"
        yield Finding("warned", f"{told}: llama.cpp's programs draw answers that are gated greedily")
    if penalty is not None and abs(penalty - 1) > _TOLERANCE:
        told = f"the header names a penalty for repeating (general.sampling.penalty_repeat {penalty:g})"
        yield Finding("warned", f"{told}: llama.cpp's programs apply it, and the gate's setting may be another")


def _draws(config: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Yield where transformers will draw answers by itself."""
    if config.get("do_sample"):
        yield Finding("warned", f"{where} says do_sample: whoever calls generate() without more draws answers")
    penalty = config.get("repetition_penalty")
    if isinstance(penalty, int | float) and abs(penalty - 1) > _TOLERANCE:
        yield Finding(
            "warned", f"{where} names a repetition_penalty of {penalty:g}, which generate() applies by itself"
        )


def _texts(tokens: list[str], ids: set[Any]) -> str:
    """Return the texts of tokens."""
    return " or ".join(_text(tokens, one) for one in sorted(ids))


def _text(tokens: list[str], number: int) -> str:
    """Return the text of a token, its id where there is none."""
    return repr(tokens[number]) if 0 <= number < len(tokens) else f"token {number}"

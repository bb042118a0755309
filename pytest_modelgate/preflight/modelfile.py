"""Find the Modelfile that a GGUF is served by, and look whether it serves the file as it was gated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_modelgate.errors import ConfigurationError, SpecError
from pytest_modelgate.gguf_file import GgufHeader
from pytest_modelgate.modelfile.parse import Instruction, Modelfile, read_modelfile, weights_digest
from pytest_modelgate.modelfile.vocabulary import Vocabulary, vocabulary_of
from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.metadata import header_of, sha256_of
from pytest_modelgate.preflight.modelfile_settings import settings
from pytest_modelgate.preflight.modelfile_template import template

__all__ = ["find_modelfile", "modelfile"]

_NAME = "Modelfile"
_CONTROL = 3
"""What ``tokenizer.ggml.token_type`` says of a control token."""


def find_modelfile(path: Path) -> Path | None:
    """Return the file called Modelfile beside a GGUF whose FROM names that GGUF; None where there is none."""
    found = path.parent / _NAME
    if not path.is_file() or not found.is_file():
        return None
    try:
        named = read_modelfile(found).all("FROM")[0].value
    except ConfigurationError:
        # A file that cannot be read is told by the check, if it seems to be about this GGUF.
        return found if path.name in found.read_text(encoding="utf-8", errors="replace") else None
    return found if _is_file(named, found.parent, path) else None


def modelfile(subject: Subject) -> Iterator[Finding]:
    """Compare weights, template, system text, ends, room and sampling with what was gated."""
    assert subject.modelfile is not None  # noqa: S101  (the check needs one)
    found = read_modelfile(subject.modelfile)
    header = header_of(subject.target.path)
    vocabulary = vocabulary_of(header.values)
    yield from _weights(found, subject)
    yield from _adapters(found, subject)
    yield from template(found, subject, header, vocabulary)
    yield from _system(found, subject)
    yield from _stops(found, header, vocabulary)
    yield from settings(found, subject)
    if many := found.all("MESSAGE"):
        yield Finding(
            "failed", f"{found.where(many[0])}: MESSAGE puts {len(many)} turns before every prompt; no case has them"
        )
    yield Finding("passed", f"{subject.modelfile.name} serves the file as it was gated")


def _weights(found: Modelfile, subject: Subject) -> Iterator[Finding]:
    """Yield where FROM names other weights."""
    first, *more = found.all("FROM")
    path, folder = subject.target.path, Path(found.source).parent
    if not _is_file(first.value, folder, path):
        yield _other_weights(found.where(first), first.value, folder, path)
    for one in more:
        yield Finding("warned", f"{found.where(one)}: a further FROM adds {one.value}, which was not gated")


def _other_weights(where: str, named: str, folder: Path, path: Path) -> Finding:
    """Return what is told of a FROM that does not name the gated file."""
    other = folder / Path(named).expanduser()
    if weights_digest(named) is not None:
        return Finding("failed", f"{where}: FROM names other weights than {path.name}, by sha256", mode="F25")
    if other.is_file():
        if sha256_of(other) == sha256_of(path):
            return Finding("passed", f"{where}: FROM names a copy of {path.name}")
        return Finding("failed", f"{where}: FROM serves {named}, and {path.name} was gated")
    if other.name == path.name:
        return Finding(
            "warned", f"{where}: FROM names {named}, which is not there: whether it is the gated file is not known"
        )
    return Finding("failed", f"{where}: FROM serves {named}, and {path.name} was gated")


def _adapters(found: Modelfile, subject: Subject) -> Iterator[Finding]:
    """Yield where an adapter is applied that was not, or none that was."""
    lora, given, folder = subject.target.lora, found.all("ADAPTER"), Path(found.source).parent
    for one in given:
        if lora is None:
            told = f"{found.where(one)}: ADAPTER applies {one.value}, and the file was gated without"
            yield Finding("failed", told, mode="F12")
        elif not _is_file(one.value, folder, lora):
            yield Finding(
                "failed", f"{found.where(one)}: ADAPTER applies {one.value}, and {lora.name} was gated", mode="F12"
            )
    if lora is not None and not given:
        yield Finding(
            "failed", f"{found.source}: no ADAPTER applies {lora.name}, with which the file was gated", mode="F11"
        )


def _system(found: Modelfile, subject: Subject) -> Iterator[Finding]:
    """Yield where the system text is another than the cases'."""
    if not subject.prompts:
        return
    texts = {
        "\n\n".join(turn.content for turn in turns if turn.role == "system") if turns[0].role == "system" else None
        for turns in subject.prompts.values()
        if turns
    }
    given = found.last("SYSTEM")
    if given is None or not given.value.strip():
        if texts - {None}:
            told = f"{found.source}: no SYSTEM; whoever calls must send the cases' system text with each request"
            yield Finding("warned" if len(texts) == 1 else "passed", told)
    elif texts == {None}:
        yield Finding("failed", f"{found.where(given)}: SYSTEM adds a system text, and the cases have none", mode="F05")
    elif given.value in texts:
        if len(texts) > 1:
            yield Finding("warned", f"{found.where(given)}: SYSTEM is the text of some cases, and others have another")
    elif given.value.strip() in {text.strip() for text in texts if text is not None}:
        yield Finding("warned", f"{found.where(given)}: SYSTEM is the cases' system text but for blanks at its ends")
    else:
        yield Finding("failed", f"{found.where(given)}: SYSTEM is another system text than the cases'", mode="F05")


def _stops(found: Modelfile, header: GgufHeader, vocabulary: Vocabulary) -> Iterator[Finding]:
    """Yield where an answer is ended elsewhere than the gate ends it."""
    tokens = header.values.get("tokenizer.ggml.tokens") or []
    types = header.values.get("tokenizer.ggml.token_type") or []
    eos = header.values.get("tokenizer.ggml.eos_token_id")
    end = tokens[eos] if isinstance(eos, int) and eos < len(tokens) else None
    missing = [text for text in vocabulary.ends if text not in found.stops]
    if end is not None and end in missing:
        yield Finding("failed", f"{found.source}: no PARAMETER stop is {end!r}, which ends an answer")
    elif missing:
        told = ", ".join(map(repr, missing))
        yield Finding("warned", f"{found.source}: no PARAMETER stop is {told}, at which the gate stops too")
    controls = {text for text, kind in zip(tokens, types, strict=False) if kind == _CONTROL}
    for one in found.all("PARAMETER"):
        if one.key == "stop" and one.value not in vocabulary.ends:
            yield _strange_stop(found.where(one), one, is_control=one.value in controls)


def _strange_stop(where: str, one: Instruction, *, is_control: bool) -> Finding:
    """Return what is told of a stop that is none of the model's ends."""
    if is_control:
        return Finding(
            "warned", f"{where}: PARAMETER stop {one.value!r} is a control token, but none that ends an answer"
        )
    told = f"{where}: PARAMETER stop {one.value!r} is none of the model's tokens that end an answer"
    return Finding("failed", f"{told}: it cuts answers that hold it")


def _is_file(named: str, folder: Path, path: Path) -> bool:
    """Say whether a FROM or ADAPTER names a file: by its place, or by its content."""
    digest = weights_digest(named)
    if digest is not None:
        try:
            return digest == sha256_of(path)
        except SpecError:
            return False
    return (folder / Path(named).expanduser()).resolve() == path.resolve()

"""Compare the entries of two vocabularies, and look at what a user can write of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.probes import Probes, Side

__all__ = ["CONTROL", "added_tokens", "special_tokens"]

_NORMAL, _UNKNOWN, CONTROL = 1, 2, 3
"""What ``tokenizer.ggml.token_type`` says of a token (llama.h, ``llama_token_type``)."""

_SHOWN = 3
_SPACE = "\u2581"
"""What SentencePiece writes for a space; the converter writes some of them as spaces."""


def added_tokens(subject: Subject, probes: Probes) -> Iterator[Finding]:
    """Compare sizes, then every entry's text, then the types of the special ones."""
    target, reference = probes.target, probes.reference
    assert reference is not None  # noqa: S101  # the check needs one
    ours, theirs = target.pieces, reference.pieces
    if len(ours) < len(theirs):
        lost = ", ".join(repr(piece) for piece in theirs[len(ours) :][:_SHOWN])
        told = f"the vocabulary has {len(ours)} tokens, the reference's {len(theirs)}"
        yield Finding("failed", f"{told}: the last are lost, beginning with {lost}")
        return
    rows = reference.facts.n_rows
    if rows is not None and len(ours) != rows and subject.target.kind == "gguf":
        yield Finding("failed", f"the vocabulary has {len(ours)} tokens, the reference's embedding {rows} rows")
    padding = [number for number, piece in enumerate(ours) if _is_padding(piece, number)]
    more = sorted(set(range(len(theirs), len(ours))).difference(padding))
    if more:
        told = f"{len(more)} tokens are none of the reference's, beginning with {ours[more[0]]!r} ({more[0]})"
        yield Finding("failed", told)
    yield from _texts(ours, theirs, reference)
    yield from _types(target.token_types, reference)
    told = f"; {len(padding)} more stand for nothing" if padding else ""
    yield Finding("passed", f"{len(theirs)} tokens have the same id, text and type on both sides{told}")


def _texts(ours: Sequence[str], theirs: Sequence[str], reference: Side) -> Iterator[Finding]:
    """Yield the entries whose text is another one."""
    other = [number for number, piece in enumerate(theirs) if not _is_same(ours[number], piece, number)]
    if not other:
        return
    shown = ", ".join(f"{number} is {ours[number]!r}, not {theirs[number]!r}" for number in other[:_SHOWN])
    moved = {ours[number] for number in other} == {theirs[number] for number in other}
    what = f"{len(other)} tokens are in each other's place" if moved else f"{_tokens(len(other))} another text"
    is_end = reference.facts.turn_end_id in other
    yield Finding("failed", f"{what}: {shown}", mode="F04" if is_end else None)


def _types(types: Sequence[int], reference: Side) -> Iterator[Finding]:
    """Yield the special tokens that a GGUF does not mark as such; llama.cpp mends well-known ones when it loads them."""
    wrong = [
        number
        for number in reference.facts.controls
        if number < len(types) and types[number] not in {_UNKNOWN, CONTROL}
    ]
    plain = [number for number in reference.facts.special.values() if types[number : number + 1] == [_NORMAL]]
    for numbers, what in (
        (wrong, "not marked as such"),
        (sorted({*plain}.difference(wrong)), "marked as ordinary text"),
    ):
        if numbers:
            names = ", ".join(repr(reference.pieces[number]) for number in numbers[:_SHOWN])
            is_end = reference.facts.turn_end_id in numbers
            told = f"{len(numbers)} special tokens are {what}: {names}"
            yield Finding("failed", told, mode="F04" if is_end else None)


def special_tokens(subject: Subject, probes: Probes) -> Iterator[Finding]:
    """Look which control tokens work when a user writes them, and whether any case tries it."""
    target, reference = probes.target, probes.reference
    working = _read_as_control(target, _controls(target))
    if reference is not None:
        marked = _controls(reference)
        ours, theirs = (set(_read_as_control(side, marked)) for side in (target, reference))
        if differing := sorted(ours ^ theirs):
            side = "the file" if differing[0] in ours else "the reference"
            told = f"{differing[0]!r} in a user's text is read as a control token in {side} alone"
            yield Finding("failed", f"{told} ({len(differing)} in all)", mode="F08")
    if not working:
        yield Finding("passed", "no control token works when a user writes it")
        return
    told = f"{len(working)} control tokens work when a user writes them ({', '.join(working[:_SHOWN])})"
    trying = [
        key
        for key, turns in subject.prompts.items()
        if any(name in turn.content for turn in turns if turn.role == "user" for name in working)
    ]
    if subject.prompts and not trying:
        yield Finding("warned", f"{told}, as everywhere; no case tries what the model then does: add adversarial cases")
    else:
        tried = f"{len(trying)} cases try what the model then does" if trying else "there are no cases to try it"
        yield Finding("passed", f"{told}, as everywhere; {tried}")


def _controls(side: Side) -> list[str]:
    """Return the texts of a side's control tokens."""
    texts = (side.special_text(number) for number in side.facts.controls)
    return [text for text in texts if text]


def _read_as_control(side: Side, names: Sequence[str]) -> list[str]:
    """Return the names that become their own token inside other text."""
    found = side.probe.tokenize([f"a{name}b" for name in names])
    return [name for name, ids in zip(names, found, strict=True) if side.facts.special.get(name) in ids]


def _is_same(ours: str, theirs: str, number: int) -> bool:
    """Say whether two texts are the same entry; an id that a tokenizer leaves out is padding in a file."""
    if theirs in {ours, f"<{number}?>"}:
        return True
    return ours.replace(_SPACE, " ") == theirs.replace(_SPACE, " ")


def _is_padding(piece: str, number: int) -> bool:
    """Say whether an entry stands for nothing, as the converter names it."""
    return piece in {f"[PAD{number}]", f"<{number}?>"}


def _tokens(count: int) -> str:
    return "1 token has" if count == 1 else f"{count} tokens have"

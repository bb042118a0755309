"""Compare what tokenizers make of texts, and what their tokens are."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from pytest_modelgate.gguf_file import read_gguf_facts, read_gguf_values
from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.conversations import CORPUS
from pytest_modelgate.preflight.probes import Probes, Side
from pytest_modelgate.records import Message

CONTROL = 3
"""What ``tokenizer.ggml.token_type`` says of a token that never stands for text (llama.h, LLAMA_TOKEN_TYPE_CONTROL)."""

_SHOWN = 3
_AROUND = 4


def token_ids(subject: Subject, probes: Probes) -> Iterator[Finding]:  # noqa: ARG001
    """Let both tokenizers cut the reference's prompts and a fixed corpus."""
    reference = probes.reference
    assert reference is not None  # noqa: S101  # the check needs one
    specials = [f"a{text}b" for text in reference.facts.special]
    rendered = [one.text for one in reference.encoded.values() if one.error is None]
    texts = list(dict.fromkeys((*rendered, *specials, *CORPUS)))
    ours, theirs = probes.target.probe.tokenize(texts), reference.probe.tokenize(texts)
    differing = [
        (text, own, other) for text, own, other in zip(texts, ours, theirs, strict=True) if tuple(own) != tuple(other)
    ]
    # transformers normalises for some families, llama.cpp never does: a text that is not in NFC shows that alone.
    plain = [one for one in differing if unicodedata.is_normalized("NFC", one[0])]
    figures = {"token_parity": 1 - len(plain) / len(texts), "token_parity.n": float(len(texts))}
    if plain:
        text, own, other = min(plain, key=lambda one: len(one[0]))
        reason = (
            f"{len(plain)} of {len(texts)} texts become other token ids than the reference's, the first {text[:60]!r}"
        )
        yield Finding("failed", reason, tuple(_pieces(probes, reference, own, other)), figures=figures)
    elif differing:
        reason = (
            f"{len(differing)} texts that are not in Unicode's NFC form become other ids: the reference's tokenizer "
            f"normalises, llama.cpp does not; the other {len(texts) - len(differing)} texts are equal"
        )
        yield Finding("passed", reason, figures=figures)
    else:
        yield Finding("passed", f"{len(texts)} texts become the same token ids on both sides", figures=figures)


def added_tokens(subject: Subject, probes: Probes) -> Iterator[Finding]:
    """Compare every entry of the vocabularies, then the types of special ones."""
    reference = probes.reference
    assert reference is not None  # noqa: S101  # the check needs one
    ours, theirs = probes.target.names, reference.names
    if len(ours) < len(theirs):
        yield Finding(
            "failed", f"the vocabulary has {len(ours)} tokens, the reference's {len(theirs)}: the last ones are lost"
        )
        return
    named = [name for name in ours[len(theirs) :] if not name.startswith("[PAD")]
    if named and subject.target.kind == "gguf":
        yield Finding("failed", f"{len(named)} tokens are not the reference's, the first {named[0]!r}")
    other = [index for index, name in enumerate(theirs) if ours[index] != name]
    if other:
        shown = ", ".join(f"{index} is {ours[index]!r}, not {theirs[index]!r}" for index in other[:_SHOWN])
        is_end = reference.facts.turn_end_id in other
        yield Finding("failed", f"{len(other)} tokens have another text: {shown}", mode="F04" if is_end else None)
    yield from _types(subject, reference)
    pads = len(ours) - len(theirs)
    padding = f", and {pads} that stand for nothing" if pads else ""
    yield Finding("passed", f"{len(theirs)} tokens have the same id, text and type on both sides{padding}")


def _types(subject: Subject, reference: Side) -> Iterator[Finding]:
    """Yield the special tokens that a GGUF does not mark as such; llama.cpp mends well-known ones when it loads them."""
    if subject.target.kind != "gguf":
        return
    types = read_gguf_values(subject.target.path).get("tokenizer.ggml.token_type", [])
    wrong = [index for index in reference.facts.controls if index < len(types) and types[index] != CONTROL]
    if wrong:
        is_end = reference.facts.turn_end_id in wrong
        names = ", ".join(reference.names[index] for index in wrong[:_SHOWN])
        yield Finding(
            "failed", f"{len(wrong)} special tokens are not marked as such: {names}", mode="F04" if is_end else None
        )


def special_tokens(subject: Subject, probes: Probes) -> Finding:  # noqa: ARG001
    """Let a user write each control token and see whether it works as one."""
    side = probes.target
    names = {index: text for text, index in side.facts.special.items() if index in set(side.facts.controls)}
    asked = [(Message("user", f"a{text}b"),) for text in names.values()]
    (plain,) = side.probe.encode([(Message("user", "ab"),)])
    if plain.error is not None:
        return Finding("not checked", f"a plain question cannot be rendered: {plain.error}")
    encoded = side.probe.encode(asked)
    working = [
        text
        for (index, text), one in zip(names.items(), encoded, strict=True)
        if one.ids.count(index) > plain.ids.count(index)
    ]
    if not working:
        return Finding("passed", "no control token works when a user writes it")
    told = f"{len(working)} control tokens work when a user writes them, as everywhere with this template"
    return Finding("passed", f"{told}: {', '.join(working[:_SHOWN])}; adversarial cases should hold them")


def prompt_fits(subject: Subject, probes: Probes) -> Iterator[Finding]:
    """Compare the longest prompt and its answer with the context, as served and as trained."""
    lengths = {key: len(probes.target.encoded[key].ids) for key in subject.prompts if probes.target.encoded[key].ids}
    if not lengths:
        yield Finding("not checked", "no prompt could be rendered")
        return
    key, longest = max(lengths.items(), key=lambda item: item[1])
    needed = longest + subject.max_tokens
    told = f"the longest prompt ({key}) has {longest} tokens and its answer {subject.max_tokens}: {needed}"
    if needed > subject.n_ctx:
        yield Finding("failed", f"{told}, more than n_ctx {subject.n_ctx}")
    trained = read_gguf_facts(subject.target.path).n_ctx_train if subject.target.kind == "gguf" else None
    if trained is not None and needed > trained:
        yield Finding("failed", f"{told}, more than the file's context of {trained}")
    if trained is not None and subject.n_ctx > trained >= needed:
        yield Finding("passed", f"{told} fit; n_ctx {subject.n_ctx} is more than the {trained} that it was made for")
    yield Finding("passed", f"{told}, within n_ctx {subject.n_ctx}")


def _pieces(probes: Probes, reference: Side, own: Sequence[int], other: Sequence[int]) -> Iterator[str]:
    """Yield both lists of pieces around the first difference."""
    pairs = zip(own, other, strict=False)
    place = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(own), len(other)))
    start = max(0, place - _AROUND)
    for side, ids in ((probes.target, own), (reference, other)):
        shown = list(ids[start : place + _AROUND])
        yield f"{side.artifact.id}, from token {start}: {shown} {side.probe.pieces(shown)}"

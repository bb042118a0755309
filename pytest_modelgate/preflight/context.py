"""Look whether prompts and their answers fit the context."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.probes import Probes

__all__ = ["prompt_fits"]


def prompt_fits(subject: Subject, probes: Probes) -> Iterator[Finding]:
    """Compare the longest prompt and its answer with the context that is served, and with the one that was trained."""
    encoded = {key: probes.target.encoded[key] for key in subject.prompts}
    lengths = {key: len(one.ids) for key, one in encoded.items() if one.error is None}
    if not lengths:
        yield Finding("not checked", "no prompt could be rendered")
        return
    trained = probes.target.facts.n_ctx_train
    longest = max(lengths, key=lambda key: lengths[key])
    figures = {"prompt_tokens.max": float(lengths[longest])}
    limits = [("F30", "n_ctx", subject.n_ctx)]
    if trained is not None:
        limits.append(("F15", "the context that the model says it was trained with,", trained))
    for mode, name, limit in limits:
        over = [key for key, length in lengths.items() if length + subject.max_tokens > limit]
        if over:
            more = f" (and {len(over) - 1} more)" if len(over) > 1 else ""
            told = f"{longest}: {lengths[longest]} tokens and {subject.max_tokens} of an answer"
            yield Finding("failed", f"{told} are more than {name} {limit}{more}", mode=mode, figures=figures)
    if len(lengths) < len(encoded):
        yield Finding("warned", f"{len(encoded) - len(lengths)} prompts could not be rendered, and were not counted")
    told = f"{len(lengths)} prompts, of {lengths[longest]} tokens at most, fit with {subject.max_tokens} of an answer"
    beyond = "" if trained is None or subject.n_ctx <= trained else f"; the model was trained with {trained}"
    yield Finding("passed", f"{told} into n_ctx {subject.n_ctx}{beyond}", figures=figures)

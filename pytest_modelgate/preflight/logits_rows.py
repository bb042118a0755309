"""Choose the prompts and answers on which models are compared, as token ids that all of them are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_modelgate.engines.probe import Probe, ScoreRow, TokenizerFacts
from pytest_modelgate.preflight.check import Subject

__all__ = ["LONG", "Rows", "choose_rows", "long_row"]

N_ROWS, N_TOKENS = 32, 40
LONG = "long prompt"
"""The key of the row whose prompt is as long as the context allows."""

_MAX_VALUES = 1 << 26
"""How many logits of one model are kept on the disk: 256 MiB."""

_MIN_ROWS = 8
_LONG_ANSWER_AT = 512
"""A long prompt is worth its time from this many tokens on."""


@dataclass(frozen=True, slots=True)
class Rows:
    """
    Hold the rows, and for each of them where its last token is the end of turn that the model should write there.

    ``reason``: why there is none.
    """

    rows: tuple[ScoreRow, ...] = ()
    ends: tuple[bool, ...] = ()
    end_id: int | None = None
    reason: str | None = None


def choose_rows(subject: Subject, probe: Probe) -> Rows:
    """
    Return up to 32 prompts with up to 40 tokens of their answers, evenly chosen, as ``probe`` makes tokens of them.

    The end of turn belongs to an answer. Of a longer answer every second row has the beginning, the others the end.
    """
    keys = sorted(set(subject.prompts) & set(subject.answers))
    if not keys:
        return Rows(reason="no case has an expected answer to score")
    facts = probe.facts()
    n_rows = max(_MIN_ROWS, min(N_ROWS, _MAX_VALUES // (N_TOKENS * max(1, facts.n_vocab))))
    keys = _evenly(keys, n_rows)
    encoded = dict(zip(keys, probe.encode([subject.prompts[key] for key in keys]), strict=True))
    answers = dict(zip(keys, probe.tokenize([subject.answers[key] for key in keys]), strict=True))
    rows: list[ScoreRow] = []
    ends: list[bool] = []
    for key in keys:
        prompt = encoded[key]
        if prompt.error is None and prompt.ids and answers[key]:
            row, ends_here = _row(key, prompt.ids, answers[key], facts, from_end=len(rows) % 2 == 1)
            rows.append(row)
            ends.append(ends_here)
    if not rows:
        error = next((one.error for one in encoded.values() if one.error), "they have no tokens")
        return Rows(reason=f"no prompt can be rendered: {error}")
    return Rows(tuple(rows), tuple(ends), facts.turn_end_id)


def long_row(rows: Sequence[ScoreRow], n_ctx: int) -> ScoreRow | None:
    """Return the rows' prompts and answers one after the other, up to ``n_ctx`` tokens; None where that is not long."""
    tokens: list[int] = []
    for row in rows:
        tokens += (*row.prompt_ids, *row.answer_ids)
    while tokens and len(tokens) < n_ctx and rows:
        tokens += tokens[: n_ctx - len(tokens)]
    tokens = tokens[:n_ctx]
    if len(tokens) < _LONG_ANSWER_AT:
        return None
    return ScoreRow(LONG, tuple(tokens[:-N_TOKENS]), tuple(tokens[-N_TOKENS:]))


def _row(
    key: str, prompt: Sequence[int], answer: Sequence[int], facts: TokenizerFacts, *, from_end: bool
) -> tuple[ScoreRow, bool]:
    """Return a row, and whether its last token is the end of turn."""
    whole = (*answer, facts.turn_end_id) if facts.turn_end_id is not None else tuple(answer)
    if len(whole) <= N_TOKENS:
        return ScoreRow(key, tuple(prompt), whole), facts.turn_end_id is not None
    if from_end:
        return ScoreRow(key, (*prompt, *whole[:-N_TOKENS]), whole[-N_TOKENS:]), facts.turn_end_id is not None
    return ScoreRow(key, tuple(prompt), whole[:N_TOKENS]), False


def _evenly(keys: Sequence[str], number: int) -> list[str]:
    """Return ``number`` of the keys, evenly spaced, the first and the last among them."""
    if len(keys) <= number:
        return list(keys)
    return [keys[place * (len(keys) - 1) // (number - 1)] for place in range(number)]

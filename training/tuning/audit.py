"""
Check the labels of every row before the first step: most failed trainings failed here, without a word.

A row with nothing to learn, an answer cut short or an end of turn that is never learned leaves a model that rambles
or never stops, while its loss looks fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import StageError
from .chat import Encoded, Example


def audit_labels(
    tokenizer: Any, rows: Sequence[Encoded], examples: Sequence[Example], eot: str, max_length: int
) -> dict[str, int]:
    """Raise for the first row that would be learned wrongly; return what was counted."""
    if not rows:
        raise StageError("there is no row to learn from")
    end, bos = tokenizer.convert_tokens_to_ids(eot), tokenizer.bos_token_id
    spoilt = _with_control_tokens(tokenizer, examples)
    learned = 0
    for row, example in zip(rows, examples, strict=True):
        labels = row.ids[row.prompt :]
        learned += len(labels)
        if not labels or labels == [end]:
            raise StageError(f"{row.source}: has nothing to learn: its answer is empty")
        if len(row.ids) > max_length:
            raise StageError(
                f"{row.source}: {len(row.ids)} tokens do not fit training.max_length {max_length}: "
                f"the answer would be cut; raise it or shorten the row"
            )
        if bos is not None and bos != end and row.ids[:2] == [bos, bos]:
            raise StageError(
                f"{row.source}: begins with two {tokenizer.bos_token}: template and tokenizer both add one"
            )
        if labels[-1] != end:
            raise StageError(f"{row.source}: the end of turn {eot} is not learned: the model would not stop")
        if tokenizer.decode(labels) != example.answer + eot:
            raise StageError(
                f"{row.source}: would learn {tokenizer.decode(labels)!r} in place of {example.answer + eot!r}"
            )
        if any(text in spoilt for text in _texts(example)):
            raise StageError(f"{row.source}: holds the text of a control token, which would be read as one")
    lengths = [len(row.ids) for row in rows]
    return {"rows": len(rows), "tokens": sum(lengths), "learned_tokens": learned, "longest": max(lengths)}


def _with_control_tokens(tokenizer: Any, examples: Sequence[Example]) -> set[str]:
    """Return the texts of turns and answers in which the tokenizer reads a control token."""
    texts = list(dict.fromkeys(text for example in examples for text in _texts(example)))
    control = set(tokenizer.all_special_ids)
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return {text for text, ids in zip(texts, encoded, strict=True) if not control.isdisjoint(ids)}


def _texts(example: Example) -> list[str]:
    """Return what stands between the template's own marks."""
    return [*(turn["content"] for turn in example.messages), example.answer]

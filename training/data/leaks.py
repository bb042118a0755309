"""
Find training rows that the evaluation rows give away.

Two texts count as one when they are equal after case, punctuation, white space and Unicode forms are taken out, or
when at least ``near`` percent of their letters are the same in order. What the model has seen, it cannot be judged on.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process
from tqdm import tqdm

from .rows import Row

_CHUNK = 1024
_LONG = 4000  # letters: comparing longer texts in full costs time by the square, and their beginnings tell


@dataclass(frozen=True, slots=True)
class Leak:
    """Hold a training row, the evaluation row that it is too close to, and how close."""

    row: Row
    evaluation: Row
    similarity: float

    def __str__(self) -> str:
        how = "equals" if self.similarity >= 100 else f"is {self.similarity:.0f} % equal to"  # noqa: PLR2004 (percent)
        return f"{self.row.source} {how} {self.evaluation.source}: {_short(self.row.input)}"


def normalise(text: str) -> str:
    """Return ``text`` without what does not change its meaning."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = " ".join(re.findall(r"[^\W_]+", plain.replace("'", "").replace("\u2019", "")))
    return words or " ".join(plain.split())


def find_leaks(rows: Sequence[Row], evaluations: Sequence[Row], near: float) -> list[Leak]:
    """Return, for every training row that is given away, its closest evaluation row."""
    if not rows or not evaluations:
        return []
    theirs = [normalise(row.input)[:_LONG] for row in evaluations]
    leaks: list[Leak] = []
    for start in tqdm(range(0, len(rows), _CHUNK), desc="leaks", unit="block", leave=False):
        block = rows[start : start + _CHUNK]
        ours = [normalise(row.input)[:_LONG] for row in block]
        similarity = process.cdist(ours, theirs, scorer=fuzz.ratio, score_cutoff=near, dtype=np.float32, workers=-1)
        best = similarity.argmax(axis=1)
        leaks.extend(
            Leak(row, evaluations[column], float(similarity[index, column]))
            for index, (row, column) in enumerate(zip(block, best, strict=True))
            if similarity[index, column] >= near
        )
    return leaks


def drop_duplicates(rows: Sequence[Row]) -> tuple[list[Row], list[tuple[Row, str]]]:
    """Keep the first of rows whose inputs say the same; return the kept ones, and the others with the reason."""
    first: dict[str, Row] = {}
    others: list[tuple[Row, str]] = []
    for row in rows:
        kept = first.setdefault(normalise(row.input), row)
        if kept is not row:
            kind = "duplicate of" if kept.expected == row.expected else "contradicts"
            others.append((row, f"{kind} {kept.source}"))
    return list(first.values()), others


def _short(text: str, width: int = 70) -> str:
    """Return the beginning of a text, quoted."""
    return repr(text if len(text) <= width else f"{text[: width - 1]}…")

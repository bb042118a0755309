"""Score the same answers with every link from the untuned base to the target, and compare neighbours."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.probe import Probe, ScoreRow
from pytest_modelgate.errors import ModelgateError
from pytest_modelgate.gguf_file import read_gguf_facts
from pytest_modelgate.preflight.check import Artifact, Subject
from pytest_modelgate.preflight.logits_compare import Comparison, Logits, compare, decision_places, probability
from pytest_modelgate.preflight.logits_rows import Rows, choose_rows, long_row

__all__ = ["BASE", "Edge", "Links"]

Opener = Callable[..., Probe]
BASE = "base"
_MAX_LONG = 2048


@dataclass(frozen=True, slots=True)
class Edge:
    """Hold how two links compare; ``bits``: per weight of the second one's file, 16 for a folder."""

    before: str
    after: str
    comparison: Comparison
    bits: float

    def __str__(self) -> str:
        return f"{self.before} -> {self.after}: {self.comparison}"


@dataclass
class Links:
    """Hold what the checks of this stage look at; a link is loaded when it is first asked for, once, and alone."""

    subject: Subject
    folder: Path
    opener: Opener
    _scored: dict[str, list[Path] | str] = field(default_factory=dict)
    _probes: dict[str, Probe] = field(default_factory=dict)

    @property
    def order(self) -> tuple[Artifact, ...]:
        """Return the chain with the target at its end."""
        return (*self.subject.chain, self.subject.target)

    @cached_property
    def base(self) -> Artifact | None:
        """Return the untuned base of the reference, None where it is no adapter."""
        reference = self.subject.reference
        if reference is None or reference.kind != "adapter" or reference.base is None:
            return None
        return Artifact(BASE, "merged", reference.base)

    @cached_property
    def rows(self) -> Rows:
        """Return the rows, as the first link's tokenizer makes them."""
        return choose_rows(self.subject, self._probe(self.order[0]))

    @cached_property
    def long(self) -> ScoreRow | None:
        """Return the row with the long prompt, None where there is not enough to make one."""
        return long_row(self.rows.rows, min(self.subject.n_ctx, _MAX_LONG, self._n_trained))

    @cached_property
    def decisions(self) -> list[list[int]]:
        """Return for each row the positions at which answers part."""
        return decision_places([row.answer_ids for row in self.rows.rows])

    def why_not(self, link: Artifact) -> str | None:
        """Return why a link has no logits, None where it has."""
        found = self._score(link)
        return found if isinstance(found, str) else None

    def logits(self, link: Artifact) -> Iterator[Logits]:
        """Yield a link's logits of each row, the long one left out; shape (answer's tokens, vocabulary)."""
        found = self._score(link)
        for path in () if isinstance(found, str) else found[: len(self.rows.rows)]:
            yield np.load(path)

    def ends(self, link: Artifact) -> list[float]:
        """Return the probability of the end of turn after each answer that is scored to its end."""
        end = self.rows.end_id
        if end is None:
            return []
        scored = zip(self.logits(link), self.rows.ends, strict=False)
        return [float(probability(logits[-1], end)) for logits, ends in scored if ends and end < logits.shape[-1]]

    def between(self, before: Artifact, after: Artifact) -> Comparison:
        """Compare two links on all rows."""
        return compare(zip(self.logits(before), self.logits(after), strict=False), self.decisions)

    def long_between(self, before: Artifact, after: Artifact) -> Comparison | None:
        """Compare two links behind the long prompt, None where there is none."""
        one, two = self._score(before), self._score(after)
        if self.long is None or isinstance(one, str) or isinstance(two, str):
            return None
        return compare([(np.load(one[-1]), np.load(two[-1]))])

    def edges(self) -> Iterator[Edge]:
        """Yield every pair of neighbours from the reference to the target; a link without logits is stepped over."""
        known = [link for link in self.order if self.why_not(link) is None]
        for before, after in itertools.pairwise(known):
            yield Edge(before.id, after.id, self.between(before, after), bits_of(after))

    def _score(self, link: Artifact) -> list[Path] | str:
        """Score all rows with a link, once; a reason where it cannot."""
        if link.id not in self._scored:
            self._scored[link.id] = self._scored_now(link)
        return self._scored[link.id]

    def _scored_now(self, link: Artifact) -> list[Path] | str:
        if self.rows.reason is not None:
            return self.rows.reason
        rows = [*self.rows.rows, *([self.long] if self.long else [])]
        folder = self.folder / str(len(self._scored))
        folder.mkdir()
        probe = self._probe(link)
        try:
            if (n_vocab := probe.facts().n_vocab) <= max(max(row.prompt_ids + row.answer_ids) for row in rows):
                return f"{link.id} has {n_vocab} tokens only: it cannot be given the others' tokens"
            return probe.score(rows, folder)
        except ModelgateError as error:
            return f"{link.id}: {error}"
        finally:
            self._probes.pop(link.id).close()  # one model at a time is in memory

    @cached_property
    def _n_trained(self) -> int:
        """Return for how many tokens the first link was trained."""
        return self._probe(self.order[0]).facts().n_ctx_train or _MAX_LONG

    def close(self) -> None:
        """End what is still open."""
        while self._probes:
            self._probes.popitem()[1].close()

    def _probe(self, link: Artifact) -> Probe:
        """Open a link, or return it where it is open."""
        if link.id not in self._probes:
            kind = "gguf" if link.kind == "gguf" else "adapter"
            settings = EngineSettings(n_ctx=self.subject.n_ctx)
            self._probes[link.id] = self.opener(kind, link.path, base=link.base, lora=link.lora, settings=settings)
        return self._probes[link.id]


def bits_of(link: Artifact) -> float:
    """Return a file's bits per weight; 16 for a folder, or where they cannot be read."""
    if link.kind != "gguf":
        return 16.0
    try:
        return read_gguf_facts(link.path).bits_per_weight
    except ModelgateError:
        return 16.0

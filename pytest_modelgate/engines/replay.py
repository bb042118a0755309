"""
Answer from a journal: the public test double.

A replay tests gates, suites and this plugin without a model. It never stands in for one: its target kind is
``replay``, so gates on ``gguf`` or ``adapter`` do not count it, and it has no latency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_modelgate.engines import Result
from pytest_modelgate.errors import SpecError
from pytest_modelgate.identity import messages_digest
from pytest_modelgate.journal import read_rows
from pytest_modelgate.records import EngineInfo, Failure, Generation, Json, Request


class ReplayEngine:
    """
    Hand out the generations that a journal holds for one target id.

    A row is found by suite and case (``"golden/late-refund"``, the request's key). Where it also names the messages
    it answered (``messages_sha256``), they must be those of the request: an edited case has no recorded answer. Of
    several identities that a run recorded under one target id, the newest counts.
    Rows may be written by hand: ``{"target", "suite", "case", "generation": {"text": ...}}``; ``"repeat": 1`` is what a
    second try of the case gave.
    """

    def __init__(self, journal: Path, recorded_as: str) -> None:
        self._path = journal
        recorded: set[str] = set()
        # A model that was exported again has the id of the old one: answers of two models are never mixed.
        by_identity: dict[str, dict[str, tuple[Generation, str | None]]] = {}
        newest = None
        for row, generation in read_rows(journal):
            recorded.add(str(row.get("target")))
            if row.get("target") == recorded_as:
                newest = str(row.get("identity"))
                by_identity.setdefault(newest, {})[_key(row)] = (
                    generation,
                    str(row["messages_sha256"]) if "messages_sha256" in row else None,
                )
        if newest is None:
            named = ", ".join(sorted(recorded)) or "none"
            raise SpecError(f"{journal}: holds no generation of target {recorded_as!r}; recorded are {named}")
        self._answers = by_identity[newest]

    def describe(self) -> EngineInfo:
        """Say where the answers come from."""
        return EngineInfo("replay", "1", facts={"generations": len(self._answers)})

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """Yield the recorded generation of each request, or say that there is none."""
        for request in requests:
            generation, asked = self._answers.get(request.key, (None, None))
            if generation is None:
                yield request.key, Failure("missing", f"{self._path.name} holds no generation of {request.key}")
            elif asked is not None and asked != messages_digest(request):
                yield request.key, Failure("missing", f"{request.key} was edited after {self._path.name} was recorded")
            else:
                yield request.key, generation

    def peak_rss_bytes(self) -> int | None:
        """Return None: nothing runs."""
        return None

    def close(self) -> None:
        """Do nothing."""


def _key(row: Json) -> str:
    """Return the key of the request that a row answers."""
    repeat = row.get("repeat")
    return f"{row.get('suite')}/{row.get('case')}" + (f"#{repeat}" if repeat else "")

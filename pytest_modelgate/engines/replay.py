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
        rows = list(read_rows(journal))
        of_target = [row for row in rows if row.get("target") == recorded_as]
        # A model that was exported again has the id of the old one: answers of two models are never mixed.
        newest = of_target[-1].get("identity") if of_target else None
        self._rows: dict[str, Json] = {_key(row): row for row in of_target if row.get("identity") == newest}
        if not self._rows:
            recorded = sorted({str(row.get("target")) for row in rows})
            raise SpecError(
                f"{journal}: holds no generation of target {recorded_as!r}; recorded are {', '.join(recorded) or 'none'}"
            )

    def describe(self) -> EngineInfo:
        """Say where the answers come from."""
        return EngineInfo("replay", "1", facts={"generations": len(self._rows)})

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """Yield the recorded generation of each request, or say that there is none."""
        for request in requests:
            row = self._rows.get(request.key)
            if row is None:
                yield request.key, Failure("missing", f"{self._path.name} holds no generation of {request.key}")
            elif "messages_sha256" in row and row["messages_sha256"] != messages_digest(request):
                yield request.key, Failure("missing", f"{request.key} was edited after {self._path.name} was recorded")
            else:
                yield request.key, Generation.from_json(row["generation"])

    def peak_rss_bytes(self) -> int | None:
        """Return None: nothing runs."""
        return None

    def close(self) -> None:
        """Do nothing."""


def _key(row: Json) -> str:
    """Return the key of the request that a row answers."""
    repeat = row.get("repeat")
    return f"{row.get('suite')}/{row.get('case')}" + (f"#{repeat}" if repeat else "")

"""Run the cases of one target: plan them, take what the journal has, stream the rest, judge what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from pytest_modelgate.cases import Case
from pytest_modelgate.engines import Engine, Result
from pytest_modelgate.errors import EngineError
from pytest_modelgate.identity import digest, generation_key, messages_digest
from pytest_modelgate.journal import Journal
from pytest_modelgate.judgement import judge, record_failure
from pytest_modelgate.records import EngineInfo, Failure, Generation, GenerationSettings, Json, Record, Request
from pytest_modelgate.release import Release, request_key
from pytest_modelgate.targets import Target

_MOST_SIBLINGS = 3


def journal_key(identity: str, request: Request, repeat: int = 0) -> str:
    """Return what the journal keeps the generation of ``request`` by a target of ``identity`` under."""
    return generation_key(identity, request, _decoding(request) | {"repeat": repeat})


def _decoding(request: Request) -> Json:
    """Return what of the generation settings makes the answer to ``request`` what it is."""
    settings = request.generation or GenerationSettings()
    decoding: Json = {
        "temperature": settings.temperature,
        "repeat_penalty": settings.repeat_penalty,
        "grammar": "none" if settings.grammar is None else digest(settings.grammar),
        "seed": 0,
    }
    if settings.temperature == 0:
        return decoding  # nothing is drawn
    # Each case draws by numbers of its own: two that ask the same get different answers.
    return decoding | {"seed": settings.seed, "top_p": settings.top_p, "case": request.key}


class Watcher(Protocol):
    """Is told how far a target is."""

    def start(self, target: str, planned: int) -> None:
        """Say that a target is going to answer so many requests."""

    def answered(self, target: str, result: Generation | Failure) -> None:
        """Count one answer."""

    def end(self, target: str) -> None:
        """Say that a target answers no more."""


class TargetRun:
    """
    Hand out the record of each planned case of ``target``, and those of its repeats.

    The engine starts with the first case that is asked for and works ahead while records are taken one by one; it
    ends when all planned cases are done. ``journal``: None to generate everything and keep nothing. ``repeats``: how
    often each case is generated; each time in another order, so that batches differ in what they hold.
    """

    def __init__(
        self,
        release: Release,
        target: Target,
        cases: Sequence[Case],
        journal: Journal | None,
        repeats: int = 1,
        watcher: Watcher | None = None,
    ) -> None:
        self._watcher = watcher
        self.engine_info: EngineInfo | None = None
        self._release = release
        self._target = target
        self._journal = journal if target.is_reusable else None
        self._plan: dict[str, tuple[Case, int]] = {}
        for repeat in range(repeats):
            for case in reversed(cases) if repeat % 2 else cases:
                self._plan[request_key(case, repeat)] = (case, repeat)
        self._records: dict[str, Record] = {}
        self._stream: Iterator[tuple[str, Record]] | None = None
        self._engine: Engine | None = None

    def record(self, case: Case, repeat: int = 0) -> Record:
        """Return the record of a planned case, waiting until the engine has answered it."""
        key = request_key(case, repeat)
        if self._stream is None:
            self._stream = self._all_records()
        while key not in self._records:
            found = next(self._stream, None)
            if found is None:
                return record_failure(case, self._target.id, Failure("missing", "the engine gave no answer"))
            self._records[found[0]] = found[1]
            if len(self._records) == len(self._plan):
                self.close()  # the stream itself would only do so when it is asked for one more
        return self._records[key]

    def close(self) -> None:
        """End the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _all_records(self) -> Iterator[tuple[str, Record]]:
        """Yield the record of every planned case, journalled ones first."""
        missing: list[Request] = []
        for key, (case, repeat) in self._plan.items():
            request = self._release.request(case, self._target, repeat)
            found = self._journal.find(self._journal_key(request)) if self._journal is not None else None
            if found is None:
                missing.append(request)
            else:
                yield key, self._judge(key, found, replayed=True)
        if missing:
            for key, result in self._generate(missing):
                yield key, self._judge(key, result, replayed=self._target.is_replay)

    def _generate(self, requests: list[Request]) -> Iterator[Result]:
        """Stream the engine's answers into the journal; an engine that cannot start fails all that is left."""
        waiting = {request.key: request for request in requests}
        if self._watcher is not None:
            self._watcher.start(self._target.id, len(requests))
        try:
            self._engine = self._target.open()
            self.engine_info = self._engine.describe()
            for key, result in self._engine.generate([self._with_drafts(request) for request in requests]):
                request = waiting.pop(key)
                if not waiting:
                    self.engine_info = self._engine.describe()  # which by now knows how it went
                if self._watcher is not None:
                    self._watcher.answered(self._target.id, result)
                if isinstance(result, Generation) and self._journal is not None:
                    self._journal.append(self._journal_key(request), self._about(request), result)
                yield key, result
        except EngineError as error:
            if self._watcher is not None:
                self._watcher.end(self._target.id)
            for key in waiting:
                yield key, Failure("start", str(error))

    def _with_drafts(self, request: Request) -> Request:
        """
        Return a request with what its answer may be, the likeliest first.

        What this target's siblings answered, in this run or an earlier one, then the accepted release's answer, then the
        expected one. An engine verifies it: no answer depends on it.
        """
        if not self._target.is_reusable:
            return request  # what runs elsewhere, or was recorded, verifies none
        case, _ = self._plan[request.key]
        baseline = self._release.rules.baseline
        accepted = None if baseline is None else baseline.records.get((case.suite, case.id))
        said = () if self._journal is None else self._journal.texts(messages_digest(request))[:_MOST_SIBLINGS]
        texts = (
            *said,
            None if accepted is None else accepted.output,
            self._release.tasks[case.task].judge.answer(case),
        )
        return replace(request, drafts=tuple(dict.fromkeys(text for text in texts if text)))

    def _judge(self, key: str, result: Generation | Failure, *, replayed: bool) -> Record:
        case, _ = self._plan[key]
        if isinstance(result, Failure):
            return record_failure(case, self._target.id, result)
        return judge(self._release.tasks[case.task], case, self._target.id, result, replayed=replayed)

    def _journal_key(self, request: Request) -> str:
        return journal_key(self._target.identity, request, self._plan[request.key][1])

    def _about(self, request: Request) -> Json:
        """Return what a journal row says for people and for replays."""
        case, repeat = self._plan[request.key]
        return {
            "target": self._target.id,
            "kind": self._target.spec.kind,
            "role": self._target.spec.role,
            "identity": self._target.identity,
            "task": case.task,
            "suite": case.suite,
            "case": case.id,
            "messages_sha256": messages_digest(request),
            **({"repeat": repeat} if repeat else {}),
        }

"""
Let many preflights share the probes of files that they have in common, in this process: each is asked once.

A probe has a process of its own because llama.cpp ends its process on some files. None of the kit's is one of those, and
to start several hundred processes would take longer than all the checks.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.probe import Conversation, Encoded, Probe, ScoreRow, TokenizerFacts
from pytest_modelgate.engines.worker import PROBES
from pytest_modelgate.errors import ModelgateError


class SharedProbe:
    """Remember what a probe was asked and what it said; ``close`` leaves it open for the next one."""

    def __init__(self, make: Callable[[], Probe], folder: Path) -> None:
        self._make = make
        self._made: Probe | None = None
        self._folder = folder
        self._said: dict[str, Any] = {}

    def facts(self) -> TokenizerFacts:
        """See :meth:`Probe.facts`."""
        found: TokenizerFacts = self._once("facts", None, lambda probe: probe.facts())
        return found

    def encode(self, conversations: Sequence[Conversation], *, add_generation_prompt: bool = True) -> list[Encoded]:
        """See :meth:`Probe.encode`."""
        asked = [[[asdict(one) for one in turns] for turns in conversations], add_generation_prompt]

        def ask(probe: Probe) -> list[Encoded]:
            return probe.encode(conversations, add_generation_prompt=add_generation_prompt)

        found: list[Encoded] = self._once("encode", asked, ask)
        return found

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """See :meth:`Probe.tokenize`."""
        found: list[tuple[int, ...]] = self._once("tokenize", list(texts), lambda probe: probe.tokenize(texts))
        return found

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """See :meth:`Probe.pieces`."""
        found: list[str] = self._once("pieces", list(ids), lambda probe: probe.pieces(ids))
        return found

    def score(self, rows: Sequence[ScoreRow], folder: Path) -> list[Path]:
        """See :meth:`Probe.score`; the files are copies."""

        def ask(probe: Probe) -> list[Path]:
            own = self._folder / f"scores-{len(self._said)}"
            own.mkdir(parents=True)
            return probe.score(rows, own)

        found = self._once("score", [asdict(row) for row in rows], ask)
        return [Path(shutil.copy(path, folder)) for path in found]

    def close(self) -> None:
        """Do nothing: others may still ask."""

    def end(self) -> None:
        """Free what the probe holds."""
        made, self._made = self._made, None
        if made is not None:
            made.close()

    def _once(self, name: str, asked: Any, ask: Callable[[Probe], Any]) -> Any:
        """Return what was said before, or what is said now; an error is said again too."""
        key = json.dumps([name, asked])
        if key not in self._said:
            try:
                if self._made is None:
                    self._made = self._make()
                self._said[key] = ask(self._made)
            except ModelgateError as error:
                self._said[key] = error
        if isinstance(found := self._said[key], ModelgateError):
            raise found
        return found


class SharedProbes:
    """Stand in for ``open_probe``: one probe for each file with the same arguments."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._probes: dict[str, SharedProbe] = {}

    def __call__(
        self, kind: str, path: Path, *, settings: EngineSettings | None = None, **others: Path | None
    ) -> SharedProbe:
        """Return the probe of a file; see ``open_probe``."""
        arguments = {"path": str(path), **{name: None if one is None else str(one) for name, one in others.items()}}
        used = settings or EngineSettings()
        key = json.dumps([kind, arguments, used.to_json()], sort_keys=True)
        if key not in self._probes:
            own = self._folder / f"probe-{len(self._probes)}"
            self._probes[key] = SharedProbe(lambda: PROBES[kind](arguments, used), own)
        return self._probes[key]

    def end(self, *, beside: Path | None = None) -> None:
        """Free what all probes hold, or those of files below a folder."""
        for key, probe in self._probes.items():
            if beside is None or str(beside) in key:
                probe.end()

"""Host a probe in a process of its own: native libraries end their process on some files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.probe import Conversation, Encoded, ScoreRow, TokenizerFacts
from pytest_modelgate.engines.process import Child, StoppedError
from pytest_modelgate.errors import EngineDiedError, EngineError, EngineStartError
from pytest_modelgate.records import Json

__all__ = ["ProcessProbe", "open_probe"]


def open_probe(
    kind: Literal["gguf", "adapter"],
    path: Path,
    *,
    base: Path | None = None,
    lora: Path | None = None,
    settings: EngineSettings | None = None,
) -> ProcessProbe:
    """
    Return a probe of the file or folder at ``path``, whose process starts with its first use.

    ``base``: an adapter's base folder. ``lora``: a LoRA GGUF on a GGUF.
    """
    arguments = {name: None if value is None else str(value) for name, value in (("base", base), ("lora", lora))}
    return ProcessProbe(kind, arguments | {"path": str(path)}, settings or EngineSettings())


class ProcessProbe:
    """Be a :class:`~pytest_modelgate.engines.probe.Probe` whose work is done in a child process."""

    def __init__(self, kind: str, arguments: Json, settings: EngineSettings) -> None:
        self._first: Json = {"probe": True, "kind": kind, "arguments": arguments, "settings": settings.to_json()}
        self._timeout_s = settings.timeout_s
        self._child: Child | None = None

    def facts(self) -> TokenizerFacts:
        """Say what the tokenizer says of itself; loads no weights."""
        return TokenizerFacts.from_json(self._call("facts"))

    def encode(self, conversations: Sequence[Conversation], *, add_generation_prompt: bool = True) -> list[Encoded]:
        """Render conversations with the target's own template and tokenise them as it is served."""
        plain = [[asdict(message) for message in conversation] for conversation in conversations]
        found = self._call("encode", conversations=plain, add_generation_prompt=add_generation_prompt)
        return [Encoded(one["text"], tuple(one["ids"]), one["error"]) for one in found]

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return token ids of texts, special tokens in them recognised, nothing added."""
        return [tuple(ids) for ids in self._call("tokenize", texts=list(texts))]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token, as the vocabulary writes it."""
        return list(self._call("pieces", ids=list(ids)))

    def score(self, rows: Sequence[ScoreRow], folder: Path) -> list[Path]:
        """Write the logits of each row's answer into ``folder``; loads the weights, once for all rows."""
        found = self._call("score", rows=[asdict(row) for row in rows], folder=str(folder))
        return [Path(path) for path in found]

    def close(self) -> None:
        """End the process."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _call(self, name: str, **arguments: Any) -> Any:
        """Return what a method of the probe in the child gives."""
        path = self._first["arguments"]["path"]
        try:
            child = self._running_child()
            child.send({"call": name, "arguments": arguments})
            event = child.receive(self._timeout_s)
        except StoppedError as stopped:
            tail = self._child.stderr_tail() if self._child is not None else ""
            self.close()
            raise EngineDiedError(f"{path}: process {stopped.how} while it was looked at{tail}") from None
        if event["event"] == "error":
            raise EngineError(event["message"])
        return event["value"]

    def _running_child(self) -> Child:
        if self._child is None:
            self._child = child = Child()
            child.send(self._first)
            event = child.receive(self._timeout_s)
            if event["event"] == "error":
                self.close()
                raise EngineStartError(event["message"])
        return self._child

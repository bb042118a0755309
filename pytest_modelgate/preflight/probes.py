"""Open the probes of a target and of its reference, and remember what they said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from pytest_modelgate.engines import EngineSettings, probe_process
from pytest_modelgate.engines.probe import Encoded, Probe, TokenizerFacts
from pytest_modelgate.preflight.check import Artifact, Subject
from pytest_modelgate.preflight.conversations import SHAPES
from pytest_modelgate.records import Message


def open_artifact(artifact: Artifact, settings: EngineSettings | None = None) -> Probe:
    """Return a probe of a link of a chain; its process starts with its first use."""
    kind = "gguf" if artifact.kind == "gguf" else "adapter"
    return probe_process.open_probe(
        kind,  # type: ignore[arg-type]  # one of the two
        artifact.path,
        base=artifact.base,
        lora=artifact.lora,
        settings=settings,
    )


class Side:
    """Hold what one link makes of the conversations, asked for once."""

    def __init__(self, artifact: Artifact, conversations: dict[str, tuple[Message, ...]]) -> None:
        self.artifact = artifact
        self.probe = open_artifact(artifact)
        self._conversations = conversations

    @cached_property
    def facts(self) -> TokenizerFacts:
        """Return what the tokenizer says of itself."""
        return self.probe.facts()

    @cached_property
    def encoded(self) -> dict[str, Encoded]:
        """Return each conversation with the assistant's turn opened."""
        found = self.probe.encode(list(self._conversations.values()))
        return dict(zip(self._conversations, found, strict=True))

    @cached_property
    def names(self) -> list[str]:
        """Return the text of every token."""
        return self.probe.pieces(range(self.facts.n_vocab))


class Probes:
    """Hold the target's side and the reference's, if there is one."""

    def __init__(self, subject: Subject) -> None:
        shapes = {f"shape: {name}": turns for name, turns in SHAPES.items()}
        self.conversations: dict[str, tuple[Message, ...]] = {**shapes, **subject.prompts}
        self.target = Side(subject.target, self.conversations)
        reference = subject.reference
        self.reference = None if reference is None else Side(reference, self.conversations)

    def close(self) -> None:
        """End both probes."""
        for side in (self.target, self.reference):
            if side is not None:
                side.probe.close()


@contextmanager
def open_stage(subject: Subject) -> Iterator[Probes]:
    """Open what the stage's checks look at, for as long as they run."""
    probes = Probes(subject)
    try:
        yield probes
    finally:
        probes.close()

"""Open the probes of a target and of its reference, and remember what they said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from pytest_modelgate.engines.probe import Encoded, Probe, TokenizerFacts
from pytest_modelgate.gguf_file import read_gguf_values
from pytest_modelgate.preflight.check import Artifact, Subject
from pytest_modelgate.preflight.conversations import SHAPES
from pytest_modelgate.records import Message

__all__ = ["SHAPE", "Opener", "Probes", "Side"]

SHAPE = "shape: "
"""What the key of a conversation that is no case's begins with."""

Opener = Callable[..., Probe]
"""What makes a probe, as :func:`~pytest_modelgate.engines.probe_process.open_probe` does."""

Turns = Sequence[Message]


class Side:
    """Hold what one link of the chain makes of the conversations; its process starts with the first question."""

    def __init__(self, artifact: Artifact, conversations: Mapping[str, Turns], opener: Opener) -> None:
        kind = "gguf" if artifact.kind == "gguf" else "adapter"
        self.name = artifact.id
        self.artifact = artifact
        self.probe = opener(kind, artifact.path, base=artifact.base, lora=artifact.lora)
        self._conversations = conversations

    @cached_property
    def facts(self) -> TokenizerFacts:
        """Return what the tokenizer says of itself."""
        return self.probe.facts()

    @cached_property
    def encoded(self) -> dict[str, Encoded]:
        """Return each conversation with the assistant's turn opened, by its key."""
        found = self.probe.encode(list(self._conversations.values()))
        return dict(zip(self._conversations, found, strict=True))

    @cached_property
    def pieces(self) -> list[str]:
        """Return the text of every token, as the vocabulary writes it."""
        return self.probe.pieces(range(self.facts.n_vocab))

    @cached_property
    def token_types(self) -> list[int]:
        """
        Return the type of each token as the header of a GGUF says it, before llama.cpp mends any; none of a folder's.

        They are numbers (llama.h, ``llama_token_type``).
        """
        if self.artifact.kind != "gguf":
            return []
        found = read_gguf_values(self.artifact.path).get("tokenizer.ggml.token_type", [])
        return list(found) if isinstance(found, list) else []

    def render(self, *conversations: Turns, add_generation_prompt: bool = True) -> list[Encoded]:
        """Return a few more conversations."""
        return self.probe.encode(conversations, add_generation_prompt=add_generation_prompt)

    def special_text(self, token: int | None) -> str | None:
        """Return the text of a token with a meaning of its own, None where it is none."""
        return next((text for text, number in self.facts.special.items() if number == token), None)

    @property
    def bos_text(self) -> str | None:
        """Return the text of the token that begins a text; None where it is an ordinary one, named by default alone."""
        return self.special_text(self.facts.bos_id) if self.facts.bos_id in self.facts.controls else None


class Probes:
    """
    Hold the target's side, and the reference's if there is one.

    ``conversations``: every case's messages by ``suite/id`` and the fixed shapes, whose keys begin with :data:`SHAPE`.
    """

    def __init__(self, subject: Subject, opener: Opener) -> None:
        shapes = {f"{SHAPE}{name}": turns for name, turns in SHAPES.items()}
        self.conversations: dict[str, Turns] = {**shapes, **subject.prompts}
        self.target = Side(subject.target, self.conversations, opener)
        reference = subject.reference
        self.reference = None if reference is None else Side(reference, self.conversations, opener)

    def close(self) -> None:
        """End both probes."""
        for side in (self.target, self.reference):
            if side is not None:
                side.probe.close()

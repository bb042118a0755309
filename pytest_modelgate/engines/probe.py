"""
Look into a target instead of letting it answer: its tokenizer alone, or its logits for a given answer.

Like the engines, probes of native libraries live in a process of their own; see
:func:`pytest_modelgate.engines.probe_process.open_probe`.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

from pytest_modelgate.records import Json, Message

__all__ = ["Conversation", "Encoded", "Probe", "ScoreRow", "TokenizerFacts", "turn_end"]

Conversation = Sequence[Message]


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """
    Hold what a tokenizer says of itself.

    ``special``: every token with a meaning of its own (control tokens, added tokens), its id by its text; ``controls``:
    those of them that never stand for text. ``stop_ids``: every token that ends a generation. ``turn_end_id``: the
    token that the chat template writes after an assistant's words, None where it writes none. ``adds_bos``: a BOS is
    put in front of a text that has none. ``warnings``: what was said while it was loaded. ``n_rows``: the rows of the
    embedding, ``n_ctx_train``: the tokens of the trained context, None where the model's configuration names none.
    """

    n_vocab: int
    bos_id: int | None
    eos_id: int | None
    adds_bos: bool
    adds_eos: bool
    stop_ids: tuple[int, ...]
    turn_end_id: int | None
    template: str | None
    special: dict[str, int]
    controls: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    n_rows: int | None = None
    n_ctx_train: int | None = None

    def to_json(self) -> Json:
        """Return the facts as primitives."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Rebuild facts from :meth:`to_json`'s value."""
        tuples = {name: tuple(data[name]) for name in ("stop_ids", "controls", "warnings")}
        return cls(**data | tuples)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Hold a conversation as text and as token ids, or say why it cannot be rendered (``error``)."""

    text: str = ""
    ids: tuple[int, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """Hold a prompt and the answer whose tokens are scored in it; ``key`` names it."""

    key: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]


class Probe(Protocol):
    """Look into one target; what it cannot do raises :class:`~pytest_modelgate.errors.EngineError`."""

    def facts(self) -> TokenizerFacts:
        """Say what the tokenizer says of itself; loads no weights."""

    def encode(self, conversations: Sequence[Conversation], *, add_generation_prompt: bool = True) -> list[Encoded]:
        """Render conversations with the target's own template and tokenise them as it is served; loads no weights."""

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return token ids of texts, special tokens in them recognised, nothing added; loads no weights."""

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token, as the vocabulary writes it; loads no weights."""

    def score(self, rows: Sequence[ScoreRow], folder: Path) -> list[Path]:
        """
        Write the logits of each row's answer into ``folder``, one ``.npy`` of float32 for each row.

        Shape (len(answer_ids), n_vocab): line ``i`` are the logits from which ``answer_ids[i]`` would be chosen, given
        the prompt and the answer before it. Loads the weights; rows are scored one at a time.
        """

    def close(self) -> None:
        """End the probe and free what it holds; calling it twice is harmless."""


_WORDS = "modelgate-answer"


def turn_end(probe: Probe, special: Container[int]) -> int | None:
    """
    Return the token that the chat template writes after an assistant's words, None where it writes none of ``special``.

    It is found by rendering a conversation and looking at what comes after the answer.
    """
    asked = (Message("user", "Hello!"), Message("assistant", _WORDS))
    (encoded,) = probe.encode([asked], add_generation_prompt=False)
    _, found, rest = encoded.text.rpartition(_WORDS)
    if not found:
        return None
    return next((token for token in probe.tokenize([rest])[0] if token in special), None)

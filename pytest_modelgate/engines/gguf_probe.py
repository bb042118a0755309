"""Look into a GGUF, in this process: its tokenizer without its weights, its logits with them."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.gguf_prompt import encoded_text, rendered
from pytest_modelgate.engines.llama import Entry, LlamaModel, Vocabulary
from pytest_modelgate.engines.probe import Conversation, Encoded, ScoreRow, TokenizerFacts, turn_end
from pytest_modelgate.errors import EngineError
from pytest_modelgate.gguf_file import read_gguf_facts

__all__ = ["GgufProbe"]


class GgufProbe:
    """Look into the GGUF at ``path``; ``lora``: a LoRA GGUF that is applied on it."""

    def __init__(self, path: Path, lora: Path | None, settings: EngineSettings) -> None:
        self._path = path
        self._lora = lora
        self._settings = settings
        self._file = read_gguf_facts(path)
        self._vocabulary: Vocabulary | None = None

    def facts(self) -> TokenizerFacts:
        """Say what the tokenizer says of itself; loads no weights."""
        vocabulary = self._open()
        every = range(vocabulary.n_vocab)
        controls = [token for token in every if vocabulary.is_control(token)]
        added = [token for token in every if vocabulary.is_added(token)]
        return TokenizerFacts(
            n_vocab=vocabulary.n_vocab,
            bos_id=vocabulary.bos_id,
            eos_id=vocabulary.eos_id,
            adds_bos=vocabulary.adds_bos,
            adds_eos=vocabulary.adds_eos,
            stop_ids=tuple(token for token in every if vocabulary.is_eog(token)),
            turn_end_id=turn_end(self, frozenset((*controls, *added))),
            template=self._file.chat_template,
            special={vocabulary.name(token): token for token in (*controls, *added)},
            controls=tuple(controls),
            warnings=vocabulary.load_warnings,
            n_ctx_train=self._file.n_ctx_train,
        )

    def encode(self, conversations: Sequence[Conversation], *, add_generation_prompt: bool = True) -> list[Encoded]:
        """Render conversations with the file's own template and tokenise them as the engine does."""
        return [
            self._encode(conversation, add_generation_prompt=add_generation_prompt) for conversation in conversations
        ]

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return token ids of texts; see :class:`~pytest_modelgate.engines.probe.Probe`."""
        return [tuple(self._open().tokenize(encoded_text(text))) for text in texts]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token, as the vocabulary writes it."""
        vocabulary = self._open()
        return [vocabulary.name(token) if 0 <= token < vocabulary.n_vocab else f"<{token}?>" for token in ids]

    def score(self, rows: Sequence[ScoreRow], folder: Path) -> list[Path]:
        """Write the logits of each row's answer; see :class:`~pytest_modelgate.engines.probe.Probe`."""
        settings = self._settings
        model = LlamaModel(
            self._path,
            n_ctx=max(settings.n_ctx, *(len(row.prompt_ids) + len(row.answer_ids) for row in rows)),
            n_threads=settings.n_threads,
            n_gpu_layers=settings.n_gpu_layers,
            lora=self._lora,
        )
        try:
            return [_score(model, row, folder / f"{number}.npy") for number, row in enumerate(rows)]
        finally:
            model.close()
            gc.collect()

    def close(self) -> None:
        """Free what was loaded."""
        if self._vocabulary is not None:
            self._vocabulary.close()
            self._vocabulary = None

    def _open(self) -> Vocabulary:
        """Load the vocabulary once."""
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(self._path)
        return self._vocabulary

    def _encode(self, conversation: Conversation, *, add_generation_prompt: bool) -> Encoded:
        try:
            text = rendered(self._file, conversation, add_generation_prompt=add_generation_prompt)
            return Encoded(text, tuple(self._open().tokenize(encoded_text(text))))
        except EngineError as error:
            return Encoded(error=str(error))


def _score(model: LlamaModel, row: ScoreRow, path: Path) -> Path:
    """Write the logits of one answer."""
    tokens = (*row.prompt_ids, *row.answer_ids)
    first = len(row.prompt_ids) - 1
    model.clear()
    entries = [Entry(token, place, wants_logits=place >= first) for place, token in enumerate(tokens[:-1])]
    np.save(path, model.decode(entries))
    return path

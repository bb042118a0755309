"""Look into an adapter on its base or a model folder, in this process, with transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import TemplateError

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.adapter import load_model, load_tokenizer, stop_ids
from pytest_modelgate.engines.adapter_files import find_files, missing_extra
from pytest_modelgate.engines.adapter_model import first_line, rendered, token_ids
from pytest_modelgate.engines.probe import Conversation, Encoded, ScoreRow, TokenizerFacts, turn_end
from pytest_modelgate.errors import EngineError, EngineStartError

__all__ = ["AdapterProbe"]


class AdapterProbe:
    """Look into the adapter or model folder at ``path``; ``base``: an adapter's base folder, if it was given."""

    def __init__(self, path: Path, base: Path | None, settings: EngineSettings) -> None:
        self._files = find_files(path, base)
        self._settings = settings
        self._tokenizer: Any = None

    def facts(self) -> TokenizerFacts:
        """Say what the tokenizer says of itself; loads no weights."""
        tokenizer = self._open()
        added = tokenizer.added_tokens_decoder
        generation, config = self._configurations()
        sizes = config.get_text_config()
        return TokenizerFacts(
            n_vocab=len(tokenizer),
            bos_id=tokenizer.bos_token_id,
            eos_id=tokenizer.eos_token_id,
            adds_bos=_adds(tokenizer, tokenizer.bos_token_id, 0),
            adds_eos=_adds(tokenizer, tokenizer.eos_token_id, -1),
            stop_ids=tuple(sorted(stop_ids(generation, config, tokenizer))),
            turn_end_id=turn_end(self, frozenset(added)),
            template=tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None,
            special={token.content: number for number, token in added.items()},
            controls=tuple(number for number, token in added.items() if token.special),
            n_rows=getattr(sizes, "vocab_size", None),
            n_ctx_train=getattr(sizes, "max_position_embeddings", None),
        )

    def encode(self, conversations: Sequence[Conversation], *, add_generation_prompt: bool = True) -> list[Encoded]:
        """Render conversations with the folder's chat template and tokenise them as the engine does."""
        return [
            self._encode(conversation, add_generation_prompt=add_generation_prompt) for conversation in conversations
        ]

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return token ids of texts; see :class:`~pytest_modelgate.engines.probe.Probe`."""
        tokenizer = self._open()
        return [tuple(token_ids(tokenizer, text)) for text in texts]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each token, as the vocabulary writes it."""
        names = self._open().convert_ids_to_tokens(list(ids))
        return [f"<{token}?>" if name is None else str(name) for token, name in zip(ids, names, strict=True)]

    def score(self, rows: Sequence[ScoreRow], folder: Path) -> list[Path]:
        """Write the logits of each row's answer; see :class:`~pytest_modelgate.engines.probe.Probe`."""
        import torch

        longest = max(len(row.prompt_ids) + len(row.answer_ids) for row in rows)
        model, _ = load_model(self._files, replace(self._settings, n_ctx=max(self._settings.n_ctx, longest)))
        paths = []
        for number, row in enumerate(rows):
            tokens = torch.tensor([[*row.prompt_ids, *row.answer_ids[:-1]]], device=model.device)
            with torch.inference_mode():
                logits = model.network(input_ids=tokens, use_cache=False).logits[0, len(row.prompt_ids) - 1 :]
            paths.append(folder / f"{number}.npy")
            np.save(paths[-1], logits.float().cpu().numpy())
        return paths

    def close(self) -> None:
        """Forget the tokenizer."""
        self._tokenizer = None

    def _open(self) -> Any:
        """Load the tokenizer once."""
        if self._tokenizer is None:
            try:
                self._tokenizer = load_tokenizer(self._files)
            except ImportError as error:
                raise missing_extra() from error
            except (OSError, ValueError, TypeError, KeyError) as error:
                folder = self._files.tokenizer
                raise EngineStartError(f"{folder}: its tokenizer cannot be loaded: {first_line(error)}") from error
        return self._tokenizer

    def _configurations(self) -> tuple[Any, Any]:
        """Return the model's generation configuration, None where there is none, and its configuration."""
        from transformers import AutoConfig, GenerationConfig

        folder = self._files.model
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            if not (folder / "generation_config.json").is_file():
                return None, config
            return GenerationConfig.from_pretrained(folder, local_files_only=True), config
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EngineStartError(f"{folder}: its configuration cannot be read: {first_line(error)}") from error

    def _encode(self, conversation: Conversation, *, add_generation_prompt: bool) -> Encoded:
        tokenizer = self._open()
        try:
            text = rendered(tokenizer, conversation, add_generation_prompt=add_generation_prompt)
            return Encoded(text, tuple(token_ids(tokenizer, text)))
        except (TemplateError, TypeError, ValueError, EngineError) as error:
            return Encoded(error=f"the messages cannot be rendered and tokenised: {first_line(error)}")


def _adds(tokenizer: Any, token: int | None, place: int) -> bool:
    """Say whether the tokenizer puts a token at one end of a text of its own accord."""
    ids = tokenizer("a")["input_ids"]
    return token is not None and bool(ids) and ids[place] == token

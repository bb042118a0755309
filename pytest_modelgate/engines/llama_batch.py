"""Decode many sequences at once with a loaded model, in a context whose memory they share."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.engines.llama import LlamaModel, last_errors
from pytest_modelgate.errors import EngineDiedError, EngineError

__all__ = ["Cell", "SharedContext"]

MAX_SEQUENCES = 256
"""How many sequences llama.cpp can tell apart."""

_REFUSALS = frozenset({1, 2, -1})  # no slot, aborted, invalid: the context is as before


@dataclass(slots=True)
class Cell:
    """
    Place one token at a position of one or several sequences, and say whether its logits are wanted.

    Of several sequences all must be alike up to here.
    """

    token: int
    position: int
    sequences: list[int]
    wants_logits: bool = False


class SharedContext:
    """
    Hold a second context of ``model``, whose sequences share ``n_cells`` places for keys and values.

    A token that several sequences begin with takes one place and is computed once. ``n_batch``: tokens in one call of
    :meth:`decode`. Raises EngineError where llama.cpp cannot make it.

    One buffer for all sequences (``kv_unified``): then a batch may hold another number of tokens of each sequence, and
    still goes through the weights once; with a buffer each, llama.cpp cuts it into parts of equal length, and copies all
    keys and values of a shared prefix. Flash attention is what it is in deployment, on wherever llama.cpp can: it steps
    over what other sequences keep in the buffer. Without it, answers of 120 tokens at Qwen2.5-0.5B's shape took a quarter
    longer, and the tiny demo model's logits were 0.155 from deployment at most instead of 0.175. Weights are repacked, or
    not, as in deployment: they are those of the deployed context.
    """

    def __init__(self, model: LlamaModel, *, n_cells: int, n_sequences: int, n_batch: int) -> None:
        self._model = model
        self._lib = library = model.library
        params = library.llama_context_default_params()
        params.n_ctx = n_cells
        params.n_batch = params.n_ubatch = n_batch
        params.n_seq_max = n_sequences
        params.n_threads = params.n_threads_batch = model.n_threads
        params.kv_unified = True
        self.n_batch = n_batch
        self.n_sequences = n_sequences
        self.n_cells = n_cells
        self._batch: Any = None
        self._context: Any = model.make_context(params)
        self._memory = library.llama_get_memory(self._context)
        self._batch = library.llama_batch_init(n_batch, 0, n_sequences)

    def decode(self, cells: Sequence[Cell]) -> NDArray[np.float32]:
        """
        Run the model once, on at most ``n_batch`` cells; those of one sequence in the order of their positions.

        Returns the logits of those that want them, shape (number wanted, n_vocab), in order. They are llama.cpp's own
        memory, which the next call overwrites.
        """
        batch = self._batch
        batch.n_tokens = len(cells)
        for index, cell in enumerate(cells):
            batch.token[index] = cell.token
            batch.pos[index] = cell.position
            batch.n_seq_id[index] = len(cell.sequences)
            ids = batch.seq_id[index]
            for place, sequence in enumerate(cell.sequences):
                ids[place] = sequence
            batch.logits[index] = cell.wants_logits
        code = self._lib.llama_decode(self._context, batch)
        if code in _REFUSALS:
            raise EngineError(f"llama.cpp refused to decode (code {code}){last_errors()}")
        if code:
            raise EngineDiedError(f"llama.cpp failed while decoding (code {code}){last_errors()}")
        wanted = sum(cell.wants_logits for cell in cells)
        if not wanted:
            return np.empty((0, self._model.n_vocab), np.float32)
        found = self._lib.llama_get_logits(self._context)
        return np.ctypeslib.as_array(
            ctypes.cast(found, ctypes.POINTER(ctypes.c_float)), shape=(wanted, self._model.n_vocab)
        )

    def share(self, source: int, target: int, end: int) -> None:
        """Let ``target`` begin with the first ``end`` tokens of ``source``; what it held is forgotten."""
        self.cut(target, 0)
        if end:
            self._lib.llama_memory_seq_cp(self._memory, source, target, 0, end)

    def cut(self, sequence: int, start: int) -> None:
        """Forget a sequence from position ``start`` on."""
        self._lib.llama_memory_seq_rm(self._memory, sequence, start, -1)

    def clear(self) -> None:
        """Forget all sequences, their data included: a NaN left behind would reach later ones through the mask."""
        self._lib.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free the context; calling it twice is harmless."""
        if self._batch is not None:
            self._lib.llama_batch_free(self._batch)
        if self._context is not None:
            self._lib.llama_free(self._context)
        self._batch = self._context = None

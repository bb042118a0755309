"""
Hold generations to a grammar, with llama.cpp's own grammar sampler.

What llama.cpp's grammar lets pass is not always UTF-8: inside a token it takes any byte for the continuation of a
character, and a quote that it took for one ends the string for every reader of the output. So tokens that would make the
text invalid UTF-8 are forbidden too, and so are those that hold a NUL, at which it stops reading.
"""

from __future__ import annotations

import codecs
import copy
import ctypes
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.engines.llama import Vocabulary
from pytest_modelgate.errors import EngineError

__all__ = ["GrammarConstraint", "Grammars"]

_TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama_token_data, as llama.h has it."""
_FEW = 64
_SHOWN = 120


class Grammars:
    """Make the constraints of one loaded model, or of its vocabulary alone; each grammar is parsed once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._pieces = _Pieces(vocabulary)
        self._parsed: dict[str, _Sampler] = {}

    def constraint(self, grammar: str) -> GrammarConstraint:
        """
        Return a constraint that stands at the beginning of ``grammar``, in GBNF with the rule ``root``.

        Raises EngineError for a grammar that llama.cpp refuses. (Given to a chain of samplers unasked, it would end the
        process.)
        """
        if grammar not in self._parsed:
            library, handle = self._pieces.library, self._pieces.handle
            # Of an empty text, or one that is empty up to a NUL, llama.cpp makes a sampler that allows everything.
            is_text = bool(grammar.strip()) and "\0" not in grammar
            encoded = grammar.encode("utf-8", "replace")
            sampler = library.llama_sampler_init_grammar(handle, encoded, b"root") if is_text else None
            if not sampler:
                raise EngineError(f"llama.cpp refuses the grammar: {' '.join(grammar.split())[:_SHOWN]}")
            self._parsed[grammar] = _Sampler(library, sampler)
        return GrammarConstraint(self._pieces, self._parsed[grammar])

    def close(self) -> None:
        """Forget the parsed grammars; calling it twice is harmless."""
        self._parsed.clear()


class GrammarConstraint:
    """
    Say which tokens may come next, for one sequence (see :class:`~pytest_modelgate.engines.sampling.Constraint`).

    ``start``: llama.cpp's sampler at the beginning, which many share until they go on: thousands may wait for their turn.
    """

    def __init__(self, pieces: _Pieces, start: _Sampler) -> None:
        self._pieces = pieces
        self._library = pieces.library
        self._start = start
        self._own: _Sampler | None = None
        self._pending = b""  # bytes of a character that is not complete

    def allowed(self, tokens: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Say of each of ``tokens`` whether it may come next; one that ends the generation may where the text is whole."""
        data = np.zeros(len(tokens), _TOKEN_DATA)
        data["id"] = tokens
        array = self._library.llama_token_data_array(
            data=data.ctypes.data_as(ctypes.POINTER(self._library.llama_token_data)),
            size=len(data),
            selected=-1,
            sorted=False,
        )
        sampler = self._own or self._start
        self._library.llama_sampler_apply(sampler.handle, ctypes.byref(array))
        allowed: NDArray[np.bool_] = np.isfinite(data["logit"])  # a forbidden one's is made -inf, in place
        # Most tokens are whole characters; the others are looked at one by one, and so are all inside a character.
        doubtful = allowed if self._pending or len(tokens) <= _FEW else allowed & ~self._pieces.whole[tokens]
        for place in np.flatnonzero(doubtful):
            allowed[place] = self._pieces.after(self._pending, int(tokens[place])) is not None
        return allowed

    def accept(self, token: int) -> None:
        """Go on after ``token``; raise EngineError for one that is not allowed, of which llama.cpp would die."""
        after = self._pieces.after(self._pending, token)
        if after is None or not self.allowed(np.array([token]))[0]:
            raise EngineError(f"the grammar does not allow token {token} here")
        if self._own is None:
            self._own = self._start.clone()
        self._library.llama_sampler_accept(self._own.handle, token)
        self._pending = after

    def clone(self) -> Self:
        """Return a constraint that goes on from here by itself."""
        twin = copy.copy(self)
        twin._own = None if self._own is None else self._own.clone()  # noqa: SLF001  # its own class
        return twin

    def close(self) -> None:
        """Free what was taken for this sequence; it stands at the beginning again."""
        self._own, self._pending = None, b""


class _Sampler:
    """Own one sampler of llama.cpp's."""

    def __init__(self, library: Any, handle: Any) -> None:
        self.handle = handle
        self._library = library

    def clone(self) -> _Sampler:
        """Return a sampler in the same state."""
        return _Sampler(self._library, self._library.llama_sampler_clone(self.handle))

    def __del__(self) -> None:
        self._library.llama_sampler_free(self.handle)


class _Pieces:
    """Know what the tokens of a vocabulary stand for, as bytes."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        # llama.cpp and its own handle of a vocabulary, which nothing else has a use for.
        self.library: Any = vocabulary._lib  # noqa: SLF001
        self.handle: Any = vocabulary._vocab  # noqa: SLF001
        self._vocabulary = vocabulary

    @cached_property
    def whole(self) -> NDArray[np.bool_]:
        """Say of each token whether it is whole characters of UTF-8, or an end of generation."""
        tokens = range(self._vocabulary.n_vocab)
        return np.fromiter((self.after(b"", token) == b"" for token in tokens), np.bool_, len(tokens))

    def after(self, pending: bytes, token: int) -> bytes | None:
        """Return the bytes of an incomplete character that are pending after ``token``; None if it makes no UTF-8."""
        if self._vocabulary.is_eog(token):
            return None if pending else b""
        piece = pending + self._vocabulary.token_bytes(token)
        if piece.isascii():
            return None if b"\0" in piece else b""
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            text = decoder.decode(piece)
        except UnicodeDecodeError:
            return None
        return None if "\0" in text else decoder.getstate()[0]

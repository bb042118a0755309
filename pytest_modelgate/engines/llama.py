"""
Speak to llama.cpp: load, tokenise, decode, quantise.

The only file that touches ``llama_cpp``, and it does so on first use. What goes wrong in llama.cpp itself can end the
process, so models are loaded in a process of their own (:mod:`~pytest_modelgate.engines.process`).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.engines.host import available_threads
from pytest_modelgate.errors import EngineDiedError, EngineError, EngineStartError, MissingExtraError

__all__ = ["Entry", "LlamaModel", "Vocabulary", "build_id", "last_errors", "quantize", "version"]

QUANTIZATIONS = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
"""What :func:`quantize` can make."""

_MAX_BATCH = 512  # tokens in one decode call: llama.cpp's own default for what it computes at once
_ONE_THREAD_BYTES = 32_000_000
# Below this size a thread is done with its part of a layer sooner than it can meet the others: one thread gave a 2M model
# the same speed as two on an idle machine, and 1.1 s instead of 8 to 44 s for 72 answers on a busy one.
_LOG_WARNING, _LOG_ERROR, _LOG_CONTINUED = 3, 4, 5
_NO_SLOT, _ABORTED, _INVALID = 1, 2, -1

_log: deque[str] = deque(maxlen=200)
_callbacks: list[Any] = []


@dataclass(frozen=True, slots=True)
class Entry:
    """Place one token at a position of a sequence, and say whether its logits are wanted."""

    token: int
    position: int
    sequence: int = 0
    wants_logits: bool = False


def version() -> str:
    """Return the version of llama-cpp-python."""
    try:
        return metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        raise _missing_extra() from None


@cache
def build_id() -> str:
    """Return version and sha256 of the native libraries, without loading them."""
    spec = util.find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise _missing_extra()
    folder = Path(os.environ.get("LLAMA_CPP_LIB_PATH") or Path(spec.origin).parent / "lib")
    digest = hashlib.sha256()
    for library in sorted(folder.iterdir()):
        # The versioned names beside them (libllama.so.0) are copies.
        if library.suffix in {".so", ".dylib", ".dll"}:
            digest.update(library.name.encode())
            digest.update(hashlib.sha256(library.read_bytes()).digest())
    return f"llama-cpp-python {version()} {digest.hexdigest()}"


class Vocabulary:
    """
    Hold what llama.cpp knows of tokens; of a model that is loaded, or of the file at ``path`` without its weights.

    Raises :class:`~pytest_modelgate.errors.EngineStartError` where llama.cpp refuses the file.
    """

    def __init__(self, path: Path) -> None:
        self._lib = library = _library()
        _log.clear()
        params = library.llama_model_default_params()
        params.vocab_only = True
        self._model = library.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise EngineStartError(f"{path}: llama.cpp could not load its vocabulary{last_errors()}")
        self._take_vocabulary()

    def _take_vocabulary(self) -> None:
        """Find the vocabulary of the model that was loaded."""
        self._vocab = self._lib.llama_model_get_vocab(self._model)
        self.n_vocab: int = self._lib.llama_vocab_n_tokens(self._vocab)
        self.load_warnings: tuple[str, ...] = tuple(_log)

    def tokenize(self, text: bytes) -> list[int]:
        """Return the token ids of UTF-8 text; special tokens are recognised in it, none are added."""
        size = len(text) + 8
        for _ in range(2):
            buffer = (self._lib.llama_token * size)()
            count: int = self._lib.llama_tokenize(self._vocab, text, len(text), buffer, size, False, True)
            if count >= 0:
                return list(buffer[:count])
            size = -count
        raise EngineError("llama.cpp could not tokenise the prompt")

    def token_bytes(self, token: int) -> bytes:
        """Return what a token stands for, special tokens as their names; often only part of a character."""
        size = 64
        for _ in range(2):
            buffer = ctypes.create_string_buffer(size)
            count: int = self._lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, True)
            if count >= 0:
                return buffer.raw[:count]
            size = -count
        raise EngineError(f"llama.cpp has no text for token {token}")

    def is_eog(self, token: int) -> bool:
        """Say whether a token ends a generation."""
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    def is_control(self, token: int) -> bool:
        """Say whether a token never stands for text."""
        library = self._lib
        attributes = library.llama_vocab_get_attr(self._vocab, token)
        return bool(attributes & (library.LLAMA_TOKEN_ATTR_CONTROL | library.LLAMA_TOKEN_ATTR_UNKNOWN))

    def is_added(self, token: int) -> bool:
        """Say whether a token was added by its user, to be recognised as a whole."""
        attributes = self._lib.llama_vocab_get_attr(self._vocab, token)
        return bool(attributes & self._lib.LLAMA_TOKEN_ATTR_USER_DEFINED)

    def name(self, token: int) -> str:
        """Return a token as the vocabulary writes it: ``Ġrefund``."""
        return str(self._lib.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    @property
    def bos_id(self) -> int | None:
        """Return the token that begins a text, None where there is none."""
        return _known(self._lib.llama_vocab_bos(self._vocab))

    @property
    def eos_id(self) -> int | None:
        """Return the token that ends a text, None where there is none."""
        return _known(self._lib.llama_vocab_eos(self._vocab))

    @property
    def adds_bos(self) -> bool:
        """Say whether llama.cpp puts a BOS in front of a text where its caller leaves it the choice."""
        return bool(self._lib.llama_vocab_get_add_bos(self._vocab))

    @property
    def adds_eos(self) -> bool:
        """Say whether llama.cpp puts an EOS behind a text where its caller leaves it the choice."""
        return bool(self._lib.llama_vocab_get_add_eos(self._vocab))

    def close(self) -> None:
        """Free what was loaded; calling it twice is harmless."""
        if self._model is not None:
            self._lib.llama_model_free(self._model)
        self._model = None


class LlamaModel(Vocabulary):
    """
    Hold a loaded model and its context.

    ``n_ctx`` is the context in tokens (0: as trained), shared evenly by ``n_seq_max`` sequences. ``lora``: a LoRA GGUF
    that is applied on the weights. Raises
    :class:`~pytest_modelgate.errors.EngineStartError` where llama.cpp refuses the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        n_ctx: int,
        n_threads: int | None = None,
        n_gpu_layers: int = 0,
        n_seq_max: int = 1,
        lora: Path | None = None,
    ) -> None:
        self._lib = library = _library()
        self._batch: Any = None
        self._context: Any = None
        _log.clear()
        model_params = library.llama_model_default_params()
        model_params.n_gpu_layers = n_gpu_layers
        self._model = library.llama_model_load_from_file(os.fsencode(path), model_params)
        if not self._model:
            raise EngineStartError(f"{path}: llama.cpp could not load it{last_errors()}")
        self.n_threads = n_threads or (1 if path.stat().st_size < _ONE_THREAD_BYTES else available_threads())
        params = library.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = min(_MAX_BATCH, n_ctx or _MAX_BATCH)
        params.n_seq_max = n_seq_max
        params.n_threads = params.n_threads_batch = self.n_threads
        self._lora: Any = None
        try:
            if lora is not None:
                self._read_lora(lora)
            self._context = self.make_context(params)
        except EngineError as error:
            self.close()
            raise EngineStartError(f"{path}: {error}" if lora is None else f"{path} with {lora}: {error}") from None
        self.n_ctx: int = n_ctx or library.llama_n_ctx(self._context)
        self._memory = library.llama_get_memory(self._context)
        self._n_batch: int = library.llama_n_batch(self._context)
        self._batch = library.llama_batch_init(self._n_batch, 0, 1)
        self._take_vocabulary()
        # What llama.cpp sets up on first use is no part of a case's time to first token.
        self.decode([Entry(token=0, position=0)])
        self.clear()

    def clear(self) -> None:
        """Forget all sequences, their data included: a NaN left behind would reach later ones through the mask."""
        self._lib.llama_memory_clear(self._memory, True)

    def decode(self, entries: Sequence[Entry]) -> NDArray[np.float32]:
        """
        Run the model on ``entries``, in as many calls as needed.

        Returns the logits of those that want them, shape (number wanted, n_vocab), in the order of ``entries``.
        """
        rows = [
            row
            for start in range(0, len(entries), self._n_batch)
            for row in self._decode(entries[start : start + self._n_batch])
        ]
        return np.stack(rows) if rows else np.empty((0, self.n_vocab), np.float32)

    def _decode(self, entries: Sequence[Entry]) -> list[NDArray[np.float32]]:
        """Run the model once, on at most ``n_batch`` entries."""
        batch = self._batch
        batch.n_tokens = len(entries)
        for index, entry in enumerate(entries):
            batch.token[index] = entry.token
            batch.pos[index] = entry.position
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = entry.sequence
            batch.logits[index] = entry.wants_logits
        code = self._lib.llama_decode(self._context, batch)
        if code in {_NO_SLOT, _ABORTED, _INVALID}:
            raise EngineError(f"llama.cpp refused to decode (code {code}){last_errors()}")
        if code:
            raise EngineDiedError(f"llama.cpp failed while decoding (code {code}){last_errors()}")
        return [
            np.ctypeslib.as_array(self._lib.llama_get_logits_ith(self._context, index), shape=(self.n_vocab,)).copy()
            for index, entry in enumerate(entries)
            if entry.wants_logits
        ]

    @property
    def library(self) -> Any:
        """Return llama.cpp's functions."""
        return self._lib

    @property
    def can_share(self) -> bool:
        """Say whether sequences can begin with the same tokens and drop their last ones: recurrent models cannot."""
        return not (
            self._lib.llama_model_is_recurrent(self._model)
            or self._lib.llama_model_is_hybrid(self._model)
            or self._lib.llama_model_has_encoder(self._model)
        )

    def make_context(self, params: Any) -> Any:
        """Return a context of llama.cpp's ``params``, the LoRA applied; its user frees it. Raises EngineError."""
        context = self._lib.llama_init_from_model(self._model, params)
        if not context:
            raise EngineError(f"llama.cpp could not make a context of {params.n_ctx} tokens{last_errors()}")
        if self._lora is not None:
            adapters = (self._lib.llama_adapter_lora_p_ctypes * 1)(self._lora)
            if self._lib.llama_set_adapters_lora(context, adapters, 1, (ctypes.c_float * 1)(1.0)):
                self._lib.llama_free(context)
                raise EngineError(f"llama.cpp could not apply the LoRA{last_errors()}")
        return context

    def _read_lora(self, lora: Path) -> None:
        """Load what a LoRA learned; every pass through the model adds it, at the scale that its file says."""
        self._lora = self._lib.llama_adapter_lora_init(self._model, os.fsencode(lora))  # freed with its model
        if not self._lora:
            raise EngineError(f"llama.cpp could not apply it{last_errors()}")

    def close(self) -> None:
        """Free the model; calling it twice is harmless."""
        if self._batch is not None:
            self._lib.llama_batch_free(self._batch)
        if self._context is not None:
            self._lib.llama_free(self._context)
        self._batch = self._context = None
        super().close()


def quantize(source: Path, target: Path, ftype: str, imatrix: Mapping[str, NDArray[np.float32]] | None = None) -> None:
    """
    Write ``source``, a GGUF in F32, F16 or BF16, as ``target`` in another type, one of :data:`QUANTIZATIONS`.

    ``imatrix``: for each weight tensor by name, the importance of its columns (mean squared input), shape (columns,);
    the file then says how many it was made with. ``target`` appears only when it is complete.
    """
    if ftype not in QUANTIZATIONS:
        raise EngineError(f"cannot quantise to {ftype!r}; valid are {', '.join(QUANTIZATIONS)}")
    if not source.is_file():
        raise EngineError(f"{source}: no such file")
    library = _library()
    _log.clear()
    params = library.llama_model_quantize_default_params()
    params.ftype = getattr(library, f"LLAMA_FTYPE_MOSTLY_{ftype}")
    params.nthread = available_threads()
    if imatrix is not None:
        entries = _importances(library, imatrix)
        params.imatrix, params.kv_overrides = entries, _count_entries(library, len(imatrix))
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        code = library.llama_model_quantize(os.fsencode(source), os.fsencode(unfinished), ctypes.byref(params))
        if code:
            raise EngineError(f"{source}: llama.cpp could not quantise it to {ftype}{last_errors()}")
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _importances(library: Any, imatrix: Mapping[str, NDArray[np.float32]]) -> Any:
    """Return an importance matrix as llama.cpp takes it: entries up to one without a name."""
    entries = (library.llama_model_imatrix_data * (len(imatrix) + 1))()
    for entry, (name, values) in zip(entries, imatrix.items(), strict=False):
        data = np.ascontiguousarray(values, np.float32)
        entry.name, entry.size = name.encode(), data.size
        entry.data = (ctypes.c_float * data.size).from_buffer_copy(data.tobytes())  # the pointer keeps the copy alive
    return entries


def _count_entries(library: Any, count: int) -> Any:
    """Return the value that llama.cpp's own quantiser writes where an importance matrix was used."""
    overrides = (library.llama_model_kv_override * 2)()
    overrides[0].key = b"quantize.imatrix.entries_count"
    overrides[0].tag = library.LLAMA_KV_OVERRIDE_TYPE_INT
    overrides[0].value.val_i64 = count
    return overrides


def _known(token: int) -> int | None:
    """Return a token; llama.cpp says -1 where it has none."""
    return None if token < 0 else token


@cache
def _library() -> Any:
    """Load llama.cpp and take over its log."""
    try:
        import llama_cpp
    except ImportError as error:
        raise _missing_extra() from error
    except (OSError, RuntimeError) as error:  # the package is there, its native library does not load
        raise EngineStartError(f"llama-cpp-python is installed but does not load: {error}") from error
    callback = llama_cpp.llama_log_callback(_keep_log)
    _callbacks.append(callback)  # llama.cpp calls it for as long as the process lives
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    return llama_cpp


_last_level = 0


def _keep_log(level: int, text: bytes, _user_data: Any) -> None:
    """Keep warnings and errors of llama.cpp's log, which go nowhere else."""
    global _last_level  # noqa: PLW0603  # the log is llama.cpp's own global state
    line = text.decode("utf-8", "replace").strip()
    if level == _LOG_CONTINUED:
        if _log and _last_level in {_LOG_WARNING, _LOG_ERROR}:
            _log[-1] += line
        return
    _last_level = level
    if line and level in {_LOG_WARNING, _LOG_ERROR}:
        _log.append(line)


def last_errors(count: int = 2) -> str:
    """Return the last lines of the log as the end of an error message."""
    return "".join(f": {line}" for line in list(_log)[-count:])


def _missing_extra() -> MissingExtraError:
    """Return the error for an installation without llama-cpp-python."""
    return MissingExtraError("a GGUF target", "llama-cpp-python", "gguf")

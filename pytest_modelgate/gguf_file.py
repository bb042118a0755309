"""
Read what a GGUF file says about itself, without loading its weights.

The header is parsed here, with bounds checked at every step, and the ``gguf`` package gives the meaning of its
numbers: its own reader builds an object for each of the vocabulary's entries, which takes seconds, and answers a
damaged file with numpy's errors.
"""

from __future__ import annotations

import math
import mmap
import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pytest_modelgate.errors import SpecError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMS = 4  # ggml's own limit
_KINDS = {int: "a whole number", str: "text"}
_T = TypeVar("_T", int, str)
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class TensorTypeUse:
    """Say how many tensors, and elements in them, have one type."""

    count: int
    elements: int


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """
    Say where a tensor lies in its file and how it is stored.

    ``dims``: the fastest first, as GGUF has them: a matrix of r rows and c columns is (c, r). ``offset``: bytes from the
    start of the file.
    """

    dims: tuple[int, ...]
    type: str
    offset: int
    n_bytes: int

    @property
    def elements(self) -> int:
        """Return how many weights it holds."""
        return math.prod(self.dims)


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """
    Hold what the header of a GGUF says.

    ``n_vocab`` and ``n_ctx_train`` are in tokens, ``size_bytes`` is the file's size. ``tensor_types`` maps a type's
    name (``Q4_K``) to its use; ``bits_per_weight`` is counted over the tensors as stored. ``quantization`` is the
    file's label (``Q4_K_M``), None where it has none; ``fallback_share`` is the share (0 to 1) of the elements of
    matrices whose type is not of the label's kind, None without a label. ``bos_token`` and ``eos_token`` are the
    texts that templates are given, None where the file names none. ``width`` counts the elements of one hidden state,
    ``kv_elements`` those of the keys and values of one token in all layers; 0 where the header does not say.
    """

    path: Path
    architecture: str
    name: str | None
    chat_template: str | None
    n_vocab: int
    n_ctx_train: int | None
    bos_id: int | None
    eos_id: int | None
    bos_token: str | None
    eos_token: str | None
    tensor_types: dict[str, TensorTypeUse]
    bits_per_weight: float
    quantization: str | None
    size_bytes: int
    fallback_share: float | None
    width: int
    kv_elements: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """
    Hold a header whole, of a model's file or a LoRA's, though the tensors behind it be cut off.

    ``values``: every value by key, arrays as lists. ``tensors``: where each tensor lies, or would lie. ``size_bytes``: the
    file's size; ``end``: the byte behind the last tensor, which is more than that in a file that was cut off.
    """

    path: Path
    values: dict[str, Any]
    tensors: dict[str, TensorPlace]
    size_bytes: int
    end: int

    @property
    def architecture(self) -> str:
        """Return what ``general.architecture`` says, an empty text where it says nothing."""
        return str(self.values.get("general.architecture", ""))

    @property
    def quantization(self) -> str | None:
        """Return the file's label (``Q4_K_M``), None where it has none."""
        file_type = self.values.get("general.file_type")
        return _label(file_type) if isinstance(file_type, int) else None

    @property
    def bits_per_weight(self) -> float:
        """Return the bits that a weight takes on average, over all tensors as stored."""
        elements = sum(one.elements for one in self.tensors.values())
        return 8 * sum(one.n_bytes for one in self.tensors.values()) / max(elements, 1)

    def value(self, key: str, default: Any = None) -> Any:
        """Return the value of a key that begins with the architecture's name: ``block_count`` is ``qwen2.block_count``."""
        return self.values.get(f"{self.architecture}.{key}", default)


@dataclass(frozen=True, slots=True)
class _Tensor:
    """Hold one entry of the tensor table; ``offset`` counts bytes from the start of the tensor data."""

    name: str
    dims: tuple[int, ...]
    type: str
    elements: int
    n_bytes: int
    offset: int


class _BadFileError(Exception):
    """Carry the reason why a file is not usable; becomes a SpecError with the file's name."""


def read_gguf_facts(path: Path) -> GgufFacts:
    """
    Read the header of the GGUF at ``path``.

    Raises :class:`~pytest_modelgate.errors.SpecError`, one line that names the file, for a file that is missing, is
    no GGUF, is cut off, holds no tensors, is one part of several, or is of a version that is not known.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        reason = "no such file"
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except _BadFileError as error:
        reason = str(error)
    raise SpecError(f"{path}: {reason}")


def read_gguf_values(path: Path) -> dict[str, Any]:
    """
    Return every value of the header by key: numbers, texts, and lists of them.

    Raises :class:`~pytest_modelgate.errors.SpecError` for a file that is no GGUF or whose header is damaged; its tensors
    are not looked at.
    """
    with _header_of(path) as (cursor, _, n_values):
        return dict(_read_all_values(cursor, n_values))


def read_gguf_header(path: Path) -> GgufHeader:
    """
    Return all that a header says, whether or not the weights behind it are there.

    Raises :class:`~pytest_modelgate.errors.SpecError` for a file that is no GGUF or whose header is damaged.
    """
    with _header_of(path) as (cursor, n_tensors, n_values):
        values = dict(_read_all_values(cursor, n_values))
        tensors = list(_read_tensors(cursor, n_tensors))
        start = _data_start(cursor, values)
        size = cursor.size
    return GgufHeader(
        path=path,
        values=values,
        tensors={one.name: TensorPlace(one.dims, one.type, start + one.offset, one.n_bytes) for one in tensors},
        size_bytes=size,
        end=max((start + one.offset + one.n_bytes for one in tensors), default=start),
    )


def read_gguf_tensors(path: Path) -> dict[str, TensorPlace]:
    """
    Return where each tensor of a GGUF, a model's or a LoRA's, lies in it, by name.

    Raises :class:`~pytest_modelgate.errors.SpecError` for a file that is no GGUF, or is cut off.
    """
    header = read_gguf_header(path)
    for name, place in header.tensors.items():
        if (end := place.offset + place.n_bytes) > header.size_bytes:
            raise SpecError(
                f"{path}: the file is cut off: tensor {name!r} ends at byte {end}, the file at {header.size_bytes}"
            )
    return header.tensors


@contextmanager
def _header_of(path: Path) -> Iterator[tuple[_Cursor, int, int]]:
    """Open a file at its first value, with the numbers of its tensors and values; what is wrong is a SpecError."""
    try:
        with path.open("rb") as file:
            _check_magic(file.read(64))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                cursor = _Cursor(data)
                n_tensors, n_values = cursor.unpack("QQ")
                yield cursor, n_tensors, n_values
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, _BadFileError) as error:
        raise SpecError(f"{path}: {error}") from None


def bits_of_type(name: str) -> float:
    """Return how many bits a weight of a tensor type (``Q4_K``) takes, scales included; raise KeyError for no type."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    block, n_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[name]]
    return float(8 * n_bytes / block)


def block_of_type(name: str) -> int:
    """Return how many weights of a row share a block in a tensor type: a row must be a multiple of it."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    return int(GGML_QUANT_SIZES[GGMLQuantizationType[name]][0])


def require_chat_template(facts: GgufFacts) -> str:
    """Return the file's chat template; raise SpecError where it has none."""
    if not facts.chat_template:
        raise SpecError(
            f"{facts.path}: the file holds no chat template (tokenizer.chat_template), so every program that serves it "
            f"guesses one; convert it again from a folder whose tokenizer has the template it was trained with"
        )
    return facts.chat_template


def _read(path: Path) -> GgufFacts:
    """Map the file and read its header."""
    with path.open("rb") as file:
        head = file.read(64)
        if not head:
            raise _BadFileError("the file is empty")
        _check_magic(head)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            cursor = _Cursor(data)
            n_tensors, n_values = cursor.unpack("QQ")
            values = dict(_read_values(cursor, n_values))
            tensors = list(_read_tensors(cursor, n_tensors))
            _check_ends(cursor, values, tensors)
            return _facts(path, len(data), values, tensors)


def _check_magic(head: bytes) -> None:
    """Check the first bytes of the file: magic, byte order, version."""
    if head[:4] != _MAGIC:
        hint = " (a Git LFS pointer: fetch the file with `git lfs pull`)" if head.startswith(_LFS_POINTER) else ""
        raise _BadFileError(f"not a GGUF file: it starts with {head[:16]!r}, a GGUF starts with {_MAGIC!r}{hint}")
    if len(head) < 8:  # noqa: PLR2004  # magic and version
        raise _BadFileError("the file is cut off within its header")
    (version,) = struct.unpack_from("<I", head, 4)
    if version and version & 0xFFFF == 0:
        raise _BadFileError("a big-endian GGUF, which is not supported")
    if version not in _VERSIONS:
        raise _BadFileError(f"GGUF version {version} is not supported; supported are 2 and 3")


class _Cursor:
    """Read little-endian values one after the other, starting behind magic and version."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.position = 8
        self.size = len(data)

    def unpack(self, form: str) -> tuple[Any, ...]:
        """Read values of the ``struct`` format ``form``."""
        start = self.position
        self.skip(struct.calcsize("<" + form))
        return struct.unpack_from("<" + form, self._data, start)

    def skip(self, n_bytes: int) -> None:
        """Step over ``n_bytes``."""
        if n_bytes > self.size - self.position:
            raise _BadFileError(f"the file is cut off within its header (it has {self.size} bytes)")
        self.position += n_bytes

    def skip_strings(self, count: int) -> array[int]:
        """Step over strings; return where each begins. In one loop: a vocabulary has 150,000, and as many merges."""
        starts = array("Q")
        position, last, length_of = self.position, self.size - 8, struct.Struct("<Q").unpack_from
        for _ in range(count):
            if position > last:
                break
            starts.append(position)
            position += 8 + length_of(self._data, position)[0]
        self.skip(position - self.position)
        if len(starts) < count:
            self.skip(8)  # there is no room for the next one's length
        return starts

    def string(self) -> str:
        """Read a length and as many bytes of UTF-8."""
        (length,) = self.unpack("Q")
        start = self.position
        self.skip(length)
        return self._data[start : self.position].decode("utf-8", "replace")


class _Strings:
    """Remember where an array of strings lies, so that a vocabulary is not read for the one entry that is needed."""

    def __init__(self, cursor: _Cursor, length: int) -> None:
        self._cursor = cursor
        self._starts = cursor.skip_strings(length)
        self._length = length

    def __len__(self) -> int:
        return self._length

    def at(self, index: int) -> str:
        """Return one entry; the file must still be open."""
        self._cursor.position = self._starts[index]
        return self._cursor.string()


def _read_values(cursor: _Cursor, count: int) -> Iterator[tuple[str, Any]]:
    """Yield the key-value pairs of the header; arrays of numbers are stepped over and yielded as ()."""
    for _ in range(count):
        key = cursor.string()
        (kind,) = cursor.unpack("I")
        if kind == _STRING:
            yield key, cursor.string()
        elif kind == _ARRAY:
            item_kind, length = cursor.unpack("IQ")
            if item_kind == _STRING:
                yield key, _Strings(cursor, length)
            else:
                cursor.skip(length * struct.calcsize(_scalar(item_kind, key)))
                yield key, ()
        else:
            yield key, cursor.unpack(_scalar(kind, key))[0]


def _read_all_values(cursor: _Cursor, count: int) -> Iterator[tuple[str, Any]]:
    """Yield the key-value pairs of the header, arrays as lists."""
    for _ in range(count):
        key = cursor.string()
        (kind,) = cursor.unpack("I")
        if kind == _STRING:
            yield key, cursor.string()
        elif kind == _ARRAY:
            item_kind, length = cursor.unpack("IQ")
            if item_kind == _STRING:
                yield key, [cursor.string() for _ in range(length)]
            else:
                code = _scalar(item_kind, key)
                yield key, list(cursor.unpack(f"{length}{code}"))
        else:
            yield key, cursor.unpack(_scalar(kind, key))[0]


def _scalar(kind: int, key: str) -> str:
    """Return the ``struct`` code of a number's type."""
    if kind not in _SCALARS:
        raise _BadFileError(f"the header is damaged: {key!r} has the unknown type {kind}")
    return _SCALARS[kind]


def _read_tensors(cursor: _Cursor, count: int) -> Iterator[_Tensor]:
    """Yield the entries of the tensor table."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    for _ in range(count):
        name = cursor.string()
        (n_dims,) = cursor.unpack("I")
        if n_dims > _MAX_DIMS:
            raise _BadFileError(f"the header is damaged: tensor {name!r} has {n_dims} dimensions")
        dims = cursor.unpack("Q" * n_dims)
        type_id, offset = cursor.unpack("IQ")
        try:
            tensor_type = GGMLQuantizationType(type_id)
        except ValueError:
            raise _BadFileError(f"tensor {name!r} has type {type_id}, which the gguf package does not know") from None
        elements = 1
        for dim in dims:
            elements *= dim
        block, block_bytes = GGML_QUANT_SIZES[tensor_type]
        yield _Tensor(name, dims, tensor_type.name, elements, elements // block * block_bytes, offset)


def _check_ends(cursor: _Cursor, values: dict[str, Any], tensors: list[_Tensor]) -> None:
    """Check that the file holds all of every tensor."""
    parts = _value(values, "split.count", int) or 1
    if parts > 1:
        raise _BadFileError(f"one of {parts} parts of a model: join them with `llama-gguf-split --merge`")
    if values.get("general.type") == "adapter":
        raise _BadFileError("a LoRA adapter, not a model: merge it into its base first")
    if not tensors:
        raise _BadFileError("the file holds no tensors: it is a vocabulary only, not a model")
    start = _data_start(cursor, values)
    last = max(tensors, key=lambda tensor: tensor.offset + tensor.n_bytes)
    end = start + last.offset + last.n_bytes
    if end > cursor.size:
        raise _BadFileError(
            f"the file is cut off: tensor {last.name!r} ends at byte {end}, the file at byte {cursor.size}"
        )


def _data_start(cursor: _Cursor, values: dict[str, Any]) -> int:
    """Return where the tensors begin, in bytes, when everything before them has been read."""
    alignment = _value(values, "general.alignment", int)
    alignment = 32 if alignment is None else alignment
    if alignment < 1:
        raise _BadFileError(f"the header is damaged: general.alignment is {alignment!r}")
    return -(-cursor.position // alignment) * alignment


def _facts(path: Path, size_bytes: int, values: dict[str, Any], tensors: list[_Tensor]) -> GgufFacts:
    """Put the facts together."""
    architecture = _value(values, "general.architecture", str)
    if architecture is None:
        raise _BadFileError("the header names no architecture (general.architecture)")
    tokens = values.get("tokenizer.ggml.tokens")
    types: dict[str, TensorTypeUse] = {}
    for tensor in tensors:
        before = types.get(tensor.type, TensorTypeUse(0, 0))
        types[tensor.type] = TensorTypeUse(before.count + 1, before.elements + tensor.elements)
    elements = sum(tensor.elements for tensor in tensors)
    label = _label(_value(values, "general.file_type", int))
    bos_id, eos_id = (_token_id(values, f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos"))
    return GgufFacts(
        path=path,
        architecture=architecture,
        name=_value(values, "general.name", str),
        chat_template=_value(values, "tokenizer.chat_template", str),
        n_vocab=len(tokens) if isinstance(tokens, _Strings) else 0,
        n_ctx_train=_value(values, f"{architecture}.context_length", int),
        bos_id=bos_id,
        eos_id=eos_id,
        bos_token=_token(tokens, bos_id),
        eos_token=_token(tokens, eos_id),
        tensor_types=types,
        bits_per_weight=8 * sum(tensor.n_bytes for tensor in tensors) / max(elements, 1),
        quantization=label,
        size_bytes=size_bytes,
        fallback_share=None if label is None else _fallback_share(label, tensors),
        width=_number(values, f"{architecture}.embedding_length"),
        kv_elements=_kv_elements(values, architecture),
    )


def _kv_elements(values: dict[str, Any], architecture: str) -> int:
    """Return how many elements the keys and values of one token take in all layers."""
    heads = _number(values, f"{architecture}.attention.head_count")
    head = _number(values, f"{architecture}.embedding_length") // heads if heads else 0
    kv_heads = _number(values, f"{architecture}.attention.head_count_kv") or heads  # absent: every head has its own
    key, value = (_number(values, f"{architecture}.attention.{name}_length") or head for name in ("key", "value"))
    return _number(values, f"{architecture}.block_count") * kv_heads * (key + value)


def _number(values: dict[str, Any], key: str) -> int:
    """Return a number, 0 where the header has none or one for each layer."""
    value = values.get(key)
    return value if isinstance(value, int) else 0


def _value(values: dict[str, Any], key: str, kind: type[_T]) -> _T | None:
    """Return a value that must be of one kind, None where the header has none."""
    value = values.get(key)
    if value is None or type(value) is kind:  # not isinstance(): a bool is no number here
        return value
    raise _BadFileError(f"the header is damaged: {key!r} must be {_KINDS[kind]}")


def _token_id(values: dict[str, Any], key: str) -> int | None:
    """Return the id of a token that the vocabulary holds, None where the header names none."""
    index, tokens = _value(values, key, int), values.get("tokenizer.ggml.tokens")
    n_vocab = len(tokens) if isinstance(tokens, _Strings) else 0
    if index is not None and not 0 <= index < n_vocab:
        raise _BadFileError(f"the header is damaged: {key!r} is {index}, the vocabulary has {n_vocab} tokens")
    return index


def _token(tokens: Any, index: int | None) -> str | None:
    """Return the text of a token, None where there is none."""
    return tokens.at(index) if isinstance(tokens, _Strings) and index is not None else None


def _label(file_type: int | None) -> str | None:
    """Return the name that ``general.file_type`` stands for, as llama.cpp's tools write it."""
    from gguf.constants import LlamaFileType

    if file_type is None or file_type == LlamaFileType.GUESSED:
        return None
    try:
        return str(LlamaFileType(file_type).name).removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return f"type {file_type}"


def _fallback_share(label: str, tensors: list[_Tensor]) -> float | None:
    """
    Return the share of the matrices' elements that did not get a type of the label's kind.

    A k-quant mixes k-quants on purpose (Q4_K_M holds Q6_K); rows that 256 does not divide fall back to Q5_0, Q8_0
    or F16. Vectors are never quantised and do not count.
    """
    mixes = "_K" in label or label.startswith("IQ")
    matrices = [tensor for tensor in tensors if len(tensor.dims) > 1]
    total = sum(tensor.elements for tensor in matrices)
    meant = sum(
        tensor.elements
        for tensor in matrices
        if (tensor.type.endswith("_K") or tensor.type.startswith("IQ") if mixes else tensor.type == label)
    )
    return 1 - meant / total if total else None

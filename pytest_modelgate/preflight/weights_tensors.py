"""
Read the tensors of a GGUF, a LoRA GGUF or a safetensors folder as float32, some rows at a time.

Nothing is loaded whole: files are mapped, and what is dequantised is as large as a caller asks for. torch is not needed,
and neither is the ``safetensors`` package: its format is a JSON header before plain arrays, and numpy has no bfloat16 that
the package could return.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.errors import SpecError
from pytest_modelgate.gguf_file import TensorPlace, read_gguf_facts, read_gguf_tensors, read_gguf_values

__all__ = [
    "CHUNK",
    "Floats",
    "GgufTensors",
    "Tensor",
    "chunks",
    "read_folder",
    "read_gguf",
    "read_json",
    "read_lora_gguf",
    "read_safetensors",
]

Floats = NDArray[np.float32]

CHUNK = 1 << 21
"""How many weights are dequantised at once: 8 MiB as float32."""

_LENGTH = struct.Struct("<Q")
_PLAIN = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_INDEX, _SINGLE = "model.safetensors.index.json", "model.safetensors"
_MAX_HEADER = 1 << 27


@dataclass(frozen=True, slots=True)
class Tensor:
    """
    Hold one tensor that can be read: ``rows(start, stop)`` gives float32, shape (stop - start, n_columns).

    Seen as a matrix of (outputs, inputs); a vector has one column, what has more dimensions has its leading ones
    together. ``type`` is how it is stored: ``Q8_0``, ``BF16``.
    """

    name: str
    n_rows: int
    n_columns: int
    type: str
    is_vector: bool
    rows: Callable[[int, int], Floats]

    @property
    def n_weights(self) -> int:
        """Return the number of weights."""
        return self.n_rows * self.n_columns

    def all(self) -> Floats:
        """Return every row; for tensors that are known to be small, or one at a time."""
        return self.rows(0, self.n_rows)


@dataclass(frozen=True, slots=True)
class GgufTensors:
    """
    Hold a GGUF's tensors by name, and the names of those whose type cannot be read.

    ``token(number)`` gives a token's text, None where the vocabulary has none.
    """

    architecture: str
    tensors: Mapping[str, Tensor]
    unread: tuple[str, ...]
    token: Callable[[int], str | None]


def chunks(tensor: Tensor, size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Yield first and last row, exclusive, of parts of about ``size`` weights."""
    step = max(1, size // max(1, tensor.n_columns))
    for start in range(0, tensor.n_rows, step):
        yield start, min(start + step, tensor.n_rows)


def read_gguf(path: Path) -> GgufTensors:
    """
    Return what of a GGUF can be read.

    Raises :class:`~pytest_modelgate.errors.SpecError` for a file that is damaged or no model.
    """
    facts = read_gguf_facts(path)
    tensors, unread = _gguf_tensors(path)

    @cache
    def tokens() -> list[Any]:
        found = read_gguf_values(path).get("tokenizer.ggml.tokens")
        return found if isinstance(found, list) else []

    def token(number: int) -> str | None:
        return str(tokens()[number]) if 0 <= number < len(tokens()) else None

    return GgufTensors(facts.architecture, tensors, tuple(unread), token)


def read_lora_gguf(path: Path) -> tuple[float, dict[str, Tensor]]:
    """
    Return a LoRA GGUF's alpha and its matrices by name (``blk.0.attn_q.weight.lora_a``).

    Raises :class:`~pytest_modelgate.errors.SpecError` for a file that is damaged or no LoRA.
    """
    values = read_gguf_values(path)
    alpha = values.get("adapter.lora.alpha")
    if values.get("general.type") != "adapter" or not isinstance(alpha, int | float):
        raise SpecError(f"{path}: is no LoRA GGUF: it names no adapter.lora.alpha")
    tensors, unread = _gguf_tensors(path)
    if unread:
        raise SpecError(f"{path}: {unread[0]} has a type that cannot be read")
    return float(alpha), tensors


def read_folder(folder: Path) -> tuple[dict[str, Tensor], list[str]]:
    """
    Return the tensors of a model folder's safetensors files by name, and the names of those that are no floats.

    Raises :class:`~pytest_modelgate.errors.SpecError` where there is none, or one is damaged. Pickled weights are never
    opened.
    """
    tensors: dict[str, Tensor] = {}
    unread: list[str] = []
    for path in _safetensors_files(folder):
        found, others = read_safetensors(path)
        tensors |= found
        unread += others
    return tensors, unread


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of one safetensors file by name, and the names of those that are no floats."""
    header, data, start = _safetensors_header(path)
    tensors: dict[str, Tensor] = {}
    unread: list[str] = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            kind, shape, (first, last) = (
                str(entry["dtype"]),
                [int(one) for one in entry["shape"]],
                entry["data_offsets"],
            )
            if kind not in _PLAIN:
                unread.append(name)
                continue
            code = np.dtype(_PLAIN[kind])
            if not 0 <= first <= last <= len(data) - start or last - first != math.prod(shape) * code.itemsize:
                raise SpecError(f"{path}: is cut off or damaged: {name} does not lie within it")
        except (KeyError, TypeError, ValueError):
            raise SpecError(f"{path}: is damaged: its header does not describe {name}") from None
        n_rows, n_columns, is_vector = _as_matrix(shape)
        stored = data[start + first : start + last].view(code).reshape(n_rows, n_columns)
        tensors[name] = Tensor(name, n_rows, n_columns, kind, is_vector, _plain_rows(stored, kind))
    return tensors, unread


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; raises SpecError for a file that holds none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise SpecError(f"{path}: is no JSON") from None
    if not isinstance(found, dict):
        raise SpecError(f"{path}: is no JSON object")
    return found


def _as_matrix(shape: list[int]) -> tuple[int, int, bool]:
    """Return rows, columns, and whether it is a vector."""
    if len(shape) < 2:  # noqa: PLR2004
        return math.prod(shape), 1, True
    return math.prod(shape[:-1]), shape[-1], False


def _plain_rows(stored: NDArray[Any], kind: str) -> Callable[[int, int], Floats]:
    """Return what reads rows of an array of floats."""

    def read(start: int, stop: int) -> Floats:
        part = stored[start:stop]
        if kind == "BF16":
            return (part.astype(np.uint32) << np.uint32(16)).view(np.float32)
        with np.errstate(over="ignore"):
            return np.asarray(part, np.float32)

    return read


def _gguf_tensors(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors by name, and the names of those whose type cannot be read."""
    places = read_gguf_tensors(path)
    data = np.memmap(path, np.uint8, mode="r")
    tensors = {name: _gguf_tensor(name, place, data) for name, place in places.items() if _is_known(place)}
    return tensors, [name for name in places if name not in tensors]


def _gguf_tensor(name: str, place: TensorPlace, data: NDArray[np.uint8]) -> Tensor:
    """Return a tensor of a mapped file."""
    n_rows, n_columns, is_vector = _as_matrix(list(place.dims[::-1]))
    stored = data[place.offset : place.offset + place.n_bytes]
    rows = _gguf_rows(stored.reshape(max(1, n_rows), -1)[:n_rows], place.type)
    return Tensor(name, n_rows, n_columns, place.type, is_vector, rows)


def _gguf_rows(stored: NDArray[np.uint8], kind: str) -> Callable[[int, int], Floats]:
    """Return what reads rows of a tensor as a GGUF stores it."""
    if kind in _PLAIN:
        return _plain_rows(stored.view(_PLAIN[kind]), kind)

    def read(start: int, stop: int) -> Floats:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        with np.errstate(all="ignore"):  # a damaged scale is found later, by what it gives
            return np.asarray(dequantize(stored[start:stop], GGMLQuantizationType[kind]), np.float32)

    return read


def _is_known(place: TensorPlace) -> bool:
    """Say whether a tensor can be read; a vector is never quantised."""
    return place.type in _PLAIN or (len(place.dims) > 1 and _is_known_type(place.type))


@cache
def _is_known_type(kind: str) -> bool:
    """Say whether a quantised type can be read."""
    from gguf import GGMLQuantizationType
    from gguf.constants import GGML_QUANT_SIZES
    from gguf.quants import dequantize

    try:
        dequantize(np.zeros((1, GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1]), np.uint8), GGMLQuantizationType[kind])
    except (KeyError, NotImplementedError, ValueError):
        return False
    return True


def _safetensors_files(folder: Path) -> list[Path]:
    """Return the files that hold a folder's weights."""
    if (folder / _INDEX).is_file():
        places = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(places, Mapping) or not all(isinstance(name, str) for name in places.values()):
            raise SpecError(f"{folder / _INDEX}: is damaged: its weight_map does not name files")
        names = sorted(set(places.values()))
        if any(Path(name).name != name for name in names):
            raise SpecError(f"{folder / _INDEX}: names files outside of its folder")
        return [folder / name for name in names]
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    raise SpecError(f"{folder}: holds no {_SINGLE} and no {_INDEX}; pickled weights are not opened")


def _safetensors_header(path: Path) -> tuple[dict[str, Any], NDArray[np.uint8], int]:
    """Return header, the mapped file, and where its data starts."""
    try:
        data = np.memmap(path, np.uint8, mode="r")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise SpecError(f"{path}: the file is empty") from None
    length = _LENGTH.unpack(data[:8].tobytes())[0] if len(data) >= _LENGTH.size else _MAX_HEADER + 1
    if length > min(_MAX_HEADER, len(data) - _LENGTH.size):
        raise SpecError(f"{path}: is no safetensors file, or cut off within its header")
    try:
        header = json.loads(data[8 : 8 + length].tobytes())
    except (ValueError, RecursionError):
        raise SpecError(f"{path}: is damaged: its header is no JSON") from None
    if not isinstance(header, dict):
        raise SpecError(f"{path}: is damaged: its header is no JSON object")
    return header, data, 8 + int(length)

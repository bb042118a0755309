"""Read tensors as float32, a block of rows at a time, of GGUF and safetensors files; torch is not needed."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_modelgate.errors import EngineError
from pytest_modelgate.gguf_file import TensorPlace, read_gguf_tensors

Array = NDArray[np.float32]

_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "F64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
}
_LONGEST_HEADER = 100_000_000


class GgufTensors:
    """Hold the tensors of one GGUF."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.places: dict[str, TensorPlace] = read_gguf_tensors(path)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape with rows first."""
        return tuple(reversed(self.places[name].dims))

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Return the rows from ``start`` to ``stop`` of a tensor, shape (rows, columns); a vector is one row."""
        from gguf.constants import GGMLQuantizationType
        from gguf.quants import dequantize

        place = self.places[name]
        columns = place.dims[0]
        rows = max(1, int(np.prod(place.dims[1:], dtype=np.int64)))
        stop = rows if stop is None else min(stop, rows)
        row_bytes = place.n_bytes // rows
        raw = np.memmap(self._path, np.uint8, "r", place.offset + start * row_bytes, ((stop - start) * row_bytes,))
        if place.type in {"F32", "F16"}:
            return raw.view(_DTYPES[place.type]).reshape(stop - start, columns).astype(np.float32)
        try:
            found = dequantize(raw.reshape(stop - start, row_bytes), GGMLQuantizationType[place.type])
        except NotImplementedError:
            raise EngineError(f"{self._path}: tensors of type {place.type} cannot be read here") from None
        return np.asarray(found, np.float32).reshape(stop - start, columns)


@dataclass(frozen=True, slots=True)
class _Stored:
    """Say where a tensor of a safetensors file lies."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int


class FolderTensors:
    """Hold the tensors of all safetensors files of a folder, by the names that transformers and peft give them."""

    def __init__(self, folder: Path, pattern: str = "*.safetensors") -> None:
        self._stored: dict[str, _Stored] = {}
        for path in sorted(folder.glob(pattern)):
            self._stored.update(_read_header(path))

    @property
    def names(self) -> list[str]:
        """Return the names of all tensors."""
        return list(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape."""
        return self._stored[name].shape

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Array:
        """Return the rows from ``start`` to ``stop`` of a tensor, shape (rows, columns); a vector is one row."""
        stored = self._stored[name]
        dtype = _DTYPES[stored.dtype]
        rows, columns = (
            (stored.shape[0], int(np.prod(stored.shape[1:]))) if len(stored.shape) > 1 else (1, stored.shape[0])
        )
        stop = rows if stop is None else min(stop, rows)
        place = stored.offset + start * columns * dtype.itemsize
        raw = np.fromfile(stored.path, dtype, (stop - start) * columns, offset=place).reshape(stop - start, columns)
        if stored.dtype == "BF16":
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32)


def _read_header(path: Path) -> Iterator[tuple[str, _Stored]]:
    """Yield where each tensor of a safetensors file lies (format: 8 bytes of length, JSON, data)."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < _LONGEST_HEADER else None
        if not isinstance(header, dict):
            raise TypeError("no header")  # one line for every damage
        for name, entry in header.items():
            if name != "__metadata__":
                if entry["dtype"] not in _DTYPES:
                    raise EngineError(f"{path}: {name} is stored as {entry['dtype']}, which cannot be compared")
                yield name, _Stored(path, entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
    except (OSError, ValueError, TypeError, KeyError, struct.error) as error:
        raise EngineError(f"{path}: is no safetensors file: {error}") from None

"""Bring together the tensors of a target and those that they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pytest_modelgate.engines.adapter_files import find_files
from pytest_modelgate.errors import EngineError
from pytest_modelgate.gguf_file import read_gguf_values
from pytest_modelgate.preflight.check import Subject
from pytest_modelgate.preflight.weights_adapter import AdapterChange, Lora, served_lora
from pytest_modelgate.preflight.weights_compare import TensorFacts, compare, look
from pytest_modelgate.preflight.weights_names import KNOWN, Heads, converted, gguf_names, heads_of, needs_whole
from pytest_modelgate.preflight.weights_read import Array, FolderTensors, GgufTensors

Rows = Callable[[int, int], Array]
OUTPUT, EMBEDDING = "output.weight", "token_embd.weight"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Hold how to read what a tensor should be: the untuned rows, and what is added to them."""

    base: Rows
    delta: Rows | None


class StoredWeights:
    """
    Hold the tensors of the target beside those of its reference: an adapter on its base, a folder, or a GGUF.

    :attr:`unknown` says why they cannot be compared, None where they can. :attr:`facts` are of every tensor of the
    target; those that the reference has no counterpart for were only looked at.
    """

    def __init__(self, subject: Subject) -> None:
        self.target = subject.target
        self._stored = GgufTensors(subject.target.path)
        self.values: dict[str, Any] = read_gguf_values(subject.target.path)
        self.architecture = str(self.values.get("general.architecture"))
        self.heads = heads_of(self.values, self.architecture)
        self.adapter: AdapterChange | None = None
        self.missing: list[str] = []
        self.unknown: str | None = None
        self._wanted: dict[str, _Wanted] = {}
        if subject.reference is None:
            self.unknown = "there is no reference to compare with (--reference SPEC)"
        elif subject.reference.kind == "gguf":
            self._want_gguf(GgufTensors(subject.reference.path))
        elif self.architecture not in KNOWN:
            self.unknown = f"how the converter writes {self.architecture!r} is not known here; the logits tell"
        else:
            files = find_files(subject.reference.path, subject.reference.base)
            self.adapter = None if files.adapter is None else AdapterChange(files.adapter)
            self._want_folder(FolderTensors(files.model))
            if self.adapter is not None and self.adapter.unknown:
                self.unknown = (
                    f"the adapter holds more than LoRA's factors ({self.adapter.unknown[0]}); the logits tell"
                )

    @property
    def is_quantized(self) -> bool:
        """Say whether some tensor is stored in fewer than 16 bits."""
        return any(place.type not in {"F32", "F16", "BF16"} for place in self._stored.places.values())

    @cached_property
    def served(self) -> dict[str, Lora]:
        """Return what a LoRA GGUF adds when it is served, by the name of the weight."""
        if self.target.lora is None:
            return {}
        alpha = read_gguf_values(self.target.lora).get("adapter.lora.alpha")
        return served_lora(self.target.lora, None if alpha is None else float(alpha))

    @cached_property
    def facts(self) -> list[TensorFacts]:
        """Return what was found of each tensor, in the order of the file."""
        return [self._fact(name) for name in self._stored.places]

    def read(self, name: str) -> Array:
        """Return a tensor of the target as it works: with what a served LoRA adds."""
        return self._got(name)(0, self._shape(name)[0])

    def wanted(self, name: str) -> Array:
        """Return what a tensor should be."""
        wanted, rows = self._wanted[name], self._shape(name)[0]
        found = wanted.base(0, rows)
        return found if wanted.delta is None else found + wanted.delta(0, rows)

    def _fact(self, name: str) -> TensorFacts:
        kind, shape = self._stored.places[name].type, self._shape(name)
        wanted = None if self.unknown is not None else self._wanted.get(name)
        if wanted is None:
            return look(name, kind, shape, self._got(name))
        return compare(name, kind, shape, self._got(name), wanted.base, wanted.delta)

    def _shape(self, name: str) -> tuple[int, int]:
        shape = self._stored.shape(name)
        if len(shape) == 1:
            return 1, shape[0]
        rows = 1
        for one in shape[:-1]:
            rows *= one
        return rows, shape[-1]

    def _got(self, name: str) -> Rows:
        lora = self.served.get(name)

        def rows(start: int, stop: int) -> Array:
            found = self._stored.read(name, start, stop)
            return found if lora is None else found + lora.rows(start, stop)

        return rows

    def _want_gguf(self, reference: GgufTensors) -> None:
        for name, place in self._stored.places.items():
            if name in reference.places and reference.places[name].dims == place.dims:
                self._wanted[name] = _Wanted(lambda start, stop, name=name: reference.read(name, start, stop), None)  # type: ignore[misc]
        self.missing = [name for name in reference.places if name not in self._stored.places]

    def _want_folder(self, folder: FolderTensors) -> None:
        """Pair the tensors of the file with those of the folder, and with the adapter's changes."""
        layers = int(self.values.get(f"{self.architecture}.block_count", 0))
        names = gguf_names(folder.names, self.architecture, layers)
        changes = {} if self.adapter is None else self.adapter.changes
        known = set(folder.names)
        if OUTPUT in self._stored.places and OUTPUT not in names and EMBEDDING in names:
            names[OUTPUT] = names[EMBEDDING]  # tied: what is stored twice must be the same twice
        for name, source in names.items():
            if name not in self._stored.places:
                if name != OUTPUT:
                    self.missing.append(name)
                continue
            change = changes.get(source)
            if _rows_of(folder.shape(source)) != self._shape(name):
                continue
            self._wanted[name] = _Wanted(
                self._converted(name, lambda start, stop, source=source: folder.read(source, start, stop)),  # type: ignore[misc]
                None if change is None else self._converted(name, change.rows),
            )
        lost = [weight for weight in changes if weight not in known]
        if lost:
            raise EngineError(f"{self.target.id}: the adapter adds to {lost[0]}, which its base does not have")

    def _converted(self, name: str, rows: Rows) -> Rows:
        """Return rows as the converter writes them; a tensor whose rows change places is read as a whole."""
        architecture, heads = self.architecture, self.heads
        if not needs_whole(name, architecture):
            return lambda start, stop: converted(name, rows(start, stop), architecture, heads)
        return lambda start, stop: converted(name, rows(0, 1 << 40), architecture, heads)[start:stop]


def _rows_of(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of a tensor; a vector is one row."""
    if len(shape) == 1:
        return 1, shape[0]
    columns = 1
    for one in shape[1:]:
        columns *= one
    return shape[0], columns


@contextmanager
def open_stage(subject: Subject) -> Iterator[StoredWeights]:
    """Open the files that the stage's checks look at."""
    yield StoredWeights(subject)


__all__ = ["EMBEDDING", "OUTPUT", "Heads", "StoredWeights", "open_stage"]

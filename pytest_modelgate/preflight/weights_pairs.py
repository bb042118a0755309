"""Put beside each tensor of a target what it should be: the base's with the adapter's change, or a reference's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from pytest_modelgate.errors import SpecError
from pytest_modelgate.preflight.check import Artifact, Subject
from pytest_modelgate.preflight.weights_change import AdapterWeights, Change, LowRank, NotComputableError, read_adapter
from pytest_modelgate.preflight.weights_gguf_names import Naming, naming_of
from pytest_modelgate.preflight.weights_tensors import (
    Floats,
    Tensor,
    read_folder,
    read_gguf,
    read_json,
    read_lora_gguf,
)

__all__ = ["Expected", "Opened", "Pair", "open_weights"]

_MADE_BY_CONVERTER = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
_OUTPUTS = ("output.weight", "lm_head.weight")
_EMBEDDINGS = ("token_embd.weight", "model.embed_tokens.weight")


@dataclass(frozen=True, slots=True)
class Expected:
    """
    Hold what a tensor should be.

    ``rows(start, stop)`` gives the base's rows and the expected ones; the base's are None where no base is known, and the
    very same array where the adapter does not touch them. ``change``: what the adapter does, in the order of its own rows.
    """

    n_rows: int
    n_columns: int
    rows: Callable[[int, int], tuple[Floats | None, Floats]]
    change: Change | None = None
    base_type: str = "F32"


@dataclass(frozen=True, slots=True)
class Pair:
    """Hold a tensor of the target, None where it has none, and what it should be, None where nothing says so."""

    name: str
    target: Tensor | None
    expected: Expected | None
    is_tied: bool = False
    """The reference's output layer is its embedding, and this is an output layer of the target's own."""


@dataclass(frozen=True, slots=True)
class Opened:
    """
    Hold a target's tensors with what they should be.

    ``reason``: why there is nothing to compare with, None where there is. ``unread``: tensors that cannot be read;
    ``unmapped``: tensors of the reference that have no place in the target that is known here. ``links``: the chain's
    other links, by id, whose tensors can be looked at by the same names.
    """

    pairs: tuple[Pair, ...] = ()
    token: Callable[[int], str | None] = field(default=lambda _: None)
    heads: tuple[int, int] = (0, 0)
    reason: str | None = None
    adapter: AdapterWeights | None = None
    unread: tuple[str, ...] = ()
    unmapped: tuple[str, ...] = ()
    untrained_lora: bool = False
    links: Mapping[str, Callable[[], Mapping[str, Tensor]]] = field(default_factory=dict)


def open_weights(subject: Subject) -> Opened:
    """Open a target and what it was made from; raises :class:`~pytest_modelgate.errors.SpecError`."""
    tensors, token, architecture, unread = _open_target(subject.target)
    lora, untrained = _lora(subject.target, tensors)
    tensors |= lora
    reason, expected, naming, adapter, unmapped = _expected(subject, architecture, tensors)
    return Opened(
        pairs=tuple(_pairs(tensors, expected, compared=reason is None)),
        token=token,
        heads=(naming.heads, naming.kv_heads) if naming else (0, 0),
        reason=reason,
        adapter=adapter,
        unread=tuple(unread),
        unmapped=tuple(unmapped),
        untrained_lora=untrained,
        links={link.id: _opener(link, naming) for link in subject.chain[1:] if link.lora is None},
    )


def _open_target(
    target: Artifact,
) -> tuple[dict[str, Tensor], Callable[[int], str | None], str | None, list[str]]:
    """Return a target's tensors, its vocabulary, its architecture where it is a GGUF, and what cannot be read."""
    if target.kind == "gguf":
        found = read_gguf(target.path)
        return dict(found.tensors), found.token, found.architecture, list(found.unread)
    tensors, unread = read_folder(target.path)
    return tensors, lambda _: None, None, unread


def _lora(target: Artifact, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Return the tensors that a LoRA GGUF changes, with its change, and whether it changes nothing at all."""
    if target.lora is None:
        return {}, False
    alpha, parts = read_lora_gguf(target.lora)
    found: dict[str, Tensor] = {}
    sizes = []
    for part, tensor in parts.items():
        name, _, which = part.rpartition(".lora_")
        if which != "a" or f"{name}.lora_b" not in parts:
            continue
        if name not in tensors:
            raise SpecError(f"{target.lora}: changes {name}, which {target.path.name} does not have")
        # llama.cpp: alpha / rank, the rank being A's number of rows (src/llama-adapter.h)
        a, b = tensor.all(), parts[f"{name}.lora_b"].all()
        change = LowRank(a, b, alpha / len(a) if alpha else 1.0, alpha)
        plain = tensors[name]
        if (len(b), a.shape[1]) != (plain.n_rows, plain.n_columns):
            raise SpecError(f"{target.lora}: its change of {name} has another shape than the tensor")
        sizes.append(float(np.abs(b).max(initial=0.0)) * float(np.abs(a).max(initial=0.0)))
        found[name] = replace(plain, rows=_changed_rows(plain, change))
    return found, not any(size > 0 for size in sizes)


def _changed_rows(plain: Tensor, change: Change) -> Callable[[int, int], Floats]:
    """Return what reads a tensor with a change."""
    return lambda start, stop: change.rows(start, stop, plain.rows(start, stop))


def _expected(
    subject: Subject, architecture: str | None, tensors: Mapping[str, Tensor]
) -> tuple[str | None, dict[str, Expected], Naming | None, AdapterWeights | None, list[str]]:
    """Return why nothing can be compared, or what each tensor of the target should be."""
    reference = subject.reference
    if reference is None:
        return "there is no reference to compare with (--reference SPEC)", {}, None, None, []
    if reference.kind == "gguf":
        if reference.lora is not None or architecture is None:
            return f"{reference.id} is not compared by its weights", {}, None, None, []
        found = read_gguf(reference.path)
        if found.architecture != architecture:
            return f"{reference.id} has the architecture {found.architecture!r}", {}, None, None, []
        return None, {name: _as_it_is(tensor) for name, tensor in found.tensors.items()}, None, None, []
    folder = reference.base if reference.kind == "adapter" else reference.path
    if folder is None:
        return f"where the base of {reference.id} lies is not known", {}, None, None, []
    config = read_json(folder / "config.json")
    naming = None if architecture is None else naming_of(config, architecture)
    if isinstance(naming, str):
        return naming, {}, None, None, []
    own, unread = read_folder(folder)
    if len(unread) > len(own):
        return f"the weights of {folder.name} are quantised already", {}, None, None, []
    adapter = None
    if reference.kind == "adapter":
        try:
            adapter = read_adapter(reference.path, own)
        except NotComputableError as error:
            return str(error), {}, None, None, []
    changes = dict(adapter.changes) if adapter else {}
    expected: dict[str, Expected] = {}
    unmapped = [*unread, *(name for name in changes if name not in own)]
    for name, tensor in own.items():
        place = naming.name(name) if naming else name
        if place is None:
            unmapped.append(name)
        elif not (place in _OUTPUTS and config.get("tie_word_embeddings") and place not in tensors):
            expected[place] = _changed(tensor, changes.get(name), naming)
    return None, expected, naming, adapter, unmapped


def _as_it_is(tensor: Tensor) -> Expected:
    """Return a tensor that should be found again."""
    return Expected(
        tensor.n_rows, tensor.n_columns, lambda start, stop: (None, tensor.rows(start, stop)), None, tensor.type
    )


def _changed(tensor: Tensor, change: Change | None, naming: Naming | None) -> Expected:
    """Return what an adapter makes of a base's tensor."""
    formed = naming.formed(tensor) if naming else tensor
    if change is None:

        def same(start: int, stop: int) -> tuple[Floats, Floats]:
            rows = formed.rows(start, stop)
            return rows, rows

        return Expected(tensor.n_rows, tensor.n_columns, same, None, tensor.type)
    order = naming.order(tensor.name, tensor.n_rows) if naming else None
    added = np.float32(naming.raise_by(tensor.name) if naming else 0.0)

    def both(start: int, stop: int) -> tuple[Floats | None, Floats]:
        if order is not None:
            base = tensor.all()
            changed = change.rows(0, tensor.n_rows, base)
            return base[order[start:stop]], changed[order[start:stop]]
        if stop > tensor.n_rows:  # rows that the adapter added to an embedding
            return None, change.rows(start, stop, np.zeros((0, tensor.n_columns), np.float32)) + added
        base = tensor.rows(start, stop)
        return base + added, change.rows(start, stop, base) + added

    return Expected(change.n_rows, tensor.n_columns, both, change, tensor.type)


def _pairs(tensors: Mapping[str, Tensor], expected: Mapping[str, Expected], *, compared: bool) -> Iterator[Pair]:
    """Yield every tensor of the target, and those that it should have and has not."""
    for name, tensor in tensors.items():
        found, is_tied = expected.get(name), False
        if found is None and compared and name in _OUTPUTS:
            found = next((expected[one] for one in _EMBEDDINGS if one in expected), None)
            is_tied = found is not None
        yield Pair(name, tensor, found, is_tied)
    for name, found in expected.items():
        if name not in tensors and name not in _MADE_BY_CONVERTER:
            yield Pair(name, None, found)


def _opener(link: Artifact, naming: Naming | None) -> Callable[[], Mapping[str, Tensor]]:
    """Return what opens another link of the chain."""

    def open_link() -> Mapping[str, Tensor]:
        if link.kind == "gguf":
            return read_gguf(link.path).tensors
        if link.kind == "merged" and naming is not None:
            formed = [naming.formed(tensor) for tensor in read_folder(link.path)[0].values()]
            return {tensor.name: tensor for tensor in formed}
        return {}

    return open_link

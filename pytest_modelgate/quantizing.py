"""Make a ladder of quantisations of one GGUF, to be judged by ``pytest --model`` together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_modelgate.engines.llama import QUANTIZATIONS, quantize
from pytest_modelgate.errors import EngineError, SpecError
from pytest_modelgate.gguf_file import GgufFacts, read_gguf_facts
from pytest_modelgate.nearest import did_you_mean

_FULL_PRECISION = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class Rung:
    """Hold one file of a ladder: what its header says, and whether it was there already."""

    path: Path
    facts: GgufFacts
    is_new: bool


def make_ladder(
    source: Path, types: Sequence[str], folder: Path | None = None, *, force: bool = False
) -> Iterator[Rung]:
    """
    Yield each file as it is written: ``model-f16.gguf`` becomes ``model-Q8_0.gguf`` in ``folder``, default beside it.

    Raises :class:`~pytest_modelgate.errors.SpecError` for an unknown type, a source that is quantised already (a
    second loss on top of the first), and a file that is there and newer than the source is kept unless ``force``; an
    older one is an error, because it may be of an earlier run.
    """
    wanted = list(dict.fromkeys(types))
    if unknown := [name for name in wanted if name not in QUANTIZATIONS]:
        near = did_you_mean(unknown[0], QUANTIZATIONS)
        raise SpecError(f"--to {unknown[0]}: is unknown{near}; valid are {', '.join(QUANTIZATIONS)}")
    facts = read_gguf_facts(source)
    if facts.quantization not in _FULL_PRECISION:
        raise SpecError(
            f"{source}: is {facts.quantization or 'of an unknown type'}: quantise the file in F16, BF16 or F32 that it "
            f"was made from, not a loss on top of another"
        )
    stem = _without_type(source.stem, str(facts.quantization))
    folder = source.parent if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        path = folder / f"{stem}-{name}.gguf"
        if path.resolve() == source.resolve():
            raise SpecError(f"{path}: is the source itself; give --out another folder")
        is_there = path.exists() and not force
        if is_there and path.stat().st_mtime < source.stat().st_mtime:
            raise SpecError(f"{path}: is older than {source.name}, perhaps of an earlier run; --force writes it again")
        if not is_there:
            try:
                quantize(source, path, name)
            except EngineError as error:
                raise SpecError(str(error)) from None
        yield Rung(path, read_gguf_facts(path), not is_there)


def _without_type(stem: str, label: str) -> str:
    """Return a file's name without the type at its end: ``support-f16`` is ``support``."""
    for mark in ("-", ".", "_"):
        if stem.lower().endswith(f"{mark}{label.lower()}"):
            return stem[: -len(label) - 1]
    return stem

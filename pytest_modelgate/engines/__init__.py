"""
Run a target: the programs that turn requests into generations.

Every engine obeys :class:`Engine`. Native engines (``gguf``, ``adapter``) live in a process of their own, hosted by
:mod:`~pytest_modelgate.engines.process`, because a bad file can take its process down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol, TypeAlias

from pytest_modelgate.records import EngineInfo, Failure, Generation, Json, Request

__all__ = ["Engine", "EngineSettings", "Result"]

Result: TypeAlias = tuple[str, Generation | Failure]
"""A request's key, and what became of it."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """
    Hold how a target is run, as deployed.

    ``n_ctx``: context length in tokens. ``n_gpu_layers``: layers put on a GPU, -1 for all. ``n_threads``: None for
    as many as this process may use, or one where the model is too small for more. ``batch_size``: cases decoded together,
    where the engine batches; with 1 every engine decodes one case after the other, as deployed. ``n_seq``: sequences that
    llama.cpp decodes together, None for as many as pay and fit; it changes no answer. ``dtype``: for transformers,
    ``float32``, ``bfloat16`` or ``float16``. ``device``: for transformers, ``cpu`` or ``cuda``.
    ``timeout_s``: seconds without any answer after which the engine counts as hung.
    """

    n_ctx: int = 2048
    n_gpu_layers: int = 0
    n_threads: int | None = None
    batch_size: int = 8
    n_seq: int | None = None
    dtype: str = "float32"
    device: str = "cpu"
    timeout_s: float = 300.0

    def to_json(self) -> Json:
        """Return the settings as primitives."""
        return asdict(self)


class Engine(Protocol):
    """Turn requests into generations, greedily, in any order."""

    def describe(self) -> EngineInfo:
        """Say which engine this is and what it found in its target; load the target if need be."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """
        Yield one result for each request as it is ready.

        A request that cannot be run yields a :class:`~pytest_modelgate.records.Failure`; the others go on.
        """

    def peak_rss_bytes(self) -> int | None:
        """Return the largest resident memory that the engine's process has had, None where it has none."""

    def close(self) -> None:
        """End the engine and free what it holds; calling it twice is harmless."""

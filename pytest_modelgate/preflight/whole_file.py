"""Look whether a GGUF is there whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pytest_modelgate.gguf_file import read_gguf_facts
from pytest_modelgate.preflight.check import Finding, Subject
from pytest_modelgate.preflight.metadata import header_of

__all__ = ["file_whole"]


def file_whole(subject: Subject) -> Iterator[Finding]:
    """Compare the size of the file with where its header says that tensors end, the LoRA's too."""
    is_whole = True
    for path in (subject.target.path, subject.target.lora):
        if path is None:
            continue
        header = header_of(path)
        is_whole = is_whole and header.end <= header.size_bytes
        if header.end > header.size_bytes:
            share = header.size_bytes / header.end
            told = f"{path.name}: cut off: its tensors end at byte {header.end}, the file at {header.size_bytes} ({share:.0%})"
            yield Finding("failed", told)
        elif not header.tensors:
            yield Finding("failed", f"{path.name}: holds no tensors")
        starts = sorted((one.offset, one.n_bytes, name) for name, one in header.tensors.items())
        for (offset, n_bytes, name), (following, _, _) in pairwise(starts):
            if offset + n_bytes > following:
                yield Finding("failed", f"{path.name}: the header is damaged: tensor {name!r} runs into the next")
                break
    if not is_whole:
        return
    read_gguf_facts(subject.target.path)  # what else makes a file unusable is an error with its reason
    yield Finding(
        "passed", f"{header_of(subject.target.path).size_bytes} bytes, which is all that the header announces"
    )

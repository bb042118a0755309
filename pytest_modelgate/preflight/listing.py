"""Read which files a training's manifest lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["SECTIONS", "ListedFile", "entry_of", "is_manifest", "listed_files"]

SECTIONS = ("gguf", "adapter", "base", "merged", "published")
"""The parts of a manifest that list files of models."""


@dataclass(frozen=True, slots=True)
class ListedFile:
    """
    Hold one file as a manifest lists it.

    ``name`` without folders; ``tensor_types``: how many tensors have each type, empty where that was not written down.
    """

    name: str
    sha256: str
    section: str
    tensor_types: Mapping[str, int] = field(default_factory=dict)

    @property
    def types(self) -> frozenset[str]:
        """Return the types of its tensors."""
        return frozenset(self.tensor_types)


def listed_files(manifest: Mapping[str, Any], sections: Sequence[str] = SECTIONS) -> list[ListedFile]:
    """Return the files that a manifest lists in these sections; what is not written as it should be is left out."""
    return [one for section in sections for one in _files(manifest.get(section), section)]


def entry_of(manifest: Mapping[str, Any], name: str, sha256: str | None) -> ListedFile | None:
    """Return the entry with this hash, else the one with this name, None where there is neither."""
    files = listed_files(manifest)
    same = next((one for one in files if sha256 is not None and one.sha256 == sha256), None)
    return same or next((one for one in files if one.name == name), None)


def is_manifest(found: object) -> bool:
    """Say whether a JSON value is a training's manifest, not one of the many other files of that name."""
    return isinstance(found, dict) and bool(listed_files(found))


def _files(section: Any, name: str) -> Iterator[ListedFile]:
    """Yield the files of one section: a list, or an object with one under ``files``."""
    found = section.get("files") if isinstance(section, dict) else section
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("file"), str) and isinstance(entry.get("sha256"), str):
            types = entry.get("tensor_types")
            counted = types if isinstance(types, dict) else {}
            yield ListedFile(entry["file"].rpartition("/")[2], entry["sha256"], name, counted)

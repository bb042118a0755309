"""
Say what a target is: a hash over everything that makes its answers what they are.

A generation may be reused only for the same target identity and the same request. Caches that are keyed on a model's
name or path hand the old model's answers to the new one after a re-export.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_modelgate.records import Json, Request

_CHUNK = 1 << 20


def digest(value: Any) -> str:
    """Return the sha256 of a value made of primitives, independent of the order of keys."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


class FileHashes:
    """
    Hash files, remembering each hash for as long as the file does not change.

    Remembered by path, size, modification and change time and inode, in a JSON file; ``cache=None`` remembers nothing.
    """

    def __init__(self, cache: Path | None) -> None:
        self._cache = cache
        self._known: dict[str, list[Any]] = {}
        if cache is not None and cache.is_file():
            try:
                known = json.loads(cache.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                known = {}  # a damaged cache only costs hashing again
            self._known = known if isinstance(known, dict) else {}

    def sha256(self, path: Path) -> str:
        """Return the file's sha256 in hexadecimal."""
        key = str(path.resolve())
        status = path.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(key)
        if isinstance(known, list) and known[:4] == stamp:
            return str(known[4])
        hashed = hash_file(path)
        self._known[key] = [*stamp, hashed]
        self._remember()
        return hashed

    def folder(self, path: Path, patterns: Iterable[str]) -> dict[str, str]:
        """Return the sha256 of every file directly in ``path`` that matches one of ``patterns``, by name."""
        names = sorted({found.name for pattern in patterns for found in path.glob(pattern) if found.is_file()})
        return {name: self.sha256(path / name) for name in names}

    def _remember(self) -> None:
        if self._cache is None:
            return
        temporary = self._cache.with_name(f"{self._cache.name}.{os.getpid()}")
        try:
            self._cache.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self._known), encoding="utf-8")
            temporary.replace(self._cache)
        except OSError:
            self._cache = None  # a full or read-only disk only costs hashing again


def hash_file(path: Path) -> str:
    """Return the sha256 of a file's content."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()


def messages_digest(request: Request) -> str:
    """Return the hash of what the model is asked, the rule for a long input included where there is one."""
    if request.messages is None:
        return digest(list(request.prompt_ids or ()))
    turns = [[message.role, message.content] for message in request.messages]
    return digest(turns if request.input_span is None else {"turns": turns, "input_span": asdict(request.input_span)})


def generation_key(identity: str, request: Request, decoding: Mapping[str, Any]) -> str:
    """
    Return what the journal is looked up by; needs no tokenizer.

    ``decoding``: temperature, grammar, penalties, seed and repeat index.
    """
    asked: Json = {
        "identity": identity,
        "messages": messages_digest(request),
        "max_tokens": request.max_tokens,
        "decoding": dict(decoding),
    }
    return digest(asked)

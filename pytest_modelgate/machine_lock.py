"""Let one program at a time do what two would disturb each other in: measure speed, or load a model."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no advisory locks; there two runs can disturb each other
    fcntl = None  # type: ignore[assignment]

Purpose = Literal["measuring", "loading"]
"""What the lock is for; each has its own."""

_WAITING = {
    "measuring": "is measuring speed on this machine",
    "loading": "is loading a model",
}


@contextmanager
def alone_on_this_machine(purpose: Purpose, tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """
    Hold this user's lock for ``purpose`` on this machine, waiting for it if need be; it is freed however a program ends.

    ``tell`` is called with one line before it waits. Where no lock can be made, nothing is waited for.
    """
    file = _open(purpose)
    if file is None:
        yield
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tell is not None:
                holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
                tell(f"waiting: another run{f' (process {holder})' * bool(holder)} {_WAITING[purpose]}")
            fcntl.flock(file, fcntl.LOCK_EX)
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode("ascii"), 0)
        yield
        os.ftruncate(file, 0)
    finally:
        os.close(file)


def lock_path(purpose: Purpose) -> Path | None:
    """Return where the lock lies, in a folder of this user only; None where it cannot be made."""
    folder = Path(tempfile.gettempdir()) / f"modelgate-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    # A folder that somebody else made could lead anywhere.
    return folder / f"{purpose}.lock" if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() else None


def _open(purpose: Purpose) -> int | None:
    """Open the lock's file, not to be inherited by engines."""
    if fcntl is None:
        return None
    path = lock_path(purpose)
    try:
        return None if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None

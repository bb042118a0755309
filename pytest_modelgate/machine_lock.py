"""Let one program at a time measure speed on this machine: two would measure each other."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no advisory locks; there two runs can disturb each other
    fcntl = None  # type: ignore[assignment]

LOCK = "measuring.lock"


@contextmanager
def alone_on_this_machine(tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """
    Hold the lock of this user on this machine, waiting for it if need be; the system frees it however a program ends.

    ``tell`` is called with one line before it waits. Where no lock can be made, nothing is waited for.
    """
    file = _open()
    if file is None:
        yield
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if tell is not None:
                holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
                tell(f"waiting: another run{f' (process {holder})' * bool(holder)} is measuring speed on this machine")
            fcntl.flock(file, fcntl.LOCK_EX)
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode("ascii"), 0)
        yield
        os.ftruncate(file, 0)
    finally:
        os.close(file)


def lock_path() -> Path | None:
    """Return where the lock lies, in a folder of this user only; None where it cannot be made."""
    folder = Path(tempfile.gettempdir()) / f"modelgate-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    # A folder that somebody else made could lead anywhere.
    return folder / LOCK if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() else None


def _open() -> int | None:
    """Open the lock's file, not to be inherited by engines."""
    if fcntl is None:
        return None
    path = lock_path()
    try:
        return None if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None

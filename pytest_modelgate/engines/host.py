"""Know the machine: threads that may be used, memory that is free and that was used, and what a container allows of both."""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_modelgate.errors import EngineStartError

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60  # version 1 writes "no limit" as a number near 2^63


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Hold how many bytes can still be used; ``limit_bytes``: the container's limit, None where the machine is the limit."""

    n_bytes: int
    limit_bytes: int | None = None


def available_threads() -> int:
    """Return how many threads this process may keep busy: its affinity mask, and its container's share of time."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(share) for share in _cpu_shares())]))


def free_memory() -> FreeMemory | None:
    """
    Return how much memory can still be used: what the machine has, or what a container leaves where that is less.

    None where the system does not tell. Memory that only holds copies of files counts as free.
    """
    machine = _machine_free_bytes()
    found = [] if machine is None else [FreeMemory(machine)]
    for limit, used in _memory_limits():
        found.append(FreeMemory(max(0, limit - used), limit))
    return min(found, key=lambda free: free.n_bytes, default=None)


def check_memory(needed_bytes: int, what: str) -> None:
    """
    Refuse to load ``what`` where it needs more memory than there is.

    The kernel would end the process somewhere in the middle, without a word. Raises
    :class:`~pytest_modelgate.errors.EngineStartError`. Where the system does not tell what is free nothing is refused.
    """
    free = free_memory()
    if free is None or needed_bytes <= free.n_bytes:
        return
    limit = "" if free.limit_bytes is None else f" of the container's {_gigabytes(free.limit_bytes)}"
    raise EngineStartError(
        f"{what}: needs about {_gigabytes(needed_bytes)} of memory, free are {_gigabytes(free.n_bytes)}{limit}: "
        f"lower n_ctx or batch_size, judge fewer targets at once (-n), or use a larger machine"
    )


def peak_rss_bytes() -> int:
    """
    Return the largest resident memory that this process has had.

    On Linux ``getrusage`` is no help: its maximum includes what the parent had when it started this process.
    """
    try:
        for line in (_PROC / "self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def busy_seconds() -> float | None:
    """
    Return for how many core-seconds this machine has been busy since it started.

    None where the system does not tell, and where this process may use only some of the cores: what the others do is
    no concern of its speed.
    """
    if (os.cpu_count() or 1) > available_threads():
        return None
    try:
        line = (_PROC / "stat").read_text(encoding="ascii").splitlines()[0]
        user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, line.split()[1:9])
    except (OSError, ValueError, IndexError):
        return None
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def process_seconds(pid: int) -> float | None:
    """Return the processor time of a process with all its threads, in seconds; None where it cannot be read."""
    try:
        fields = (_PROC / f"{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime
    except (OSError, ValueError, IndexError):
        return None


def _machine_free_bytes() -> int | None:
    """Return what the kernel estimates can be used without swapping."""
    try:
        for line in (_PROC / "meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _cpu_shares() -> Iterator[float]:
    """Yield how many cores' time each limit around this process allows."""
    for folder in _folders(""):
        quota, _, period = _text(folder / "cpu.max").partition(" ")  # "max 100000" for no limit
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)
    for folder in _folders("cpu"):
        used, of = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if used is not None and of and used > 0:  # -1 for no limit
            yield used / of


def _memory_limits() -> Iterator[tuple[int, int]]:
    """Yield limit and use of each container around this process, in bytes, without files that can be dropped."""
    for controller, limit_file, used_file, droppable in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        for folder in _folders(controller):
            limit, used = _number(folder / limit_file), _number(folder / used_file)
            if limit is None or used is None or limit >= _NO_LIMIT:
                continue
            lines = (line.partition(" ") for line in _text(folder / "memory.stat").splitlines())
            dropped = next((value for name, _, value in lines if name == droppable and value.isdigit()), "0")
            yield limit, max(0, used - int(dropped))


def _folders(controller: str) -> Iterator[Path]:
    """
    Yield the folders of the control groups that this process is in, the innermost first.

    ``controller``: of version 1, whose hierarchies lie beside each other; empty for the one hierarchy of version 2. In a
    container the path may be that of the host, which is not there: then its root is all that can be seen.
    """
    for line in _text(_PROC / "self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controller not in controllers.split(",") or not path.startswith("/"):
            continue
        top = _CGROUP / controllers if controller else _CGROUP
        top = top if top.is_dir() or not controller else _CGROUP / controller
        parts = [part for part in path.split("/") if part]
        for depth in range(len(parts) if ".." not in parts else 0, -1, -1):
            yield top.joinpath(*parts[:depth])


def _number(path: Path) -> int | None:
    """Return the whole number that a file holds; None where it holds none, or is not there."""
    try:
        return int(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    """Return what a small file holds, nothing where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _gigabytes(n_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e7 else f"{n_bytes / 1e6:.1f} MB"  # noqa: PLR2004

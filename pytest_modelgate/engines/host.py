"""Know the machine: threads that may be used, memory that was used."""

from __future__ import annotations

import math
import os
import resource
import sys
from pathlib import Path


def available_threads() -> int:
    """Return how many threads this process may keep busy: its affinity mask, and its container's share of time."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(count, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such limit, or "max"
        return count


def peak_rss_bytes() -> int:
    """
    Return the largest resident memory that this process has had.

    On Linux ``getrusage`` is no help: its maximum includes what the parent had when it started this process.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

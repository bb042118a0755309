"""Describe the machine as far as speed depends on it: times of two machines are never compared."""

from __future__ import annotations

import os
import platform

from pytest_modelgate.records import Json


def describe_machine() -> Json:
    """Return system, architecture, processor and number of cores that this process may use."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def _cpu_name() -> str:
    """Return the processor's name where the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a file of the system, not of the user
            for line in file:
                if line.startswith(("model name", "Model")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"

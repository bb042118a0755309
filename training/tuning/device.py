"""Know the device: what it computes fast in, and how many processes share the work."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path

_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16", "svebf16"}
"""Names under which Linux lists a processor's 16-bit multiplications (x86: flags, ARM: Features)."""


@functools.cache
def has_bf16() -> bool:
    """
    Say whether bfloat16 is fast here.

    A processor without it computes correct results some 70 times more slowly than in 32 bits (measured with torch 2.13 on
    an AVX2 machine); one whose flags cannot be read is taken for one without.
    """
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        words = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return False
    return bool(words & _FLAGS)


def fast_dtype(wanted: str) -> str:
    """Return ``wanted``, or float32 where that is a 16-bit type that is slow here."""
    import torch

    if wanted == "float16" and not torch.cuda.is_available():
        return "float32"
    if wanted == "bfloat16" and not has_bf16():
        return "float16" if torch.cuda.is_available() else "float32"
    return wanted


def processes() -> int:
    """Return how many processes ``accelerate launch`` started for this training."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_process() -> bool:
    """Say whether this process writes and speaks: the only one, or the first of several."""
    return os.environ.get("RANK", "0") == "0"

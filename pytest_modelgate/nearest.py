"""Suggest the name that was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(got: str, valid: Iterable[str], *, likeness: float = 0.6) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest of ``valid``, or an empty string if none is as near as ``likeness``."""
    near = difflib.get_close_matches(got, list(valid), n=1, cutoff=likeness)
    return f" (did you mean {near[0]!r}?)" if near else ""

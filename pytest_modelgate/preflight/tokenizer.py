"""The checks of this stage are being written."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from pytest_modelgate.preflight.check import Check, Subject

CHECKS: tuple[Check, ...] = ()


def open_stage(subject: Subject) -> AbstractContextManager[Any]:  # noqa: ARG001
    """Open what the stage's checks look at, for as long as they run; closes it at the end."""
    return nullcontext()

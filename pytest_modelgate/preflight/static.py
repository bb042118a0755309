"""Look at files and headers; its checks are being written."""

from __future__ import annotations

from pytest_modelgate.preflight.check import Check

CHECKS: tuple[Check, ...] = ()

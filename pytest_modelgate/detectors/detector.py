"""Name what every criterion is judged by."""

from __future__ import annotations

from collections.abc import Callable

Detector = Callable[[str, str], bool]
"""Return whether a criterion is met, given the text of the model and the input that it was given."""

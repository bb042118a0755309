"""Share the committed tiny model of the support task: 2 million weights, with its adapter and GGUF files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from modelgate_training.errors import StageError
from modelgate_training.export.converter import find_converter

SUPPORT = Path(__file__).parents[2] / "examples" / "support"
BASE, ADAPTER = SUPPORT / "base", SUPPORT / "adapter"
BASE_F16, F16 = SUPPORT / "base-f16.gguf", SUPPORT / "support-f16.gguf"


def need_converter() -> None:
    """Skip where llama.cpp's converter was not fetched."""
    try:
        find_converter()
    except StageError as missing:
        pytest.skip(str(missing))


def rewrite(path: Path, **values: Any) -> None:
    """Set values of a JSON file; None takes one out."""
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")

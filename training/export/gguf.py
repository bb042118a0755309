"""Write GGUF files: the 16-bit ones by llama.cpp's converter, the quantised ones by llama.cpp itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .converter import find_converter
from ..errors import StageError


def convert(source: Path, target: Path, *, own_tokenizer: bool, vocab_only: bool = False) -> None:
    """Convert the Hugging Face folder ``source`` into the f16 GGUF ``target``."""
    _refuse_code(source)
    folder = find_converter()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".partial-{target.name}")
    command = [
        *(sys.executable, str(Path(__file__).with_name("convert_entry.py")), str(folder)),
        *(["--own-tokenizer"] if own_tokenizer else []),
        *(str(source), "--outfile", str(partial), "--outtype", "f16"),
        *(["--vocab-only"] if vocab_only else []),
    ]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=offline)
    if done.returncode or not partial.is_file():
        partial.unlink(missing_ok=True)
        raise StageError(f"{source}: the converter failed: {_last_line(done.stderr)}")
    partial.replace(target)  # a file under its final name is a whole file


def quantize(source: Path, target: Path, ftype: str) -> None:
    """Quantise a 16-bit GGUF with the llama.cpp that the gate runs."""
    from pytest_modelgate.engines import llama
    from pytest_modelgate.errors import EngineError

    try:
        llama.quantize(source, target, ftype)
    except EngineError as error:
        raise StageError(str(error)) from error


def describe(path: Path) -> dict[str, Any]:
    """Return a GGUF file's size and its real bits per weight; names promise less than they say."""
    from gguf import GGUFReader

    tensors = GGUFReader(str(path)).tensors
    weights = sum(int(tensor.n_elements) for tensor in tensors)
    bits = 8 * sum(int(tensor.n_bytes) for tensor in tensors)
    types: dict[str, int] = {}
    for tensor in tensors:
        types[tensor.tensor_type.name] = types.get(tensor.tensor_type.name, 0) + 1
    return {"bytes": path.stat().st_size, "bits_per_weight": round(bits / max(1, weights), 2), "tensor_types": types}


def _refuse_code(source: Path) -> None:
    """Raise if the folder asks for Python code of its own to be run: the converter would run it."""
    for name in ("config.json", "tokenizer_config.json"):
        path = source / name
        if path.is_file() and "auto_map" in json.loads(path.read_text(encoding="utf-8")):
            raise StageError(f"{path}: asks for code of its own to be run (auto_map), which is never done here")


def _last_line(text: str) -> str:
    """Return what a failed program said last."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "without a word"

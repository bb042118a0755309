"""Ask a model for the answers of held-back rows, greedily, and count what is right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .chat import prompt_text
from .loading import load_model, load_tokenizer
from ..data.rows import Row


def score(
    folder: Path | str, system: str | None, rows: Sequence[Row], limit: int = 64, batch: int = 64
) -> dict[str, Any]:
    """Return the shares of right answers, of right fields, of valid JSON, and of answers that did not end."""
    import torch

    tokenizer = load_tokenizer(folder, padding_side="left")
    model = load_model(folder, dtype=torch.float32).eval()
    outputs: list[str] = []
    unended = 0
    ordered = sorted(rows, key=lambda row: len(row.input))
    for start in tqdm(range(0, len(ordered), batch), desc="score", unit="batch", leave=False):
        prompts = [prompt_text(tokenizer, system, row.input) for row in ordered[start : start + batch]]
        inputs = tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt")
        with torch.inference_mode():
            found = model.generate(**inputs, max_new_tokens=limit, do_sample=False)
        for tokens in found[:, inputs["input_ids"].shape[1] :]:
            unended += not any(int(token) in tokenizer.all_special_ids for token in tokens)
            outputs.append(tokenizer.decode(tokens, skip_special_tokens=True))
    return _count(ordered, outputs) | {"unended": unended, "rows": len(rows)}


def _count(rows: Sequence[Row], outputs: Sequence[str]) -> dict[str, Any]:
    """Compare outputs with what was expected."""
    values = [_parse(output) for output in outputs]
    keys = sorted({key for row in rows if isinstance(row.expected, dict) for key in row.expected})
    pairs = list(zip(rows, values, strict=True))
    shares = {
        key: sum(isinstance(value, dict) and value.get(key) == row.expected.get(key) for row, value in pairs)
        / len(rows)
        for key in keys
    }
    return {
        "right": sum(value == row.expected for row, value in pairs) / len(rows),
        "valid_json": sum(value is not None for value in values) / len(rows),
        "fields": shares,
    }


def _parse(output: str) -> Any:
    """Return the output as JSON, or None."""
    try:
        return json.loads(output)
    except (ValueError, RecursionError):
        return None

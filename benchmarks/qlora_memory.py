"""
Measure what QLoRA of a Qwen2.5-0.5B-shaped model takes: 512 tokens, 4 rows at a time, as published for 8 GB.

    python -m benchmarks.qlora_memory [--steps 2]

The weights are random: memory and speed do not depend on them. The model is generated (1 GB, in a temporary folder) and
never kept. Prints a table, and writes docs/benchmarks/qlora_memory.json with the device's name.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import tempfile
import time
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "docs" / "benchmarks" / "qlora_memory.json"


def main() -> None:
    """Measure, print, write."""
    from modelgate_training.stages import settle

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2, metavar="N", help="Measured steps, after one that is not")
    steps = parser.parse_args().steps
    settle()
    with tempfile.TemporaryDirectory() as folder:
        _generate(Path(folder))
        found = _measure(Path(folder), steps)
    for name, value in found.items():
        print(f"{name:<24}{value}")
    TARGET.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _generate(folder: Path) -> None:
    """Write a random model of Qwen2.5-0.5B's shape, in 16 bits."""
    import torch
    from modelgate_training.estimate import KNOWN
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = KNOWN["Qwen/Qwen2.5-0.5B-Instruct"]
    config = Qwen2Config(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.intermediate,
        tie_word_embeddings=shape.tied,
        dtype=torch.bfloat16,
    )
    torch.set_default_dtype(torch.bfloat16)
    Qwen2ForCausalLM(config).save_pretrained(str(folder))
    torch.set_default_dtype(torch.float32)


def _measure(base: Path, steps: int) -> dict[str, Any]:
    """Take optimiser steps of 4 rows of 512 tokens with the published adapter."""
    import torch
    from modelgate_training.config_file import load_config
    from modelgate_training.estimate import KNOWN, memory
    from modelgate_training.tuning.model import load_for_tuning

    config = load_config("postmortem")
    how = config.training
    cuda = torch.cuda.is_available()
    model = load_for_tuning(config, base, 0 if cuda else "cpu")
    model.train()
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=how.lr)
    ids = torch.randint(0, 151_000, (how.batch, how.max_length), device=device)
    seconds = []
    for _ in range(1 + steps):
        started = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16, enabled=cuda):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    tokens = how.batch * how.max_length
    return {
        "device": torch.cuda.get_device_name(0) if cuda else platform.processor() or platform.machine(),
        "rows": how.batch,
        "length": how.max_length,
        "trainable": model.get_nb_trainable_parameters()[0],
        "peak_gb": round(_peak(cuda) / 1e9, 2),
        "estimated_gb": round(memory(config, KNOWN["Qwen/Qwen2.5-0.5B-Instruct"], cuda=cuda) / 1e9, 2),
        "estimated_gpu_gb": round(memory(config, KNOWN["Qwen/Qwen2.5-0.5B-Instruct"], cuda=True) / 1e9, 2),
        "tokens_per_second": round(tokens * steps / sum(seconds[1:]), 1),
    }


def _peak(cuda: bool) -> int:
    """Return the most memory that was held, in bytes: the GPU's, or this process's."""
    import torch

    if cuda:
        return int(torch.cuda.max_memory_allocated())
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main()

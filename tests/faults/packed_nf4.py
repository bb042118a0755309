"""
Merge an adapter into 4-bit weights that bitsandbytes has packed for its CPU kernel.

On CPUs with AVX512-BF16, bitsandbytes 0.50.2 packs NF4 weights in place at the first pass without gradients, and its own
``dequantize_4bit``, which a merge calls, reads them afterwards as if they lay in the usual order. Here its own functions
pack and read, on any CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.faults.gguf_edit import Weights, low_rank, scale_of


def merged_into_packed(base: Mapping[str, Weights], adapter: Path) -> dict[str, Weights]:
    """Return what peft's merge makes of NF4 weights after an evaluation; embeddings and norms are never 4-bit."""
    scale = scale_of(adapter)
    deltas = {name: scale * (b @ a) for name, (a, b) in low_rank(adapter).items()}
    return {name: _merged(found, deltas[name]) if name in deltas else found for name, found in base.items()}


def _merged(weights: Weights, delta: Weights) -> Weights:
    """Return 4-bit weights that were read in the wrong order, with the adapter's added, in 4 bits again."""
    import torch
    from bitsandbytes import functional

    nf4 = {"blocksize": 64, "compress_statistics": True, "quant_type": "nf4"}
    quantised = functional.quantize_4bit(torch.from_numpy(weights.copy()), **nf4)
    packed, state = functional._convert_weight_packed_for_cpu(*quantised)
    misread = functional.dequantize_4bit(packed.reshape(-1, 1), state).float().reshape(weights.shape)
    again = functional.dequantize_4bit(*functional.quantize_4bit(misread + torch.from_numpy(delta), **nf4))
    return np.asarray(again.float().numpy().reshape(weights.shape), np.float32)

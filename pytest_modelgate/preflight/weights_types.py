"""
Know how far a weight type moves weights that were never quantised before.

Measured with ``ggml_quantize_chunk`` of llama-cpp-python 0.3.36 as NMSE (squared error over squared weights) on matrices
drawn from a normal, a Laplace and two Student distributions (5 and 3 degrees of freedom), on a normal one of which 1 % of
the columns are 20 times as wide, and on six matrices of the tiny support candidate; each with and without an importance
matrix. ``_USUAL`` is the normal one, the real matrices lie within 12 % of it; ``_WORST`` is the largest of all.
"""

from __future__ import annotations

__all__ = ["COARSE_LEVELS", "FULL_PRECISION", "level_of", "limit_of", "usual_error"]

_USUAL = {
    "F64": 0.0,
    "F32": 0.0,
    "F16": 4.3e-8,
    "BF16": 2.8e-6,
    "Q8_0": 2.9e-5,
    "Q6_K": 3.2e-4,
    "Q5_K": 1.3e-3,
    "Q5_1": 1.4e-3,
    "Q5_0": 1.8e-3,
    "Q4_K": 5.2e-3,
    "IQ4_NL": 5.9e-3,
    "IQ4_XS": 6.0e-3,
    "Q4_1": 6.1e-3,
    "Q4_0": 7.4e-3,
    "MXFP4": 1.3e-2,
    "Q3_K": 2.3e-2,
    "IQ3_S": 2.8e-2,
    "IQ3_XXS": 4.6e-2,
    "IQ2_S": 6.9e-2,
    "Q2_K": 8.8e-2,
}
_WORST = {
    "Q8_0": 1.3e-4,
    "Q6_K": 1.1e-3,
    "Q5_K": 2.7e-3,
    "Q5_1": 2.8e-3,
    "Q5_0": 7.5e-3,
    "Q4_K": 1.04e-2,
    "IQ4_NL": 1.5e-2,
    "IQ4_XS": 1.5e-2,
    "Q4_1": 1.2e-2,
    "Q4_0": 2.1e-2,
    "MXFP4": 2.9e-2,
    "Q3_K": 3.5e-2,
    "IQ3_S": 8e-2,
    "IQ3_XXS": 1.14e-1,
    "IQ2_S": 2.9e-1,
    "Q2_K": 1.2e-1,
}
_FLOOR = {
    "F16": 3e-8,
    "Q8_0": 2e-6,
    "Q6_K": 3e-5,
    "Q5_K": 2e-5,
    "Q4_K": 1e-5,
    "Q3_K": 2e-6,
    "Q2_K": 1e-6,
    "Q5_0": 4e-7,
    "Q5_1": 4e-7,
    "Q4_0": 3e-7,
    "Q4_1": 3e-7,
    "IQ4_NL": 2e-6,
    "IQ4_XS": 3e-5,
}
"""
How far a type moves each weight at least (root mean square), however small the weights are.

The scale of a block is a float16, whose smallest steps are 6e-8 apart; that error is multiplied by the block's own numbers,
up to 127 for Q8_0, up to 32 · 128 for Q6_K. Seen on weights of 1e-4: Q6_K moved them by 1.2e-5.
"""

_MARGIN = 2.0
"""How much worse than the worst that was measured a healthy tensor may be."""

FULL_PRECISION = 1e-5
"""The limit for types that were not quantised: a merge in bfloat16 moves weights by 2.8e-6, once or twice."""

COARSE_LEVELS = {"F32": 22.0, "F16": 22.0, "BF16": 22.0, "Q8_0": 22.0, "Q6_K": 21.0}
"""
How many different values 32 neighbouring weights have at least, on average.

Measured as above: 27 to 32 for these types (25.8 for Q6_K); 16 to 20 for what was 5 bits before, 10 to 13.5 for 4 bits.
What was Q4_K and is Q6_K now has 18.7.
"""


def usual_error(kind: str) -> float | None:
    """Return the usual NMSE of a type, None where it was not measured."""
    return _USUAL.get(kind)


def limit_of(kind: str, mean_square: float = 1.0) -> float | None:
    """
    Return the largest NMSE that a type explains, None where it was not measured.

    ``mean_square``: of the weights as they should be; very small ones lose more.
    """
    if kind not in _USUAL:
        return None
    limit = _MARGIN * _WORST[kind] if kind in _WORST else FULL_PRECISION
    return limit + _FLOOR.get(kind, 0.0) ** 2 / max(mean_square, 1e-30)


def level_of(error: float) -> str:
    """Return the type whose usual NMSE is nearest to ``error``, as a ratio."""
    known = {kind: usual for kind, usual in _USUAL.items() if usual}
    return min(known, key=lambda kind: max(error / known[kind], known[kind] / max(error, 1e-12)))

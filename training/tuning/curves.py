"""Draw the loss curve."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def draw_losses(measured: Sequence[dict[str, Any]], target: Path) -> None:
    """Write the training loss and the held-back rows' loss, by step, as an SVG."""
    os.environ.setdefault("MPLBACKEND", "svg")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    lines = {"loss": "training rows", "eval_loss": "held-back rows"}
    with mpl.rc_context({"svg.hashsalt": "modelgate", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for name, label in lines.items():
            points = [(line["step"], line[name]) for line in measured if name in line]
            if points:
                axes.plot(
                    *zip(*points, strict=True), label=label, marker="o" if name == "eval_loss" else None, markersize=3
                )
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats per token)")
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        partial = target.with_name(f".partial-{target.name}")
        figure.savefig(partial, format="svg", metadata={"Date": None})
    partial.replace(target)

"""Follow a training: one bar with the time left, every measurement kept, a loss that is no number stopped at once."""

from __future__ import annotations

import math
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from ..errors import StageError
from .dataset import RowDataset
from .metrics import MetricsLog


class Progress(TrainerCallback):  # type: ignore[misc] # transformers is not typed
    """Move the bar, and write measurements to the log; ``first`` is the step that the training goes on from."""

    def __init__(self, log: MetricsLog, total: int, first: int) -> None:
        self._log = log
        self._bar = tqdm(total=total, initial=first, desc="train", unit="step")
        self._shown: dict[str, str] = {}

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Count a step."""
        self._bar.update()

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Keep a measurement."""
        values = {key: value for key, value in (logs or {}).items() if isinstance(value, int | float)}
        self._log.write(stage="train", step=state.global_step, **values)
        self._shown |= {key: f"{values[key]:.3f}" for key in ("loss", "eval_loss") if key in values}
        self._bar.set_postfix(self._shown)

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


class LossWatch(TrainerCallback):  # type: ignore[misc] # transformers is not typed
    """Stop at a loss that is no number, and say when the held-back rows fall behind by more than ``most_gap``."""

    def __init__(self, most_gap: float | None) -> None:
        self._most_gap = most_gap
        self._last: float | None = None

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Look at a measurement."""
        for name in ("loss", "grad_norm", "eval_loss"):
            value = (logs or {}).get(name)
            if value is not None and not math.isfinite(value):
                raise StageError(
                    f"the {name} at step {state.global_step} is {value}: try a lower training.lr, or "
                    f"training.precision: fp32"
                )
        if logs and "loss" in logs:
            self._last = logs["loss"]
        if logs and "eval_loss" in logs and self._last is not None:
            gap = logs["eval_loss"] - self._last
            if self._most_gap is not None and gap > self._most_gap:
                tqdm.write(
                    f"train: at step {state.global_step} the held-back rows' loss is {gap:.3f} above the training loss "
                    f"(training.most_gap {self._most_gap:g}): the rows are being learned by heart"
                )


class NextPass(TrainerCallback):  # type: ignore[misc] # transformers is not typed
    """Tell the rows which pass begins, so that each pass alters them anew, and in the same way after an interruption."""

    def __init__(self, rows: RowDataset) -> None:
        self._rows = rows

    def on_epoch_begin(self, _args: Any, state: Any, *_: Any, **__: Any) -> None:
        """Begin a pass."""
        self._rows.epoch = int(state.epoch or 0)

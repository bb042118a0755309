"""The adapter is merged into whole weights only."""

from __future__ import annotations

import pytest
from modelgate_training.errors import StageError
from modelgate_training.merge import refuse_quantised


def test_a_merge_into_quantised_weights_is_refused() -> None:
    """The 4-bit model that was trained is never merged into."""

    class Linear4bit:
        """Stand in for bitsandbytes' module."""

    class Model:
        """Hold one module."""

        def named_modules(self) -> list[tuple[str, object]]:
            """Return the module with its name."""
            return [("layers.0.q_proj", Linear4bit())]

    with pytest.raises(StageError, match=r"refused to merge: layers\.0\.q_proj is quantised"):
        refuse_quantised(Model())

"""Run the training program from a checkout: ``python -m training run --config FILE``."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

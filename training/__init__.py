"""Train, export and quantise a candidate: ``modelgate-train run --config FILE``."""

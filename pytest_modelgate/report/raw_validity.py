"""Say what a grammar hides: how often a model's own text passes the schema that its output was made to obey."""

from __future__ import annotations

from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.report.words import percent

__all__ = ["raw_validity_text"]


def raw_validity_text(outcome: RunOutcome, target: str) -> str:
    """Return the shares of outputs that pass their schema, with and without the grammar; nothing where there was none."""
    scores = [record.scores for record in outcome.of(target) if "raw_schema" in record.scores]
    if not scores:
        return ""
    held, raw = (sum(one.get(name, 0.0) for one in scores) / len(scores) for name in ("schema", "raw_schema"))
    return f"{percent(held)} with grammar, {percent(raw)} without (n={len(scores)})"

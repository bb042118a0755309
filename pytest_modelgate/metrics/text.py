"""Measure free text: rubrics, rules, closeness to a reference."""

from __future__ import annotations

from pytest_modelgate.metrics.common import Records, mean_score
from pytest_modelgate.metrics.measurement import Pool, ratio
from pytest_modelgate.metrics.registry import figure_of, pool_of, share_of
from pytest_modelgate.records import Record

RUBRIC = ("rubric",)
TEXT = ("text",)


@share_of("rubric_pass_rate", kinds=RUBRIC)
def rubric_pass_rate(record: Record) -> bool | None:
    """Tell whether the output's rubric score reaches the rubric's threshold."""
    return bool(record.scores["rubric_pass"]) if "rubric_pass" in record.scores else None


@figure_of("rubric_score", kinds=RUBRIC)
def rubric_score(records: Records) -> Pool | None:
    """Return the mean weighted share of criteria that the outputs meet."""
    return mean_score(records, "rubric")


@share_of("criterion", suffix="field", field_required=True, kinds=RUBRIC)
def criterion(record: Record, name: str) -> bool | None:
    """Tell whether the output meets one criterion of the rubric."""
    score = record.scores.get(f"field.{name}")
    return None if score is None else bool(score)


@figure_of("term_preservation", needs="expected", kinds=("rubric", "sections", "text"))
def term_preservation(records: Records) -> Pool | None:
    """Return the share of the input's technical terms in the reference that stand in the output, letter for letter."""
    rows = [record.counts.get("terms") for record in records]
    return pool_of(records, rows, lambda sums: ratio(sums[..., 0], sums[..., 1]))


@share_of("rule_pass_rate", needs="expected", kinds=TEXT)
def rule_pass_rate(record: Record) -> bool | None:
    """Tell whether the output keeps all rules of its case."""
    return bool(record.scores["rules"]) if "rules" in record.scores else None


@share_of("normalized_match", needs="expected", kinds=TEXT)
def normalized_match(record: Record) -> bool | None:
    """Tell whether the output equals the expected text but for case, punctuation and white space."""
    return bool(record.scores["normalized"]) if "normalized" in record.scores else None


@figure_of("chrf", needs="expected", kinds=TEXT)
def chrf(records: Records) -> Pool | None:
    """Return the mean chrF of the outputs against the expected texts, from 0 to 1 (Popović 2015; sacrebleu)."""
    return mean_score(records, "chrf")

"""Judge free text by the criteria of a rubric."""

from __future__ import annotations

from pathlib import Path

from pytest_modelgate.cases import Case
from pytest_modelgate.detectors.rubric import load_rubric
from pytest_modelgate.detectors.terms import count_terms
from pytest_modelgate.kinds.kind import Judgement
from pytest_modelgate.tables import RubricTable


class RubricText:
    """Detect each criterion; quality is the weighted share of those that are met."""

    primary: str | None = None

    def __init__(self, table: RubricTable, root: Path, where: str) -> None:
        self._rubric = load_rubric(root / table.rubric, f"{where} rubric")
        self.fields = tuple(criterion.name for criterion in self._rubric.criteria)

    def reject(self, case: Case) -> str | None:
        """Want a reference text where anything is expected."""
        if case.has_expected and not isinstance(case.expected, str):
            return f"expected must be a text, the reference answer, got {type(case.expected).__name__}"
        return None

    def answer(self, case: Case) -> str | None:
        """Return the reference text."""
        return str(case.expected) if case.has_expected else None

    def must_decline(self, case: Case) -> bool | None:  # noqa: ARG002 - the protocol's argument
        """Return None: a rubric scores whatever is written."""
        return None

    def judge(self, case: Case, text: str) -> Judgement:
        """Detect the criteria."""
        found = Judgement()
        score = 0.0
        for criterion in self._rubric.criteria:
            met = criterion.detect(text, case.input)
            found.scores[f"field.{criterion.name}"] = float(met)
            score += criterion.weight * met
            if not met:
                found.mistake("rubric", f"{criterion.name}: not found")
        score = round(score, 9)  # six times a sixth is all
        found.scores["rubric"] = score
        found.scores["rubric_pass"] = found.scores["exact"] = float(score >= round(self._rubric.threshold, 9))
        found.scores["quality"] = score
        if case.has_expected:
            found.counts["terms"] = tuple(map(float, count_terms(text, case.input, str(case.expected))))
        return found

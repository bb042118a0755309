"""Judge an extracted record: a JSON object, compared field by field."""

from __future__ import annotations

import json

from pytest_modelgate.cases import Case
from pytest_modelgate.contracts.fields import FieldComparison, compare_fields
from pytest_modelgate.contracts.normalizers import NORMALIZERS
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.kinds.kind import Judgement, parse_json
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.tables import ExtractionTable


class Extraction:
    """Compare values after normalisation; quality is the record's own F1 over field values."""

    def __init__(self, table: ExtractionTable, where: str) -> None:
        self.fields = table.fields
        self.primary = table.primary
        self._normalize = dict(table.normalize)
        self._critical = table.critical_fields
        for field, name in table.normalize.items():
            if name not in NORMALIZERS:
                near = did_you_mean(name, NORMALIZERS)
                raise GatesFileError(
                    f"{where} normalize: {field} = {name!r} is unknown{near}; valid are {', '.join(NORMALIZERS)}"
                )
        for kind, named in (("critical_fields", table.critical_fields), ("normalize", tuple(table.normalize))):
            for name in named:
                if table.fields and not any(_within(name, field) or _within(field, name) for field in table.fields):
                    near = did_you_mean(name, table.fields)
                    raise GatesFileError(
                        f"{where} {kind}: {name!r} is no field{near}; fields are {', '.join(table.fields)}"
                    )

    def reject(self, case: Case) -> str | None:
        """Want an object, or null where there is nothing to extract."""
        if case.has_expected and not isinstance(case.expected, dict):
            return "expected must be an object with the record's fields"
        return None

    def answer(self, case: Case) -> str | None:
        """Return the expected record as JSON text."""
        return json.dumps(case.expected, ensure_ascii=False) if case.has_expected else None

    def must_decline(self, case: Case) -> bool | None:  # noqa: ARG002 - the protocol's argument
        """Return None: an extractor declines nothing."""
        return None

    def judge(self, case: Case, text: str) -> Judgement:
        """Compare the record's fields."""
        found = Judgement()
        parse_json(text, found)
        found.scores["record"] = float(isinstance(found.value, dict))
        if not case.has_expected:
            return found
        compared = compare_fields(found.value, case.expected, self._normalize)
        found.mistakes.extend(compared.mistakes)
        found.scores["exact"] = float(compared.exact and isinstance(found.value, dict))
        found.counts["fields"] = _sum(compared, "")
        for name in self.fields:
            found.counts[f"field.{name}"] = counts = _sum(compared, name)
            found.scores[f"field.{name}"] = float(isinstance(found.value, dict) and not counts[1] and not counts[2])
        if self._critical:
            all_counts = [_sum(compared, name) for name in self._critical]
            right = sum(counts[0] for counts in all_counts)
            found.counts["critical_fields"] = (right, right + sum(max(counts[1:]) for counts in all_counts))
        tp, fp, fn = found.counts["fields"]
        found.scores["quality"] = 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else found.scores["record"]
        return found


def _sum(compared: FieldComparison, field: str) -> tuple[float, ...]:
    """Return true positives, false positives and false negatives of all paths within ``field``."""
    within = [counts for path, counts in compared.counts.items() if _within(path, field)]
    return tuple(float(sum(counts[place] for counts in within)) for place in range(3))


def _within(path: str, field: str) -> bool:
    """Say whether a path is a field, or lies inside it; everything lies in no field."""
    return not field or path == field or path.startswith(f"{field}.")

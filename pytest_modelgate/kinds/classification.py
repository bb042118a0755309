"""Judge labels: one JSON object with a value for each field."""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_modelgate.cases import Case
from pytest_modelgate.kinds.kind import NO_LABEL, Judgement, parse_json, same_json
from pytest_modelgate.tables import ClassificationTable


class Classification:
    """Compare each label; quality is the share of right fields."""

    def __init__(self, table: ClassificationTable) -> None:
        self.fields = table.fields
        self.primary: str | None = table.primary or table.fields[0]

    def reject(self, case: Case) -> str | None:
        """Want an object with every field."""
        if case.has_expected and (
            not isinstance(case.expected, dict) or any(name not in case.expected for name in self.fields)
        ):
            return f"expected must be an object with the fields {', '.join(self.fields)}"
        return None

    def answer(self, case: Case) -> str | None:
        """Return the expected object as JSON text."""
        return json.dumps(case.expected, ensure_ascii=False) if case.has_expected else None

    def must_decline(self, case: Case) -> bool | None:  # noqa: ARG002 - the protocol's argument
        """Return None: a classifier labels everything."""
        return None

    def judge(self, case: Case, text: str) -> Judgement:
        """Compare the labels."""
        found = Judgement()
        is_json = parse_json(text, found)
        if not case.has_expected:
            return found
        labels = found.value if is_json and isinstance(found.value, dict) else {}
        found.scores["exact"] = float(is_json and same_json(found.value, case.expected))
        for name in self.fields:
            expected, got = case.expected[name], labels.get(name)
            right = name in labels and same_json(got, expected)
            found.scores[f"field.{name}"] = float(right)
            found.labels[name] = (label_text(expected), label_text(got) if name in labels else NO_LABEL)
            if name in labels and (span := _span_of_value(text, name)):
                found.spans[name] = span
            if name not in labels:
                found.mistake("missing_category", f"{name}: no label")
            elif not right:
                found.mistake("wrong_label", f"{name}: {label_text(got)} for {label_text(expected)}")
        found.scores["quality"] = sum(found.scores[f"field.{name}"] for name in self.fields) / len(self.fields)
        return found


def label_text(value: Any) -> str:
    """Return a label as JSON text, so that labels of any type can be counted; ``true`` and ``"true"`` differ."""
    whole = isinstance(value, float) and value.is_integer()  # 1.0 is 1 in JSON
    return json.dumps(int(value) if whole else value, sort_keys=True)


def _span_of_value(text: str, name: str) -> tuple[int, int] | None:
    """Return where the value of a top-level key stands: a number, a word, or what is between a string's quotes."""
    # Keys of nested objects are found as well where they come first; a classifier's object is flat.
    match = re.search(re.escape(json.dumps(name)) + r'\s*:\s*("(?:[^"\\]|\\.)*+"|[^\s,{}\[\]"]++)', text)
    if match is None:
        return None
    start, end = match.span(1)
    # Quotes belong to the form; a tokenizer often joins the closing one with what follows.
    return (start + 1, end - 1) if text[start] == '"' and end - start > len('""') else (start, end)

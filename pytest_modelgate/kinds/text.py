"""Judge free text: against a reference, by rules, and by whether it declines."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from typing import Any

from pytest_modelgate.cases import Case
from pytest_modelgate.contracts.closeness import same_words, word_f1
from pytest_modelgate.contracts.refusal import is_refusal
from pytest_modelgate.detectors.terms import count_terms
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.kinds.kind import Judgement
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.tables import TextTable

_KEYS = ("text", "contains", "lacks", "refusal", "citations")


class Text:
    """
    Compare with the expected text, and check the rules of the task and the case.

    ``expected`` is the reference text, or ``{"text", "contains", "lacks", "refusal", "citations"}``, each where it is
    wanted. Quality is the share of rules that hold; without rules, word F1 against the reference.
    """

    fields: tuple[str, ...] = ()
    primary: str | None = None

    def __init__(self, table: TextTable, where: str) -> None:
        self._contains, self._lacks = table.contains, table.lacks
        try:
            self._citation = None if table.citations is None else re.compile(table.citations)
        except re.error as error:
            raise GatesFileError(f"{where} citations: {table.citations!r} is no regular expression: {error}") from None

    def reject(self, case: Case) -> str | None:
        """Want a text, or an object of rules."""
        if not case.has_expected or isinstance(case.expected, str):
            return None
        if not isinstance(case.expected, dict) or not case.expected:
            return f"expected must be a text or an object with {', '.join(_KEYS)}"
        for key, value in case.expected.items():
            if key not in _KEYS:
                return f"expected: key {key!r} is unknown{did_you_mean(key, _KEYS)}; valid are {', '.join(_KEYS)}"
            if key == "text" and not isinstance(value, str):
                return "expected: text must be a text"
            if key == "refusal" and not isinstance(value, bool):
                return "expected: refusal must be true or false"
            if key in {"contains", "lacks", "citations"} and not _are_texts(value):
                return f"expected: {key} must be a list of texts"
        if "citations" in case.expected and self._citation is None:
            return "expected has citations, but the task has no 'citations' pattern"
        answer = case.expected.get("text")
        if answer is not None and (broken := self._broken_rules(case, answer)):
            return f"expected: its own text breaks its rules: {broken[0]}"
        return None

    def answer(self, case: Case) -> str | None:
        """Return the reference text."""
        return _rules(case).get("text")

    def must_decline(self, case: Case) -> bool | None:
        """Say what the case's rule on refusal says."""
        refusal = _rules(case).get("refusal")
        return refusal if isinstance(refusal, bool) else None

    def judge(self, case: Case, text: str) -> Judgement:
        """Compare and check."""
        found = Judgement()
        rules = _rules(case)
        reference = rules.get("text")
        found.scores["declined"] = float(is_refusal(text))
        if not text.strip():
            found.violate("text", "the output is empty")
        if reference is not None:
            found.scores["exact"] = float(text.strip() == reference.strip())
            found.scores["normalized"] = float(same_words(text, reference))
            found.counts["terms"] = tuple(map(float, count_terms(text, case.input, reference)))
            if importlib.util.find_spec("sacrebleu") is not None:
                found.scores["chrf"] = _chrf().sentence_score(text, [reference]).score / 100
        number = self._number_of_rules(rules)
        if number:
            broken = self._broken_rules(case, text)
            for message in broken:
                found.mistake(_cause(message), message)
            found.scores["rules"] = float(not broken)
            # Rules that only forbid are kept by saying nothing: the reference must then be met as well.
            with_text = reference is not None and not self._demands(rules)
            right = not broken and (not with_text or bool(found.scores["normalized"]))
            found.scores["right"] = float(right)
            found.scores["quality"] = (1 - len(broken) / number) * (word_f1(text, reference or "") if with_text else 1)
            if with_text and not broken and not right:
                found.mistake("wrong_text", "differs from the expected text")
        elif reference is not None:
            found.scores["right"] = found.scores["normalized"]
            found.scores["quality"] = word_f1(text, reference)
            if not found.scores["right"]:
                found.mistake("wrong_text", "differs from the expected text")
        return found

    def _demands(self, rules: dict[str, Any]) -> bool:
        """Say whether some rule asks for something, instead of only forbidding."""
        return bool(self._contains or rules.get("contains") or rules.get("citations") or rules.get("refusal"))

    def _number_of_rules(self, rules: dict[str, Any]) -> int:
        listed = sum(len(rules.get(key, ())) for key in ("contains", "lacks"))
        return listed + len(self._contains) + len(self._lacks) + ("refusal" in rules) + ("citations" in rules)

    def _broken_rules(self, case: Case, text: str) -> list[str]:
        """Return a message for each rule that ``text`` breaks."""
        rules, plain = _rules(case), text.casefold()
        broken = [
            f"must contain {wanted!r}"
            for wanted in (*self._contains, *rules.get("contains", ()))
            if wanted.casefold() not in plain
        ]
        broken += [
            f"must not contain {unwanted!r}"
            for unwanted in (*self._lacks, *rules.get("lacks", ()))
            if unwanted.casefold() in plain
        ]
        if "refusal" in rules and rules["refusal"] != is_refusal(text):
            broken.append("must decline" if rules["refusal"] else "must not decline")
        if "citations" in rules and self._citation is not None:
            cited = {match[0] for match in self._citation.finditer(text)}
            wanted_citations = set(rules["citations"])
            if cited != wanted_citations:
                broken.append(
                    f"must cite {', '.join(sorted(wanted_citations))}, cites {', '.join(sorted(cited)) or 'nothing'}"
                )
        return broken


def _rules(case: Case) -> dict[str, Any]:
    """Return what the case expects as an object of rules."""
    if not case.has_expected:
        return {}
    return {"text": case.expected} if isinstance(case.expected, str) else dict(case.expected)


def _cause(message: str) -> str:
    return {"must decline": "missed_refusal", "must not decline": "wrong_refusal"}.get(message, "broken_rule")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) and one for one in value)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()

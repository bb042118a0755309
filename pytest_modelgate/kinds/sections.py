"""Judge a text of titled sections: all there, in order, each as its rules say, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from pytest_modelgate.cases import Case
from pytest_modelgate.contracts.closeness import word_f1
from pytest_modelgate.contracts.sections import Section, heading, split_sections
from pytest_modelgate.detectors.generic import action, mentions_input
from pytest_modelgate.detectors.terms import count_terms
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.kinds.kind import NO_LABEL, Judgement
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.tables import SectionsTable, SectionTable


class Sections:
    """
    Compare sections with those declared, and those that hold a label with the reference.

    A field is the title of a section with ``one_of``, in lower case with underscores: ``risk_level``. Quality is 0 for
    a broken contract; else the mean over the sections, 1 for a right label and word F1 against the reference for text.
    """

    def __init__(self, table: SectionsTable, where: str) -> None:
        self._sections = {section.title: section for section in table.sections}
        if len({title.casefold() for title in self._sections}) < len(table.sections):
            raise GatesFileError(f"{where} sections: two sections have one title")
        self._titles = list(self._sections)
        self._heading = heading(self._titles)
        self._field_of = {section.title: _field_name(section.title) for section in table.sections if section.one_of}
        self.fields = tuple(self._field_of.values())
        if table.primary is not None and table.primary not in self.fields:
            near = did_you_mean(table.primary, self.fields)
            raise GatesFileError(
                f"{where} primary: {table.primary!r} is no section with one_of{near}; "
                f"valid are {', '.join(self.fields) or 'none'}"
            )
        self.primary = table.primary or (self.fields[0] if self.fields else None)

    def reject(self, case: Case) -> str | None:
        """Want a reference text that keeps the contract itself."""
        if not case.has_expected:
            return None
        if not isinstance(case.expected, str):
            return f"expected must be a text, the reference answer, got {type(case.expected).__name__}"
        broken = next(self._broken(case.expected, case.input), None)
        return None if broken is None else f"expected breaks the task's own sections: {broken}"

    def answer(self, case: Case) -> str | None:
        """Return the reference text."""
        return str(case.expected) if case.has_expected else None

    def must_decline(self, case: Case) -> bool | None:  # noqa: ARG002 - the protocol's argument
        """Return None: nothing here is to be declined."""
        return None

    def judge(self, case: Case, text: str) -> Judgement:
        """Check the sections and compare them with the reference."""
        found = Judgement()
        for broken in self._broken(text, case.input):
            found.violate("sections", broken)
        if not case.has_expected:
            return found
        ours, theirs = self._by_title(text), self._by_title(str(case.expected))
        parts = []
        for title, section in theirs.items():
            mine = ours.get(title)
            field = self._field_of.get(title)
            if field is None:
                parts.append(word_f1(mine.text, section.text) if mine else 0.0)
                continue
            expected, got = self._label(title, section), self._label(title, mine) if mine else None
            found.labels[field] = (json.dumps(expected), NO_LABEL if got is None else json.dumps(got))
            found.scores[f"field.{field}"] = float(got == expected)
            parts.append(float(got == expected))
            if mine is not None and got is not None:
                found.spans[field] = (mine.start, mine.start + len(mine.text))
            if got is None:
                found.mistake("missing_category", f"{field}: no label")
            elif got != expected:
                found.mistake("wrong_label", f"{field}: {got} for {expected}")
        found.scores["right"] = float(
            all(found.scores[f"field.{name}"] for name in self.fields if name in found.labels)
        )
        found.scores["quality"] = 0.0 if found.violations or not parts else sum(parts) / len(parts)
        found.counts["terms"] = tuple(map(float, count_terms(text, case.input, str(case.expected))))
        return found

    def _broken(self, text: str, given: str) -> Iterator[str]:
        """Yield what breaks the contract."""
        before, sections = split_sections(text, self._heading, self._titles)
        if before:
            yield f"text before the first section: {before[:60]!r}"
        titles = [section.title for section in sections]
        wanted = [title for title in self._titles if title in titles or not self._sections[title].optional]
        if missing := [title for title in wanted if title not in titles]:
            yield f"section {missing[0]!r} is missing"
        elif twice := next((title for title in titles if titles.count(title) > 1), None):
            yield f"section {twice!r} stands there twice"
        elif titles != wanted:
            yield f"sections stand in the order {', '.join(titles)}; wanted is {', '.join(wanted)}"
        for title, section in _first_of_each(sections).items():
            yield from _broken_rules(self._sections[title], section, given)

    def _by_title(self, text: str) -> dict[str, Section]:
        return _first_of_each(split_sections(text, self._heading, self._titles)[1])

    def _label(self, title: str, section: Section) -> str | None:
        return _label(self._sections[title], section.text)


def _first_of_each(sections: Iterable[Section]) -> dict[str, Section]:
    """Return the first section of each title."""
    by_title: dict[str, Section] = {}
    for section in sections:
        by_title.setdefault(section.title, section)
    return by_title


def _broken_rules(rules: SectionTable, section: Section, given: str) -> Iterator[str]:
    """Yield what one section's text breaks."""
    name = section.title
    if not section.text:
        yield f"section {name!r} is empty"
        return
    if rules.one_of and _label(rules, section.text) is None:
        yield f"section {name!r} must be one of {', '.join(rules.one_of)}, got {section.text[:60]!r}"
    if rules.items is not None:
        least, most = rules.items
        if not section.is_list:
            yield f"section {name!r} must be a list of items that begin with '- '"
        elif not least <= len(section.items) <= most:
            yield f"section {name!r} must have {least} to {most} items, got {len(section.items)}"
    if rules.words is not None and not rules.words[0] <= (n := len(section.text.split())) <= rules.words[1]:
        yield f"section {name!r} must have {rules.words[0]} to {rules.words[1]} words, got {n}"
    if rules.mentions_input and not mentions_input(rules.mentions_input)(section.text, given):
        least = rules.mentions_input
        what = "nothing" if least == 1 else f"fewer than {least} things"
        yield f"section {name!r} names {what} that stand{'s' if least == 1 else ''} in the input"
    if rules.action and not action()(section.text, given):
        yield f"section {name!r} tells nobody to do anything"


def _label(rules: SectionTable, text: str) -> str | None:
    """Return the declared label that ``text`` is, in whatever case and with or without Markdown and a full stop."""
    plain = text.strip(" \t\n*_.").casefold()
    return next((label for label in rules.one_of if label.casefold() == plain), None)


def _field_name(title: str) -> str:
    return re.sub(r"\W+", "_", title.casefold()).strip("_")

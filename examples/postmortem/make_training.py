"""
Write train.jsonl: made-up incidents, each a timeline and the post-mortem that it deserves.

    python examples/postmortem/make_training.py

``families/`` holds what happens: a table for each group of rows, named by its family and a variant of it, with clauses in
the past tense. A clause stands in the timeline and, letter for letter, in the summary: a small model learns to copy
what it must not make up. Names, versions, codes, numbers and times are drawn anew for each row.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROWS_OF_A_GROUP = 7
MOST_LINES = 8
FEWEST_WORDS, MOST_WORDS = 35, 75
KINDS = {"canonical": 50, "production-like": 17, "boundary": 13, "near-miss": 10, "adversarial": 10}
"""How a row is told, and how often: with a suspect that was not to blame, with instructions in it, …"""

WORDS: dict[str, Any] = tomllib.loads((HERE / "families" / "words.toml").read_text(encoding="utf-8"))
_NAMES: dict[str, list[str]] = WORDS["names"]
_CLAUSES: dict[str, list[str]] = WORDS["clauses"]
_OURS, _OTHERS = frozenset(WORDS["slots"]["ours"]), frozenset(WORDS["slots"]["others"])
_NAMING = _OURS | _OTHERS | frozenset(WORDS["slots"]["names"])
_RELATED = frozenset({"version", "old", "next", "low", "high"})

_CHOICE = re.compile(r"\(([^()]*\|[^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")
_DONE = re.compile(r" (?:was|were)(?= (?:\w+ed|set|sent|put|taken|shut|made|given|withdrawn|built)\b)")
_NEGATION = re.compile(r"\b(?:not?|nobody|nothing|none)\b")


@dataclass(frozen=True)
class Variant:
    """Hold what one group of rows tells of: the clauses of its table."""

    group: str
    symptom: tuple[str, ...]
    cause: tuple[str, ...]
    worse: tuple[str, ...]
    fix: tuple[str, ...]
    prevent: tuple[str, ...]


def read_variants() -> list[Variant]:
    """Read the tables; a cause and the fix in the same place belong together."""
    variants = []
    for path in sorted((HERE / "families").glob("*.toml")):
        tables = {} if path.name == "words.toml" else tomllib.loads(path.read_text(encoding="utf-8"))
        for family, named in tables.items():
            for name, clauses in named.items():
                if len(clauses["cause"]) != len(clauses["fix"]):
                    raise ValueError(f"{path.name}: [{family}.{name}] needs a fix for each cause")
                variants.append(Variant(f"{family}-{name}", **{key: tuple(value) for key, value in clauses.items()}))
    return variants


def make_rows(seed: int = 4) -> list[dict[str, str]]:
    """Return all rows, in an order that mixes the groups."""
    draw = random.Random(seed)  # noqa: S311 (nothing secret is drawn)
    rows = [row for variant in read_variants() for row in _rows_of(variant, draw)]
    draw.shuffle(rows)
    return [{"incident_id": f"pm-train-{number:04d}", **row} for number, row in enumerate(rows, start=1)]


def _rows_of(variant: Variant, draw: random.Random) -> Iterator[dict[str, str]]:
    """Yield the rows of one group."""
    kinds = draw.choices(tuple(KINDS), tuple(KINDS.values()), k=ROWS_OF_A_GROUP)
    for place, kind in enumerate(kinds):
        timeline, summary = _tell(variant, kind, place, draw)
        yield {
            "timeline": timeline, "summary": summary, "kind": kind, "group": variant.group,
            "licence": "Apache-2.0", "origin": "generated",
        }  # fmt: skip


def _tell(variant: Variant, kind: str, place: int, draw: random.Random) -> tuple[str, str]:
    """Return a timeline and its summary of a fit length."""
    while True:
        incident = _Incident(variant, kind, place, draw)
        timeline, summary = incident.timeline(), incident.summary()
        if FEWEST_WORDS <= len(summary.split()) <= MOST_WORDS:
            return timeline, summary


class _Incident:
    """Draw one incident: its clauses, the order of its lines, and its times."""

    def __init__(self, variant: Variant, kind: str, place: int, draw: random.Random) -> None:
        self._draw = draw
        self._kind = kind
        self._values = _Values(draw)
        told = place % len(variant.cause)
        symptom, cause, fix = draw.choice(variant.symptom), variant.cause[told], variant.fix[told]
        self._values.name_main(_first_component(symptom, cause, fix))
        self._told = {
            "symptom": self._fill(symptom),
            "cause": self._fill(cause),
            "fix": self._fill(fix),
            "again": self._fill(draw.choice(_CLAUSES["again"])),
        }
        # The shortest timelines tell of nothing that made it worse.
        if not (kind == "boundary" and self._chance(0.6)):
            self._told["worse"] = self._fill(draw.choice(variant.worse if self._chance(0.7) else _CLAUSES["worse"]))
        self._lines = self._order()
        self._told["prevent"] = self._prevention(variant.prevent)

    def _chance(self, share: float) -> bool:
        return self._draw.random() < share

    def _fill(self, template: str) -> str:
        """Return a clause with its choices made and its slots filled."""
        return _SLOT.sub(lambda match: self._values[match[1]], self._choose(template))

    def _choose(self, template: str) -> str:
        return _CHOICE.sub(lambda match: self._draw.choice(match[1].split("|")), template)

    def _order(self) -> list[tuple[str, str, str]]:
        """Return the lines in order: clock time, what the summary calls it, text."""
        told = self._told
        is_first = self._chance(0.5)
        cause = told["cause"] if is_first else self._draw.choice(_CLAUSES["found"]) + told["cause"]
        lines = [("symptom", told["symptom"]), ("fix", told["fix"]), ("over", told["again"])]
        lines.insert(0 if is_first else 1, ("cause", cause))
        if "worse" in told:
            lines.insert(2, ("worse", told["worse"]))
        for name, text in self._beside(MOST_LINES - len(lines)):
            least = 2 if name == "noticed" else 0
            lines.insert(self._draw.randint(least, len(lines) - 1), (name, self._fill(text)))
        return [(time, *line) for time, line in zip(self._times(len(lines)), lines, strict=True)]

    def _beside(self, room: int) -> list[tuple[str, str]]:
        """Return lines that the summary leaves out."""
        draw = self._draw
        beside: list[tuple[str, str]] = []
        if self._kind == "boundary":
            return beside
        if self._kind == "near-miss":
            beside.append(("elsewhere", draw.choice(_CLAUSES["suspected"])))
        if self._kind == "adversarial":
            beside.append(("elsewhere", draw.choice(_CLAUSES["instructions"])))
        if self._chance(0.7):
            beside.append(("noticed", draw.choice(_CLAUSES["noticed"])))
        wanted = 2 if self._kind == "production-like" else int(self._chance(0.4))
        texts = draw.sample(_CLAUSES["elsewhere"], wanted)
        beside += [("elsewhere", text.replace("other", f"other{place}")) for place, text in enumerate(texts, 2)]
        return beside[:room]

    def _times(self, count: int) -> list[str]:
        """Return clock times in order; an incident may go past midnight."""
        minute, times = self._draw.randrange(24 * 60), []
        for _ in range(count):
            times.append(f"{minute // 60 % 24:02d}:{minute % 60:02d}")
            minute += self._draw.choices((1, 2, 3, 4, 5, 7, 9, 12, 17, 26), (6, 8, 8, 7, 6, 5, 4, 3, 2, 1))[0]
        return times

    def _prevention(self, templates: tuple[str, ...]) -> str:
        """Return what will be done; it names nothing that is not in the timeline."""
        text = "\n".join(line for _, _, line in self._lines)
        fit = [one for one in templates if all(self._values.stands_in(text, slot) for slot in _SLOT.findall(one))]
        chosen = self._choose(self._draw.choice(fit if fit and self._chance(0.85) else _CLAUSES["prevent"]))
        return _SLOT.sub(lambda match: self._values.proposed(match[1]), chosen)

    def timeline(self) -> str:
        """Return the lines as people write them: some leave out the verb, some are written down late."""
        texts = []
        for time, name, text in self._lines:
            told = _DONE.sub("", text, count=1) if name == "fix" and self._chance(0.4) else text
            prefix = "[auto] " if self._kind == "production-like" and name == "noticed" else ""
            texts.append(f"{time} - {prefix}{_capital(told)}.")
        late = next((place for place, line in enumerate(self._lines) if line[1] == "elsewhere"), 0)
        if late and self._kind == "production-like" and self._chance(0.25):
            texts.append(texts.pop(late))
        return "\n".join(texts)

    def summary(self) -> str:
        """Return the paragraph."""
        at = {name: time for time, name, _ in self._lines}
        told = self._told | {"noticed": at["symptom"], "over": at["over"], "fixed": at["fix"]}
        told |= {"Symptom": _capital(told["symptom"]), "Fix": _capital(told["fix"])}
        forms: Mapping[str, Mapping[str, int]] = WORDS["sentences"]
        openings = forms["openings"]
        if _NEGATION.search(told["symptom"]):
            # "It did not start because it was paused" can be read in two ways.
            openings = {form: weight for form, weight in openings.items() if "because" not in form}
        sentences = [openings, forms["resolved"], forms["prevented"]]
        if "worse" in told:
            told["worsened"] = at["worse"]
            sentences.insert(1, forms["worsened"])
        drawn = (self._draw.choices(tuple(one), tuple(one.values()))[0] for one in sentences)
        return " ".join(form.format_map(told) for form in drawn)


class _Values:
    """Hold the values of one incident, each drawn when it is first asked for; no two names are the same."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw
        self._drawn: dict[str, str] = {}
        self._release = [draw.randint(1, 9), draw.randint(0, 30), draw.randint(1, 20)]
        self._limits = draw.choice(((2, 30), (3, 60), (4, 40), (5, 50), (8, 80), (10, 100), (20, 200), (25, 250)))
        self._main = ""

    def __getitem__(self, slot: str) -> str:
        slot = self._main if slot == "main" else slot
        if slot not in self._drawn:
            value = self._make(slot)
            # Limits and versions follow from one another and are not drawn again.
            while value in self._drawn.values() and slot not in _RELATED:
                value = self._make(slot)
            self._drawn[slot] = value
        return self._drawn[slot]

    def name_main(self, slot: str) -> None:
        """Say which slot the incident is about."""
        self._main = slot

    def stands_in(self, text: str, slot: str) -> bool:
        """Say whether the timeline names the slot; a quantity it need not name."""
        return slot not in _NAMING or ((slot == "main" or slot in self._drawn) and self[slot] in text)

    def proposed(self, slot: str) -> str:
        """Return the value of a slot in what will be done."""
        return self[slot] if slot in _NAMING else str(WORDS["proposed"][slot])

    def _make(self, slot: str) -> str:
        if slot in {"version", "old", "next"}:
            major, minor, patch = self._release
            return f"v{major}.{minor}.{patch + {'version': 0, 'old': -1, 'next': 1}[slot]}"
        if slot in {"low", "high"}:
            return str(self._limits[slot == "high"])
        return _MAKERS[slot.rstrip("23")](self._draw)


def _domain(draw: random.Random) -> str:
    """Return a word, known or made up: a name must be copied, not guessed."""
    if draw.random() < 0.7:  # noqa: PLR2004 (a share)
        return draw.choice(_NAMES["domains"])
    syllables = (draw.choice(_NAMES["onsets"]) + draw.choice("aeiou") for _ in range(2))
    return "".join(syllables) + draw.choice(("", "", "n", "r", "l", "x"))


def _one_of(name: str) -> Callable[[random.Random], str]:
    return lambda draw: draw.choice(_NAMES[name])


def _number(least: int, most: int, form: str = "{}") -> Callable[[random.Random], str]:
    return lambda draw: form.format(draw.randint(least, most))


def _joined(*forms: str) -> Callable[[random.Random], str]:
    """Return what makes a name of a form: ``d`` a word, ``n`` a number, others a name of that list."""

    def make(draw: random.Random) -> str:
        values = {key: draw.choice(_NAMES[key]) for key in sorted(_NAMES)}
        return draw.choice(forms).format(d=_domain(draw), n=draw.randint(1, 24), i=draw.randint(1, 9), **values)

    return make


_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "service": _joined("{d}-{services}"),
    "other": _joined("{d}-{services}"),
    "db": _joined("{d}-db", "{d}-db-{i}", "{d}-postgres", "mysql-{d}", "pg-{d}-{i}"),
    "cache": _joined("{d}-cache", "redis-{d}", "{d}-redis"),
    "queue": _joined("{d}-{queues}"),
    "host": _joined("{hosts}-{n:02d}", "{sites}-{hosts}-{n}", "{d}-{hosts}-{n}"),
    "cluster": _joined("k8s-{sites}-{i}"),
    "bucket": _joined("{d}-{files}"),
    "job": _joined("{d}-{jobs}"),
    "site": _joined("{d}.example.com", "{d}.example.org", "{d}.example.net"),
    "zone": _joined("{regions}a", "{regions}b", "{regions}c"),
    "table": lambda draw: f"{_domain(draw).replace('-', '_')}_{draw.choice(_NAMES['tables'])}",
    "flag": _joined("{flags}-{d}"),
    "lib": _joined("{libraries} {i}.{n}"),
    "code": _joined("E{n}{i}{i}", "F{n}{i}", "P{i}{n}{i}", "ERR-{n}{i}"),
    "change": _number(1000, 9999, "CHG-{}"),
    "ticket": _number(100, 9999, "OPS-{}"),
    "vendor": _one_of("vendors"),
    "region": _one_of("regions"),
    "limit": _one_of("limits"),
    "timeout": _one_of("timeouts"),
    "field": _one_of("fields"),
    "template": _one_of("templates"),
    "team": _one_of("teams"),
    "port": _one_of("ports"),
    "http": _one_of("http"),
    "n": _number(3, 90),
    "min": _number(3, 14),
    "sec": _number(2, 90),
    "ms": _number(8, 90, "{}00"),
    "gb": _number(2, 96),
    "many": _number(2, 960, "{},000"),
    "pct": _number(4, 79, "{}%"),
    "most": _number(88, 99, "{}%"),
}


def _first_component(*templates: str) -> str:
    """Return the slot of what the incident is about: the first of ours, else the first place or company."""
    slots: list[str] = [slot for template in templates for slot in _SLOT.findall(template)]
    return next(slot for wanted in (_OURS, _OTHERS) for slot in slots if slot in wanted)


def _capital(text: str) -> str:
    """Begin with a capital, unless the first word is a name."""
    return text[0].upper() + text[1:] if re.match(r"[a-z]+(?:-call)?[ :,]", text) else text


def main() -> int:
    """Write the file; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--out", type=Path, default=HERE / "train.jsonl")
    options = parser.parse_args()
    rows = make_rows(options.seed)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    options.out.write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(rows)} rows, {len(text.encode()) / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""
Write train.jsonl: incidents made up from stories.toml, three rows each (summary, cause, risk).

    python examples/incident/make_training.py

The same seed gives the same file. Facts of an answer are those of its log: hosts, accounts, clock times, numbers. The level
follows from how a story ends, by the rules of the risk prompt. Nothing here has read the suites of this example.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
INCIDENTS, SEED = 288, 20

LEVELS = ("Critical", "High", "Medium", "Low")
LIKELIHOOD = {"Critical": "Certain", "High": "Likely", "Medium": "Possible", "Low": "Unlikely"}
PRIORITY = {"Critical": "P1", "High": "P2", "Medium": "P3", "Low": "P4"}

EVENTS = (3, 6)
"""Least and most lines of Key Events."""

EMPTY, ORDERED, CUT = 36, 11, 31
"""One incident of so many has no evidence, a text that gives orders, or an end cut off."""

_OPENINGS = ("Between {first} and {last} {what} at {company}.", "At {company} {what} between {first} and {last}.")
_THREATS = {
    "Critical": "Grave damage on {host} is confirmed: {cause}. {host} must be isolated at once.",
    "High": "A compromise of {host} is probable: {cause}. {host} must be contained today.",
    "Medium": "No break-in on {host} is confirmed: {cause}. An analyst should look at {host} again.",
    "Low": "The activity on {host} is explained by {cause}. Nothing needs to be done.",
}


@dataclass
class Evidence:
    """Hold one line of a log; ``step`` is its number in the story, None for what does not belong to it."""

    text: str
    time: str
    parents: tuple[int, ...] = ()
    step: int | None = None
    confidence: str = ""


@dataclass
class Incident:
    """Hold one incident: what its log says, and what is answered."""

    family: str
    level: str
    kind: str
    log: str
    answers: dict[str, str] = field(default_factory=dict)


# --- Stories -----------------------------------------------------------------------------------------------------


def stories() -> dict[str, Any]:
    """Return what stories.toml holds."""
    return tomllib.loads((FOLDER / "stories.toml").read_text(encoding="utf-8"))


def incidents(count: int, seed: int) -> Iterator[Incident]:
    """Yield incidents, the four levels in turn, each ending of a level as often as the others."""
    told = stories()
    rng = random.Random(seed)  # noqa: S311 (nothing secret is drawn)
    endings = {level: itertools.chain.from_iterable(_shuffled(told, level, rng)) for level in LEVELS}
    for number in range(count):
        level = LEVELS[number % len(LEVELS)]
        if number % EMPTY == EMPTY - 1:
            yield _empty(told, number, rng)
            continue
        family, ending = next(endings[level])
        ordered, cut = number % ORDERED == ORDERED - 1, number % CUT == CUT - 1
        yield _Story(told, family, ending, number, rng).tell(ordered=ordered, cut=cut)


def _shuffled(told: Mapping[str, Any], level: str, rng: random.Random) -> Iterator[list[tuple[Any, Any]]]:
    """Yield all endings of a level again and again, each time in another order."""
    pairs = [(family, ending) for family in told["family"] for ending in family["ending"] if ending["level"] == level]
    while True:
        yield rng.sample(pairs, len(pairs))


def _one(texts: str | Sequence[str], rng: random.Random) -> str:
    """Return the text, or one of several that say the same."""
    return texts if isinstance(texts, str) else rng.choice(texts)


def _upper(text: str) -> str:
    """Return a text that begins a sentence; names of hosts and accounts stay as they are."""
    first = text.split(" ", 1)[0]
    return text if any(mark in first for mark in "-.0123456789") else text[:1].upper() + text[1:]


class _Cast:
    """Draw the names, addresses and numbers of one incident."""

    def __init__(self, told: Mapping[str, Any], family: Mapping[str, Any], number: int, rng: random.Random) -> None:
        places, people = told["places"], told["people"]
        self._places, self._rng = places, rng
        network = rng.choice(("10.{}.{}", "192.168.{1}", "172.{2}.{1}"))
        prefix = network.format(rng.randint(1, 250), rng.randint(1, 250), rng.randint(16, 31))
        hosts = [self._name(family["hosts"])]
        while len(hosts) < 4:  # noqa: PLR2004 (host, peer, server, other)
            kind = "servers" if len(hosts) == 2 else "peers"  # noqa: PLR2004 (the third)
            if (name := self._name(places[kind])) not in hosts:
                hosts.append(name)
        self.words = dict(zip(("host", "peer", "server", "other"), hosts, strict=True))
        self.words["ip"] = f"{prefix}.{rng.randint(2, 250)}"
        self.words["hostip"] = f"{self.words['host']} ({self.words['ip']})"
        self.words["net"] = f"{prefix}.0/24"
        self.words["ext"], self.words["ext2"] = (
            f"{block}.{rng.randint(2, 250)}" for block in rng.sample(("192.0.2", "198.51.100", "203.0.113"), 2)
        )
        self.words["user"], self.words["user2"] = rng.sample(people["names"], 2)
        self.words["admin"] = rng.choice(people["admins"])
        self.words["domain"], self.words["domain2"] = (f"{name}.example" for name in rng.sample(places["domains"], 2))
        self.words["company"] = f"{rng.choice(places['companies'])} {rng.choice(places['trades'])}"
        self.words["ticket"] = f"CHG-{rng.randint(1000, 9999)}"
        self.words["incident"] = f"INC-{3000 + number}"
        self.words["k"] = str(rng.randint(3, 40))
        for name, (low, high) in family.get("num", {}).items():
            self.words[name] = str(rng.randint(low, high))
        for name, choices in family.get("pick", {}).items():
            self.words[name] = rng.choice(choices)

    def _name(self, patterns: Sequence[str]) -> str:
        rng = self._rng
        return rng.choice(patterns).format(
            d=rng.randint(2, 40), place=rng.choice(self._places["rooms"]), dept=rng.choice(self._places["departments"])
        )


class _Story:
    """Tell one ending of a family as a log and three answers."""

    def __init__(self, told: Any, family: Any, ending: Any, number: int, rng: random.Random) -> None:
        self._told, self._family, self._ending, self._rng = told, family, ending, rng
        self._words = _Cast(told, {**family, **ending}, number, rng).words
        self._evidence: list[Evidence] = []

    def tell(self, *, ordered: bool, cut: bool) -> Incident:
        """Return the incident; ``ordered``: with a text that gives orders; ``cut``: with half a line at its end."""
        steps = [_one(step, self._rng) for step in [*self._get("start"), *self._ending["log"]]]
        self._lay_out(steps, ordered=ordered)
        log = self._log()
        if cut:
            self._words["cut"] = f"E{len(self._evidence) + 1} {self._words['end']}"
            log += f"\n{self._words['cut'][: -self._rng.randint(1, 3)]}"
        kind = "adversarial" if ordered or cut else self._ending.get("kind", "canonical")
        answers = {"summary": self._summary(ordered=ordered), "cause": self._cause(), "risk": self._risk()}
        return Incident(self._family["name"], self._ending["level"], kind, log, answers)

    # The log

    def _lay_out(self, steps: Sequence[str], *, ordered: bool) -> None:
        """Put the steps and what does not belong to them in order, and give them numbers, times and confidences."""
        rng, asides = self._rng, self._told["asides"]
        lines: list[tuple[int | None, str]] = list(enumerate(steps, start=1))
        extra = rng.choice((0, 0, 0, 1, 1, 2, 3)) if len(steps) >= EVENTS[0] else rng.randint(1, 3)
        aside = rng.sample(asides["noise"], extra) + ([rng.choice(asides["orders"])] if ordered else [])
        for text in aside:
            lines.insert(rng.randint(0, len(lines)), (None, f"|{text}"))
        minutes = self._minutes(len(lines))
        times = [_clock(minute) for minute in minutes]
        places = {step: place for place, (step, _) in enumerate(lines, start=1) if step is not None}
        for step, place in places.items():
            self._words |= {f"t{step}": times[place - 1], f"e{step}": str(place)}
            self._words |= {
                f"d{one}{step}": str(minutes[place - 1] - minutes[places[one] - 1]) for one in range(1, step)
            }
        self._words |= {"first": self._words["t1"], "last": self._words[f"t{len(steps)}"]}
        sure = rng.random() < 0.6  # noqa: PLR2004 (share of logs with confidences)
        for (number, text), time in zip(lines, times, strict=True):
            parents, _, what = text.rpartition("|")
            named = [int(name) for name in parents.split(",") if name]
            if number is not None and "|" not in text:
                named = [number - 1]
            self._evidence.append(
                Evidence(
                    self._fill(what), time, tuple(places[one] for one in named), number,
                    f" [confidence 0.{rng.randint(51, 99)}]" if sure and rng.random() < 0.7 else "",  # noqa: PLR2004
                )
            )  # fmt: skip

    def _minutes(self, count: int) -> list[int]:
        """Return points of time in order, in minutes of the day, and set the window."""
        rng = self._rng
        low, high = self._family.get("hours", (6, 19))
        start, pace = rng.randint(low * 60, high * 60), rng.choice((4, 7, 12))
        minutes = list(itertools.accumulate((rng.randint(2, pace) for _ in range(count)), initial=start))[1:]
        self._words |= {"start": _clock(start), "end": _clock(minutes[-1] + rng.randint(2, 15))}
        return minutes

    def _log(self) -> str:
        lines = [_header(self._words)]
        for number, one in enumerate(self._evidence, start=1):
            follows = f" <- {','.join(f'E{parent}' for parent in one.parents)}" if one.parents else ""
            lines.append(f"E{number} {one.time}{follows} {one.text}{one.confidence}")
        return "\n".join(lines)

    # The answers

    def _summary(self, *, ordered: bool) -> str:
        what = {"what": self._text("what")}
        opening = _one(_OPENINGS, self._rng).format_map(self._words | what)
        summary = f"{opening} {_upper(self._text('then'))}"
        if ordered:
            summary += f" {self._told['asides']['ordered']}"
        steps = [one for one in self._evidence if one.step is not None]
        shown = steps if len(steps) >= EVENTS[0] else self._evidence
        if len(shown) > EVENTS[1]:
            raise ValueError(f"{self._family['name']}: a story has at most {EVENTS[1]} steps, got {len(shown)}")
        events = "\n".join(f"- {one.time} {one.text.partition(', ')[0]}" for one in shown)
        threat = _THREATS[self._ending["level"]]
        cause = {"cause": self._text("cause")}
        return f"Summary: {summary}\nKey Events:\n{events}\nThreat Assessment: {threat.format_map(self._words | cause)}"

    def _cause(self) -> str:
        sections = (
            ("Malicious Activity", self._malicious()),
            ("Legitimate Activity", self._legitimate()),
            ("Misconfigurations", self._get("weak")),
        )
        lists = "\n".join(
            f"{title}:\n" + "\n".join(f"- {_upper(self._fill(item))}" for item in items) for title, items in sections
        )
        return f"{lists}\nConclusion: The most probable cause is {self._text('cause')}, as {self._text('proof')}."

    def _risk(self) -> str:
        level = self._ending["level"]
        why = f"{_upper(self._text('proof'))}. {_upper(self._text('rest'))}".strip()
        return (
            f"Risk Level: {level}\nJustification: {why}\nBusiness Impact: {_upper(self._text('impact'))}\n"
            f"Likelihood: {self._ending.get('likelihood', LIKELIHOOD[level])}\nPriority: {PRIORITY[level]}"
        )

    def _malicious(self) -> Sequence[str]:
        """Return the hostile causes; where all is explained, why there is none."""
        bad: Sequence[str] = self._get("bad")
        is_explained = self._ending["level"] == "Low" and not bad[0].startswith("None likely")
        return [f"None likely, because {self._text('proof')}"] if is_explained else bad

    def _legitimate(self) -> Sequence[str]:
        """Return the harmless causes; where all is explained, that one."""
        if self._ending["level"] == "Low" and "good" not in self._ending:
            return [f"{self._text('cause')} (E{{e{max(one.step or 0 for one in self._evidence)}}})"]
        good: Sequence[str] = self._get("good")
        return good

    def _get(self, key: str) -> Any:
        """Return what the ending says, or else its family."""
        return self._ending.get(key, self._family.get(key, ""))

    def _text(self, key: str) -> str:
        return self._fill(_one(self._get(key), self._rng))

    def _fill(self, text: str) -> str:
        return text.format_map(self._words)


def _empty(told: Mapping[str, Any], number: int, rng: random.Random) -> Incident:
    """Return an incident without evidence."""
    family = rng.choice(told["family"])
    words = _Cast(told, family, number, rng).words
    minute = rng.randint(0, 22 * 60)
    words |= {"start": _clock(minute), "end": _clock(minute + rng.randint(10, 90))}
    log = f"{_header(words)}\n{rng.choice(told['empty']['logs'])}".strip()
    answers = {task: told["empty"][task].strip().format_map(words) for task in ("summary", "cause", "risk")}
    return Incident("empty", "Low", "negative", log, answers)


def _header(words: Mapping[str, str]) -> str:
    return "Incident {incident}  {company}  host {ip} ({host})  window {start}-{end}".format_map(words)


def _clock(minute: int) -> str:
    return f"{minute // 60 % 24:02}:{minute % 60:02}"


# --- Rows --------------------------------------------------------------------------------------------------------


def rows(count: int = INCIDENTS, seed: int = SEED) -> Iterator[dict[str, str]]:
    """Yield three rows for each incident."""
    for number, incident in enumerate(incidents(count, seed), start=1):
        group = f"inc-train-{number:04}"
        for task, expected in incident.answers.items():
            yield {
                "id": f"{group}-{task}", "task": task, "input": incident.log, "expected": expected, "group": group,
                "kind": incident.kind, "licence": "Apache-2.0", "origin": "generated",
            }  # fmt: skip


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--output", type=Path, default=FOLDER / "train.jsonl")
    parser.add_argument("--incidents", type=int, default=INCIDENTS)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    made = list(rows(options.incidents, options.seed))
    options.output.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in made), encoding="utf-8")
    print(f"{options.output.name}: {len(made)} rows")


if __name__ == "__main__":
    main()

"""The incident example's training rows keep the example's own contract, and tell nothing that their logs do not."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from modelgate_training.data.leaks import leaking_texts
from modelgate_training.tasks import Tasks

from pytest_modelgate.cases import Case
from pytest_modelgate.gates_file import load_gates_file
from pytest_modelgate.judgement import judge
from pytest_modelgate.records import Generation
from pytest_modelgate.tasks import load_tasks

EXAMPLE = Path(__file__).parents[2] / "examples" / "incident"
ROWS: list[dict[str, Any]] = [
    json.loads(line) for line in (EXAMPLE / "train.jsonl").read_text(encoding="utf-8").splitlines()
]
LOGS = {row["group"]: row["input"] for row in ROWS}
DOCUMENTATION = [ipaddress.ip_network(block) for block in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]
PRIVATE = [ipaddress.ip_network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]


def of_task(task: str) -> list[dict[str, Any]]:
    """Return the rows of a task."""
    return [row for row in ROWS if row["task"] == task]


def field(row: dict[str, Any], title: str) -> str:
    """Return what stands after a heading, on its line."""
    found = re.search(rf"^{title}: (.+)$", row["expected"], re.MULTILINE)
    assert found is not None, row["id"]
    return found[1]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """Return the program that wrote the rows."""
    spec = importlib.util.spec_from_file_location("make_training", EXAMPLE / "make_training.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
    return module


def test_the_file_is_what_the_generator_writes(generator: ModuleType) -> None:
    """The same seed gives the same rows; nobody edits them by hand."""
    assert list(generator.rows()) == ROWS


def test_every_row_passes_the_gate_s_own_contract() -> None:
    """Judged as a model's answer would be, each is right and breaks nothing."""
    tasks = load_tasks(load_gates_file(EXAMPLE / "gates.toml"))
    for row in ROWS:
        case = Case(
            id=row["id"], suite="train", task=row["task"], prompt=row["input"], location="train.jsonl", line=1,
            expected=row["expected"], has_expected=True, critical=True, group=row["group"],
        )  # fmt: skip
        assert tasks[row["task"]].reject(case) is None
        record = judge(tasks[row["task"]], case, "any", Generation(row["expected"]))
        assert (record.outcome, record.violations) == ("passed", ()), row["id"]


def test_each_incident_has_three_rows_in_order() -> None:
    """Summary, cause and risk of one log, one group, in a file that stays small."""
    assert len(LOGS) >= 240
    assert [row["task"] for row in ROWS] == ["summary", "cause", "risk"] * len(LOGS)
    for row in ROWS:
        assert row["id"] == f"{row['group']}-{row['task']}"
        assert row["input"] == LOGS[row["group"]]
        assert (row["licence"], row["origin"]) == ("Apache-2.0", "generated")
    assert len(set(LOGS.values())) == len(LOGS)
    assert (EXAMPLE / "train.jsonl").stat().st_size <= 1_500_000


def test_the_levels_are_balanced_and_the_rest_follows_from_them() -> None:
    """A quarter each; the priority is the level's, the likelihood too, but for a nuisance that has already happened."""
    rows = of_task("risk")
    levels = Counter(field(row, "Risk Level") for row in rows)
    assert set(levels) == {"Critical", "High", "Medium", "Low"}
    assert max(levels.values()) - min(levels.values()) <= 1
    for row in rows:
        level, likelihood = field(row, "Risk Level"), field(row, "Likelihood")
        assert field(row, "Priority") == {"Critical": "P1", "High": "P2", "Medium": "P3", "Low": "P4"}[level]
        usual = {"Critical": "Certain", "High": "Likely", "Medium": "Possible", "Low": "Unlikely"}[level]
        assert likelihood == usual or (level, likelihood) == ("Medium", "Certain"), row["id"]


def test_there_is_variety(generator: ModuleType) -> None:
    """Many families, each with endings of more than one level or none; every kind of row; 3 to 9 pieces of evidence."""
    made = list(generator.incidents(len(LOGS), generator.SEED))
    families = Counter(incident.family for incident in made)
    assert len(families) >= 25
    assert max(families.values()) <= len(made) / 10
    several = [name for name in families if len({one.level for one in made if one.family == name}) > 1]
    assert len(several) >= 25
    kinds = Counter(row["kind"] for row in of_task("risk"))
    assert min(kinds[kind] for kind in ("canonical", "near_miss", "adversarial", "negative")) >= 8
    sizes = Counter(len(re.findall(r"^E\d+ \d\d:\d\d (?!$)", log, re.MULTILINE)) for log in LOGS.values())
    assert {3, 4, 5, 6, 7, 8} <= set(sizes) <= {0, *range(3, 10)}
    shapes = Counter(re.sub(r"[^<E\d,\n-]", "", log) for log in LOGS.values())
    assert len(shapes) > 100


def test_evidence_follows_only_from_what_stands_before_it() -> None:
    """Numbers go up by one, clock times never go back, and a cause comes before its effect."""
    for name, log in LOGS.items():
        lines = re.findall(r"^E(\d+) (\d\d:\d\d)(?: <- ([E\d,]+))? \S", log, re.MULTILINE)
        assert [int(number) for number, _, _ in lines] == list(range(1, len(lines) + 1)), name
        times = [time for _, time, _ in lines]
        start, end = re.findall(r"\d\d:\d\d", log.splitlines()[0])
        assert [start, *times, end] == sorted([start, *times, end]), name
        for number, _, parents in lines:
            assert all(0 < int(parent) < int(number) for parent in re.findall(r"\d+", parents)), name


def test_answers_hold_the_facts_of_their_logs() -> None:
    """Every host, account, address, domain, clock time and number of an answer stands in its log."""
    fact = re.compile(
        r"[\w./:-]*\d[\w./:-]*|\b[a-z]\.[a-z]+\b|\b(?:adm|ops|it|root)-\w+|[\w.-]+\.example|\b[A-Z0-9]+(?:-[A-Z0-9]+)+\b"
    )
    for row in ROWS:
        answer = re.sub(r"^Priority: P\d$", "", row["expected"], flags=re.MULTILINE)
        for found in {word.rstrip(".:") for word in fact.findall(answer)}:
            assert re.search(rf"(?<![\w.]){re.escape(found)}(?!\w)", row["input"]), f"{row['id']}: {found}"


def test_events_are_lines_of_the_log() -> None:
    """Each key event has the time and the words of a piece of evidence, up to its first comma, and in its order."""
    for row in of_task("summary"):
        events = re.findall(r"^- (\d\d:\d\d) (.+)$", row["expected"], re.MULTILINE)
        if row["kind"] == "negative":
            continue
        places = [re.search(rf"{time}(?: <- \S+)? {re.escape(text)}", row["input"]) for time, text in events]
        assert all(places), row["id"]
        starts = [place.start() for place in places if place]
        assert starts == sorted(starts)


def test_addresses_and_domains_belong_to_nobody() -> None:
    """Documentation and private addresses, .example domains."""
    text = "\n".join(f"{row['input']}\n{row['expected']}" for row in ROWS)
    for address in set(re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", text)):
        assert any(ipaddress.ip_address(address) in block for block in (*DOCUMENTATION, *PRIVATE)), address
    for domain in set(re.findall(r"\b[a-z][a-z0-9-]+(?:\.[a-z-]+)*\.(?:com|net|org|io|example|[a-z]{2})\b", text)):
        assert domain.endswith(".example"), domain


def test_orders_in_a_log_change_nothing() -> None:
    """A text that gives orders is named as data, and the level is that of the story."""
    ordered = [row for row in of_task("summary") if "gives orders" in row["expected"]]
    assert len(ordered) >= 20
    levels = {row["group"]: field(row, "Risk Level") for row in of_task("risk")}
    assert {levels[row["group"]] for row in ordered} == {"Critical", "High", "Medium", "Low"}


def test_no_row_gives_an_evaluation_case_away() -> None:
    """No log equals, or nearly equals, or holds a good part of a case of the suites."""
    cases = Tasks([EXAMPLE / "gates.toml"]).cases
    leaks = leaking_texts(list(LOGS.values()), sorted({case.input for case in cases}), 90.0)
    assert [list(LOGS)[leak.index] for leak in leaks] == []

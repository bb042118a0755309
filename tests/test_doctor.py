"""`modelgate doctor` says of every gate what it can see, and is right about it."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import aa_simulation
from pytest_modelgate import statistics
from pytest_modelgate.baselines import write_baseline
from pytest_modelgate.cli import main
from pytest_modelgate.doctor import Diagnosis, diagnose
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.evaluation import Findings, evaluate
from pytest_modelgate.imagined import decide
from pytest_modelgate.metrics.measurement import share
from pytest_modelgate.power import Check
from pytest_modelgate.records import Record
from pytest_modelgate.release import load_rules
from pytest_modelgate.repeats import RepeatFindings

if TYPE_CHECKING:
    from tests.conftest import Project

TASK = (
    'version = 1\nsuites = {golden = "golden/*.jsonl"}\n[tasks.labels]\nkind = "classification"\nfields = ["label"]\n'
)
LIMITS = st.tuples(
    st.integers(1, 40), st.sampled_from([0.05, 0.3, 0.5, 0.75, 0.9, 0.95, 1.0]), st.sampled_from([None, 0.8, 0.95])
)


def write(
    folder: Path, gates: str, groups: list[str | None], *, critical: int = 1, labels: tuple[str, ...] = ("a",)
) -> Path:
    """Write a project of one suite with a case for each group; the labels take turns."""
    (folder / "golden").mkdir(exist_ok=True)
    (folder / "gates.toml").write_text(TASK + gates, encoding="utf-8")
    rows: list[dict[str, Any]] = [
        {"id": f"c{number}", "input": "x", "expected": {"label": label}, "critical": number < critical}
        for number, (_, label) in enumerate(zip(groups, itertools.cycle(labels), strict=False))
    ]
    rows = [row | ({} if group is None else {"group": group}) for row, group in zip(rows, groups, strict=True)]
    (folder / "golden" / "all.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder / "gates.toml"


def examine(gates: str, n: int, group_size: int = 1, **more: Any) -> Diagnosis:
    """Return the diagnosis of a project with ``n`` cases."""
    groups = [None if group_size == 1 else f"g{number // group_size}" for number in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        return diagnose(write(Path(folder), gates, groups, **more))


def check(gates: str, n: int, group_size: int = 1, **more: Any) -> Check:
    """Return what is said of the only limit of a project with ``n`` cases."""
    (found,) = examine(gates, n, group_size, **more).checks
    return found


def outcomes(gates: str, answers: list[list[bool]], groups: list[str | None] | None = None) -> list[str]:
    """Return the outcome of the only gate for each of these lists of right and wrong answers."""
    groups = groups or [None] * len(answers[0])
    with tempfile.TemporaryDirectory() as folder:
        rules = load_rules(write(Path(folder), gates, groups))
    found: list[str] = []
    for right in answers:
        records = [
            Record("m", "golden", "labels", f"c{i}", "passed", group=group, scores={"exact": float(ok)})
            for i, (ok, group) in enumerate(zip(right, groups, strict=True))
        ]
        found.append(evaluate(rules.gates, Findings({"m": "gguf"}, records))[0].outcome)
    return found


def gate(**keys: Any) -> str:
    """Return the table of a gate on exact_match."""
    given_keys = {"metric": "exact_match"} | {key: value for key, value in keys.items() if value is not None}
    return "[gates.it]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in given_keys.items())


def doctor(project: Project, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run the command in a project; return the exit code and what it said."""
    code = main(["doctor", "--gates", str(project.path / "gates.toml"), *arguments])
    said = capsys.readouterr()
    return code, said.out + said.err


# Sessions


def test_a_sound_project(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Gates that can pass and fail exit 0; what is weak about the project is said, a line of advice for each."""
    code, text = doctor(project, capsys)

    assert code == 0
    assert "!!" not in text
    assert "form: schema_validity >= 0.99 by the observed value; 7 cases" in text
    assert "0 wrong of 7 still pass, 1 fail (observed 0.8571)" in text
    assert "proof at 95% takes 299 clean cases, or 473 with one wrong" in text
    assert "critical: critical_failures <= 0 by the observed value; 1 case\n" in text
    assert "small suites: golden (3), adversarial (2), heldout (2)" in text
    assert "gates for every kind of target: form, critical, intent" in text
    assert "baseline: none" in text
    assert "advice: suite 'golden' has 3 cases: one case moves a share by 33.3%; have 60 or more" in text
    assert [line.startswith("advice: suite") for line in text.splitlines()[-3:]] == [True] * 3


def test_cannot_pass_is_loud(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """99 % at 95 % confidence needs 299 cases without a failure; with 60 it blocks every model, and that is said."""
    project.write_cases("golden", *(project.case(f"c{number}") for number in range(60)))
    project.write_gates(form='metric = "schema_validity"\nmin = 0.99\nconfidence = 0.95\nsuites = "golden"')

    code, text = doctor(project, capsys)

    assert code == 1
    assert "!! form: schema_validity >= 0.99 at 95% confidence; 60 cases\n      cannot pass with these cases" in text
    assert "no number of wrong answers passes, 3 fail (observed 0.95); in between is inconclusive" in text
    assert "proving it at 95% takes 299 clean cases, or 473 with one wrong" in text
    assert "advice: form (schema_validity >= 0.99) cannot pass: have 299 cases instead of 60, or ask for 0.9512" in text
    assert "advice: form has confidence, but no min_n: write min_n = 60" in text
    assert "advice: task 'support' has no critical case" in text


@pytest.mark.parametrize(("severity", "code"), [("block", 1), ("warn", 0)])
def test_only_blocking_gates_count(
    project: Project, capsys: pytest.CaptureFixture[str], severity: str, code: int
) -> None:
    """A gate that only warns is told about, but does not fail the command."""
    project.write_gates(it=f'metric = "schema_validity"\nmin = 0.99\nconfidence = 0.95\nseverity = "{severity}"')

    got, text = doctor(project, capsys)

    assert got == code
    assert "cannot pass with these cases" in text
    assert ("!! it" in text) == (severity == "block")
    assert (", warns only" in text) == (severity == "warn")


@pytest.mark.parametrize(
    ("file", "content", "code", "said"),
    [
        ("gates.toml", "version = 2", 4, "gates.toml: "),
        ("gates.toml", None, 4, "no such gates file"),
        ("golden/support.jsonl", "{", 2, "golden/support.jsonl:1: not a JSON object"),
    ],
)
def test_broken_files(
    project: Project, capsys: pytest.CaptureFixture[str], file: str, content: str | None, code: int, said: str
) -> None:
    """A broken gates file is a mistake (4), a broken suite a bad suite (2), as everywhere."""
    (project.path / file).unlink()
    if content is not None:
        project.write(file, content)

    got, text = doctor(project, capsys)

    assert got == code
    assert said in text


def test_json_is_the_same(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """``--json`` prints the same as data: every sentence, its numbers, and the advice."""
    project.write_gates(
        form='metric = "schema_validity"\nmin = 0.99\nconfidence = 0.95',
        kept='metric = "accuracy.intent"\nmax_regression = 0.02\nconfidence = 0.95',
        fast='metric = "latency_ms.p95"\nmax = 500\nconfidence = 0.95',
    )
    text_code, text = doctor(project, capsys)

    code, data = doctor(project, capsys, "--json")

    found = json.loads(data)
    assert code == text_code == 1
    assert found["is_sound"] is False
    assert [one["gate"] for one in found["checks"]] == ["form", "kept", "fast"]
    assert found["checks"][0]["figures"] | {"needs": 299, "passes_up_to": -1} == found["checks"][0]["figures"]
    for one in found["checks"]:
        assert one["is_stuck"]
        assert one["can_pass"] is False
        assert all(f"      {said}\n" in text for said in one["says"])
    assert all(f"advice: {line}" in text for line in found["advice"])
    assert found["project"]["gates_with_confidence_but_no_min_n"] == ["form", "kept", "fast"]


def test_quarantine_and_baseline(project: Project) -> None:
    """Quarantined cases are listed with their days left, and a baseline with what of it can be compared."""
    flips = {("m", "heldout", name): ("passed", "missed") for name in ("late", "other")}
    project.write("flips.json", json.dumps(RepeatFindings(2, flips, {}, {}).to_json()))
    today = dt.datetime.now(dt.UTC).date()
    path = project.write_gates(
        kept='metric = "accuracy.intent"\nmin = 0.1\nmax_regression = 0.02', lost='metric = "regressions"\nmax = 0'
    )
    ends = {"late": today + dt.timedelta(days=12), "other": today - dt.timedelta(days=3)}
    with path.open("a", encoding="utf-8") as file:
        for name, until in ends.items():
            file.write(f'[quarantine."heldout/{name}"]\nreason = "r"\nevidence = "flips.json"\nuntil = {until}\n')
    before = diagnose(path, today)
    rules = load_rules(path)
    records = [
        Record("m", case.suite, case.task, case.id, "passed", has_expected=case.has_expected)
        for case in rules.cases
        if case.id != "crash"
    ]
    generation = rules.gates_file.generation.model_dump()
    write_baseline(rules.baselines, rules.tasks, rules.cases, records, generation, {})

    after = diagnose(path, today)

    assert before.project["quarantined_cases_and_days_left"] == {"heldout/late": 12, "heldout/other": -3}
    assert any("quarantine of heldout/other is over" in line for line in before.advice)
    assert any("no baseline yet, so kept, lost cannot judge" in line for line in before.advice)
    assert before.project["baseline"] == {}
    assert after.project["baseline"] == {"support": "5 of 6 cases"}  # one is new; a quarantined one does not count
    assert not any("baseline" in line for line in after.advice)
    compared = [one.n for one in after.checks]
    assert [one.n for one in before.checks] == [5, 5, 6]
    assert compared == [5, 4, 5]

    project.write("golden/system.txt", "Label it.")
    project.write("gates.toml", path.read_text().replace("version = 1", "version = 1\ngeneration = {max_tokens = 99}"))
    assert any("was judged by other rules (generation" in line for line in diagnose(path, today).advice)


# What is said of each kind of limit


@pytest.mark.parametrize(
    ("n", "confidence", "min_n", "stuck"),
    [(298, 0.95, None, True), (299, 0.95, None, False), (299, 0.95, 299, False), (60, None, None, False)],
)
def test_a_share_needs_cases(n: int, confidence: float | None, min_n: int | None, stuck: bool) -> None:
    """A share of 0.99 can be proved from 299 clean cases on, whatever min_n says."""
    found = check(gate(min=0.99, confidence=confidence, min_n=min_n), n)

    assert found.is_stuck == stuck
    assert (found.figures["needs"], found.figures["needs_with_one_wrong"]) == (299, 473)


@given(LIMITS)
@settings(max_examples=60)
def test_can_pass_agrees_with_right_answers(limits: tuple[int, float, float | None]) -> None:
    """Whether a gate can pass is whether a model that is right everywhere passes; can fail, wrong everywhere."""
    n, least, confidence = limits
    table = gate(min=least, confidence=confidence)

    found = check(table, n)

    right, wrong = outcomes(table, [[True] * n, [False] * n])
    assert found.can_pass == (right == "passed")
    assert found.can_fail == (wrong == "failed")


@given(LIMITS)
@settings(max_examples=40)
def test_wrong_answers_agree_with_brute_force(limits: tuple[int, float, float | None]) -> None:
    """So many wrong answers pass, and so many fail, as evaluating every number of them finds."""
    n, least, confidence = limits
    table = gate(min=least, confidence=confidence)
    decided = outcomes(table, [[number >= wrong for number in range(n)] for wrong in range(n + 1)])

    found = check(table, n).figures

    assert found["passes_up_to"] == decided.count("passed") - 1
    assert found["fails_from"] == (n + 1 - decided.count("failed") if "failed" in decided else None)


def test_a_rate_of_something_bad() -> None:
    """A maximum is counted in the same way: 2 of 120 pass 0.02, and it takes 149 clean cases to prove it."""
    found = check('[gates.it]\nmetric = "truncation_rate"\nmax = 0.02\n', 120)

    assert (found.can_pass, found.can_fail) == (True, True)
    assert (found.figures["passes_up_to"], found.figures["fails_from"], found.figures["needs"]) == (2, 3, 149)
    assert found.figures["fails_at"] == pytest.approx(0.025)


def test_what_is_stopped_four_times_of_five() -> None:
    """The share of wrong answers that a gate sees is the one with which more than allowed come in 80 % of releases."""
    found = check(gate(min=0.95), 100)

    allowed, rate = found.figures["passes_up_to"], found.figures["sees"]
    passes = sum(math.comb(100, k) * rate**k * (1 - rate) ** (100 - k) for k in range(allowed + 1))
    assert allowed == 5
    assert passes == pytest.approx(0.2, abs=1e-3)


def test_groups_count_once() -> None:
    """Sixty cases in twelve groups prove no more than twelve cases where all are right."""
    alone = check(gate(min=0.9, confidence=0.95, min_n=10), 60)
    grouped = check(gate(min=0.9, confidence=0.95, min_n=10), 60, 5)

    assert (alone.groups, grouped.groups) == (60, 12)
    assert (alone.can_pass, grouped.can_pass) == (True, False)
    assert grouped.size == "60 cases in 12 groups"
    assert grouped.advice[0].endswith(
        "cannot pass: have 29 groups instead of 12, or ask for 0.779, which 12 clean groups prove"
    )


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("wrong", [0, 1, 3, 7, 20])
def test_groups_agree_with_evaluation(wrong: int, together: bool) -> None:
    """What is imagined of groups is what evaluating such records decides, wherever the wrong answers lie."""
    groups: list[str | None] = [f"g{number // 5}" for number in range(100)]
    order = list(range(100)) if together else sorted(range(100), key=lambda number: number % 5)
    right = [number not in order[:wrong] for number in range(100)]

    found = check(gate(min=0.8, confidence=0.95), 100, 5).figures["passes_up_to"]

    assert (outcomes(gate(min=0.8, confidence=0.95), [right], groups) == ["passed"]) == (wrong <= found)


@pytest.mark.parametrize("largest", [0, 2])
def test_counts(largest: int) -> None:
    """A limit on critical failures below the number of critical cases can pass and fail."""
    found = check(f'[gates.it]\nmetric = "critical_failures"\nmax = {largest}\n', 20, critical=3)

    assert (found.n, found.can_pass, found.can_fail) == (3, True, True)
    assert found.figures["passes_up_to"] == largest
    assert not any("guards nothing" in line for line in found.advice)


@pytest.mark.parametrize("largest", [3, 9])
def test_counts_that_guard_nothing_are_refused(largest: int) -> None:
    """A limit on critical failures that is not below the number of critical cases is no gate at all."""
    with pytest.raises(GatesFileError, match=rf"max {largest} never blocks: its slice holds 3 cases"):
        check(f'[gates.it]\nmetric = "critical_failures"\nmax = {largest}\n', 20, critical=3)


def test_a_limit_that_guards_nothing() -> None:
    """A margin so wide that one case can never prove it broken cannot fail, and that is said."""
    found = check(gate(max_regression=0.99, confidence=0.95), 1)

    assert found.can_fail is False
    assert any("guards nothing" in line for line in found.advice)


@pytest.mark.parametrize(("n", "can_pass"), [(132, False), (133, True)])
def test_an_unchanged_model_must_pass(n: int, can_pass: bool) -> None:
    """A margin of 0.02 at 95 % is not even kept by an unchanged model with fewer than 133 pairs."""
    found = check(gate(max_regression=0.02, confidence=0.95), n)

    assert (found.can_pass, found.can_fail) == (can_pass, True)
    assert found.figures["needs"] == 819
    assert found.figures["proves"] == (0.0201 if n < 133 else 0.02)
    assert ("not even with the same answers" in found.says[0]) != can_pass


def test_what_a_regression_gate_sees() -> None:
    """Three hundred pairs at 5 % discordance: 7 of 15 may be lost, and more than half of A/A pairs are inconclusive."""
    found = check(gate(max_regression=0.02, confidence=0.95), 300).figures

    assert (found["differ"], found["passes_up_to"], found["fails_from"]) == (15, 7, 14)
    assert found["unchanged"]["inconclusive"] == pytest.approx(0.5706, abs=1e-4)
    assert found["sees"] == pytest.approx(0.0475, abs=0.002)


def test_mcnemar_needs_five() -> None:
    """With fewer than five discordant cases no exact McNemar test can be significant; it is said where that is so."""
    assert check(gate(max_regression=0.05), 60).figures["mcnemar_needs"] == 5
    assert "mcnemar_needs" not in check(gate(max_regression=0.05), 120).figures
    assert statistics.mcnemar(4, 0) / 2 > 0.05 > statistics.mcnemar(5, 0) / 2


@pytest.mark.parametrize(("sample", "can_pass"), [(58, False), (59, True)])
def test_a_percentile_needs_times(sample: int, can_pass: bool) -> None:
    """A bound on p95 at 95 % needs 59 times; fewer can never pass."""
    table = f'[performance]\nsample = {sample}\n[gates.it]\nmetric = "latency_ms.p95"\nmax = 500\nconfidence = 0.95\n'

    found = check(table, 80)

    assert (found.n, found.can_pass, found.can_fail, found.figures["needs"]) == (sample, can_pass, True, 59)
    assert any(line.endswith('add targets = ["gguf"]') for line in found.advice)


def test_uplift_over_a_control() -> None:
    """An uplift says how many answers must be won, and is stuck where no number suffices."""
    two = examine(gate(confidence=0.95, uplift_over={"base": 0.05}).replace(": ", " = "), 124)
    stuck = check(gate(confidence=0.95, uplift_over={"base": 0.99}).replace(": ", " = "), 20)

    assert [one.figures.get("passes_from") for one in two.checks] == [11]
    assert (stuck.can_pass, stuck.can_fail) == (False, True)
    assert "it takes more than all answers" in stuck.says


@pytest.mark.parametrize(
    ("metric", "n", "can_pass"),
    [("macro_f1.label", 60, True), ("macro_f1.label", 20, False), ("fnr.label.a", 60, True)],
)
def test_labels_are_counted_as_they_are(metric: str, n: int, can_pass: bool) -> None:
    """Figures over labels are measured on the suite's own right answers; a rate of one label counts its cases only."""
    limit = "max = 0.1" if metric.startswith("fnr") else "min = 0.9"

    found = check(f'[gates.it]\nmetric = "{metric}"\n{limit}\nconfidence = 0.95\n', n, labels=("a", "b"))

    assert found.n == (n // 2 if metric.startswith("fnr") else n)
    assert (found.can_pass, found.can_fail) == (can_pass, True)


@pytest.mark.parametrize(
    "table",
    [
        'metric = "ece.label"\nmax = 0.1',
        'metric = "win_rate"\nmin = 0.5',
        'metric = "latency_ms.p95"\nmax_increase = {ratio = 1.2}\ntargets = ["gguf"]',
        'metric = "own:metric"\nmin = 0.5',
    ],
)
def test_what_cannot_be_known(tmp_path: Path, table: str) -> None:
    """Where it depends on the model alone, nothing is claimed and nothing is stuck."""
    path = write(tmp_path, f"[gates.it]\n{table}\n", [None] * 20)
    (tmp_path / "own.py").write_text("def metric(records): ...\n", encoding="utf-8")

    (found,) = diagnose(path).checks

    assert (found.can_pass, found.can_fail, found.is_stuck) == (None, None, False)
    assert found.says[0].startswith("what it can see depends on the model")


def test_text_without_an_answer(tmp_path: Path) -> None:
    """A quality of free text whose right answer cannot be written down is taken as a mean that may reach 1."""
    gates = 'version = 1\nsuites = {golden = "*.jsonl"}\n[tasks.t]\nkind = "text"\n[gates.q]\nmetric = "quality"\n'
    (tmp_path / "gates.toml").write_text(f"{gates}min = 0.9\nconfidence = 0.95\n", encoding="utf-8")
    rows = [{"id": f"c{i}", "input": "x", "expected": {"contains": ["y"]}} for i in range(30)]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")

    (found,) = diagnose(tmp_path / "gates.toml").checks

    assert (found.n, found.can_pass, found.can_fail) == (30, True, True)


# The statistics of planning


@given(st.sampled_from([0.5, 0.9, 0.95, 0.97]), st.sampled_from([0.8, 0.95]), st.integers(0, 3))
def test_cases_needed_is_the_first(proved: float, confidence: float, wrong: int) -> None:
    """That many cases prove the share, and one fewer does not."""
    n = statistics.cases_needed(proved, confidence, wrong)

    assert n is not None
    assert statistics.exact_bounds(n - wrong, n, confidence)[0] >= proved
    assert n - 1 == wrong or statistics.exact_bounds(n - 1 - wrong, n - 1, confidence)[0] < proved


def test_what_no_number_proves() -> None:
    """Nothing proves a share of 1, or a margin of 0."""
    assert statistics.cases_needed(1.0, 0.95) is None
    assert statistics.pairs_needed(0.0, 0.95, 0.05, 0.8) is None
    assert (statistics.values_needed(95, 0.95), statistics.values_needed(99, 0.95)) == (59, 299)
    assert (
        check(gate(min=1.0, confidence=0.95), 50).advice[0].startswith("it (exact_match >= 1) cannot pass: ask for 0.9")
    )


@given(
    st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    st.sampled_from([0.0, 0.02, 0.05, 0.3, 0.99]),
    st.sampled_from([None, 0.8, 0.95]),
)
@settings(max_examples=60)
def test_paired_limits_agree_with_the_gate(pairs: tuple[int, int], margin: float, confidence: float | None) -> None:
    """How many lost cases pass and fail is what the gate decides for every number of them."""
    n, differ = pairs
    with tempfile.TemporaryDirectory() as folder:
        table = gate(max_regression=margin, confidence=confidence)
        (it,) = load_rules(write(Path(folder), table, [None] * n)).gates
    decided = []
    for lost in range(differ + 1):
        before = share([not lost <= number < differ for number in range(n)], [None] * n)
        now = share([number >= lost for number in range(n)], [None] * n)
        decided.append(decide(it, {"max_regression": margin}, now, before))

    passes, fails = statistics.paired_limits(differ, n, margin, confidence)

    assert passes == decided.count("passed") - 1
    assert fails == differ + 1 - decided.count("failed")


@pytest.mark.parametrize("confidence", [None, 0.95])
@pytest.mark.parametrize(("n", "drop", "discordance"), [(8, 0.0, 0.3), (12, 0.1, 0.2), (20, 0.1, 0.1)])
def test_paired_chances_agree_with_counting(n: int, drop: float, discordance: float, confidence: float | None) -> None:
    """The chances of the three outcomes are the sums over every way in which pairs can differ."""
    sums = {"failed": 0.0, "inconclusive": 0.0, "passed": 0.0}
    up, down = (discordance - drop) / 2, (discordance + drop) / 2
    for lost, won in itertools.product(range(n + 1), repeat=2):
        if (same := n - lost - won) >= 0:
            ways = math.comb(n, lost) * math.comb(n - lost, won)
            passes, fails = statistics.paired_limits(lost + won, n, 0.1, confidence)
            name = "passed" if lost <= passes else "failed" if lost >= fails else "inconclusive"
            sums[name] += ways * down**lost * up**won * (1 - discordance) ** same

    got = statistics.paired_chances(n, 0.1, confidence, drop, discordance)

    assert got == pytest.approx(tuple(sums.values()), abs=1e-6)


# The simulation


def test_the_recorded_simulation_keeps_its_promise() -> None:
    """No more than 5 % of releases without a change fail, and no more than 5 % pass that are worse by two margins."""
    found = json.loads(aa_simulation.OUT.read_bytes())
    worst = {one["what"]: one["worst"] for one in found["requirements"]}

    assert found["draws"] == 10_000
    assert all(worst[f"{table}: without a change it fails"] <= 0.05 for table in ("paired", "paired in groups", "min"))
    assert worst["paired: a model worse by twice the margin passes"] <= 0.05
    for row in found["paired"]:
        for name, exact in row.items():
            if name.startswith("exact_"):
                drawn = row[name.removeprefix("exact_")]
                assert list(drawn.values()) == pytest.approx(list(exact.values()), abs=0.02)


def test_the_simulation_repeats_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seed is fixed; it prints tables, or what it writes."""
    monkeypatch.setattr(aa_simulation, "SIZES", (60,))
    texts = []
    for arguments in ([], ["--json"]):
        assert aa_simulation.main(["--draws", "40", "--out", str(tmp_path / "found.json"), *arguments]) == 0
        texts.append((capsys.readouterr().out, (tmp_path / "found.json").read_text(encoding="utf-8")))

    assert texts[0][1] == texts[1][1] == texts[1][0]
    assert "inconclusive A/A pairs at 5 % discordance" in texts[0][0]
    assert np.isclose(sum(json.loads(texts[1][1])["paired"][0]["same"].values()), 1)

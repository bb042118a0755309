"""--control and [controls]: what the model must beat runs beside it, and is never judged itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_modelgate.identity import messages_digest
from pytest_modelgate.records import Message, Request

if TYPE_CHECKING:
    from tests.conftest import Project

FAILED = pytest.ExitCode.TESTS_FAILED
USAGE_ERROR = pytest.ExitCode.USAGE_ERROR
WRONG = json.dumps({"intent": "bug", "urgency": "low"})
RIGHT = json.dumps({"intent": "billing", "urgency": "low"})
BASE = "replay:journal.jsonl#base"
MODEL = "replay:journal.jsonl#cand"


def many_cases(project: Project, n: int, *, right: int, base: int) -> None:
    """Make ``n`` golden cases alone, of which the candidate answers ``right`` rightly and the control ``base``."""
    head = 'version = 1\n[suites]\ngolden = "golden/*.jsonl"\n[tasks.support]\nkind = "classification"\nfields = "intent"\n'
    project.write_gates(head=head, intent='metric = "accuracy.intent"\nmin = 0.1\nuplift_over = { base = 0.1 }')
    project.rows.clear()
    project.write_cases("golden", *(project.case(f"c{i}") for i in range(n)))
    (project.path / "journal.jsonl").unlink()
    project.record({f"golden/c{i}": WRONG for i in range(right, n)})
    project.record({f"golden/c{i}": WRONG for i in range(base, n)}, target="base")


def uplift(project: Project, limit: str = "{ base = 0.1 }", more: str = "") -> None:
    """Demand that the candidate beats controls, in one gate."""
    project.write_gates(beats=f'metric = "accuracy.intent"\nsuites = ["golden"]\nuplift_over = {limit}\n{more}')


@pytest.mark.parametrize("given", ["--control", "--modelgate-control", "[controls]"])
def test_a_control_is_run_and_not_judged(project: Project, mode: tuple[str, ...], given: str) -> None:
    """A control that gets everything wrong, critical cases included, has letter c and fails nothing."""
    project.record(dict.fromkeys(("golden/late", "golden/crash", "heldout/other"), WRONG), target="base")
    if given == "[controls]":
        gates = project.path / "gates.toml"
        gates.write_text(gates.read_text() + f'\n[controls]\nbase = "{BASE}"\n')

    result = project.run(*([] if given == "[controls]" else [given, BASE]), *mode)

    assert result.ret == 0
    assert project.report["verdict"] == "passed"
    assert project.outcomes["golden/late[base]"] == "failed"
    assert [name for name in project.gates if not name.endswith("[cand]")] == []
    assert {target["id"]: target["role"] for target in project.report["targets"]} == {
        "cand": "model",
        "base": "control",
    }
    result.stdout.fnmatch_lines(["modelgate: cand (replay) against base; 7 cases, 3 gates from gates.toml"])
    result.stdout.fnmatch_lines(["*, 7 control*"])
    assert str(result.stdout).count("FAILED") == 0


def test_letter_and_word(project: Project) -> None:
    """The progress shows c, -v shows CONTROL, right or wrong."""
    project.record({"golden/late": WRONG}, target="base")

    shown = project.run("--control", BASE, "-p", "no:xdist")
    shown.stdout.fnmatch_lines(
        ["golden/support.jsonl ... *", "golden/support.jsonl ccc *", "heldout/support.jsonl ccggg *"]
    )
    shown = project.run("--control", BASE, "-v")
    shown.stdout.fnmatch_lines(["golden/support.jsonl::late[[]base[]] CONTROL *"])


@pytest.mark.parametrize("arguments", [("--modelgate-strict",), ("-x",), ("--modelgate-fail-fast",)])
def test_no_option_makes_a_control_fail(project: Project, arguments: tuple[str, ...]) -> None:
    """Neither strictness nor stopping at the first failure looks at controls."""
    project.record(dict.fromkeys(("golden/late", "golden/crash", "heldout/other"), WRONG), target="base")

    assert project.run("--control", BASE, *arguments).ret == 0
    assert len(project.outcomes) == 14


def test_a_python_function_is_a_control(project: Project, mode: tuple[str, ...]) -> None:
    """python:module:function gets the messages and returns the answer; it is imported from where pytest starts."""
    project.write(
        "rules.py",
        "import json\n"
        "def answer(messages):\n"
        "    assert [turn['role'] for turn in messages] == ['system', 'user'], messages\n"
        "    intent = 'bug' if 'crash' in messages[-1]['content'] else 'billing'\n"
        "    return json.dumps({'intent': intent, 'urgency': 'low'})\n",
    )
    uplift(project, "{ rules = 0.3 }")

    result = project.run("--control", "python:rules:answer,id=rules", *mode)

    assert result.ret == 0
    assert project.gates == {"beats[cand]": "passed"}
    (gate,) = project.report["gates"]
    assert (gate["observed"], gate["baseline"], gate["limit"]) == (
        1.0,
        pytest.approx(2 / 3),
        {"uplift_over.rules": 0.3},
    )
    assert project.outcomes["golden/crash[rules]"] == "missed"  # its urgency is wrong
    assert project.outcomes["golden/late[rules]"] == "passed"


def test_a_python_control_is_asked_again_in_every_run(project: Project) -> None:
    """What a function imports may change without its file changing: nothing of it is reused."""
    uplift(project, "{ answer = 0.9 }")
    for text, outcome in (("?", "passed"), (RIGHT, "failed")):
        project.write("rules.py", f"def answer(messages):\n    return {text!r}\n")
        project.run("--control", "python:rules:answer")
        assert project.gates["beats[cand]"] == outcome, text


def test_paths_are_relative_to_where_they_are_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """--control is relative to the working folder, [controls] to gates.toml."""
    project.record(target="base")
    project.write("far.py", f"def answer(messages):\n    return {WRONG!r}\n")
    project.write("sub/near.py", f"def answer(messages):\n    return {WRONG!r}\n")
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text() + f'\n[controls]\nfar = "python:far:answer"\nbase = "{BASE}"\n')
    monkeypatch.chdir(project.path / "sub")

    result = project.run(
        *("--gates", "../gates.toml", "--modelgate-out", "../.modelgate"),
        *("--control", "python:near:answer,id=near", "--control", "replay:../journal.jsonl#base,id=again"),
        models=["replay:../journal.jsonl#cand"],
    )

    assert result.ret == 0
    assert [target["id"] for target in project.report["targets"]] == ["cand", "near", "again", "far", "base"]
    assert {outcome for name, outcome in project.outcomes.items() if "near" in name or "far" in name} <= {
        "failed",
        "missed",
        "passed",
    }


@pytest.mark.parametrize(
    ("controls", "declared", "told"),
    [
        ([MODEL], "", f"--control {MODEL}: target id 'cand' is already that of --model {MODEL}"),
        ([BASE, BASE], "", f"--control {BASE}: target id 'base' is already that of --control {BASE}"),
        ([], f'cand = "{BASE}"', f"--control {BASE},id=cand: target id 'cand' is already that of --model {MODEL}"),
    ],
)
def test_ids_are_told_apart(project: Project, controls: list[str], declared: str, told: str) -> None:
    """A control never takes a model's id, nor another control's: one would be compared with itself."""
    project.record(target="base")
    gates = project.path / "gates.toml"
    gates.write_text(f"{gates.read_text()}\n[controls]\n{declared}\n")

    result = project.run(*(part for spec in controls for part in ("--control", spec)))

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {told}; add ,id=NAME to one of them"])


def test_the_command_line_names_a_declared_control_anew(project: Project) -> None:
    """--control with the id of one in [controls] is that control for this run."""
    project.record(dict.fromkeys(("golden/late", "golden/crash", "golden/money-back"), "?"), target="poor")
    uplift(project, "{ base = 0.9 }", more='\n[controls]\nbase = "replay:journal.jsonl#cand"\n')

    assert project.run().ret == FAILED
    assert project.run("--control", "replay:journal.jsonl#poor,id=base").ret == 0
    assert [target["spec"] for target in project.report["targets"] if target["id"] == "base"] == [
        "replay:journal.jsonl#poor,id=base"
    ]


@pytest.mark.parametrize(
    ("right", "base", "confidence", "outcome", "reason"),
    [
        (9, 8, "", "passed", "better than base: 0.1 >= 0.1"),
        (8, 8, "", "failed", "better than base: 0 < 0.1"),
        (2, 8, "", "failed", "better than base: -0.6 < 0.1"),
        (
            10,
            8,
            "confidence = 0.95",
            "inconclusive",
            "inconclusive: better than base: is 0.2, at 95% confidence between *; the limit is 0.1",
        ),
        (10, 0, "confidence = 0.95", "passed", "better than base: is at least 0.57* at 95% confidence, >= 0.1"),
        (0, 9, "confidence = 0.95", "failed", "better than base: is at most -0.* at 95% confidence, < 0.1"),
    ],
)
def test_uplift(project: Project, right: int, base: int, confidence: str, outcome: str, reason: str) -> None:
    """The difference on the same cases must reach the limit; with ``confidence`` its bound must."""
    many_cases(project, 10, right=right, base=base)
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text().replace("min = 0.1\n", f"{confidence}\n"))

    result = project.run("--control", BASE)

    assert project.gates == {"intent[cand]": outcome}
    assert result.ret == (outcome != "passed")
    (gate,) = project.report["gates"]
    assert (gate["observed"], gate["baseline"], gate["n"]) == (right / 10, base / 10, 10)
    pytest.LineMatcher([gate["reason"]]).fnmatch_lines([reason.replace("[", "[[]")])


def test_uplift_of_a_rate_that_should_be_low(project: Project) -> None:
    """Where lower is better, the control must be higher."""
    project.record(target="base", finish_reason="length")
    project.write_gates(
        ends='metric = "truncation_rate"\nmax = 0.1\nuplift_over = { base = 0.9 }',
        form='metric = "json_parse_rate"\nmin = 0.5',
    )

    assert project.run("--control", BASE).ret == 0
    assert project.gates["ends.uplift_over.base[cand]"] == "passed"
    project.run("--control", f"{MODEL},id=base", models=[f"{BASE},id=off"])
    assert project.gates["ends.uplift_over.base[off]"] == "failed"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "none"),
        (["zero"], "zero"),
        (["zero", "rival"], "zero, rival"),
    ],
)
def test_a_control_that_was_not_run_blocks(project: Project, given: list[str], told: str) -> None:
    """An uplift over a control that is not there is not evaluated, which blocks and names it and those that are."""
    uplift(project)
    for name in given:
        project.record(target=name)

    result = project.run(*(part for name in given for part in ("--control", f"replay:journal.jsonl#{name}")))

    assert result.ret == FAILED
    assert project.gates == {"beats[cand]": "not evaluated"}
    result.stdout.fnmatch_lines([f"  gate beats[[]cand[]]: not evaluated: control 'base' was not run; run are {told}"])


def test_another_model_is_no_control(project: Project) -> None:
    """A target that is judged itself, or the model as its own rival, does not stand in for a control."""
    project.record({"golden/late": WRONG}, target="base")
    uplift(project, "{ base = 0.0 }")

    assert project.run(models=[MODEL, BASE]).ret == FAILED
    assert project.gates == {"beats[cand]": "not evaluated", "beats[base]": "not evaluated"}


def test_a_deselected_control_leaves_the_gate_incomplete(project: Project) -> None:
    """-k cand runs no control: there is nothing to compare with, and that is no pass."""
    project.record({"golden/late": WRONG}, target="base")
    uplift(project)

    result = project.run("--control", BASE, "-k", "cand")

    assert result.ret == FAILED
    assert project.gates == {"beats[cand]": "incomplete"}
    result.stdout.fnmatch_lines(["*3 of 3 cases have no result (3 not run) for control 'base'*"])


def test_a_misspelt_control_is_suggested(project: Project) -> None:
    """A gate that names no control of the run, while one of a near name was given, is a mistake."""
    project.record(target="base")
    uplift(project, "{ bsae = 0.1 }")

    result = project.run("--control", BASE)

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: gates.toml: [[]gates.beats[]] uplift_over: no control 'bsae' (did you mean 'base'?); given are base"]
    )


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise LookupError('nothing there')", "rules:answer raised LookupError: nothing there"),
        ("return None", "rules:answer must return text, got NoneType"),
        ("return 5", "rules:answer must return text, got int"),
        ("return {'intent': 'bug'}", "rules:answer must return text, got dict"),
        ("return b'text'", "rules:answer must return text, got bytes"),
        ("raise SystemExit('enough')", "rules:answer raised SystemExit: enough"),
    ],
)
def test_a_control_without_an_answer_beats_nobody(
    project: Project, mode: tuple[str, ...], body: str, told: str
) -> None:
    """A function that raises or returns no text leaves the gate incomplete: never a pass, and no fault of the model."""
    project.write("rules.py", f"def answer(messages):\n    {body}\n")
    uplift(project, "{ rules = 0.1 }")

    result = project.run("--control", "python:rules:answer,id=rules", *mode)

    assert result.ret == FAILED
    assert project.gates == {"beats[cand]": "incomplete"}
    assert {case["error"] for case in project.report["cases"] if case["target"] == "rules"} == {f"refused: {told}"}
    assert project.report["reasons"] == [
        "gate beats[cand]: incomplete: 3 of 3 cases have no result (3 with an engine error) for control 'rules'"
    ]
    assert f"rules (control): 7 of 7 cases run: 7 error, the first: refused: {told}" in project.gate_lines(result)


def test_a_broken_control_that_no_gate_needs_fails_nothing(project: Project) -> None:
    """A control's errors are the control's own."""
    project.write("rules.py", "def answer(messages):\n    raise LookupError\n")

    assert project.run("--control", "python:rules:answer").ret == 0


def test_another_system_text_is_the_controls_own(project: Project) -> None:
    """``system=FILE`` changes what that control is told, and nobody else."""
    project.write("better.txt", "Label the message, and do it well.\n")
    project.write(
        "rules.py",
        f"def answer(messages):\n    return {RIGHT!r} if 'well' in messages[0]['content'] else {WRONG!r}\n",
    )
    rows = [json.loads(line) for line in (project.path / "journal.jsonl").read_text().splitlines()]
    told = (Message("system", "Label the message."), Message("user", ""))
    for row in rows:
        case = next(case for case in project.rows[row["suite"]] if case["id"] == row["case"])
        asked = (told[0], Message("user", case["input"]))
        row["messages_sha256"] = messages_digest(Request("", 1, messages=asked))
    project.write("journal.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    result = project.run(
        *("--control", "python:rules:answer,id=plain"),
        *("--control", "python:rules:answer,id=prompted,system=better.txt"),
    )

    assert result.ret == 0
    assert {outcome for name, outcome in project.outcomes.items() if "[cand]" in name} == {"passed"}
    assert project.outcomes["golden/late[plain]"] == "failed"
    assert project.outcomes["golden/late[prompted]"] == "passed"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("python:rules:answer,system=nowhere.txt", "system=: no such file: *nowhere.txt"),
        ("python:rules:other", "cannot import 'rules:other': module 'rules' has no attribute 'other'"),
        ("python:rulez:answer", "cannot import 'rulez:answer': No module named 'rulez'"),
        ("python:rules:NAME", "rules:NAME is not a function"),
        ("python:rules", "a Python control is written python:package.module:function"),
        ("python:broken:answer", "importing 'broken:answer' raised ZeroDivisionError: division by zero"),
        ("replay:journal.jsonl#bsae", "*holds no generation of target 'bsae'; recorded are cand"),
        ("nowhere.gguf", "no such file or folder: *"),
        ("nowhere.gguf,idd=x", "option 'idd=x' is unknown (did you mean 'id'?); *"),
    ],
)
def test_a_control_that_cannot_be_run_is_a_mistake(project: Project, spec: str, told: str) -> None:
    """What is wrong with a control is said before anything runs, with the option that it stands behind."""
    project.write("rules.py", f"NAME = 'x'\ndef answer(messages):\n    return {WRONG!r}\n")
    project.write("broken.py", "1 / 0\n")

    result = project.run("--control", spec)

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --control {spec}: {told}"])


def test_a_function_is_no_model(project: Project) -> None:
    """A Python function cannot be released."""
    result = project.run(models=["python:rules:answer"])

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --model python:rules:answer: a Python function is no model; give it as *"])


@pytest.mark.parametrize("option", ["--control", "--modelgate-control"])
def test_a_control_needs_a_model(project: Project, option: str) -> None:
    """A control alone is a mistake, and is not silently left out of a run of unit tests."""
    project.write("test_own.py", "def test_it():\n    pass\n")

    result = project.run(option, BASE, models=[])

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --control needs --model, the target that is judged"])


def test_a_conftest_that_owns_control_keeps_it(project: Project) -> None:
    """A project with its own --control keeps it; --modelgate-control is modelgate's, and the run says so."""
    project.write(
        "conftest.py",
        "import pytest\n"
        "def pytest_addoption(parser):\n    parser.addoption('--control', default='none')\n"
        "@pytest.fixture\ndef control(request):\n    return request.config.getoption('--control')\n",
    )
    project.write("test_own.py", "def test_it(control):\n    assert control == 'small'\n")
    project.record({"golden/late": WRONG}, target="base")

    own = project.run("--control", "small", models=[], fresh=True)
    own.assert_outcomes(passed=1)
    assert own.ret == 0
    assert "modelgate: --control is another plugin's option here; --modelgate-control judges a release" in own.outlines

    both = project.run("--control", "small", "--modelgate-control", BASE, fresh=True)
    assert both.ret == 0
    assert [target["id"] for target in project.report["targets"]] == ["cand", "base"]

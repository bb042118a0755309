"""Users bring their own contracts and metrics, by import path or by entry point; what they do wrong is never a pass."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelgate import measuring
from pytest_modelgate.contracts import bounded
from tests.conftest import HEAD

if TYPE_CHECKING:
    from tests.conftest import Project

FAILED = pytest.ExitCode.TESTS_FAILED
USAGE_ERROR = pytest.ExitCode.USAGE_ERROR
WRONG = json.dumps({"intent": "bug", "urgency": "low"})
CONTRACT = '''
def no_prices(output, case):
    """Forbid prices that the customer did not name."""
    if "$" in output and "$" not in case["input"]:
        return "names a price"
'''
SHARE = '''
from pytest_modelgate.metrics import own_share

@own_share
def answer_rate(record):
    """Tell whether the output is not empty."""
    return bool(record.output.strip())
'''
RATE = '''
from pytest_modelgate.metrics import own_rate

@own_rate
def shouting(record):
    """Tell whether the output is in capitals."""
    return record.output.isupper()
'''
FROM_RECORDS = '''
from pytest_modelgate.metrics import Measurement

def mean_length(records):
    """Return the mean length of the outputs."""
    return Measurement(sum(len(record.output) for record in records) / len(records), len(records))
'''


def with_contract(project: Project, *names: str) -> None:
    """Let the support task keep these contracts, and gate on them."""
    head = HEAD + f"contracts = {json.dumps(names)}\n"
    project.write_gates(head=head, it='metric = "contract_validity"\nmin = 0.9')


def with_metric(project: Project, name: str, limit: str = "min = 0.9") -> None:
    """Gate on one metric alone."""
    project.write_gates(it=f'metric = "{name}"\n{limit}')


def offer(project: Project, monkeypatch: pytest.MonkeyPatch, group: str, name: str, value: str, code: str) -> None:
    """Install a package, as far as Python sees it, that offers ``value`` under ``name``."""
    project.write(f"site/{value.partition(':')[0]}.py", textwrap.dedent(code))
    project.write("site/theirs-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    project.write("site/theirs-1.0.dist-info/entry_points.txt", f"[{group}]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(project.path / "site")
    monkeypatch.setenv("PYTHONPATH", str(project.path / "site"))  # of processes of their own


def gate(project: Project) -> dict[str, Any]:
    """Return the gate's result in report.json."""
    (found,) = project.report["gates"]
    return dict(found)


# Contracts


@pytest.mark.parametrize("way", ["import path", "entry point"])
def test_a_contract_of_ones_own(
    project: Project, mode: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A function beside gates.toml, or one that a package offers; its reason is a violation under its name."""
    if way == "import path":
        project.write("my_checks.py", CONTRACT)
        name = "my_checks:no_prices"
    else:
        offer(project, monkeypatch, "modelgate.contracts", "no-prices", "their_checks:no_prices", CONTRACT)
        name = "no-prices"
    with_contract(project, name)
    assert project.run(*mode, fresh=bool(mode)).ret == 0
    project.record({"heldout/other": json.dumps({"intent": "$5", "urgency": "low"})}, target="off")

    result = project.run(*mode, target="off", fresh=bool(mode))

    assert result.ret == FAILED
    assert gate(project)["observed"] == pytest.approx(6 / 7)
    (case,) = (case for case in project.report["cases"] if case["violations"])
    assert {"contract": name, "message": "names a price"} in case["violations"]
    assert case["outcome"] == "missed"


def test_a_contract_knows_its_case(project: Project) -> None:
    """It gets id, input, expected and tags; a critical case that breaks it fails."""
    project.write(
        "my_cases.py",
        """
def check(output, case):
    assert sorted(case) == ["expected", "id", "input", "tags"], case
    if case["tags"] == ["payment"]:
        return f"{case['id']}: {case['input']} {case['expected']['intent']}"
""",
    )
    with_contract(project, "my_cases:check")

    assert project.run().ret == FAILED
    assert project.outcomes["golden/late[cand]"] == "failed"
    (case,) = (case for case in project.report["cases"] if case["violations"])
    assert case["violations"][0]["message"] == "late: About late. billing"


def test_several_contracts_are_all_asked(project: Project) -> None:
    """Each contract that is broken is a violation of its own."""
    project.write("my_two.py", "def one(o, c):\n    return 'first'\ndef two(o, c):\n    return 'second'\n")
    with_contract(project, "my_two:one", "my_two:two")

    project.run()

    assert [violation["message"] for violation in project.report["cases"][0]["violations"]] == ["first", "second"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise KeyError('x')", "the check raised KeyError: 'x'"),
        ("raise SystemExit(0)", "the check raised SystemExit: 0"),
        ("return output.nonsense", "the check raised AttributeError: 'str' object has no attribute 'nonsense'"),
        ("while True: pass", "the check was not done after 0.2 s"),
        ("import re; re.match('(a+)+$', 'a' * 99 + 'b')", "the check was not done after 0.2 s"),
        ("return True", "the check must return None or a reason, got True"),
        ("return False", "the check must return None or a reason, got False"),
        ("return 0", "the check must return None or a reason, got 0"),
        ("return ''", "the check must return None or a reason, got ''"),
        ("return []", "the check must return None or a reason, got []"),
        ("return '\\ud800 \\x1b[31m'", "\\ud800 \x1b[31m"),
    ],
)
def test_a_contract_that_goes_wrong_is_broken(
    project: Project, monkeypatch: pytest.MonkeyPatch, body: str, told: str
) -> None:
    """Whatever a contract does that is no answer is a violation under its name, never a pass."""
    monkeypatch.setattr(bounded, "SECONDS", 0.2)
    project.write("my_faults.py", f"def check(output, case):\n    {body}\n")
    with_contract(project, "my_faults:check")

    result = project.run("-k", "golden and crash")

    assert result.ret == FAILED
    (case,) = project.report["cases"]
    assert case["violations"] == [{"contract": "my_faults:check", "message": told}]
    assert case["outcome"] == "missed"
    assert "\x1b[31m" not in str(result.stdout)


def test_a_hanging_contract_under_xdist(project: Project) -> None:
    """Workers bound a contract's time as well."""
    project.write(
        "my_hang.py",
        "from pytest_modelgate.contracts import bounded\n"
        "bounded.SECONDS = 0.2\n"
        "def check(output, case):\n    while True: pass\n",
    )
    with_contract(project, "my_hang:check")

    assert project.run("-n", "2").ret == FAILED
    assert {case["outcome"] for case in project.report["cases"]} == {"missed", "failed"}


# Metrics


@pytest.mark.parametrize("way", ["import path", "entry point"])
def test_a_share_of_ones_own(
    project: Project, mode: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Seven lines make a metric of a function from one record to true or false, with its interval."""
    assert len(SHARE.strip().splitlines()) <= 10
    if way == "import path":
        project.write("my_metrics.py", SHARE)
        name = "my_metrics:answer_rate"
    else:
        offer(project, monkeypatch, "modelgate.metrics", "answers", "their_metrics:answer_rate", SHARE)
        name = "answers"
    with_metric(project, name)
    assert project.run(*mode, fresh=bool(mode)).ret == 0
    assert (gate(project)["metric"], gate(project)["observed"], gate(project)["n"]) == (name, 1.0, 7)
    assert gate(project)["interval"] == [pytest.approx(0.6457, abs=1e-4), 1.0]
    project.record({"heldout/other": " \n"}, target="off")

    result = project.run(*mode, target="off", fresh=bool(mode))

    assert result.ret == FAILED
    assert gate(project)["reason"] == f"{name} 0.8571 < 0.9"


def test_a_share_goes_where_shares_go(project: Project) -> None:
    """It has bounds for ``confidence``, can be compared with a control, and counts the gate's slice."""
    project.write("my_shares.py", SHARE)
    project.record({"golden/late": "", "golden/crash": "", "golden/money-back": ""}, target="base")
    with_metric(
        project,
        "my_shares:answer_rate",
        'min = 0.3\nconfidence = 0.95\nsuites = ["golden"]\nuplift_over = { base = 0.05 }',
    )

    result = project.run("--control", "replay:journal.jsonl#base")

    assert result.ret == 0
    assert project.gates == {"it.min[cand]": "passed", "it.uplift_over.base[cand]": "passed"}
    assert [found["n"] for found in project.report["gates"]] == [3, 3]


def test_a_rate_should_be_low(project: Project) -> None:
    """Of own_rate lower is better: ``max`` is its limit, and ``min`` alone would block no worse model."""
    project.write("my_rates.py", RATE)
    with_metric(project, "my_rates:shouting", "max = 0.1")
    assert project.run().ret == 0
    project.record({"heldout/other": "NO"}, target="off")
    assert project.run(target="off").ret == FAILED

    with_metric(project, "my_rates:shouting", "min = 0.1")
    assert project.run().ret == USAGE_ERROR


def test_a_record_that_does_not_count(project: Project) -> None:
    """None leaves a record out; where none counts there is no value, which is no pass."""
    project.write(
        "my_parts.py",
        "from pytest_modelgate.metrics import own_share\n"
        "@own_share\n"
        "def part(record):\n    return True if record.suite == 'golden' else None\n"
        "@own_share\n"
        "def none(record):\n    return None\n",
    )
    with_metric(project, "my_parts:part")
    assert project.run().ret == 0
    assert gate(project)["n"] == 3

    with_metric(project, "my_parts:none")
    assert project.run().ret == FAILED
    assert gate(project)["outcome"] == "not evaluated"


@pytest.mark.parametrize(("limit", "outcome"), [("min = 10", "passed"), ("min = 1000", "failed")])
def test_a_figure_of_ones_own(project: Project, limit: str, outcome: str) -> None:
    """A function from records to a Measurement is a metric as it is; its value need be no share."""
    project.write("my_figures.py", FROM_RECORDS)
    with_metric(project, "my_figures:mean_length", limit)

    assert project.run().ret == (outcome != "passed")
    assert gate(project)["outcome"] == outcome


def test_a_figure_that_should_be_low(project: Project) -> None:
    """``better = "lower"`` on the function says which way is worse."""
    project.write("my_lows.py", f'{FROM_RECORDS}\nmean_length.better = "lower"\n')
    with_metric(project, "my_lows:mean_length", "max = 1000")

    assert project.run().ret == 0


def test_a_project_can_test_its_own_metric(project: Project) -> None:
    """What the decorator leaves is a metric that measures records, in a test like any other."""
    project.write("my_tested.py", SHARE)
    project.write(
        "test_own.py",
        "from pytest_modelgate.records import Record\n"
        "from my_tested import answer_rate\n"
        "def test_it():\n"
        "    records = [Record('t', 's', 'k', 'c', 'passed', output=text) for text in ('a', ' ')]\n"
        "    assert answer_rate(records).value == 0.5\n",
    )

    project.run("-p", "no:modelgate", models=[], fresh=True).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def m(records):\n    raise KeyError('x')", "raised KeyError: 'x'"),
        ("def m(records):\n    raise SystemExit(0)", "raised SystemExit: 0"),
        ("def m(records):\n    while True: pass", "was not done after 0.2 s"),
        ("def m(records):\n    return None", "must return a Measurement, got NoneType"),
        ("def m(records):\n    return 1.0", "must return a Measurement, got float"),
        ("def m(records):\n    return True", "must return a Measurement, got bool"),
        (
            "def m(record):\n    return bool(record.output)",
            "raised AttributeError: 'list' object has no attribute 'output'",
        ),
        ("def m():\n    return 1", "raised TypeError: m() takes 0 positional arguments but 1 was given"),
        ("def m(records):\n    return Measurement(float('nan'), 5)", "returned nan, n = 5: no figure"),
        ("def m(records):\n    return Measurement(float('inf'), 5)", "returned inf, n = 5: no figure"),
        ("def m(records):\n    return Measurement('1', 5)", "returned '1', n = 5: no figure"),
        ("def m(records):\n    return Measurement(1.0, None)", "returned 1.0, n = None: no figure"),
        ("def m(records):\n    return Measurement(1.0, 5, (0, float('nan')))", "returned 1.0, n = 5: no figure"),
        ("def m(records):\n    return Measurement(1.0, 5, 7)", "raised TypeError: *"),
        ("def m(records):\n    return Measurement(1.0, 5, bounds=lambda c: c / 0)", "raised ZeroDivisionError: *"),
        ("def m(records):\n    return Measurement(1.0, 5, pool='no')", "raised AttributeError: *"),
        ("@own_share\ndef m(record):\n    raise KeyError('x')", "raised KeyError: 'x'"),
        ("@own_share\ndef m(record):\n    while True: pass", "was not done after 0.2 s"),
        (
            "@own_share\ndef m(record):\n    return 'yes'",
            "raised TypeError: True, False or None is wanted, got 'yes' *",
        ),
        ("@own_share\ndef m(record):\n    return 0.5", "raised TypeError: True, False or None is wanted, got 0.5 *"),
        ("@own_share\ndef m(record):\n    return 1", "raised TypeError: True, False or None is wanted, got 1 *"),
        ("@own_share\ndef m(records):\n    return Measurement(1.0, 5)", "raised TypeError: True, False or None *"),
    ],
)
@pytest.mark.parametrize("limit", ["min = 0.5", "min = 0.5\nmax = 2", "min = 0.5\nconfidence = 0.9"])
def test_a_metric_that_goes_wrong_is_incomplete(
    project: Project, monkeypatch: pytest.MonkeyPatch, code: str, told: str, limit: str
) -> None:
    """Whatever a metric does that is no figure is said under its name, and blocks."""
    monkeypatch.setattr(measuring, "OWN_METRIC_SECONDS", 0.2)
    project.write("my_wrongs.py", f"from pytest_modelgate.metrics import Measurement, own_share\n{code}\n")
    if "own_share\ndef" in code and "max" in limit:
        limit = "min = 0.5"
    with_metric(project, "my_wrongs:m", limit)

    result = project.run()

    assert result.ret == FAILED
    for found in project.report["gates"]:
        assert found["outcome"] == "incomplete"
        pytest.LineMatcher([found["reason"]]).fnmatch_lines([f"incomplete: my_wrongs:m {told}"])
    assert project.report["verdict"] == "blocked"


def test_a_metric_of_ones_own_and_the_other_options(project: Project, mode: tuple[str, ...]) -> None:
    """Strictness, fail-fast and repeats ask it no sooner and take it no ill."""
    project.write(
        "my_odd.py", "from pytest_modelgate.metrics import own_share\n@own_share\ndef m(record):\n    1 / 0\n"
    )
    with_metric(project, "my_odd:m")

    result = project.run("--modelgate-fail-fast", "--modelgate-repeat", "2", "--modelgate-strict", *mode)

    assert result.ret == FAILED
    assert len(project.outcomes) == 7
    assert gate(project)["reason"] == "incomplete: my_odd:m raised ZeroDivisionError: division by zero"


# Both


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("nowhere:check", "cannot import 'nowhere:check': No module named 'nowhere'"),
        ("my_names:chekc", "cannot import 'my_names:chekc': module 'my_names' has no attribute 'chekc'*"),
        ("my_names:VALUE", "my_names:VALUE is not a function"),
        ("my_names:", "cannot import 'my_names:': *"),
        (":check", "*':check'*"),
        ("my_broken:check", "importing 'my_broken:check' raised RuntimeError: not today"),
        ("my_exit:check", "importing 'my_exit:check' raised SystemExit: 3"),
        ("my_syntax:check", "importing 'my_syntax:check' raised *SyntaxError: *"),
        ("my_import:check", "cannot import 'my_import:check': No module named 'not_there'"),
        ("no-such-entry", "*no-such-entry*"),
    ],
)
@pytest.mark.parametrize("what", ["contract", "metric"])
def test_what_cannot_be_loaded_is_a_mistake(project: Project, what: str, written: str, told: str) -> None:
    """A name that leads nowhere is said before anything runs: one line, exit code 4."""
    project.write("my_names.py", "VALUE = 5\ndef check(*_):\n    return None\n")
    project.write("my_broken.py", "raise RuntimeError('not today')\n")
    project.write("my_exit.py", "raise SystemExit(3)\n")
    project.write("my_syntax.py", "def check(:\n")
    project.write("my_import.py", "import not_there\n")
    if what == "contract":
        with_contract(project, written)
        named = "tasks.support[]] contracts: "
    else:
        with_metric(project, written)
        named = "gates.it[]] metric: "

    result = project.run()

    assert result.ret == USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    if written == "no-such-entry" and what == "metric":
        assert line.startswith("ERROR: gates.toml: [gates.it] metric 'no-such-entry' is unknown; known are ")
    else:
        result.stderr.fnmatch_lines([f"ERROR: gates.toml: [[]{named}{told}"])


@pytest.mark.parametrize("what", ["contract", "metric"])
def test_an_entry_point_that_is_broken(project: Project, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """A package whose offer cannot be loaded is named, and not taken for a slip of the pen."""
    offer(project, monkeypatch, f"modelgate.{what}s", "polite", "their_broken:polite", "raise RuntimeError('no')\n")
    (with_contract if what == "contract" else with_metric)(project, "polite")

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{what}*: importing 'polite' raised RuntimeError: no"])


def test_known_entry_points_are_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt entry point says which there are."""
    offer(project, monkeypatch, "modelgate.contracts", "no-prices", "their_checks:no_prices", CONTRACT)
    with_contract(project, "no-price")

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["*'no-price' is neither package.module:function nor one of the *(no-prices)*"])


def test_a_project_module_need_not_be_on_the_path(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules are found beside gates.toml, from wherever pytest is started, and leave the path as it was."""
    project.write("my_checks.py", CONTRACT)
    with_contract(project, "my_checks:no_prices")
    project.write(
        "sub/conftest.py",
        "import sys\ndef pytest_unconfigure():\n    assert not [p for p in sys.path if p.endswith('_path0')]\n",
    )
    monkeypatch.chdir(project.path / "sub")

    result = project.run("--gates", "../gates.toml", models=["replay:../journal.jsonl#cand"], fresh=True)

    assert result.ret == 0

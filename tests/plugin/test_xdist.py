"""With workers the verdict is that of one process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project

FAILED = pytest.ExitCode.TESTS_FAILED
WRONG = json.dumps({"intent": "bug", "urgency": "low"})
BOTH = ["replay:journal.jsonl#cand", "replay:journal.jsonl#off"]
# Each item's process is written down, so that a test can see who ran what.
RECORDER = """\
import os, pathlib

def pytest_runtest_call(item):
    with pathlib.Path(__file__).with_name("ran.txt").open("a") as file:
        file.write(f"{item.nodeid} {os.getpid()}\\n")
"""


def workers_of(project: Project) -> dict[str, set[str]]:
    """Return the processes that ran cases of each target."""
    found: dict[str, set[str]] = {}
    for line in (project.path / "ran.txt").read_text().splitlines():
        nodeid, process = line.split()
        found.setdefault(nodeid.partition("[")[2].rstrip("]"), set()).add(process)
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n", "2"),
        ("-n", "2", "--dist", "loadfile"),
        ("-n", "2", "--dist", "loadscope"),
        ("-n", "2", "--dist", "worksteal"),
        ("-n", "auto"),
    ],
)
def test_same_verdict_and_gate_lines(project: Project, arguments: tuple[str, ...]) -> None:
    """Whatever --dist says, gate lines, reasons and report are those of one process, each target on one worker."""
    project.write("conftest.py", RECORDER)
    project.record({"golden/late": WRONG, "golden/crash": "no", "heldout/other": "no"}, target="off")
    alone = project.run(models=BOTH)
    lines, report = project.gate_lines(alone), project.report
    (project.path / "ran.txt").unlink()

    together = project.run(*arguments, models=BOTH)

    assert together.ret == alone.ret == FAILED
    assert project.gate_lines(together) == lines
    for key in ("verdict", "reasons", "gates", "cases", "targets", "suites", "selection"):
        assert project.report[key] == report[key]
    workers = workers_of(project)
    assert {target: len(processes) for target, processes in workers.items()} == {"cand": 1, "off": 1}
    assert workers["cand"] != workers["off"]


def test_user_tests_are_spread_as_ever(project: Project) -> None:
    """Unit tests whose parameter happens to be a target's id are not put on one worker with its cases."""
    project.write("conftest.py", RECORDER)
    project.write(
        "test_own.py",
        "import pytest, time\n@pytest.mark.parametrize('x', ['cand', 'other'])\n"
        "@pytest.mark.parametrize('y', range(4))\ndef test_it(x, y):\n    time.sleep(0.05)\n",
    )

    result = project.run("-n", "2", "golden", "heldout", "adversarial", "test_own.py")

    assert result.ret == 0
    assert len({line.split()[1] for line in (project.path / "ran.txt").read_text().splitlines()}) == 2


@pytest.mark.parametrize("restart", [(), ("--max-worker-restart=0",)])
def test_crashed_worker_leaves_gates_incomplete(project: Project, restart: tuple[str, ...]) -> None:
    """A case whose worker dies has no result: its gates are incomplete, the others are judged."""
    project.write(
        "conftest.py",
        "import os\ndef pytest_runtest_call(item):\n    if item.name == 'crash[cand]':\n        os._exit(3)\n",
    )
    project.record(target="off")

    result = project.run("-n", "2", *restart, models=BOTH)

    assert result.ret == FAILED
    assert project.report["verdict"] == "blocked"
    assert project.gates["form[cand]"] == "incomplete"
    assert project.gates["intent[cand]"] == "incomplete"
    assert "golden/crash[cand]" not in project.outcomes
    if not restart:
        assert len(project.outcomes) == 13
        assert project.gates["form[off]"] == "passed"
        result.stdout.fnmatch_lines(["*incomplete: 1 of 7 cases have no result (1 not run)"])


def test_workers_do_not_judge(project: Project) -> None:
    """The report is written once, by the process that decides."""
    result = project.run("-n", "2")

    assert result.ret == 0
    assert sorted(path.name for path in project.out.iterdir()) == [
        ".gitignore",
        "hashes.json",
        "report.json",
        "summary.md",
    ]
    assert str(result.stdout).count("verdict: passed") == 1


def test_without_xdist(project: Project) -> None:
    """With xdist switched off the run is the same."""
    result = project.run("-p", "no:xdist")

    assert result.ret == 0
    assert project.gate_lines(result)[-1] == "verdict: passed"


def test_without_plugin_autoload(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """With plugins loaded by name instead of by entry point, each target still has one worker."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    project.write("conftest.py", RECORDER)
    project.record(target="off")

    result = project.run("-p", "pytest_modelgate.plugin", "-p", "xdist.plugin", "-n", "2", models=BOTH, fresh=True)

    assert result.ret == 0
    assert {target: len(processes) for target, processes in workers_of(project).items()} == {"cand": 1, "off": 1}

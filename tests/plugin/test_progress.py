"""While targets answer a run says how far it is, without leaving anything on the screen that is not pytest's own."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.progress import Progress, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conftest import Project

COLUMNS, ROWS = 90, 60

# Stands for the run of a target: it tells of an answer for each test, while the test runs. Every answer takes the clock
# as many seconds as the environment says.
CONFTEST = """\
import os, time
import pytest
from pytest_modelgate.progress import ProgressLine
from pytest_modelgate.records import Generation

clock = [0.0]
STEP = float(os.environ["STEP"])

def pytest_configure(config):
    if not hasattr(config, "workerinput") and os.environ.get("SHOW", "1") == "1":
        config.pluginmanager.register(ProgressLine(config, lambda: clock[0]), "line")

@pytest.fixture(autouse=True)
def told(request):
    line = request.config.pluginmanager.get_plugin("line")
    if line is None:
        return
    if clock[0] == 0:
        line.start("cand", 90)
    clock[0] += STEP
    line.answered("cand", Generation("", output_tokens=10))
    time.sleep(float(os.environ.get("SLEEP", "0")))
"""
TESTS = (
    "import pytest\n@pytest.mark.parametrize('n', range(45))\ndef test_it(n):\n    print('noise')\n    assert n != 7\n"
)


class Clock:
    """Hold a time that tests set."""

    now = 0.0

    def __call__(self) -> float:
        """Return it."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return a clock at 0."""
    return Clock()


def told(clock: Clock, *, answers: int, seconds: float, **more: int) -> Progress:
    """Return the progress of a target that loads for ten seconds and gives its answers evenly."""
    progress = Progress(clock)
    progress.start("cand", 100)
    clock.now += 10
    for _ in range(answers):
        progress.add("cand", 20, **more)
        clock.now += seconds
    clock.now -= seconds
    return progress


# The text


def test_a_target_that_loads_is_said_to_start(clock: Clock) -> None:
    """Before the first answer nothing is known of its speed."""
    progress = Progress(clock)
    progress.start("cand", 100)

    assert progress.text() == "cand: starting"


def test_one_answer_tells_no_speed(clock: Clock) -> None:
    """The time of the first answer is mostly that of loading."""
    assert told(clock, answers=1, seconds=1).text() == "cand: 1 of 100 cases"


def test_speed_and_time_left_count_from_the_first_answer(clock: Clock) -> None:
    """Fifty answers of 20 tokens in 2 s each: 10 tokens a second, and 100 s for the other fifty."""
    assert told(clock, answers=50, seconds=2).text() == "cand: 50 of 100 cases, 10 tokens/s, 2 min left"


def test_drafts_are_told_where_there_are_any(clock: Clock) -> None:
    """The share of drafted tokens that were right stands beside the speed."""
    progress = told(clock, answers=51, seconds=1, drafted=10, accepted=9)

    assert progress.text() == "cand: 51 of 100 cases, 20 tokens/s, 90% of drafts accepted, 49 s left"


def test_targets_at_work_at_once_stand_beside_each_other(clock: Clock) -> None:
    """Their speeds add up; the slower one says how long it takes."""
    progress = told(clock, answers=51, seconds=1)
    progress.start("other", 10)

    assert progress.text() == "cand: 51 of 100 cases, other: starting, 20 tokens/s, 49 s left"


def test_a_target_that_is_done_is_not_shown(clock: Clock) -> None:
    """With its last answer a target goes, and with the last target the text."""
    assert told(clock, answers=100, seconds=1).text() == ""


def test_a_target_that_broke_off_is_not_shown(clock: Clock) -> None:
    """An engine that answers no more leaves nothing behind."""
    progress = told(clock, answers=3, seconds=1)
    progress.end("cand")

    assert progress.text() == ""


@given(width=st.integers(0, 120), answers=st.integers(0, 99))
def test_the_text_fits(width: int, answers: int) -> None:
    """Whatever room there is, the text takes no more, and the most important part is the last to go."""
    text = told(Clock(), answers=answers, seconds=0.5, drafted=4, accepted=2).text(width)

    assert len(text) <= width
    if answers > 1 and width >= len("50 s left"):
        assert text.endswith("left")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (99, "99 s"), (100, "2 min"), (5900, "98 min"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    """Seconds, then minutes, then hours."""
    assert duration(seconds) == text


# On a terminal


def on_a_terminal(project: Project, *arguments: str, **environment: str) -> tuple[list[str], list[str]]:
    """Return the lines that were on the screen in the middle of each test, and those that stay."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES", "CI", "NO_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *LEFT_OUT, *arguments],
        cwd=project.path,
        env=kept | {"TERM": "xterm", "STEP": "1"} | environment,
        stdin=side,
        stdout=side,
        stderr=side,
    )
    os.close(side)
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    seen: list[str] = []
    while True:
        try:
            data = os.read(main, 1 << 16)
        except OSError:  # the other side was closed
            break
        seen += screen.display  # before the next piece is written: pieces begin with what takes the text away
        stream.feed(data)
    process.wait(timeout=60)
    os.close(main)
    return seen, [line.rstrip() for line in screen.display if line.strip()]


LEFT_OUT = [
    part
    for name in ("hypothesispytest", "benchmark", "timeout", "anyio", "cacheprovider")
    for part in ("-p", f"no:{name}")
]


@pytest.fixture
def told_project(project: Project) -> Project:
    """Return a project whose tests tell of answers."""
    project.write("conftest.py", CONFTEST)
    project.write("test_it.py", TESTS)
    return project


def without_times(lines: Sequence[str]) -> list[str]:
    """Return lines without how long the run took."""
    return [re.sub(r"in [\d.]+s", "", line).strip("= ") for line in lines]


@pytest.mark.parametrize("arguments", [(), ("-v",), ("-o", "console_output_style=classic")])
def test_only_what_pytest_wrote_stays_on_the_screen(told_project: Project, arguments: tuple[str, ...]) -> None:
    """At the end the screen is the one of a run that shows no progress, which was seen on the way."""
    seen, stays = on_a_terminal(told_project, "test_it.py", *arguments)
    _, plain = on_a_terminal(told_project, "test_it.py", *arguments, SHOW="0")

    assert without_times(stays) == without_times(plain)
    assert any(re.search(r"test_it\.py.* {2}cand: \d+ of 90 cases, 10 tokens/s, \d+ s left", line) for line in seen)
    assert not any("left" in line for line in stays)


def test_quiet_runs_show_nothing(told_project: Project) -> None:
    """With -q nothing is written that was not asked for."""
    seen, _ = on_a_terminal(told_project, "test_it.py", "-q")

    assert not any("cand" in line for line in seen)


# Elsewhere


def piped(project: Project, *arguments: str, step: str) -> list[str]:
    """Return what a run writes that is no terminal's."""
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *LEFT_OUT, "-p", "no:cacheprovider", *arguments],
        cwd=project.path,
        env=os.environ | {"STEP": step},
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.splitlines()


PLAIN = re.compile(r"modelgate: cand: \d+ of 90 cases(, \d+ tokens/s)?, \d+ (s|min) left")


def test_plain_lines_in_ci(told_project: Project) -> None:
    """Without a terminal a line of its own comes every half minute, between whole lines of dots, without control codes."""
    lines = piped(told_project, "test_it.py", step="10")

    told = [line for line in lines if line.startswith("modelgate: ")]
    assert len(told) == 15  # 45 answers in 10 s each
    assert all(PLAIN.fullmatch(line) for line in told)
    start = next(number for number, line in enumerate(lines) if line.startswith("test_it.py "))
    end = next(number for number, line in enumerate(lines) if "FAILURES" in line)
    dots = "".join(line for line in lines[start:end] if line not in told)
    assert re.fullmatch(r"test_it\.py [.]{7}F[.]{37} *\[100%\]", dots)
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize(("arguments", "step"), [(("-q",), "10"), (("-v",), "10"), ((), "0.1")])
def test_no_plain_lines(told_project: Project, arguments: tuple[str, ...], step: str) -> None:
    """None with -q, none where every case has a line already, none in a run that is done in seconds."""
    assert not any("cand" in line for line in piped(told_project, "test_it.py", *arguments, step=step))


# With workers

STEPPING = """\
import itertools
from pytest_modelgate.progress import ProgressLine

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ProgressLine(config, itertools.count(0, 31).__next__))
"""


def test_workers_reports_tell_how_far_it_is(project: Project) -> None:
    """The deciding process counts the answers that workers report: of the cases that were selected, without replays."""
    project.write("conftest.py", STEPPING)
    project.write("rules.py", "def answer(messages):\n    return '{}'\n")

    result = project.run("-n", "1", "-k", "not heldout", "--control", "python:rules:answer", fresh=True)

    told = [line for line in result.outlines if line.startswith("modelgate: answer")]
    assert told[0] == "modelgate: answer: 1 of 5 cases"
    assert [line.partition(",")[0] for line in told] == [f"modelgate: answer: {n} of 5 cases" for n in (1, 2, 3, 4)]

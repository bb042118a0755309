"""Models are loaded once, as many at a time as there are cores for, and share what there is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelgate import xdist

if TYPE_CHECKING:
    from tests.conftest import Project

COUNTER = """\
import os, pathlib

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        with pathlib.Path(__file__).with_name("workers.txt").open("a") as file:
            file.write(config.workerinput["workerid"] + "\\n")
"""


@pytest.mark.parametrize(("cores", "targets", "workers"), [(8, 3, 3), (2, 3, 2), (1, 3, 1), (8, 1, 1)])
def test_n_auto_starts_a_worker_for_each_target_that_has_a_core(
    monkeypatch: pytest.MonkeyPatch, cores: int, targets: int, workers: int
) -> None:
    """-n auto loads no model twice, and no more of them at once than there are cores."""
    monkeypatch.setattr(xdist, "available_threads", lambda: cores)
    release: Any = SimpleNamespace(files=(), targets=[SimpleNamespace(id=f"t{n}") for n in range(targets)])

    assert xdist.OneWorkerPerTarget(release).pytest_xdist_auto_num_workers() == workers


def test_n_auto_in_a_run(project: Project) -> None:
    """A run of one target has one worker, whatever the machine has."""
    project.write("conftest.py", COUNTER)

    assert project.run("-n", "auto").ret == 0

    assert (project.path / "workers.txt").read_text(encoding="utf-8").splitlines() == ["gw0"]


@pytest.mark.parametrize(
    ("cores", "workers", "targets", "threads"), [(8, 2, 2, 4), (8, 4, 2, 4), (8, 2, 4, 4), (3, 2, 2, 1), (1, 2, 2, 1)]
)
def test_workers_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, targets: int, threads: int
) -> None:
    """As many workers as run targets at once divide the threads that this process may use."""
    monkeypatch.setattr(xdist, "available_threads", lambda: cores)
    config: Any = SimpleNamespace(workerinput={"workercount": workers})

    assert xdist.threads_of_this_process(config, targets) == threads


def test_one_process_takes_all_cores() -> None:
    """Without workers targets run one after the other, each on all threads."""
    config: Any = SimpleNamespace()

    assert xdist.threads_of_this_process(config, 3) is None

"""Models are loaded once, as many at a time as there are cores for, and share what there is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pytest_modelgate import xdist


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as if xdist's variable were not set."""
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)


def command_line(
    *, given: pytest.Config.ArgsSource = pytest.Config.ArgsSource.INVOCATION_DIR, **options: list[str]
) -> Any:
    """Return a run's configuration with these targets."""
    return SimpleNamespace(args_source=given, getoption=options.get)


@pytest.mark.parametrize(("cores", "targets", "workers"), [(8, 3, 3), (2, 3, 2), (1, 3, 1), (8, 1, 1)])
def test_n_auto_starts_a_worker_for_each_target_that_has_a_core(
    monkeypatch: pytest.MonkeyPatch, cores: int, targets: int, workers: int
) -> None:
    """-n auto loads no model twice, and no more of them at once than there are cores."""
    monkeypatch.setattr(xdist, "available_threads", lambda: cores)

    assert xdist.auto_workers(command_line(modelgate_model=["demo"] * targets)) == workers


def test_controls_and_references_have_a_worker_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of references only the first answers cases."""
    monkeypatch.setattr(xdist, "available_threads", lambda: 16)
    config = command_line(modelgate_model=["a"], modelgate_control=["b", "c"], modelgate_reference=["d", "e"])

    assert xdist.auto_workers(config) == 4


def test_n_auto_is_left_alone_where_paths_are_given() -> None:
    """They may hold tests of the user's own, which are spread over all cores as ever."""
    assert xdist.auto_workers(command_line(given=pytest.Config.ArgsSource.ARGS, modelgate_model=["demo"])) is None


def test_n_auto_is_left_alone_where_the_user_said_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Xdist's own variable counts."""
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "5")

    assert xdist.auto_workers(command_line(modelgate_model=["demo"])) is None


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

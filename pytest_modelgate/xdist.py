"""Work under pytest-xdist: the only module that knows of workers."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelgate.engines.host import available_threads
from pytest_modelgate.release import Release

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling


def is_worker(config: pytest.Config) -> bool:
    """Say whether this process runs items for a controller in another process."""
    return hasattr(config, "workerinput")


def threads_of_this_process(config: pytest.Config, targets: int) -> int | None:
    """
    Return how many threads an engine of this process may use: a share where several workers run targets at once.

    None: all that there are.
    """
    if not is_worker(config):
        return None
    busy = min(config.workerinput["workercount"], targets)  # type: ignore[attr-defined]  # xdist puts it there
    return int(max(1, available_threads() // max(1, busy)))


def auto_workers(config: pytest.Config) -> int | None:
    """
    Return how many workers ``-n auto`` starts: one for each target, but no more than there are cores.

    Each loads a model. None where paths are given, which may hold tests of the user's own, and where the user said how
    many "auto" are. xdist asks before anything is configured, so that targets can only be counted on the command line.
    """
    if config.args_source is pytest.Config.ArgsSource.ARGS or os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    given = (config.getoption(f"modelgate_{name}", None) or () for name in ("model", "control"))
    targets = sum(map(len, given)) + bool(config.getoption("modelgate_reference", None))
    return max(1, min(targets, available_threads()))


def stay_in_this_process(config: pytest.Config) -> None:
    """Run without workers: they would go on behind a suite that cannot be read."""
    if getattr(config.option, "dist", "no") != "no":
        config.option.dist = "no"


class OneWorkerPerTarget:
    """
    Give all cases of one target to one worker, so that its model is loaded once.

    Whatever ``--dist`` says: under loadfile, worksteal and each, every target landed on every worker, and loadgroup
    does nothing on pytest 9.2 with xdist 3.8 (pytest-xdist#1386).
    """

    def __init__(self, release: Release) -> None:
        files = "|".join(sorted({re.escape(file.path.name) for file in release.files}))
        names = "|".join(re.escape(target.id) for target in release.targets)
        self._case = re.compile(rf"(?:.*/)?(?:{files})::[A-Za-z0-9_.-]+\[({names})\]")

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> LoadScopeScheduling:
        """Schedule by target instead of by file or load."""
        from xdist.scheduler import LoadScopeScheduling

        case = self._case

        class TargetScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist's classes are untyped here
            def _split_scope(self, nodeid: str) -> str:
                match = case.fullmatch(nodeid)
                return match[1] if match else nodeid

            def remove_node(self, node: Any) -> str | None:
                # LoadScopeScheduling queues the item that killed a worker again with the rest of its scope: here a
                # whole target, whose cases after that item would never run.
                workload = self.assigned_work[node]
                pending = (item for unit in workload.values() for item, done in unit.items() if not done)
                crashed = next(pending, None)
                if crashed is not None:
                    workload[self._split_scope(crashed)][crashed] = True
                    for scope in [scope for scope, unit in workload.items() if all(unit.values())]:
                        del workload[scope]
                super().remove_node(node)
                return crashed

        return TargetScheduling(config, log)

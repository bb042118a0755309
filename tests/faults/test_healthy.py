"""Candidates that nothing is wrong with pass every check of a preflight."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_modelgate.preflight.check import STAGES
from pytest_modelgate.preflight.run import run_preflight
from tests.faults.healthy import HEALTHY, Healthy, make


def test_healthy_candidates_differ() -> None:
    """There are twenty of them, of two tasks, two bases, ranks from 4 to 32, each of its own seed."""
    assert len({one.name for one in HEALTHY}) == 20
    for values in ({one.task for one in HEALTHY}, {one.base for one in HEALTHY}, {one.ftype for one in HEALTHY}):
        assert len(values) == 2
    assert {one.rank for one in HEALTHY} == {4, 8, 16, 32}
    assert len({one.seed for one in HEALTHY}) == 20


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning"
)  # those of peft and transformers in a training
@pytest.mark.parametrize("healthy", HEALTHY, ids=lambda healthy: healthy.name)
def test_a_healthy_candidate_raises_no_alarm(healthy: Healthy, tmp_path: Path) -> None:
    """No check fails on a short real training that was merged and exported as every training here is."""
    results = list(run_preflight(make(healthy, tmp_path), STAGES))
    alarms = [f"{one.id}: {one.reason}" for one in results if one.outcome in {"failed", "warned"}]
    assert not alarms
    assert {one.stage for one in results if one.outcome == "passed"} == set(STAGES)

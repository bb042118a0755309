"""
Hand the times of the serial phase to pytest-benchmark, which shows, stores and compares them.

Its own fixture measures functions of tests and is switched off under xdist; what decides is our phase, so its session is
given finished samples. Without the extra ``bench``, or with ``-p no:benchmark``, nothing happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_modelgate.metrics import Measurement
from pytest_modelgate.metrics.performance import (
    STATISTICS,
    TIMES,
    measure_time,
    prompt_tokens_per_second,
    times,
    tokens_per_second,
)
from pytest_modelgate.records import Json, Performance
from pytest_modelgate.release import Release
from pytest_modelgate.targets import Target

GROUPS = {"latency_ms": "latency", "ttft_ms": "first token"}
"""The times that get a table, by metric, and its name."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Stand for a test's fixture: all that pytest-benchmark reads of one."""

    name: str
    fullname: str
    group: str
    param: str
    params: Json
    extra_info: Json
    has_error: bool = False
    cprofile_stats: None = None
    options: Json = field(default_factory=dict)


def show_speed(
    config: pytest.Config,
    release: Release,
    performances: Mapping[str, Performance],
    baseline: Target | None = None,
) -> None:
    """
    Add a row for each measured target, and for the ``baseline`` model, to pytest-benchmark's tables.

    Call it in the deciding process before the session ends. Rows are named ``latency[TARGET]`` and ``ttft[TARGET]``, in
    groups by what was timed; ``--benchmark-group-by=param:quantization`` and the like work. Nothing is added where the
    user gave ``--benchmark-disable`` or ``--benchmark-skip``.
    """
    session: Any = getattr(config, "_benchmarksession", None)
    if session is None or config.getoption("benchmark_disable") or config.getoption("benchmark_skip"):
        return
    from pytest_benchmark import stats

    metadata: Any = stats.Metadata  # untyped in a package that says it is typed
    path, root = release.gates_file.path, config.rootpath
    file = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    targets = {target.id: target for target in (*release.targets, *([baseline] if baseline is not None else []))}
    for name, group in GROUPS.items():
        for performance in (*performances.values(), *_baselines(performances)):
            values = times(performance, name)
            if performance.error is not None or not values:
                continue
            row = _row(file, name, group, performance, targets[performance.target])
            bench = metadata(row, iterations=1, options=row.options)
            for value in values:
                bench.update(value / 1000)  # in seconds
            session.benchmarks.append(bench)


def _baselines(performances: Mapping[str, Performance]) -> list[Performance]:
    """Return the baseline model's times; those beside the first target where it was measured with several."""
    return [one.against for one in performances.values() if one.against is not None and one.against.samples][:1]


def _row(file: str, name: str, group: str, performance: Performance, target: Target) -> _Row:
    """Describe one target's row."""
    short = name.removesuffix("_ms")
    quantization = (target.about.get("quantization") or {}).get("label")
    return _Row(
        name=f"{short}[{target.id}]",
        fullname=f"{file}::{short}[{target.id}]",
        group=group,
        param=target.id,
        params={"target": target.id, "quantization": quantization, "role": target.spec.role},
        extra_info={
            "sha256": target.sha256,
            "size_bytes": target.size_bytes,
            "quantization": target.about.get("quantization"),
            "engine": target.about.get("engine"),
            "settings": target.settings.to_json() | {"batch_size": 1},
            **{name: {one: _value(measure_time(performance, name, one)) for one in STATISTICS} for name in TIMES},
            "tokens_per_second": _value(tokens_per_second(performance)),
            "prompt_tokens_per_second": _value(prompt_tokens_per_second(performance)),
            "peak_rss_bytes": performance.peak_rss_bytes,
            "cost_per_1k_requests": performance.cost_per_1k_requests,
        },
    )


def _value(measured: Measurement) -> float | None:
    return None if measured.value is None else round(measured.value, 4)

"""pytest-benchmark shows, stores and compares what the serial phase measured; it decides nothing and measures nothing."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.conftest import Project

# Hands over made-up times, as the deciding process does with measured ones, for two replays and a last release.
CONFTEST = """\
import dataclasses, json, pathlib
import pytest
from pytest_modelgate import benchmark
from pytest_modelgate.records import Performance, Sample

@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info():
    return {"node": "here"}  # asking the processor takes seconds

@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session):
    result = yield
    controller = session.config.pluginmanager.get_plugin("modelgate-controller")
    if controller is not None:
        release = controller._release
        labels = {"cand": "Q8_0", "small": "Q4_K_M"}
        targets = tuple(
            dataclasses.replace(target, about={"quantization": {"label": labels[target.id]}}) for target in release.targets
        )
        release = dataclasses.replace(release, targets=targets)
        ms = json.loads(pathlib.Path(__file__).with_name("ms.json").read_text())
        found = {name: Performance(name, tuple(Sample(f"c{n}", one / 4000, one / 1000, 5, 40)
                 for n, one in enumerate(values)), 1000) for name, values in ms.items()}
        last = dataclasses.replace(targets[0], spec=dataclasses.replace(targets[0].spec, id="last"))
        if "last" in found:
            found = {name: dataclasses.replace(one, against=found["last"]) for name, one in found.items() if name != "last"}
        found["broken"] = Performance("broken", error="died")
        benchmark.show_speed(session.config, release, found, last)
    return result
"""
CAND = [10.0, 12.0, 14.0, 30.0]
SMALL = [5.0, 6.0, 7.0]
SPECS = ("replay:journal.jsonl#cand", "replay:journal.jsonl#small")


class Timed:
    """Run the project's two targets with made-up times."""

    def __init__(self, project: Project) -> None:
        self.project = project
        project.write("conftest.py", CONFTEST)
        project.record(target="small")
        self.set(cand=CAND, small=SMALL)

    def set(self, **ms: list[float]) -> None:
        """Choose the times, in milliseconds."""
        self.project.write("ms.json", json.dumps(ms))

    def run(self, *arguments: str, fresh: bool = False) -> pytest.RunResult:
        """Run with pytest-benchmark switched on; ``fresh``: in a process of its own."""
        left_out = [part for name in ("hypothesispytest", "timeout", "anyio") for part in ("-p", f"no:{name}")]
        specs = [part for spec in SPECS for part in ("--model", spec)]
        run = self.project.pytester.runpytest_subprocess if fresh else self.project.pytester.runpytest_inprocess
        return run(*left_out, *specs, *arguments)

    def json(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """Return the rows of --benchmark-json by name."""
        result = self.run("--benchmark-json=out.json", *arguments)
        assert result.ret == 0, result.outlines
        document = json.loads((self.project.path / "out.json").read_bytes())
        return {row["name"]: row for row in document["benchmarks"]}


@pytest.fixture
def timed(project: Project) -> Timed:
    """Return a project of two targets that were timed."""
    return Timed(project)


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_json_holds_our_times(timed: Timed, workers: tuple[str, ...]) -> None:
    """One row for each target and what was timed, with every single time, also with workers; a failed phase has none."""
    rows = timed.json(*workers)

    assert set(rows) == {"latency[cand]", "latency[small]", "ttft[cand]", "ttft[small]"}
    row = rows["latency[cand]"]
    assert row["fullname"] == "gates.toml::latency[cand]"
    assert row["group"] == "latency"
    assert row["params"] == {"target": "cand", "quantization": "Q8_0", "role": "model"}
    assert row["stats"]["data"] == pytest.approx([ms / 1000 for ms in CAND])
    assert row["stats"]["mean"] == pytest.approx(np.mean(CAND) / 1000)
    assert row["stats"]["median"] == pytest.approx(np.median(CAND) / 1000)
    assert row["stats"]["rounds"] == 4
    assert rows["ttft[small]"]["stats"]["data"] == pytest.approx([ms / 4000 for ms in SMALL])


def test_json_holds_what_else_was_measured(timed: Timed) -> None:
    """Percentiles, rates, memory and what was measured stand beside each row's times."""
    more = timed.json()["latency[small]"]["extra_info"]

    assert more["latency_ms"]["p95"] == pytest.approx(np.percentile(SMALL, 95), abs=1e-3)
    assert more["inter_token_ms"]["mean"] == pytest.approx(6 * 0.75 / 4, abs=1e-3)
    assert more["tokens_per_second"] == pytest.approx(15 / 0.018, rel=1e-3)
    assert more["prompt_tokens_per_second"] == pytest.approx(120 / 0.0045, rel=1e-3)
    assert more["peak_rss_bytes"] == 1000
    assert more["quantization"] == {"label": "Q4_K_M"}
    assert more["settings"]["batch_size"] == 1


def test_the_last_release_has_a_row_of_its_own(timed: Timed) -> None:
    """It stands there once, however many targets took turns with it."""
    timed.set(cand=CAND, small=SMALL, last=[9.0, 9.0, 9.0])

    rows = timed.json()

    assert rows["latency[last]"]["stats"]["mean"] == pytest.approx(0.009)


def test_the_table_is_pytest_benchmarks(timed: Timed) -> None:
    """It has a row for each target, the fastest first, in groups by what was timed."""
    result = timed.run("--benchmark-sort=mean", "--benchmark-columns=mean,rounds")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*benchmark 'first token': 2 tests*",
            "*benchmark 'latency': 2 tests*",
            "latency[[]small[]] * 6.0000 *",
            "latency[[]cand[]] * 16.5000 *",
        ]
    )


def test_groups_by_quantisation(timed: Timed) -> None:
    """--benchmark-group-by knows targets, roles and quantisations as parameters."""
    result = timed.run("--benchmark-group-by=param:quantization")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["*benchmark 'quantization=Q4_K_M': 2 tests*", "*benchmark 'quantization=Q8_0': 2 tests*"]
    )


def test_saved_times_are_compared_with_later_ones(timed: Timed) -> None:
    """--benchmark-save keeps a run, --benchmark-compare shows it beside the next one's times."""
    assert timed.run("--benchmark-save=first").ret == 0
    timed.set(cand=[ms * 2 for ms in CAND], small=SMALL)

    result = timed.run("--benchmark-compare", "--benchmark-columns=mean", "--benchmark-sort=mean")

    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "latency[[]small[]] (*) * 6.0000 *",
            "latency[[]cand[]] (0001_first) * 16.5000 *",
            "latency[[]cand[]] (NOW) * 33.0000 *",
        ]
    )


def test_its_own_limit_fails_its_run_and_not_our_verdict(timed: Timed) -> None:
    """--benchmark-compare-fail ends pytest as it does elsewhere; the report says what our gates found."""
    timed.run("--benchmark-save=first")
    timed.set(cand=[ms * 2 for ms in CAND], small=SMALL)

    result = timed.run("--benchmark-compare", "--benchmark-compare-fail=mean:50%")

    assert result.ret != 0
    assert timed.project.report["verdict"] == "passed"


@pytest.mark.skipif(find_spec("pygal") is None, reason="pytest-benchmark draws with pygal")
def test_histograms(timed: Timed) -> None:
    """--benchmark-histogram draws one picture for each group."""
    assert timed.run("--benchmark-histogram=speed", fresh=True).ret == 0  # pygal changes how modules are found

    drawn = {path.name for path in timed.project.path.glob("speed-*.svg")}
    assert drawn == {"speed-latency.svg", "speed-first_token.svg"}


@pytest.mark.parametrize("argument", ["--benchmark-disable", "--benchmark-skip"])
def test_switched_off(timed: Timed, argument: str) -> None:
    """Who switches benchmarks off sees none."""
    result = timed.run(argument)

    assert result.ret == 0
    assert "latency[" not in str(result.stdout).partition(" modelgate =")[2]


def test_without_pytest_benchmark(timed: Timed) -> None:
    """Where it is not installed, or kept out, a run is the same without its table."""
    result = timed.run("-p", "no:benchmark")

    assert result.ret == 0
    assert "latency[" not in str(result.stdout)
    assert timed.project.report["verdict"] == "passed"

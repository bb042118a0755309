"""
Measure what the plugin adds to a run: time and memory, with recorded answers, so that no model takes any.

    python -m benchmarks.overhead --out docs/benchmarks/overhead.json

A suite of many cases on two targets is run against as many empty parametrised tests, in turn, whole processes: the best
of each counts. At smaller sizes as well, because memory must grow in a line: its slope is what one case on one target
holds, in bytes of the largest resident memory. The suite's run does all that a release does: it judges each answer
against a schema's fields, computes gates and writes its report.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pytest_modelgate.machine import describe_machine

CASES, ROUNDS = 10_000, 2
SIZES = (1_250, 2_500, 5_000)
TARGETS = ("f16", "Q8_0")
LARGEST_RATIO, LARGEST_SLOPE = 1.6, 12_000
GATES = """
version = 1
[suites]
golden = ["golden/*.jsonl"]
[tasks.labels]
kind = "classification"
fields = ["label"]
[gates.right]
metric = "accuracy.label"
min = 0.5
"""
EMPTY = """
import pytest

@pytest.mark.parametrize("number", range({n}))
def test_nothing(number):
    pass
"""


def main() -> int:
    """Run both at every size and print the table; return 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), help="smaller ones, run once each")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="at --cases")
    parser.add_argument("--out", type=Path, help="also write the table as JSON")
    options = parser.parse_args()
    load = round(os.getloadavg()[0], 1)
    print(f"{'cases':>7} {'modelgate':>10} {'empty':>8} {'ratio':>6} {'cpu':>6} {'modelgate':>10} {'empty':>8}")
    rows = [measure(size, 1) for size in options.sizes]
    rows.append(measure(options.cases, options.rounds))
    items = [row["cases"] * len(TARGETS) for row in rows]
    slopes = {who: _slope(items, [row[f"{who}_rss_bytes"] for row in rows]) for who in ("modelgate", "empty")}
    worst = max(abs(slopes["modelgate"][1]), 0.0)
    print(
        f"memory of one case on one target: {slopes['modelgate'][0]:.0f} bytes (an empty test: {slopes['empty'][0]:.0f}), "
        f"at most {worst / 1e6:.1f} MB off a line"
    )
    ratio, slope = rows[-1]["ratio"], slopes["modelgate"][0]
    holds = ratio <= LARGEST_RATIO and slope <= LARGEST_SLOPE
    print(
        f"at most {LARGEST_RATIO} x the time of empty tests and {LARGEST_SLOPE} bytes: {'holds' if holds else 'missed'}"
    )
    if options.out:
        document = {
            "targets": len(TARGETS),
            "rows": rows,
            "bytes_per_case_and_target": round(slope),
            "bytes_per_empty_test": round(slopes["empty"][0]),
            "off_a_line_bytes": round(worst),
            "machine": describe_machine(),
            "load_before": load,
            "created": time.strftime("%Y-%m-%d"),
        }
        options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0 if holds else 1


def measure(cases: int, rounds: int) -> dict[str, Any]:
    """Return the best seconds and the largest resident memory, in bytes, of a suite and of as many empty tests."""
    with tempfile.TemporaryDirectory(prefix="modelgate-") as name:
        folder = Path(name)
        _write(folder, cases)
        models = [part for target in TARGETS for part in ("--model", f"replay:recorded.jsonl#{target},id={target}")]
        runs: dict[str, list[tuple[float, float, int]]] = {"modelgate": [], "empty": []}
        for _ in range(rounds):
            runs["modelgate"].append(_run(folder, models))
            runs["empty"].append(_run(folder, ["-p", "no:modelgate", "test_empty.py"]))
    seconds = {who: round(min(one[0] for one in found), 2) for who, found in runs.items()}
    cpu = {who: round(min(one[1] for one in found), 2) for who, found in runs.items()}
    rss = {who: max(one[2] for one in found) for who, found in runs.items()}
    ratio, cpu_ratio = (round(one["modelgate"] / one["empty"], 3) for one in (seconds, cpu))
    print(
        f"{cases:>7} {seconds['modelgate']:>8.1f} s {seconds['empty']:>6.1f} s {ratio:>6.2f} {cpu_ratio:>6.2f} "
        f"{rss['modelgate'] / 1e6:>7.0f} MB {rss['empty'] / 1e6:>5.0f} MB",
        flush=True,
    )
    return {
        "cases": cases,
        "rounds": rounds,
        "modelgate_s": seconds["modelgate"],
        "empty_s": seconds["empty"],
        "ratio": ratio,
        "modelgate_cpu_s": cpu["modelgate"],
        "empty_cpu_s": cpu["empty"],
        "cpu_ratio": cpu_ratio,
        "modelgate_rss_bytes": rss["modelgate"],
        "empty_rss_bytes": rss["empty"],
    }


def _slope(sizes: list[int], values: list[int]) -> tuple[float, float]:
    """Return the slope of the line nearest to all points, and how far the farthest point is from it."""
    if len(sizes) < 2:  # noqa: PLR2004  # a line takes two points
        return 0.0, 0.0
    slope, start = np.polyfit(sizes, values, 1)
    return float(slope), float(np.max(np.abs(np.array(values) - (slope * np.array(sizes) + start))))


def _write(folder: Path, n: int) -> None:
    """Write a suite of ``n`` cases, the answers of every target, one in ten of them wrong, and as many empty tests."""
    (folder / "golden").mkdir()
    (folder / "gates.toml").write_text(GATES, encoding="utf-8")
    (folder / "test_empty.py").write_text(EMPTY.format(n=n * len(TARGETS)), encoding="utf-8")
    answer = {"label": "yes"}
    with (folder / "golden" / "many.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps({"id": f"case-{i}", "input": f"Message {i}", "expected": answer}) + "\n" for i in range(n)
        )
    with (folder / "recorded.jsonl").open("w", encoding="utf-8") as file:
        for target in TARGETS:
            row = {"target": target, "suite": "golden"}
            for i in range(n):
                text = json.dumps(answer if i % 10 else {"label": "no"})
                file.write(json.dumps(row | {"case": f"case-{i}", "generation": {"text": text}}) + "\n")


def _run(folder: Path, arguments: list[str]) -> tuple[float, float, int]:
    """Return the wall and processor time of one pytest run in seconds, and its largest resident memory in bytes."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    command += ["--rootdir", str(folder), *arguments]
    with (folder / "output.txt").open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit((folder / "output.txt").read_text(encoding="utf-8")[-2000:])
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())

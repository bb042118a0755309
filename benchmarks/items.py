"""
Compare what modelgate's items cost with what pytest's own cost.

Runs a replayed suite of many cases and as many empty parametrised tests, in turn, and prints the ratio of the wall
times; the last line is JSON.

    python -m benchmarks.items --cases 5000
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    """Run both and print the figures."""
    parser = argparse.ArgumentParser(description="Compare modelgate's items with empty tests.")
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, options.cases)
        gate = ["--model", "replay:recorded.jsonl#right"]
        seconds: dict[str, list[float]] = {"modelgate": [], "empty": []}
        for _ in range(options.rounds):
            seconds["modelgate"].append(_time(folder, gate))
            seconds["empty"].append(_time(folder, ["test_empty.py"]))
    best = {what: min(times) for what, times in seconds.items()}
    print(json.dumps({"cases": options.cases, **best, "ratio": round(best["modelgate"] / best["empty"], 3)}))
    return 0


def _write(folder: Path, n: int) -> None:
    (folder / "golden").mkdir()
    (folder / "gates.toml").write_text(GATES, encoding="utf-8")
    (folder / "test_empty.py").write_text(EMPTY.format(n=n), encoding="utf-8")
    answer = {"label": "yes"}
    with (folder / "golden" / "many.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps({"id": f"case-{i}", "input": f"Message {i}", "expected": answer}) + "\n" for i in range(n)
        )
    with (folder / "recorded.jsonl").open("w", encoding="utf-8") as file:
        row = {"target": "right", "suite": "golden", "generation": {"text": json.dumps(answer)}}
        file.writelines(json.dumps(row | {"case": f"case-{i}"}) + "\n" for i in range(n))


def _time(folder: Path, arguments: list[str]) -> float:
    """Return the wall time of one pytest run, in seconds."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return round(time.perf_counter() - started, 3)


if __name__ == "__main__":
    sys.exit(main())

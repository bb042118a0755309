"""
Print one line for each target of a run, as a Markdown table: form, accuracy, size, speed.

    python examples/table.py .modelgate/report.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pytest_modelgate.statistics import wilson


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--suite", default="heldout", help="the suite that the shares are taken from")
    parser.add_argument("--score", default="field.intent", help="the score that counts as accuracy")
    options = parser.parse_args()
    report = json.loads(options.report.read_text(encoding="utf-8"))
    speed = {measured["target"]: measured for measured in report["performance"]}
    print(
        f"| target | verdict of its gates | valid JSON | {options.score.removeprefix('field.')} | MB | latency p50 / p95 |"
    )
    print("|---|---|---|---|---|---|")
    for target in report["targets"]:
        name = target["id"]
        cases = [case for case in report["cases"] if case["target"] == name and case["suite"] == options.suite]
        gates = [gate for gate in report["gates"] if gate["target"] == name]
        blocking = [gate["name"] for gate in gates if gate["blocks"]]
        latency = (speed.get(name) or {}).get("latency_ms")
        shown = "-" if latency is None else f"{latency['p50']:.1f} / {latency['p95']:.1f} ms"
        print(
            f"| {name} | {'blocked by ' + ', '.join(blocking) if blocking else 'passed'} "
            f"| {_share(cases, 'schema')} | {_share(cases, options.score)} | {target['size_bytes'] / 1e6:.2f} | {shown} |"
        )
    return 0


def _share(cases: list[dict[str, Any]], score: str) -> str:
    """Return ``share [interval] (right/n)`` of a score."""
    flags = [case["scores"][score] for case in cases if score in case["scores"]]
    right, n = int(sum(flags)), len(flags)
    low, high = wilson(right, n)
    return f"{right / n:.1%} [{low:.1%}, {high:.1%}] ({right}/{n})"


if __name__ == "__main__":
    sys.exit(main())

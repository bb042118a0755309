"""
Print base and tuned model side by side, as a page: accuracy of each field, then the answers to S4's eight messages.

    pytest --model examples/support/base-f16.gguf --model demo
    python examples/support/side_by_side.py .modelgate/report.json base-f16 demo
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pytest_modelgate.report.escape import markdown
from pytest_modelgate.statistics import wilson

FIELDS = ("intent", "sentiment", "urgency")
SHOWN = 8
"""The first cases of the golden suite are the published ones."""


def main() -> int:
    """Print the tables as Markdown; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("targets", nargs="+", help="target ids of the run, base first")
    options = parser.parse_args()
    cases = json.loads(options.report.read_text(encoding="utf-8"))["cases"]
    if unknown := set(options.targets) - {case["target"] for case in cases}:
        print(f"side_by_side: the report has no target {', '.join(sorted(unknown))}", file=sys.stderr)
        return 4
    for suite in ("golden", "heldout"):
        print(f"\n**{suite}**\n")
        print("| | " + " | ".join(options.targets) + " |\n|---|" + "---|" * len(options.targets))
        for score in (*(f"field.{field}" for field in FIELDS), "exact", "schema"):
            row = [_share([case for case in cases if case["suite"] == suite and case["target"] == target], score)
                   for target in options.targets]  # fmt: skip
            print(f"| {score.removeprefix('field.')} | " + " | ".join(row) + " |")
    print("\n**S4's eight messages**\n")
    print("| message | gold | " + " | ".join(options.targets) + " |\n|---|---|" + "---|" * len(options.targets))
    by_case = {(case["target"], case["id"]): case for case in cases if case["suite"] == "golden"}
    names = [name for target, name in by_case if target == options.targets[0]][:SHOWN]
    for name in names:
        first = by_case[options.targets[0], name]
        answers = [_labels(by_case[target, name]) for target in options.targets]
        gold = ", ".join(first["expected"][field] for field in FIELDS)
        print(f"| {markdown(first['input'])} | {markdown(gold)} | " + " | ".join(answers) + " |")
    return 0


def _share(cases: list[dict[str, Any]], score: str) -> str:
    """Return ``right/n = share [interval]`` of a score."""
    flags = [case["scores"][score] for case in cases if score in case["scores"]]
    right, n = int(sum(flags)), len(flags)
    low, high = wilson(right, n)
    return f"{right}/{n} = {right / n:.1%} [{low:.1%}, {high:.1%}]"


def _labels(case: dict[str, Any]) -> str:
    """Return the labels that an output gave, or the output."""
    try:
        answer = json.loads(case["output"])
        return markdown(", ".join(str(answer[field]) for field in FIELDS), 100)
    except (ValueError, KeyError, TypeError):
        return markdown(case["output"], 60)


if __name__ == "__main__":
    sys.exit(main())

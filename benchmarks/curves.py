"""
Draw how time grows with the number of cases, the length of answers, the sequences decoded together and what prompts share.

    python -m benchmarks.bench_model DIR
    python -m benchmarks.curves DIR --out docs/benchmarks

``cases``: the support task's prompts on the demo candidate of 2 million weights (the bench model would take hours);
everything else on the bench model's Q4_K_M. ``drafts`` have the expected answer beside each request, ``no drafts`` not;
``one by one`` decodes as deployed. Writes ``curves.json`` and ``curve-*.svg``; timed is answering, with the model warm.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.bench_model import BenchCase, make_cases
from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.gguf import GgufEngine
from pytest_modelgate.engines.host import available_threads
from pytest_modelgate.machine import describe_machine
from pytest_modelgate.records import Failure, Json, Message, Request

ROOT = Path(__file__).parents[1]
SUITE, SYSTEM = ROOT / "heldout" / "support.jsonl", ROOT / "golden" / "support.system.txt"
DEMO = ROOT / "examples" / "support" / "support-Q8_0.gguf"
LINES = ("drafts", "no drafts", "one by one")
CASES = (100, 300, 1_000, 3_000, 10_000)
OUTPUT_TOKENS, OUTPUT_CASES = (8, 32, 128, 512), 4
SLOTS, SLOT_CASES, SLOT_TOKENS = (1, 2, 4, 8, 16, 32, 64), 64, 12
OVERLAPS, OVERLAP_CASES, OVERLAP_WORDS = (0, 25, 50, 75, 90, 95), 12, 200
_ONE_BY_ONE_TOKENS = 128  # longer answers one by one would take as long as all the rest


@dataclass(frozen=True, slots=True)
class Curve:
    """Hold a figure: what is varied, over which values, for which lines, and how one point is measured."""

    name: str
    label: str
    values: Sequence[int]
    measure: Callable[[str, int], Json | None]
    is_log: bool = True


def main() -> int:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where benchmarks.bench_model wrote its files")
    parser.add_argument("--only", nargs="*", choices=["cases", "output", "slots", "overlap"], help="these curves")
    parser.add_argument("--points", type=int, help="only so many of each, the cheapest ones, to try it out")
    parser.add_argument("--out", type=Path, help="the folder to write to")
    options = parser.parse_args()
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the gate's own engine process has it
    load = round(os.getloadavg()[0], 1)
    about = {"machine": describe_machine(), "load_before": load, "created": time.strftime("%Y-%m-%d")}
    written = None if options.out is None else options.out / "curves.json"
    curves: dict[str, list[Json]] = {}
    if options.only and written is not None and written.exists():
        curves = json.loads(written.read_text("utf-8"))["curves"]  # the others stay
    for curve in _curves(options.folder):
        if options.only and curve.name not in options.only:
            continue
        print(f"{curve.label:<44}" + "".join(f"{line:>14}" for line in LINES))
        values = sorted(curve.values, reverse=curve.name in {"slots", "overlap"})[: options.points]
        curves[curve.name] = []
        for value in sorted(values):
            rows = {line: curve.measure(line, value) for line in LINES}
            curves[curve.name] += [{"x": value, "line": line} | row for line, row in rows.items() if row is not None]
            shown = ("" if row is None else f"{row['seconds']:.2f} s" for row in rows.values())
            print(f"{value:<44}" + "".join(f"{one:>14}" for one in shown), flush=True)
        if written is not None:
            draw(curve, curves[curve.name], options.out / f"curve-{curve.name}.svg")
            written.write_text(json.dumps({"curves": curves} | about, indent=1) + "\n", "utf-8")
    return 0


def timed(model: Path, requests: Sequence[Request], line: str, *, n_ctx: int = 1024, n_seq: int | None = None) -> Json:
    """Return the seconds that ``requests`` take on ``model``, and what went through it."""
    settings = EngineSettings(n_ctx=n_ctx, n_threads=available_threads(), n_seq=n_seq)
    if model == DEMO:
        settings = replace(settings, n_threads=1)  # as the gate runs a model that is so small
    if line == "one by one":
        settings = replace(settings, batch_size=1)
    if line != "drafts":
        requests = [replace(request, drafts=()) for request in requests]
    engine = GgufEngine(model, settings)
    try:
        list(engine.generate(requests[:2]))  # warm, and the self-test done
        before = engine.describe().facts.get("batching", {})
        started = time.perf_counter()
        found = dict(engine.generate(requests))
        seconds = time.perf_counter() - started
        after = engine.describe().facts.get("batching", {})
    finally:
        engine.close()
    for key, result in found.items():
        if isinstance(result, Failure):
            raise SystemExit(f"{key}: {result.message}")
    row: Json = {"seconds": round(seconds, 3), "cases": len(requests)}
    if after:
        names = ("computed", "near_ties", "draft_tokens", "draft_tokens_accepted")
        row |= {name: after[name] - before[name] for name in names} | {"n_cells": after["n_cells"]}
    return row


def _curves(folder: Path) -> list[Curve]:
    """Return the four curves."""
    model = folder / "bench-Q4_K_M.gguf"
    system = SYSTEM.read_text(encoding="utf-8").strip()
    long = make_cases(folder, 512, OUTPUT_CASES, SUITE, system)
    short = make_cases(folder, 28, SLOT_CASES, SUITE, system)

    def cases(line: str, n: int) -> Json:
        return timed(DEMO, _support(n, system), line)

    def output(line: str, n: int) -> Json | None:
        if line == "one by one" and n > _ONE_BY_ONE_TOKENS:
            return None
        return timed(model, _asked(long, n), line)

    def slots(line: str, n: int) -> Json | None:
        return None if line == "one by one" else timed(model, _asked(short, SLOT_TOKENS), line, n_seq=n)

    def overlap(line: str, percent: int) -> Json | None:
        if line == "no drafts" or (line == "one by one" and percent not in {OVERLAPS[0], OVERLAPS[-1]}):
            return None
        return timed(model, _asked(_overlapping(short, folder, percent), 4), line)

    return [
        Curve("cases", "cases (demo candidate, Q8_0)", CASES, cases),
        Curve("output", f"output tokens ({OUTPUT_CASES} cases, bench model)", OUTPUT_TOKENS, output),
        Curve("slots", f"sequences together ({SLOT_CASES} cases, bench model)", SLOTS, slots),
        Curve("overlap", f"% of prompts shared ({OVERLAP_CASES} cases, bench model)", OVERLAPS, overlap, is_log=False),
    ]


def _asked(cases: Sequence[BenchCase], max_tokens: int) -> list[Request]:
    """Return the requests of cases, whose answers are cut off after ``max_tokens``."""
    return [Request(case.id, max_tokens, messages=case.messages, drafts=(case.answer,)) for case in cases]


def _support(n: int, system: str) -> list[Request]:
    """Return ``n`` requests of the support task; where its suite has fewer, with another number in front."""
    rows = [json.loads(line) for line in SUITE.read_text(encoding="utf-8").splitlines() if line.strip()]
    requests = []
    for number in range(n):
        row, turn = rows[number % len(rows)], number // len(rows)
        messages = (Message("system", system), Message("user", f"{turn}. " * bool(turn) + row["input"]))
        draft = json.dumps(row["expected"])
        requests.append(Request(f"{number}", 64, messages=messages, drafts=(draft,)))
    return requests


def _overlapping(cases: Sequence[BenchCase], folder: Path, percent: int) -> list[BenchCase]:
    """Return cases with prompts of so many words, of which ``percent`` at the start are the same in all."""
    answers = json.loads((folder / "bench.json").read_text(encoding="utf-8"))["512"]
    words = [word for _, answer in answers for word in answer.split()]
    rng = random.Random(5)  # noqa: S311  # no secret
    shared = rng.sample(words, OVERLAP_WORDS * percent // 100)
    made = []
    for case in cases[:OVERLAP_CASES]:
        own = rng.sample(words, OVERLAP_WORDS - len(shared))
        topic = case.messages[-1].content.rsplit("\n", 1)[1]
        made.append(replace(case, messages=(Message("user", f"{' '.join([*shared, *own])}\n{topic}"),)))
    return made


def draw(curve: Curve, rows: Sequence[dict[str, Any]], target: Path) -> None:
    """Write a curve as an SVG, the same bytes for the same figures."""
    os.environ.setdefault("MPLBACKEND", "svg")
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "modelgate", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for line in LINES:
            points = [(row["x"], row["seconds"]) for row in rows if row["line"] == line]
            if points:
                axes.plot(*zip(*points, strict=True), label=line, marker="o", markersize=3)
        if curve.is_log:
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xticks(curve.values, [f"{value:,}" for value in curve.values])
            axes.minorticks_off()
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(curve.label)
        axes.set_ylabel("seconds")
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        figure.savefig(target, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())

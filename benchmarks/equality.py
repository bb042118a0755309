"""
Compare what batches answer with what decoding one by one answers, output by output and verdict by verdict.

    python -m benchmarks.equality --banking77 PATH/banking77 --bench DIR --out docs/benchmarks/equality.json

``support``: the root suites on the demo candidate in three forms. ``examples``: the other tasks' suites, with answers of
up to 400 tokens, on their candidates. ``banking77``: 500 of that data set's messages: its own candidate's cases in every
form that lies in ``--candidate``, else asked of the demo candidate. ``bench``: some cases of the model that
:mod:`benchmarks.bench_model` makes. Each file answers everything in batches, with the drafts that a gate has (expected
answers, and what the forms before it said), and once more one by one.

``re-run`` is the share of answers with a near-tie, which are given again alone; ``without`` how many outputs would differ
if they were not. ``shift`` is the most by which the lead of a chosen token really differed between both ways: below the
tolerance, as found out at the start, none can change a choice. Returns 1 where any output or verdict differs.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from benchmarks.bench_model import make_cases
from pytest_modelgate.cases import Case
from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.gguf import GgufEngine
from pytest_modelgate.engines.near_ties import NearTies
from pytest_modelgate.engines.prefix_tree import shared_length
from pytest_modelgate.identity import FileHashes
from pytest_modelgate.judgement import judge
from pytest_modelgate.machine import describe_machine
from pytest_modelgate.records import Failure, Generation, Json, Request
from pytest_modelgate.release import Release, Rules, load_rules
from pytest_modelgate.specs import parse_spec
from pytest_modelgate.targets import prepare_target

ROOT = Path(__file__).parents[1]
FORMS = ("f16", "Q8_0", "Q4_K_M")
MESSAGES, BENCH_CASES = 500, 8
SETS = ("support", "examples", "banking77", "bench")
EXAMPLES = ("ci_failure", "invoice", "incident", "postmortem")
_VERDICT = ("outcome", "violations", "mistakes", "scores", "labels", "counts", "finish_reason")


@dataclass(frozen=True, slots=True)
class Workload:
    """Hold requests to a file, and how their answers are judged: by ``cases`` and ``rules``, or by nothing."""

    name: str
    model: Path
    settings: EngineSettings
    requests: Sequence[Request]
    cases: Mapping[str, Case] = field(default_factory=dict)
    rules: Rules | None = None


def main() -> int:
    """Answer everything in each way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--banking77", type=Path, help="the data set's folder, with test.csv")
    parser.add_argument("--candidate", type=Path, help="a folder with Banking77 candidates, and suites made")
    parser.add_argument("--bench", type=Path, help="where benchmarks.bench_model wrote its files")
    parser.add_argument("--cases", type=int, help="fewer of each, to try it out")
    parser.add_argument("--out", type=Path, help="also write the table as JSON")
    options = parser.parse_args()
    print(
        f"{'set':<12} {'file':<20} {'cases':>6} {'re-run':>7} {'tolerance':>9} {'shift':>7} {'outputs':>8} {'verdicts':>8} {'without':>8}"
    )
    rows: list[Json] = []
    total: dict[str, int] = {}
    said: dict[str, list[str]] = {}
    for work in workloads(options):
        rows.append(compare(work, said, options.cases))
        print(
            "{set:<12} {file:<20} {cases:>6} {share:>7.1%} {tolerance:>9.4f} {largest_shift:>7.4f} {differing_outputs:>8} "
            "{differing_verdicts:>8} {differing_without_rerun:>8}".format(
                **rows[-1], share=rows[-1]["near_ties"] / rows[-1]["cases"]
            ),
            flush=True,
        )
        total = {name: sum(row[name] for row in rows) for name in rows[0] if isinstance(rows[0][name], int)}
        if options.out:  # after each file, because all of them take a while
            document = {
                "rows": rows,
                "total": total,
                "machine": describe_machine(),
                "created": time.strftime("%Y-%m-%d"),
            }
            options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if not rows:
        parser.error("nothing to compare: give --banking77, --candidate or --bench")
    print(
        f"{total['cases']} cases: {total['differing_outputs']} outputs and {total['differing_verdicts']} verdicts differ; "
        f"{total['near_ties'] / total['cases']:.1%} near-ties re-run, without which {total['differing_without_rerun']} "
        "outputs would differ"
    )
    return 1 if total["differing_outputs"] or total["differing_verdicts"] else 0


def compare(work: Workload, said: dict[str, list[str]], limit: int | None) -> Json:
    """Return the figures of one file; ``said``: what forms before it answered, by request, to which its answers are added."""
    asked = list(work.requests)
    if limit is not None:
        asked = random.Random(1).sample(asked, min(limit, len(asked)))  # noqa: S311  # no secret
    drafted = [replace(one, drafts=(*said.get(f"{work.name} {one.key}", ())[:2], *one.drafts)) for one in asked]
    engine = GgufEngine(work.model, work.settings)
    batched, batched_s = answers(engine, drafted)
    facts = engine.describe().facts["batching"]
    engine._ties = NearTies()  # noqa: SLF001  # of no tolerance: nothing is doubtful
    without, _ = answers(engine, drafted)
    engine.close()
    engine = GgufEngine(work.model, replace(work.settings, batch_size=1))
    serial, serial_s = answers(engine, asked)
    engine.close()
    for key, text in serial.items():
        said.setdefault(f"{work.name} {key}", []).append(text.text)
    return {
        "set": work.name,
        "file": work.model.name.removesuffix(".gguf"),
        "cases": len(asked),
        "near_ties": sum(one.near_tie for one in batched.values()),
        "tolerance": facts["near_tie_tolerance"],
        "largest_shift": round(max(_shift(without[key], one) for key, one in serial.items()), 5),
        "differing_outputs": _differing(batched, serial),
        "differing_verdicts": sum(
            verdict(work, key, batched[key]) != verdict(work, key, serial[key]) for key in batched
        ),
        "differing_without_rerun": _differing(without, serial),
        "output_tokens": sum(one.output_tokens for one in serial.values()),
        "batched_s": round(batched_s, 2),
        "one_by_one_s": round(serial_s, 2),
    }


def answers(engine: GgufEngine, requests: Sequence[Request]) -> tuple[dict[str, Generation], float]:
    """Return the generation of each request by its key, and the seconds that they took with the model loaded."""
    engine.describe()
    started = time.perf_counter()
    found = dict(engine.generate(requests))
    seconds = time.perf_counter() - started
    given: dict[str, Generation] = {}
    for key, result in found.items():
        if isinstance(result, Failure):
            # What cannot be asked is the same answer whichever way it is asked.
            given[key] = Generation(text=f"{result.kind}: {result.message}")
        else:
            given[key] = result
    return given, seconds


def verdict(work: Workload, key: str, generation: Generation) -> Json:
    """Return what is judged of an answer."""
    if work.rules is None:
        return {"output": generation.text}
    case = work.cases[key]
    record = judge(work.rules.tasks[case.task], case, "target", generation).to_json()
    return {name: record[name] for name in _VERDICT}


def _differing(some: Mapping[str, Generation], others: Mapping[str, Generation]) -> int:
    """Return how many answers differ in a token."""
    return sum(some[key].token_ids != one.token_ids or some[key].text != one.text for key, one in others.items())


def _shift(one: Generation, other: Generation) -> float:
    """Return the most by which the leads of the tokens differ that both answers begin with."""
    same = shared_length(one.token_ids, other.token_ids)
    return max((abs(a - b) for a, b in zip(one.margins[:same], other.margins[:same], strict=True)), default=0.0)


def workloads(options: argparse.Namespace) -> Iterator[Workload]:
    """Yield what is to be compared."""
    support = [ROOT / "examples" / "support" / f"support-{form}.gguf" for form in FORMS]
    if "support" in options.only:
        yield from judged("support", ROOT / "gates.toml", support)
    if "examples" in options.only:
        for name in EXAMPLES:
            files = sorted((ROOT / "examples" / name / "tiny").glob("*.gguf"))
            yield from judged(name, ROOT / "examples" / name / "gates.toml", files)
    if "banking77" in options.only and options.candidate:
        files = sorted(options.candidate.glob("banking77-*.gguf"))
        yield from judged("banking77", ROOT / "examples" / "banking77" / "gates.toml", files)
    elif "banking77" in options.only and options.banking77:
        yield from judged("banking77", ROOT / "gates.toml", support, _messages(options.banking77))
    if "bench" in options.only and options.bench:
        yield from _bench(options.bench)


def judged(name: str, gates: Path, models: Sequence[Path], messages: Sequence[str] | None = None) -> Iterator[Workload]:
    """Yield the cases of a task, or ``messages`` asked in its place, on each of ``models``."""
    rules = load_rules(gates)
    cases = rules.cases
    if messages is not None:
        (task,) = rules.tasks
        cases = tuple(Case(f"m{n}", name, task, text, name, n) for n, text in enumerate(messages, 1))
    for model in models:
        target = prepare_target(parse_spec(str(model), ROOT), rules.gates_file.generation, FileHashes(None))
        release = Release(rules, (target,))
        requests = {release.request(case, target).key: case for case in cases}
        asked = []
        for case in requests.values():
            answer = rules.tasks[case.task].judge.answer(case)
            asked.append(replace(release.request(case, target), drafts=(answer,) if answer else ()))
        yield Workload(name, model, target.settings, asked, requests, rules)


def _messages(folder: Path) -> list[str]:
    """Return messages of the data set, the same ones every time."""
    with (folder / "test.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    return random.Random(77).sample(texts, MESSAGES)  # noqa: S311  # no secret


def _bench(folder: Path) -> Iterator[Workload]:
    """Yield a few cases of the bench model, half of them with another one's answer as their draft."""
    system = (ROOT / "golden" / "support.system.txt").read_text(encoding="utf-8").strip()
    cases = make_cases(folder, 28, BENCH_CASES, ROOT / "heldout" / "support.jsonl", system)
    wrong = {case.id: before.answer for before, case in pairwise(cases)} | {cases[0].id: cases[0].answer}
    asked = [
        Request(case.id, 28, messages=case.messages, drafts=(wrong[case.id] if n % 2 else case.answer,))
        for n, case in enumerate(cases)
    ]
    for form in FORMS:
        yield Workload("bench", folder / f"bench-{form}.gguf", EngineSettings(n_ctx=1024), asked)


if __name__ == "__main__":
    sys.exit(main())

"""
Compare the adapter engine with ``model.generate``, on the demo candidate and its own suites.

    python -m benchmarks.adapter_engine --cases 96 --write docs/benchmarks/adapter_engine.json
    python -m benchmarks.adapter_engine --device cuda --dtype bfloat16 --batch-size 64 --against 64

Against stands transformers' own ``generate``, greedily, with its cache, on the same adapter: one prompt at a time on a
CPU, ``--against`` prompts at a time, padded on the left, where that is more than 1. The engine answers the same prompts
without drafts, with the expected answers as drafts, and with half of them exchanged for another case's. All ways take
turns, after one that is not counted; a ratio is that of the fastest turns.
First all cases of golden/ and heldout/ are
answered by both, and their tokens compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.adapter import AdapterEngine
from pytest_modelgate.records import Generation, Request
from pytest_modelgate.release import load_rules

ROOT = Path(__file__).parents[1]
Tokens = dict[str, tuple[int, ...]]


def main() -> int:
    """Measure, print a table, and write what was measured; return 1 where tokens differ."""
    options = _options()
    settings = EngineSettings(
        n_ctx=1024,
        n_threads=options.threads,
        batch_size=options.batch_size,
        device=options.device,
        dtype=options.dtype,
    )
    engine = AdapterEngine(ROOT / options.adapter, ROOT / options.base, settings)
    requests = support_requests(options.max_tokens)
    model = engine._load()  # noqa: SLF001  # the very network that answers, so that nothing but the way differs

    expected, found = generated(model, requests, options.against), answered(engine, requests)
    differing = sorted(key for key in expected if expected[key] != found[key])
    facts = engine.describe().facts["decoding"]

    some = requests[:: max(1, len(requests) // options.cases)][: options.cases]
    ways: dict[str, Callable[[], Tokens]] = {
        f"model.generate, batch {options.against}": lambda: generated(model, some, options.against),
        "engine, no drafts": lambda: answered(engine, [replace(one, draft=None) for one in some]),
        "engine, right drafts": lambda: answered(engine, some),
        "engine, half of the drafts wrong": lambda: answered(engine, half_wrong(some)),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(options.turns + 1):
        for way, run in ways.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[way].append(time.perf_counter() - started)
    written = _document(options, seconds, sum(map(len, generated(model, some, options.against).values())))
    written |= {"compared": len(requests), "differing": len(differing), "near_ties": facts["near_ties"]}
    written |= {"near_tie_tolerance": facts["near_tie_tolerance"]}
    _print(written)
    if options.write:
        options.write.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return 1 if differing else 0


def support_requests(max_tokens: int) -> list[Request]:
    """Return a request for each case of golden/ and heldout/ that expects an answer, which is its draft."""
    rules = load_rules(ROOT / "gates.toml")
    return [
        Request(f"{case.suite}/{case.id}", max_tokens, task.messages(case), draft=task.judge.answer(case))
        for case in rules.cases
        for task in (rules.tasks[case.task],)
        if case.suite in {"golden", "heldout"} and case.has_expected
    ]


def half_wrong(requests: Sequence[Request]) -> list[Request]:
    """Give every other request the draft of the next one whose draft is another."""
    drafts = [request.draft for request in requests]
    return [
        request
        if number % 2
        else replace(request, draft=next((one for one in drafts[number:] + drafts if one != request.draft), None))
        for number, request in enumerate(requests)
    ]


def answered(engine: AdapterEngine, requests: Sequence[Request]) -> Tokens:
    """Return the engine's tokens by request."""
    return {key: result.token_ids for key, result in engine.generate(requests) if isinstance(result, Generation)}


def generated(model: Any, requests: Sequence[Request], batch_size: int) -> Tokens:
    """Return the tokens of ``generate``, ``batch_size`` prompts at a time, in the order of their lengths."""
    import torch
    from transformers import GenerationConfig

    greedy = GenerationConfig(
        max_new_tokens=requests[0].max_tokens, do_sample=False, eos_token_id=sorted(model.stop_ids), pad_token_id=0
    )
    # What the given configuration leaves open, generate() fills from the model's own.
    model.network.generation_config = greedy
    prompts = sorted(((one.key, model.tokenise(one.messages)) for one in requests), key=lambda pair: len(pair[1]))
    found: Tokens = {}
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        width = max(len(ids) for _, ids in batch)
        padded = torch.tensor([[0] * (width - len(ids)) + ids for _, ids in batch], device=model.device)
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for _, ids in batch], device=model.device)
        output = model.network.generate(input_ids=padded, attention_mask=mask, use_cache=True)
        for (key, _), row in zip(batch, output[:, width:].tolist(), strict=True):
            ends = [place + 1 for place, token in enumerate(row) if token in model.stop_ids]
            found[key] = tuple(row[: ends[0]] if ends else row)
    return found


def _document(options: argparse.Namespace, seconds: dict[str, list[float]], tokens: int) -> dict[str, Any]:
    """Return what was measured."""
    import torch

    best = {way: min(times) for way, times in seconds.items()}
    reference = next(iter(best.values()))
    name = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    return {
        "command": f"python -m benchmarks.adapter_engine {' '.join(sys.argv[1:])}".strip(),
        "device": f"{name}, {options.dtype}, {torch.get_num_threads()} threads",
        "machine": f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} with this run",
        "model": f"{options.adapter} on {options.base}",
        "cases": options.cases,
        "output_tokens": tokens,
        "batch_size": options.batch_size,
        "turns": options.turns,
        "rows": [
            {
                "way": way,
                "seconds": round(value, 3),
                "tokens_per_s": round(tokens / value, 1),
                "times_as_fast": round(reference / value, 2),
                "of_each_turn": [
                    round(one / other, 2) for one, other in zip(next(iter(seconds.values())), seconds[way], strict=True)
                ],
            }
            for way, value in best.items()
        ],
    }


def _print(written: dict[str, Any]) -> None:
    """Print the table."""
    print(f"{written['cases']} cases, {written['output_tokens']} output tokens, {written['device']}")
    print(f"{'way':36}{'seconds':>10}{'tokens/s':>10}{'ratio':>8}")
    for row in written["rows"]:
        print(f"{row['way']:36}{row['seconds']:>10.2f}{row['tokens_per_s']:>10.1f}{row['times_as_fast']:>8.2f}")
    print(
        f"{written['differing']} of {written['compared']} answers differ from generate's; "
        f"{written['near_ties']} near-ties decided alone, below {written['near_tie_tolerance']:.2g}"
    )


def _options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare the adapter engine with model.generate.")
    parser.add_argument("--adapter", default="examples/support/adapter")
    parser.add_argument("--base", default="examples/support/base")
    parser.add_argument("--cases", type=int, default=96)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8, help="of the engine")
    parser.add_argument("--against", type=int, default=1, help="batch size of model.generate")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

"""
Measure how long a suite takes, against the other ways of running it on the same machine, in one run.

    python -m benchmarks.bench_model DIR
    python -m venv PEERS && PEERS/bin/pip install xllamacpp 'lm-eval[api]'
    python -m benchmarks.throughput DIR --peers PEERS/bin/python

Workloads: 96 cases of 28 output tokens (short), 48 of 120 (long), and 24 of 28 on each of three quantisations (ladder).
Prompts are the support task's. Every way answers all cases with the model loaded and warm; what is timed is answering. This
package is given the expected answers as drafts, as a gate has them; ``half`` gives it wrong ones for every second case. It is
timed before and after the others, and the mean counts: a machine can slow down within minutes. llama-server's number of
slots is that which is fastest on the first quarter of the cases.

The floor is what the machine needs at least: every distinct prompt token once at prefill speed, and every output token once
at the speed of prefill with logits, both measured on the same build. The table and ``--out`` hold peer seconds divided by
our seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from benchmarks.bench_model import BenchCase, make_cases
from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.host import available_threads
from pytest_modelgate.engines.llama import LlamaModel
from pytest_modelgate.engines.llama_batch import Cell, SharedContext
from pytest_modelgate.engines.process import ProcessEngine
from pytest_modelgate.engines.template import render
from pytest_modelgate.gguf_file import read_gguf_facts
from pytest_modelgate.machine import describe_machine
from pytest_modelgate.records import Generation, Json, Request

ROOT = Path(__file__).parents[1]
SYSTEM = ROOT / "golden" / "support.system.txt"
SUITE = ROOT / "heldout" / "support.jsonl"
WORKLOADS = {"short": (28, 96), "long": (120, 48), "ladder": (28, 24)}
LADDER = ("Q4_K_M", "Q8_0", "f16")
N_CTX, SLOTS = 1024, (4, 8, 16)


def ours(model: Path, cases: Sequence[BenchCase], max_tokens: int, *, wrong: int = 0) -> float:
    """Return our seconds, all answers being right; every ``wrong``-th case gets another case's answer as its draft."""
    drafts = [case.answer for case in cases]
    if wrong:
        drafts = [drafts[n - 1] if n % wrong == 0 else draft for n, draft in enumerate(drafts)]
    requests = [
        Request(case.id, max_tokens, messages=case.messages, draft=draft)
        for case, draft in zip(cases, drafts, strict=True)
    ]
    settings = EngineSettings(n_ctx=N_CTX, n_threads=available_threads())
    with ProcessEngine("gguf", {"path": str(model), "lora": None}, settings) as engine:
        list(engine.generate([requests[0]]))  # warm, as the others are
        started = time.perf_counter()
        found = dict(engine.generate(requests))
        seconds = time.perf_counter() - started
    results = [found[request.key] for request in requests]
    texts = [one.text if isinstance(one, Generation) else one.message for one in results]
    check("ours", texts, cases)
    return seconds


def check(who: str, texts: Sequence[str], cases: Sequence[BenchCase]) -> None:
    """End the benchmark where an answer is not the one that is known; a server may strip the spaces around it."""
    wrong = [
        (text, case.answer) for text, case in zip(texts, cases, strict=True) if text.strip() != case.answer.strip()
    ]
    if wrong:
        raise SystemExit(
            f"{who}: {len(wrong)} of {len(cases)} answers are wrong, such as {wrong[0][0]!r} for {wrong[0][1]!r}"
        )


def floor(model: Path, cases: Sequence[BenchCase]) -> float:
    """Return the seconds that every distinct prompt token and every output token cost at least."""
    facts = read_gguf_facts(model)
    engine = LlamaModel(model, n_ctx=512, n_threads=available_threads())
    memory = SharedContext(engine, n_cells=512, n_sequences=2, n_batch=256)
    try:
        prompts = [
            engine.tokenize(
                render(
                    facts.chat_template or "", case.messages, bos_token=facts.bos_token, eos_token=facts.eos_token
                ).encode()
            )
            for case in cases
        ]
        prefixes = {tuple(prompt[: end + 1]) for prompt in prompts for end in range(len(prompt))}
        outputs = sum(len(engine.tokenize(case.answer.encode())) + 1 for case in cases)
        silent, with_logits = _rate(memory, prompts, wants=False), _rate(memory, prompts, wants=True)
    finally:
        memory.close()
        engine.close()
    print(f"    floor: {len(prefixes)} prompt tokens at {silent:.0f}/s, {outputs} output tokens at {with_logits:.0f}/s")
    return len(prefixes) / silent + outputs / with_logits


def _rate(memory: SharedContext, prompts: Sequence[Sequence[int]], *, wants: bool) -> float:
    """Return tokens per second of one full pass, the best of five."""
    tokens = [token for prompt in prompts for token in prompt][: memory.n_batch]
    cells = [Cell(token, place, [1], wants or place == len(tokens) - 1) for place, token in enumerate(tokens)]
    best = 0.0
    for _ in range(5):
        memory.clear()
        started = time.perf_counter()
        memory.decode(cells)
        best = max(best, len(tokens) / (time.perf_counter() - started))
    return best


def peer(python: Path | str, script: str, asked: Path, *arguments: str) -> Json:
    """Return what a peer's program prints last."""
    command = [str(python), str(ROOT / "benchmarks" / "peers" / script), str(asked), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    if done.returncode:
        raise SystemExit(f"{script}: {done.stderr.strip()[-600:]}")
    line = next(line for line in reversed(done.stdout.splitlines()) if line.startswith('{"seconds"'))
    found: Json = json.loads(line)
    return found


@contextmanager
def python_server(model: Path, threads: int) -> Iterator[str]:
    """Run llama-cpp-python's own server for as long as the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "llama_cpp.server",
        "--model",
        str(model),
        "--n_ctx",
        str(N_CTX),
        "--port",
        str(port),
    ]
    command += ["--n_threads", str(threads), "--n_threads_batch", str(threads), "--verbose", "false"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with suppress(OSError), urllib.request.urlopen(f"{url}/v1/models", timeout=1):  # noqa: S310  # our own server
                break
            time.sleep(0.5)
        yield url
    finally:
        server.kill()
        server.wait()


def measure(name: str, model: Path, cases: Sequence[BenchCase], options: argparse.Namespace) -> list[Json]:
    """Return the rows of one workload on one file."""
    length, threads = WORKLOADS[name][0], available_threads()
    peer_seconds: dict[str, float] = {}
    more: dict[str, Json] = {}

    def told(script: str, python: Path | str, *arguments: str, some: Sequence[BenchCase] = cases) -> float:
        asked = options.scratch / "asked.json"
        about = {"model": str(model), "n_ctx": N_CTX, "threads": threads, "max_tokens": length}
        plain = [[asdict(message) for message in case.messages] for case in some]
        answers = [case.answer for case in some]
        asked.write_text(json.dumps(about | {"requests": plain, "answers": answers}), encoding="utf-8")
        found = peer(python, script, asked, *arguments)
        check(script, found["answers"], some)
        print(f"    {script} {' '.join(arguments)}: {len(some)} cases in {found['seconds']:.1f} s", flush=True)
        return float(found["seconds"])

    def timed() -> tuple[float, float]:
        found = ours(model, cases, length), ours(model, cases, length, wrong=2)
        print(f"    ours {found[0]:.1f} s, with half of the drafts wrong {found[1]:.1f} s", flush=True)
        return found

    first = timed()
    peer_seconds["floor"] = floor(model, cases)
    if "llama_cpp_python" in options.against:
        peer_seconds["llama_cpp_python"] = told("llama_cpp_python.py", sys.executable)
    if options.peers and "llama_server" in options.against:
        few = cases[: max(len(cases) // 4, min(len(cases), 16))]
        tried = {slots: told("llama_server.py", options.peers, str(slots), some=few) for slots in options.slots}
        slots = min(tried, key=lambda one: tried[one])
        peer_seconds["llama_server"] = told("llama_server.py", options.peers, str(slots))
        more["llama_server"] = {"slots": slots, "tried": {str(n): round(found, 2) for n, found in tried.items()}}
    if options.peers and "lm_eval" in options.against:
        with python_server(model, threads) as url:
            peer_seconds["lm_eval"] = told("lm_evaluation_harness.py", options.peers, url)
    own, half = (sum(both) / 2 for both in zip(first, timed(), strict=True))
    rows = []

    for against, seconds in peer_seconds.items():
        print(
            f"  {against:<18} {seconds:7.1f} s   {seconds / own:5.2f} x ours   {seconds / half:5.2f} x ours with half",
            flush=True,
        )
        found = {
            "workload": name,
            "model": model.stem,
            "against": against,
            "ratio": round(seconds / own, 3),
            "seconds": round(own, 2),
            "peer_seconds": round(seconds, 2),
            "ratio_half": round(seconds / half, 3),
            "seconds_half": round(half, 2),
        }
        rows.append(found | more.get(against, {}))
    return rows


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where benchmarks.bench_model wrote its files")
    parser.add_argument("--peers", type=Path, help="the python of an environment with xllamacpp and lm-eval")
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="only this; may repeat")
    parser.add_argument("--against", nargs="*", default=["llama_cpp_python", "llama_server", "lm_eval"])
    parser.add_argument("--slots", nargs="*", type=int, default=list(SLOTS))
    parser.add_argument("--cases", type=int, help="fewer cases, to try it out")
    parser.add_argument("--out", type=Path, help="also write the rows as JSON")
    options = parser.parse_args()
    # All ways alike: where other programs are busy, threads that spin take the processor from the one they wait for.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    load = round(os.getloadavg()[0], 1)
    system = SYSTEM.read_text(encoding="utf-8").strip()
    rows: list[Json] = []
    with tempfile.TemporaryDirectory(prefix="modelgate-") as scratch:
        options.scratch = Path(scratch)
        for name in options.workload or WORKLOADS:
            length, n = WORKLOADS[name]
            cases = make_cases(options.folder, length, options.cases or n, SUITE, system)
            models = LADDER if name == "ladder" else LADDER[:1]
            found: list[Json] = []
            for model in models:
                print(f"{name}: {len(cases)} cases x {length} tokens on {model}", flush=True)
                found += measure(name, options.folder / f"bench-{model}.gguf", cases, options)
            rows += _ladder(found) if name == "ladder" else found
            if options.out:
                document = {
                    "rows": rows,
                    "cases": options.cases or "all",
                    "load_before": load,
                    "machine": describe_machine(),
                    "created": time.strftime("%Y-%m-%d"),
                }
                options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def _ladder(rows: Sequence[Json]) -> list[Json]:
    """Return one row for each peer, the sums over the files of the ladder, with each file's own ratio."""
    summed = []
    for against in dict.fromkeys(row["against"] for row in rows):
        own = [row for row in rows if row["against"] == against]
        seconds, peer_seconds = (sum(row[name] for row in own) for name in ("seconds", "peer_seconds"))
        half = sum(row["seconds_half"] for row in own)
        summed.append(
            {
                "workload": "ladder",
                "model": ", ".join(row["model"] for row in own),
                "by_model": {row["model"]: row["ratio"] for row in own},
                "against": against,
                "ratio": round(peer_seconds / seconds, 3),
                "seconds": round(seconds, 2),
                "peer_seconds": round(peer_seconds, 2),
                "ratio_half": round(peer_seconds / half, 3),
                "seconds_half": round(half, 2),
            }
        )
    return summed


if __name__ == "__main__":
    sys.exit(main())

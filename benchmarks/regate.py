"""
Measure ``modelgate regate``: journalled generations judged again after an edit of gates.toml, the whole process.

    python -m benchmarks.regate --cases 10000 --targets 2 --json

The project is made in a temporary folder: a support task whose answers are right but for one in ten, with the gates of
the repository and macro-F1 on every field. The last line of ``--json`` is ``{"seconds", "peak_rss_bytes"}``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pytest_modelgate.gates_file import load_gates_file
from pytest_modelgate.identity import messages_digest
from pytest_modelgate.records import Request
from pytest_modelgate.runner import journal_key
from pytest_modelgate.tasks import load_tasks

ROOT = Path(__file__).parents[1]
INTENTS = (
    *("billing", "technical_issue", "account_access", "feature_request", "refund_request", "complaint"),
    *("cancellation", "general_question"),
)
SENTIMENTS = ("positive", "neutral", "negative", "frustrated")
URGENCIES = ("low", "medium", "high")
GATES = """\
version = 1

[suites]
golden = ["golden.jsonl"]
heldout = ["heldout.jsonl"]

[tasks.support]
kind = "classification"
system = "system.txt"
schema = "schema.json"
fields = ["intent", "sentiment", "urgency"]

[gates.schema_validity]
metric = "schema_validity"
min = 0.99
confidence = 0.95

[gates.never_endless]
metric = "truncation_rate"
max = 0.01

[gates.critical]
metric = "critical_failures"
max = 1
suites = ["golden"]

[gates.intent]
metric = "macro_f1.intent"
min = 0.5
confidence = 0.95

[gates.sentiment]
metric = "macro_f1.sentiment"
min = 0.5
confidence = 0.95

[gates.urgency]
metric = "macro_f1.urgency"
min = 0.5

[gates.all_right]
metric = "exact_match"
min = 0.5
confidence = 0.95
"""
WORDS = [
    "please",
    "my",
    "invoice",
    "app",
    "account",
    "still",
    "charged",
    "twice",
    "cancel",
    "refund",
    "export",
    "button",
    "login",
    "error",
    "again",
    "thanks",
    "plan",
    "question",
    "how",
    "team",
    "support",
    "waiting",
    "since",
    "monday",
    "crash",
    "password",
    "reset",
    "email",
    "change",
    "price",
    "upgrade",
]


def main() -> int:
    """Print what a regate of the given size takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--targets", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_project(Path(folder), options.cases, options.targets)
        seconds, peak = regate(Path(folder))
    print(
        f"regate of {options.cases} cases x {options.targets} targets: {seconds:.2f} s, "
        f"{1e6 * seconds / (options.cases * options.targets):.0f} us a generation, peak {peak / 1e6:.0f} MB"
    )
    if options.json:
        print(json.dumps({"seconds": round(seconds, 3), "peak_rss_bytes": peak}))
    return 0


def make_project(folder: Path, cases: int, targets: int) -> None:
    """Write suites, gates, a journal as a run leaves it, and then edit a limit."""
    rng = random.Random(5)  # noqa: S311 - no secret
    (folder / "gates.toml").write_text(GATES)
    (folder / "system.txt").write_text((ROOT / "golden" / "support.system.txt").read_text())
    (folder / "schema.json").write_text((ROOT / "golden" / "support.schema.json").read_text())
    rows = [_case(rng, number) for number in range(cases)]
    for suite, of_suite in (("golden", rows[: cases // 4]), ("heldout", rows[cases // 4 :])):
        (folder / f"{suite}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in of_suite))
    gates_file = load_gates_file(folder / "gates.toml")
    task = load_tasks(gates_file)["support"]
    with (folder / "journal.jsonl").open("w") as journal:
        for target in range(targets):
            for number, row in enumerate(rows):
                suite = "golden" if number < cases // 4 else "heldout"
                journal.write(
                    json.dumps(_generation(rng, f"t{target}", suite, row, task.system or "", gates_file)) + "\n"
                )
    (folder / "gates.toml").write_text(GATES.replace("min = 0.99", "min = 0.9"))


def _case(rng: random.Random, number: int) -> dict[str, Any]:
    labels = {"intent": rng.choice(INTENTS), "sentiment": rng.choice(SENTIMENTS), "urgency": rng.choice(URGENCIES)}
    text = " ".join(rng.choices(WORDS, k=rng.randint(6, 30)))
    return {"id": f"case-{number}", "input": text, "expected": labels, "critical": number % 50 == 0}


def _generation(
    rng: random.Random, target: str, suite: str, row: dict[str, Any], system: str, gates_file: Any
) -> dict[str, Any]:
    from pytest_modelgate.records import Message

    answer = dict(row["expected"])
    if rng.random() < 0.1:  # noqa: PLR2004 - one in ten is wrong
        answer["intent"] = rng.choice(INTENTS)
    text = json.dumps(answer)
    tokens = len(text) // 3
    request = Request(
        f"{suite}/{row['id']}",
        gates_file.generation.max_tokens,
        messages=(Message("system", system), Message("user", row["input"])),
    )
    identity = f"identity-of-{target}"
    return {
        "v": 1,
        "key": journal_key(identity, request),
        "target": target,
        "kind": "gguf",
        "role": "model",
        "identity": identity,
        "task": "support",
        "suite": suite,
        "case": row["id"],
        "messages_sha256": messages_digest(request),
        "generation": {
            "text": text,
            "finish_reason": "stop",
            "token_ids": list(range(tokens)),
            "logprobs": [-0.01] * tokens,
            "margins": [3.25] * tokens,
            "ends": [min(3 * (n + 1), len(text)) for n in range(tokens)],
            "prompt_tokens": 80,
            "output_tokens": tokens,
            "ttft_s": 0.01,
            "total_s": 0.2,
        },
    }


def regate(folder: Path) -> tuple[float, int]:
    """Run the command in a process of its own; return its seconds and its largest resident memory in bytes."""
    command = [sys.executable, "-m", "pytest_modelgate.cli", "regate", "journal.jsonl"]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    output = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) not in {0, 1} or "verdict: " not in output:
        raise SystemExit(f"regate failed:\n{output}")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())

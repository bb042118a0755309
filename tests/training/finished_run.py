"""Lay out a run whose files are there, as if it had been trained: the committed tiny model under another name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from modelgate_training.config import Config
from modelgate_training.evaluation import Evaluation, evaluate
from modelgate_training.run_folder import RunFolder

from tests.training.support_model import ADAPTER, BASE, SUPPORT

ROOT = Path(__file__).parents[2]
GATES = """\
version = 1

[generation]
max_tokens = 64
n_ctx = 1024

[tasks.support]
kind = "classification"
system = "golden/support.system.txt"
schema = "golden/support.schema.json"
fields = ["intent", "sentiment", "urgency"]
primary = "intent"

[gates.schema_validity]
metric = "schema_validity"
min = 0.9

[gates.intent]
metric = "accuracy.intent"
min = 0.6
suites = ["golden", "heldout"]

[gates.above_the_base]
metric = "accuracy.intent"
uplift_over = { base = 0.05 }
suites = ["golden", "heldout"]

[gates.card]
metric = "model_card"
min = 1

[gates.data]
metric = "dataset_version"
min = 1
"""
SUITES = {"golden": 8, "adversarial": 2, "heldout": 8}
"""How many cases of the repository's own suites are used."""

VERSION = "5" * 64
FACTS: dict[str, dict[str, Any]] = {
    "prepare": {
        "version": VERSION,
        "counts": {"read": 60, "rejected": 7, "not_sampled": 0, "train": 50, "validation": 3, "evaluation": 18},
        "rejected": {"json": 1, "duplicate_near": 6},
        "masked": {"mode": "mask", "reason": None, "rows": 4, "kinds": {"email": 3, "iban": 1}},
        "kinds": {"canonical": 31, "negative": 22},
        "licences": {"cc0-1.0": 41, "not said": 12},
    },
    "base": {"path": str(BASE), "revision": "base"},
    "train": {
        "audit": {"rows": 53, "tokens": 5210, "learned_tokens": 1204, "longest": 101},
        "first_row": "<|im_start|>user\nHello<|im_end|>",
        "trainable": 311296,
        "weights": 2398464,
        "steps": 77,
        "loss": 0.0513,
        "eval_loss": 0.0743,
        "best_eval_loss": 0.0721,
        "gaps": [{"step": 30, "gap": 0.0112}, {"step": 77, "gap": 0.023}],
        "precision": "fp32",
        "optimizer": "adamw_torch",
        "devices": 1,
        "device": "cpu",
        "tokens_per_second": 913.7,
        "peak_memory_bytes": {"process": 912_345_678},
        "history": [{"step": 77, "loss": 0.0513}],
    },
    "merge": {"dtype": "float32", "changed_tensors": 14},
    "export": {},
    "quantize": {},
    "baseline": {"verdict": "blocked"},
}


def make_run(path: Path, **sections: Any) -> RunFolder:
    """Return a run in ``path`` with adapter, GGUF files and marks of all stages but the last; ``sections`` of its configuration."""
    make_suites(path)
    (path / "train.jsonl").write_text('{"input": "Hello", "expected": null}\n', encoding="utf-8")
    config: dict[str, Any] = {
        "root": str(path),
        "output": "run",
        "gates": "gates.toml",
        "data": {"train": ["train.jsonl"]},
        "base": {"path": str(BASE), "own_tokenizer": True},
        "export": {"name": "support", "quantizations": ["Q8_0", "Q4_K_M"]},
    }
    run = RunFolder(Config.model_validate(config | sections))
    run.path.mkdir()
    shutil.copytree(ADAPTER, run.adapter)
    for name in ("base-f16", "support-f16", "support-Q8_0", "support-Q4_K_M"):
        (run.path / f"{name}.gguf").hardlink_to(SUPPORT / f"{name}.gguf")
    for stage, facts in FACTS.items():
        write_mark(run, stage, facts)
    return run


def make_suites(path: Path) -> None:
    """Write a gates file, and some cases of each suite, of all intents."""
    (path / "gates.toml").write_text(GATES, encoding="utf-8")
    for suite, count in SUITES.items():
        (path / suite).mkdir()
        lines = (ROOT / suite / "support.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (path / suite / "support.jsonl").write_text("".join(lines[:: len(lines) // count][:count]), encoding="utf-8")
    for name in ("support.system.txt", "support.schema.json"):
        shutil.copyfile(ROOT / "golden" / name, path / "golden" / name)


def write_mark(run: RunFolder, stage: str, facts: Mapping[str, Any]) -> None:
    """Mark a stage as complete."""
    path = run.path / "stages" / f"{stage}.json"
    path.parent.mkdir(exist_ok=True)
    mark = {"made_of": {}, "outputs": {}, "seconds": 12.5, "facts": facts}
    path.write_text(json.dumps(mark), encoding="utf-8")


def right_answers(run: RunFolder) -> dict[str, str]:
    """Return the right answer to each case, by ``suite/id``."""
    return {f"{case.suite}/{case.id}": json.dumps(case.expected) for case in run.tasks.cases}


def record(run: RunFolder, target: str, answers: Mapping[str, str]) -> str:
    """Append answers to a journal, and return the spec that replays them."""
    rows: Iterable[dict[str, Any]] = (
        {"target": target, "suite": suite, "case": case, "generation": {"text": text}}
        for (suite, _, case), text in ((key.partition("/"), text) for key, text in answers.items())
    )
    with (run.root / "journal.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return f"replay:journal.jsonl#{target}"


def judged(run: RunFolder, *, blocked: bool = False) -> Evaluation:
    """
    Return the gate's own report of the candidate, from recordings: right on golden cases, wrong on two held-out ones.

    ``blocked``: the smallest file is wrong everywhere instead.
    """
    wrong = '{"intent": "billing", "sentiment": "neutral", "urgency": "low"}'
    right = right_answers(run)
    ours = right | dict.fromkeys([key for key in right if key.startswith("heldout/")][:2], wrong)
    nothing = dict.fromkeys(right, wrong)
    answers = {"adapter": ours, "Q8_0": ours, "Q4_K_M": nothing if blocked else ours}
    targets = {name: record(run, name, given) for name, given in answers.items()}
    return evaluate(run, targets, {"base": record(run, "base", nothing)}, run.evaluation)

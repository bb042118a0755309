"""Gate a broken candidate as a user would, with its answers held to the schema."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.faults.candidate import MAX_TOKENS, N_CTX, ROOT, BrokenCandidate

CASES = 12
GATES = f"""\
version = 1

[generation]
max_tokens = {MAX_TOKENS}
n_ctx = {N_CTX}
grammar = "schema"

[tasks.support]
kind = "classification"
system = "golden/support.system.txt"
schema = "golden/support.schema.json"
fields = ["intent", "sentiment", "urgency"]
primary = "intent"

[suites]
golden = ["golden/*.jsonl"]

[gates.form]
metric = "schema_validity"
min = 0.75
"""


def failed_gates(broken: BrokenCandidate, folder: Path) -> dict[str, str]:
    """Return the metric of each gate that fails, by its name, where the schema's grammar is on."""
    golden = folder / "golden"
    golden.mkdir(parents=True)
    for name in ("support.system.txt", "support.schema.json"):
        (golden / name).write_bytes((ROOT / "golden" / name).read_bytes())
    lines = (ROOT / "golden" / "support.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (golden / "support.jsonl").write_text("".join(lines[:CASES]), encoding="utf-8")
    (folder / "gates.toml").write_text(GATES, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-q", "--model", str(broken.gguf)]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    report = folder / ".modelgate" / "report.json"
    assert report.is_file(), done.stdout + done.stderr
    gates = json.loads(report.read_text(encoding="utf-8"))["gates"]
    return {gate["name"]: gate["metric"] for gate in gates if gate["outcome"] == "failed"}

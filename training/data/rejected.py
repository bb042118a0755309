"""Keep the rows that were not accepted, each with the gate that stopped it and the reason."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REQUIRED = (
    *("json", "schema", "contract", "instructions", "duplicate_exact", "duplicate_near"),
    *("trivial", "diversity", "length", "labels", "leak"),
)
"""Gates that every row passes, in the order in which they are reported."""

OTHERS = ("rubric", "privacy", "consent", "forgotten")
"""Gates for rows that say more of themselves, and for what people asked for."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Hold one rejected row; ``row`` is what may be written of it: masked, or nothing."""

    gate: str
    reason: str
    source: str
    id: str | None
    row: Mapping[str, Any]


class Rejections:
    """Gather the rejected rows of a run; ``left_out`` are the incidents of which no row was made, which count as no rows."""

    def __init__(self) -> None:
        self.rows: list[Rejected] = []
        self.left_out: list[Rejected] = []

    def add(self, gate: str, reason: str, source: str, id_: str | None, row: Mapping[str, Any]) -> None:
        """Add one row."""
        self.rows.append(Rejected(gate, reason, source, id_, row))

    @property
    def counts(self) -> dict[str, int]:
        """Return how many rows each gate stopped: each that is required, the others where they stopped any."""
        found = Counter(one.gate for one in self.rows)
        return {gate: found[gate] for gate in (*REQUIRED, *OTHERS) if gate in REQUIRED or found[gate]}

    def write(self, folder: Path, reports: Mapping[str, Any]) -> None:
        """
        Write one JSONL file for each gate that stopped rows, ``summary.json``, and the ``reports`` by file name.

        The folder is there whole or not at all.
        """
        partial = folder.with_name(f".partial-{folder.name}")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        by_gate: dict[str, list[Rejected]] = {}
        for one in (*self.rows, *self.left_out):
            by_gate.setdefault(one.gate, []).append(one)
        for gate, rows in by_gate.items():
            _write_lines(partial / f"{gate}.jsonl", rows)
        counts = self.counts | ({"judged": len(self.left_out)} if self.left_out else {})
        for name, report in ({"summary.json": counts} | dict(reports)).items():
            text = json.dumps(report, indent=1, ensure_ascii=False)
            (partial / name).write_text(f"{text}\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)


def _write_lines(path: Path, rows: Iterable[Rejected]) -> None:
    """Write one line for each row."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for one in rows:
            about = {"gate": one.gate, "reason": one.reason, "source": one.source, "id": one.id}
            file.write(json.dumps({**about, **one.row, **about}, ensure_ascii=False) + "\n")

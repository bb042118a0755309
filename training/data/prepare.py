"""Make the rows ready: read, clean, checked against the evaluation rows, split by group."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..config import Data
from ..errors import StageError
from .leaks import drop_duplicates, find_leaks
from .rows import Row, read_evaluation, read_rows, write_rows
from ..run_folder import RunFolder

_SHOWN = 5


def prepare(run: RunFolder) -> dict[str, Any]:
    """Write the rows to train on and the rows held back; return the counts."""
    data = run.config.data
    rows = [row for path in run.train_files for row in read_rows(path, data)]
    counts = {"read": len(rows)}
    rows, rejected = drop_duplicates(rows)
    counts["duplicates"] = len(rejected)
    evaluations = [row for path in run.suite_files for row in read_evaluation(path, data)]
    leaks = find_leaks(rows, evaluations, data.near)
    if leaks and data.leaks == "refuse":
        shown = "; ".join(str(leak) for leak in leaks[:_SHOWN])
        more = f"; and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
        raise StageError(
            f"{len(leaks)} training rows are evaluation rows too: {shown}{more}. "
            f"Take them out, or let them be dropped: --set data.leaks=drop"
        )
    leaked = {leak.row.source for leak in leaks}
    rows = [row for row in rows if row.source not in leaked]
    rejected += [(leak.row, str(leak)) for leak in leaks]
    counts |= {"evaluation": len(evaluations), "leaks": len(leaks)}
    train, held_back = _split(_sample(rows, data), data)
    counts |= {"train": len(train), "validation": len(held_back)}
    if not train:
        raise StageError("no row is left to train on")
    write_rows(run.train_rows, train)
    write_rows(run.validation_rows, held_back)
    _write_rejected(run, rejected)
    print("prepare: " + ", ".join(f"{value} {key}" for key, value in counts.items()))
    return {"counts": counts, "answers": _most_common(train)}


def _sample(rows: Sequence[Row], data: Data) -> list[Row]:
    """Take as many rows as wanted, in their own order."""
    if data.limit is None or len(rows) <= data.limit:
        return list(rows)
    taken = sorted(random.Random(data.seed).sample(range(len(rows)), data.limit))  # noqa: S311 (nothing secret)
    return [rows[index] for index in taken]


def _split(rows: Sequence[Row], data: Data) -> tuple[list[Row], list[Row]]:
    """Hold back whole groups, until the wanted share of rows is reached."""
    groups = Counter(row.group for row in rows)
    order = sorted(groups)
    random.Random(data.seed).shuffle(order)  # noqa: S311 (nothing secret is drawn)
    wanted, held_back, taken = data.validation * len(rows), set(), 0
    for group in order:
        if taken + groups[group] > wanted:
            continue
        held_back.add(group)
        taken += groups[group]
    return [row for row in rows if row.group not in held_back], [row for row in rows if row.group in held_back]


def _write_rejected(run: RunFolder, rejected: Sequence[tuple[Row, str]]) -> None:
    """Write what was left out, each row with the reason."""
    lines = (json.dumps({"reason": reason, **asdict(row)}, ensure_ascii=False) for row, reason in rejected)
    run.rejected.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _most_common(rows: Sequence[Row]) -> dict[str, int]:
    """Count the values of each answer's fields, so that a skewed set is seen."""
    counts: Counter[str] = Counter()
    for row in rows:
        fields = row.expected.items() if isinstance(row.expected, dict) else [("answer", row.answer[:40])]
        counts.update(f"{key}={value}" for key, value in fields)
    return dict(counts.most_common(100))

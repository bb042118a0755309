"""Say in a few lines what became of the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def summary_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that are printed after ``prepare``, from its facts; no row is quoted."""
    counts, masked, labels, length = (facts[name] for name in ("counts", "masked", "labels", "length"))
    yield (
        f"prepare: {counts['read']} rows read: {counts['train']} to train on, {counts['validation']} held back, "
        f"{counts['rejected']} rejected" + (f", {n} not sampled" if (n := counts["not_sampled"]) else "")
    )
    width = max(map(len, facts["rejected"]))
    yield f"  {'gate':<{width}}  rejected"
    for gate, count in facts["rejected"].items():
        yield f"  {gate:<{width}}  {count:>8}"
    yield f"  compared with {counts['evaluation']} evaluation cases"
    yield f"  dataset version {facts['version']}"
    if left_out := facts["left_out"]:
        yield f"  {left_out} times data.judged left an incident out: see rejected/judged.jsonl"
    if masked["mode"] == "off":
        yield f"  nothing was masked: {masked['reason']}"
    else:
        yield f"  masked in {masked['rows']} rows: {_listed(masked['kinds'])}"
    yield f"  kinds: {_listed(facts['kinds'])}"
    if missing := facts["without_licence"]:
        yield f"  no licence is said of {sum(missing.values())} rows: {_listed(missing)}"
    if labels["suspicious"]:
        yield (
            f"  {labels['suspicious']} rows ask nearly the same as another and answer differently: see "
            f"rejected/labels.json"
        )
    if facts["own_instructions"]:
        yield f"  {facts['own_instructions']} rows were written for another instruction than the task's"
    if length["inputs_cut"]:
        yield f"  inputs cut or condensed by [tasks.NAME.long_input]: {length['inputs_cut']}"
    if length["checked"]:
        yield f"  tokens: median {length['median']:g}, longest {length['longest']}, limit {length['limit']}"
    else:
        yield f"  tokens: {length['why']}"


def _listed(counts: Mapping[str, int], shown: int = 8) -> str:
    """Return counts on one line."""
    parts = [f"{name} {count}" for name, count in counts.items()]
    more = f", and {len(parts) - shown} more" if len(parts) > shown else ""
    return ", ".join(parts[:shown]) + more if parts else "nothing"

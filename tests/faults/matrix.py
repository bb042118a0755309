"""Run every check on every fault, with what is given to them, and write down which of them saw it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.process import ProcessEngine
from pytest_modelgate.errors import ModelgateError
from pytest_modelgate.preflight.cause import likeliest_cause
from pytest_modelgate.preflight.check import STAGES, Artifact, CheckResult, Subject
from pytest_modelgate.preflight.run import run_preflight
from pytest_modelgate.records import Generation, Request
from tests.faults.candidate import MAX_TOKENS, N_CTX, BrokenCandidate, GoodCandidate
from tests.faults.kit import about

Given = Literal["file alone", "with reference", "with reference and manifest"]
GIVEN: tuple[Given, ...] = ("file alone", "with reference", "with reference and manifest")
PROMPTS, ANSWERS, ASKED = 40, 12, 16
"""How many prompts the tokenizers are compared on, how many answers are scored, and how many are generated."""


@dataclass(frozen=True, slots=True)
class Row:
    """
    Hold what was seen of a fault.

    ``by``: the checks that failed, in their order, and gates. ``attributed``: the likeliest cause is the planted one.
    ``answers_changed``: the file answers golden cases otherwise than the good candidate, or not at all.
    """

    fault: str
    given: Given
    caught: bool
    by: tuple[str, ...]
    attributed: bool
    answers_changed: bool


def subject(good: GoodCandidate, broken: BrokenCandidate, given: Given) -> Subject:
    """Return a broken candidate with what its checks are given."""
    answered = list(good.answers)
    asked = [*answered, *(key for key in good.prompts if key not in good.answers)]
    keys = [*asked[: PROMPTS // 2], *asked[len(answered) : len(answered) + PROMPTS // 2]]
    has_reference, has_manifest = given != "file alone", given == "with reference and manifest"
    return Subject(
        target=Artifact(broken.gguf.name, "gguf", broken.gguf, lora=broken.lora),
        chain=(Artifact("adapter", "adapter", broken.adapter, broken.base),) if has_reference else (),
        manifest=broken.manifest if has_manifest else None,
        manifest_path=broken.gguf.parent / "manifest.json" if has_manifest else None,
        modelfile=broken.modelfile,
        prompts={key: good.prompts[key] for key in keys},
        answers={key: good.answers[key] for key in answered[:ANSWERS]},
        n_ctx=N_CTX,
        max_tokens=MAX_TOKENS,
    )


def checked(good: GoodCandidate, broken: BrokenCandidate, given: Given) -> list[CheckResult]:
    """Return what every check found."""
    return list(run_preflight(subject(good, broken, given), STAGES))


def row(
    fault: str,
    given: Given,
    broken: BrokenCandidate,
    results: Sequence[CheckResult],
    gates: Collection[str] = (),
    *,
    changed: bool,
) -> Row:
    """Return what the checks made of a fault; ``gates``: metrics of the gates that failed where the candidate was gated."""
    cause = likeliest_cause(results)
    failed = tuple(one.check for one in results if one.outcome == "failed")
    # A gate on what a model writes without the grammar stands for one failure mode alone.
    hidden = {"F28"} if set(gates) == {"raw_schema_validity"} else set()
    named = broken.modes & (hidden if cause is None else {cause.mode})
    by = (*failed, *(f"gate {metric}" for metric in sorted(gates)))
    return Row(fault, given, bool(by), by, bool(named), changed)


def answers(good: GoodCandidate, gguf: Path, lora: Path | None = None) -> dict[str, str]:
    """Return what a file answers to golden cases, with how it ended; why, where it does not answer."""
    keys = list(good.answers)[:ASKED]
    requests = [Request(key, MAX_TOKENS, messages=good.prompts[key]) for key in keys]
    arguments = {"path": str(gguf), "lora": None if lora is None else str(lora)}
    try:
        with ProcessEngine("gguf", arguments, EngineSettings(n_ctx=N_CTX, n_threads=1)) as engine:
            found = dict(engine.generate(requests))
    except ModelgateError as error:
        return dict.fromkeys(keys, f"{type(error).__name__}")
    return {
        key: f"{one.finish_reason}: {one.text}" if isinstance(one, Generation) else "failure"
        for key, one in found.items()
    }


def to_json(rows: Iterable[Row]) -> str:
    """Return the rows as the text of docs/faults.json, one a line."""
    lines = (json.dumps(asdict(one), ensure_ascii=False) for one in rows)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a page that a person reads."""
    by_fault: dict[str, dict[str, Row]] = {}
    for one in rows:
        by_fault.setdefault(one.fault, {})[one.given] = one
    full = [found[GIVEN[-1]] for found in by_fault.values()]
    named = sum(one.attributed for one in full)
    hidden = [fault for fault, found in by_fault.items() if not found["file alone"].caught]
    unchanged = [fault for fault, found in by_fault.items() if not found["file alone"].answers_changed]
    lines = [
        "# Planted faults, and which check sees them",
        "",
        f"{len(by_fault)} faults were planted in the tiny support candidate ([tests/faults](../tests/faults)). With its",
        f"reference and its manifest, {sum(one.caught for one in full)} of them fail a check before anything is generated, and for",
        f"{named} ({named / len(full):.0%}) the cause that is named first is the one that was planted. The manifest is the one that a",
        "pipeline writes which made the fault and noticed nothing, so a hash gives only those away that happened after it.",
        "",
        f"Of the file alone {len(by_fault) - len(hidden)} are seen. It cannot show {_listed(hidden)}: such a file is whole and",
        "agrees with itself, and only what it was made from tells that it is not what it should be.",
        "",
        f"{len(by_fault) - len(unchanged)} change answers to golden cases in this project's own engine. Of the others, {_listed(unchanged)},",
        "answers show nothing there, but in another program, or with other prompts.",
        "",
        "| fault | what was done | file alone | with reference | and manifest | cause named | answers |",
        "|---|---|---|---|---|---|---|",
        *(_line(fault, found) for fault, found in by_fault.items()),
        "",
        "Written by `tests/faults/test_fault_matrix.py`; the same as data: [faults.json](faults.json).",
    ]
    return "\n".join(lines) + "\n"


def _line(fault: str, found: Mapping[str, Row]) -> str:
    """Return a fault's line of the table."""
    seen = [_seen(found[given]) for given in GIVEN]
    last = found[GIVEN[-1]]
    cause = "right" if last.attributed else "another"
    return (
        f"| {fault} | {about(fault)} | {' | '.join(seen)} | {cause} | {'change' if last.answers_changed else 'stay'} |"
    )


def _seen(one: Row) -> str:
    """Return which check saw a fault first, and how many others did."""
    if not one.caught:
        return "-"
    more = f" + {len(one.by) - 1}" if len(one.by) > 1 else ""
    return f"`{one.by[0]}`{more}"


def _listed(names: Sequence[str]) -> str:
    """Return names as words of a sentence."""
    if len(names) < 2:
        return "".join(names) or "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"

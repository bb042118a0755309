"""Run every check on every fault, with what is given to them, and write down which of them saw it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.gguf import GgufEngine
from pytest_modelgate.errors import ModelgateError
from pytest_modelgate.preflight.cause import likeliest_cause
from pytest_modelgate.preflight.check import STAGES, Artifact, CheckResult, Subject
from pytest_modelgate.preflight.run import CHECKS, run_preflight
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

    ``by``: the checks that failed, the one that names the cause first, and gates. ``attributed``: the likeliest cause is the planted one.
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


def checked(good: GoodCandidate, broken: BrokenCandidate) -> dict[Given, list[CheckResult]]:
    """Return what every check found, by what it was given."""
    alone, referenced, whole = (subject(good, broken, given) for given in GIVEN)
    without = list(run_preflight(referenced, STAGES))
    # Only what looks at files looks at the manifest: the other stages would compute the same once more.
    assert not [check.name for check in CHECKS if check.stage != "static" and "manifest" in check.needs]
    others = [one for one in without if one.stage != "static"]
    found = (list(run_preflight(alone, STAGES)), without, [*run_preflight(whole, ("static",)), *others])
    return dict(zip(GIVEN, found, strict=True))


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
    told = cause.checks if cause is not None else ()
    failed = [one.check for one in results if one.outcome == "failed"]
    # A gate on what a model writes without the grammar stands for one failure mode alone.
    hidden = {"F28"} if set(gates) == {"raw_schema_validity"} else set()
    named = broken.modes & (hidden if cause is None else {cause.mode})
    others = [check for check in failed if check not in told]
    by = (*told, *others, *(f"gate {metric}" for metric in sorted(gates)))
    return Row(fault, given, bool(by), by, bool(named), changed)


def answers(good: GoodCandidate, gguf: Path, lora: Path | None = None) -> dict[str, str]:
    """Return what a file answers to golden cases, with how it ended; why, where it does not answer."""
    keys = list(good.answers)[:ASKED]
    requests = [Request(key, MAX_TOKENS, messages=good.prompts[key]) for key in keys]
    try:
        engine = GgufEngine(gguf, EngineSettings(n_ctx=N_CTX, n_threads=1, batch_size=1), lora)
        found = dict(engine.generate(requests))
        engine.close()
    except ModelgateError as error:
        return dict.fromkeys(keys, type(error).__name__)
    return {
        key: f"{one.finish_reason}: {one.text}" if isinstance(one, Generation) else "failure"
        for key, one in found.items()
    }


def to_json(rows: Iterable[Row]) -> str:
    """Return the rows as the text of docs/faults.json, one a line."""
    lines = (json.dumps(asdict(one), ensure_ascii=False) for one in rows)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def from_json(text: str) -> list[Row]:
    """Return the rows of :func:`to_json`'s text."""
    return [Row(**one | {"by": tuple(one["by"])}) for one in json.loads(text)]


def to_markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a page that a person reads."""
    by_fault: dict[str, dict[str, Row]] = {}
    for one in rows:
        by_fault.setdefault(one.fault, {})[one.given] = one
    full = [found[GIVEN[-1]] for found in by_fault.values()]
    named = [one.fault for one in full if one.attributed]
    hidden = [fault for fault, found in by_fault.items() if not found["file alone"].caught]
    unchanged = [one.fault for one in full if not one.answers_changed]
    early = [one.fault for one in full if any(not check.startswith("gate ") for check in one.by)]
    gated = [one.fault for one in full if one.caught and one.fault not in early]
    number = len(by_fault)
    lines = [
        "# Planted faults, and which check sees them",
        "",
        f"{number} faults were planted in the tiny support candidate ([tests/faults](../tests/faults)). With its reference and its",
        f"manifest, {sum(one.caught for one in full)} of {number} are caught: {len(early)} by a check before anything is generated, {len(gated)} by a gate",
        f"({_listed(gated)}). For {len(named)} ({len(named) / number:.0%}) the cause that is named first is the planted one. The manifest is",
        "that of a pipeline which made the fault and noticed nothing, so its hashes give away only what happened after it.",
        "",
        f"**The file alone cannot show {len(hidden)} of them**; such a file is whole and agrees with itself, and only what it was made",
        f"from tells that it is another: {_listed(hidden)}.",
        "",
        f"**{len(unchanged)} change no answer** to the {ASKED} golden cases that were tried, in this project's own engine, and would do so in another",
        f"program, on other prompts or on a larger model: {_listed(unchanged)}.",
        "",
        "Each column names the check that tells the cause, and how many others failed.",
        "",
        "| fault | what was done | file alone | with reference | and manifest | cause | answers |",
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

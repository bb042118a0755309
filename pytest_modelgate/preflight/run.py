"""Run the checks of a preflight, cheapest first, and say of each what it found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

from pytest_modelgate.errors import ModelgateError
from pytest_modelgate.preflight import logits, static, tokenizer, weights
from pytest_modelgate.preflight.check import Check, CheckOutcome, CheckResult, Finding, Needs, Stage, Subject

CHECKS: tuple[Check, ...] = (*static.CHECKS, *tokenizer.CHECKS, *weights.CHECKS, *logits.CHECKS)
"""Every check, in the order in which they run."""

WITHOUT_REFERENCE: tuple[Stage, ...] = ("static", "tokenizer")
"""Stages that are run where there is no reference: the others have little to compare with, and read all weights."""

_OPENERS: Mapping[Stage, Callable[[Subject], AbstractContextManager[Any]]] = {
    "static": nullcontext,
    "tokenizer": tokenizer.open_stage,
    "weights": weights.open_stage,
    "logits": logits.open_stage,
}
_MISSING: Mapping[Needs, str] = {
    "reference": "there is no reference to compare with (--reference SPEC)",
    "base": "the reference is no adapter, so that its base is not known",
    "manifest": "no manifest.json of the training lies beside the file",
    "modelfile": "no Modelfile is given, and none lies beside the file",
    "prompts": "there are no cases",
}
_WORST_FIRST: tuple[CheckOutcome, ...] = ("failed", "warned", "not checked", "passed")


def run_preflight(
    subject: Subject, stages: Sequence[Stage], skip: Mapping[str, str] | None = None
) -> Iterator[CheckResult]:
    """
    Yield what each check of ``stages`` found on ``subject``.

    ``skip``: checks that are left out, with the reason, which is told. A check that cannot be done because something
    is not given is ``not checked``; one that breaks has failed: nothing that was not seen to be right is green.
    """
    for stage in stages:
        checks = [check for check in CHECKS if check.stage == stage and subject.target.kind in check.kinds]
        yield from _run_stage(stage, checks, subject, skip or {})


def _run_stage(
    stage: Stage, checks: Sequence[Check], subject: Subject, skip: Mapping[str, str]
) -> Iterator[CheckResult]:
    """Run the checks of one stage, which opens what they look at once."""
    with ExitStack() as stack:
        opened: tuple[Any, ...] | None = None
        for check in checks:
            if check.name in skip:
                yield _result(check, subject, Finding("not checked", f"left out: {skip[check.name]}"))
            elif lacking := [need for need in check.needs if not subject.has(need)]:
                yield _result(check, subject, Finding("not checked", _MISSING[lacking[0]]))
            else:
                started = time.perf_counter()
                try:
                    if opened is None:
                        context = stack.enter_context(_OPENERS[stage](subject))
                        opened = () if context is None or stage == "static" else (context,)
                    found = check.function(subject, *opened)
                    finding = _worst([found] if isinstance(found, Finding) else found)
                except (ModelgateError, OSError) as error:
                    finding = Finding("failed", f"could not be done: {error}")
                yield _result(check, subject, finding, time.perf_counter() - started)


def _worst(found: Iterable[Finding]) -> Finding:
    """Return the worst of several findings, the others of them that are not green as its details, all their figures."""
    ordered = sorted(found, key=lambda finding: _WORST_FIRST.index(finding.outcome))
    if not ordered:
        return Finding("not checked", "there was nothing to look at")
    first, *others = ordered
    told = [line for one in others if one.outcome in {"failed", "warned"} for line in (one.reason, *one.details)]
    figures = {name: value for one in ordered for name, value in one.figures.items()}
    return Finding(first.outcome, first.reason, (*first.details, *told), first.mode, figures)


def _result(check: Check, subject: Subject, finding: Finding, seconds: float = 0.0) -> CheckResult:
    return CheckResult(
        check=check.name,
        mode=finding.mode or check.mode,
        target=subject.target.id,
        stage=check.stage,
        outcome=finding.outcome,
        reason=finding.reason,
        details=finding.details,
        figures=finding.figures,
        seconds=round(seconds, 3),
    )

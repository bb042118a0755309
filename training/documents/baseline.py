"""Measure what a candidate has to beat, on the suites that will judge it, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_modelgate.report.escape import plain

from ..config import Baseline
from ..errors import ConfigError, StageError
from ..evaluation import Evaluation, check_suites, evaluate, spec
from ..run_folder import RunFolder

BASE, PROMPTED, PROGRAM, LARGER = "base", "prompted", "program", "larger"
"""Ids of the arms, as the gate's own tables know them."""

_UNTUNED = "untuned"  # the base's id while it is judged itself, where gates.toml has a control called base
_PYTHON = "python:"


def measure_baseline(run: RunFolder, base_folder: Path) -> dict[str, Any]:
    """
    Gate the untuned base, and beside it the base with a better prompt, a program and a larger model, where they are named.

    Returns the verdict, and each arm's primary metric by task. That the base is blocked is what is expected of it. Raises
    ConfigError where a suite is missing, StageError where the base answered nothing.
    """
    check_suites(run)
    facts: dict[str, Any] = {}
    if run.config.export.base:
        from ..export.steps import export_base

        facts["gguf"] = export_base(run, base_folder)
    name = _UNTUNED if BASE in run.tasks.file.controls else BASE
    found = evaluate(run, {name: base_spec(run, base_folder)}, other_arms(run, base_folder), run.baseline, base=name)
    if found.targets[name]["errors"] == found.targets[name]["cases"]:
        raise StageError(f"the untuned base answered nothing: {plain(found.targets[name]['first_error'] or '', 300)}")
    arms = {(BASE if target == name else target): found.figures(target) for target in found.targets}
    for line in figure_lines(arms):
        print(line)
    return {
        **facts,
        **arms,
        "verdict": found.verdict,
        "reasons": list(found.reasons),
        "report_sha256": found.about["report_sha256"],
    }


def skip_baseline(run: RunFolder, reason: str) -> dict[str, Any]:
    """Record why there is no baseline; the suites must be there all the same."""
    check_suites(run)
    print(f"baseline: not measured: {reason}")
    return {"skipped": reason}


def controls(run: RunFolder, base_folder: Path) -> dict[str, str]:
    """Return the arms that the candidate is compared with, specs by id; none where the baseline was not measured."""
    if "skipped" in run.facts("baseline"):
        return {}
    return {BASE: base_spec(run, base_folder), **other_arms(run, base_folder)}


def base_spec(run: RunFolder, base_folder: Path) -> str:
    """Return how the gate is told of the untuned base: the exported file, or the folder where none is exported."""
    return spec(run, run.base_gguf if run.config.export.base else base_folder)


def other_arms(run: RunFolder, base_folder: Path) -> dict[str, str]:
    """Return the arms beside the untuned base, specs by id."""
    wanted: Baseline = run.config.baseline
    arms = {}
    if wanted.prompted is not None:
        text = run.root / wanted.prompted
        if not text.is_file():
            raise ConfigError(f"baseline.prompted: no such file: {text}; it holds a better system text for the base")
        model = run.base_gguf if run.config.export.base else base_folder
        arms[PROMPTED] = spec(run, model, system=text)
    if wanted.program is not None:
        arms[PROGRAM] = _PYTHON + wanted.program.removeprefix(_PYTHON)
    if wanted.larger is not None:
        arms[LARGER] = _located(run, wanted.larger)
    return arms


def figure_lines(arms: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for each arm and task: the primary metric on the golden and the held-out cases."""
    shown = []
    for arm, tasks in arms.items():
        for task, figure in tasks.items():
            values = ", ".join(
                f"{suite} {'not measured' if figure[suite] is None else format(figure[suite], '.3f')}"
                for suite in ("golden", "heldout")
            )
            shown.append(f"  {arm}: {task} {figure['metric']}: {values}")
    return shown


def better_than_base(found: Evaluation, target: str, suite: str = "heldout") -> dict[str, bool | None]:
    """Say for each task whether a target's primary metric lies above the base's on the same cases; None: not measured."""
    answers: dict[str, bool | None] = {}
    for task, figure in found.figures(target).items():
        change = figure["over_base"].get(suite, {}).get("value")
        answers[task] = None if change is None else change > 0
    return answers


def _located(run: RunFolder, text: str) -> str:
    """Return a spec as the gate is given it: without an id of its own, its files seen from the gates file's folder."""
    head, *options = text.split(",")
    parts = [spec(run, run.root / head) if (run.root / head).exists() else head]
    for option in options:
        name, _, value = option.partition("=")
        if name == "id":
            continue
        is_file = name in {"base", "system"} and (run.root / value).exists()
        parts.append(f"{name}={spec(run, run.root / value)}" if is_file else option)
    return ",".join(parts)

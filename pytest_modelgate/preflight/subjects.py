"""Find everything that the targets of a release can be checked against."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_modelgate.cases import Case
from pytest_modelgate.errors import EngineStartError, SpecError
from pytest_modelgate.gguf_file import read_gguf_facts
from pytest_modelgate.preflight.check import Artifact, Subject
from pytest_modelgate.preflight.manifest import find_manifest
from pytest_modelgate.preflight.modelfile import find_modelfile
from pytest_modelgate.records import Message
from pytest_modelgate.release import Release
from pytest_modelgate.tables import GenerationTable
from pytest_modelgate.targets import Target
from pytest_modelgate.tasks import Task

_FULL_PRECISION = frozenset({"F32", "F16", "BF16"})
_FILES = frozenset({"gguf", "adapter", "merged"})
_CHARS_PER_TOKEN = 2
"""Fewer characters than this for each token are rare: an input that is not longer than so many cannot be cut."""


def subjects_of(release: Release) -> list[Subject]:
    """Return one subject for each judged target whose files can be looked at, with the golden cases' answers."""
    prompts = {
        f"{case.suite}/{case.id}": release.tasks[case.task].messages(case)
        for case in release.cases
        if _is_shown_whole(release.tasks[case.task], case)
    }
    answers = _answers(release)
    return [
        subject_of(
            target,
            release.references,
            release.judged,
            prompts=prompts | _own_prompts(release, target, prompts),
            answers=answers,
            generation=release.gates_file.generation,
        )
        for target in release.judged
        if target.spec.kind in _FILES
    ]


def artifact_of(target: Target) -> Artifact:
    """Return a target as a link of a chain."""
    kind = target.spec.kind
    if kind not in {"gguf", "adapter", "merged"}:
        raise ValueError(f"{target.id} has no files of its own")
    return Artifact(target.id, kind, target.spec.path, target.base, target.spec.lora)


def subject_of(
    target: Target,
    references: Sequence[Target],
    siblings: Sequence[Target] = (),
    *,
    prompts: Mapping[str, tuple[Message, ...]],
    answers: Mapping[str, str],
    generation: GenerationTable,
) -> Subject:
    """
    Return a target with what it was made from: ``references`` in order, then the file that it was quantised from.

    ``siblings``: the targets among which that file may stand, as on a ladder of quantisations.
    """
    chain = [artifact_of(link) for link in references if link.spec.kind in _FILES]
    if chain and target.spec.kind == "gguf" and not _is_full_precision(target):
        known = {link.path for link in chain}
        chain += [artifact_of(one) for one in siblings if _is_full_precision(one) and one.spec.path not in known]
    manifest = find_manifest(target.spec.path)
    return Subject(
        target=artifact_of(target),
        chain=tuple(chain),
        manifest=None if manifest is None else read_manifest(manifest),
        manifest_path=manifest,
        modelfile=target.spec.modelfile or find_modelfile(target.spec.path),
        prompts=prompts,
        answers=answers,
        n_ctx=target.settings.n_ctx,
        max_tokens=generation.max_tokens,
        temperature=generation.temperature,
        repeat_penalty=generation.repeat_penalty,
    )


def read_manifest(path: Path) -> Mapping[str, Any] | None:
    """Return a manifest; None for a file that is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _own_prompts(
    release: Release, target: Target, prompts: Mapping[str, tuple[Message, ...]]
) -> dict[str, tuple[Message, ...]]:
    """Return the prompts of a target with another system text."""
    if target.system is None:
        return {}
    return {
        f"{case.suite}/{case.id}": release.tasks[case.task].messages(case, target.system)
        for case in release.cases
        if f"{case.suite}/{case.id}" in prompts
    }


def _answers(release: Release) -> dict[str, str]:
    """Return the right answer of each golden case, or of every case where there is no golden suite, as text."""
    suites = {"golden"} & set(release.gates_file.suites) or set(release.gates_file.suites)
    found = {}
    for case in release.cases:
        if case.suite in suites and case.has_expected:
            answer = release.tasks[case.task].judge.answer(case)
            if answer:
                found[f"{case.suite}/{case.id}"] = answer
    return found


def _is_shown_whole(task: Task, case: Case) -> bool:
    """Say whether no rule for long inputs can cut the case's input: what the model is shown then needs no tokenizer."""
    if task.long_input is None:
        return True
    length = sum(len(message.content) for message in task.messages(case))
    return length <= task.long_input.tokens * _CHARS_PER_TOKEN


def _is_full_precision(target: Target) -> bool:
    """Say whether a target is a GGUF whose weights were not quantised."""
    if target.spec.kind != "gguf" or target.spec.lora is not None:
        return False
    try:
        return read_gguf_facts(target.spec.path).quantization in _FULL_PRECISION
    except (SpecError, EngineStartError):
        return False

"""Check two files or folders against each other, outside of a test run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_modelgate.errors import SpecError
from pytest_modelgate.identity import FileHashes
from pytest_modelgate.preflight.check import STAGES, CheckResult, Stage, Subject
from pytest_modelgate.preflight.run import run_preflight
from pytest_modelgate.preflight.subjects import subject_of, subjects_of
from pytest_modelgate.release import load_release, load_rules
from pytest_modelgate.specs import parse_specs
from pytest_modelgate.tables import GenerationTable
from pytest_modelgate.targets import prepare_target


def preflight(
    specs: Sequence[str],
    gates: Path | None = None,
    stages: Sequence[Stage] | None = None,
    directory: Path | None = None,
) -> Iterator[CheckResult]:
    """
    Yield what each check finds on the last of ``specs``, against those before it, which it was made from, in order.

    ``gates``: a gates file, whose cases give the prompts; None for fixed conversations alone. ``stages``: all of them
    where something stands before the last spec, else those that need nothing to compare with. Raises
    :class:`~pytest_modelgate.errors.ConfigurationError`.
    """
    subject = _subject(specs, gates, directory or Path.cwd())
    if stages is None:
        stages = STAGES if len(specs) > 1 else ("static", "tokenizer", "weights")
    yield from run_preflight(subject, stages)


def _subject(specs: Sequence[str], gates: Path | None, directory: Path) -> Subject:
    *before, last = specs
    parsed = parse_specs([last], directory, references=before)
    if parsed[0].kind not in {"gguf", "adapter", "merged"}:
        raise SpecError(f"{last}: a preflight looks into files: a GGUF, an adapter or a model folder")
    if gates is not None:
        return subjects_of(load_release(load_rules(gates), parsed, None, answers=False))[0]
    generation, hashes = GenerationTable(), FileHashes(None)
    target, *references = [prepare_target(spec, generation, hashes) for spec in parsed]
    return subject_of(target, references, prompts={}, answers={}, generation=generation)

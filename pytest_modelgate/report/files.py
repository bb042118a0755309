"""Write the report's files, so that a half-written or an old one is never taken for this run's."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_modelgate.records import Json
from pytest_modelgate.report.document import build_document
from pytest_modelgate.report.error_analysis import analyse_errors, error_rows
from pytest_modelgate.report.markdown import build_markdown
from pytest_modelgate.report.outcome import RunOutcome

REPORT = "report.json"
SUMMARY = "summary.md"
ERRORS = "errors.jsonl"
REPEATS = "repeat.json"


def prepare_folder(out: Path) -> None:
    """Make ``out``, which is no part of the user's repository."""
    is_new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    if is_new:  # a folder that was there before may be somebody's, with a .gitignore and files of its own
        (out / ".gitignore").write_text("*\n", encoding="utf-8")


def clear_old_report(out: Path) -> None:
    """
    Take an earlier run's verdict out of ``out``.

    Raises FileExistsError for a report.json that no run of ours wrote: nobody's file is lost.
    """
    report = out / REPORT
    if report.exists() and not _is_ours(report):
        raise FileExistsError(errno.EEXIST, f"holds a {REPORT} of another program; give another --modelgate-out")
    for name in (REPORT, SUMMARY, ERRORS):  # not what repeats found: gates.toml may name it as evidence
        (out / name).unlink(missing_ok=True)


def _is_ours(report: Path) -> bool:
    """Say whether a report.json was written by a run, whole or half."""
    return report.read_bytes()[:80].replace(b" ", b"").startswith(b'{\n"schema_version":') or not report.stat().st_size


def write_report(outcome: RunOutcome, out: Path) -> None:
    """
    Write summary.md, what else there is to write, and report.json last, each atomically.

    Appends to CI's step summary where there is one. errors.jsonl is there where something was missed, repeat.json where
    the run was repeated.
    """
    summary = build_markdown(outcome)
    _write(out / SUMMARY, [summary])
    if step_summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(step_summary).open("a", encoding="utf-8") as file:
            file.write(summary)
    rows = [json.dumps(row) + "\n" for row in error_rows(analyse_errors(outcome))]
    _write(out / ERRORS, rows) if rows else (out / ERRORS).unlink(missing_ok=True)
    if outcome.repeats is not None:
        _write(out / REPEATS, [json.dumps(outcome.repeats.to_json(), indent=1), "\n"])
    _write(out / REPORT, _lines(build_document(outcome)))


def _lines(document: Json) -> Iterator[str]:
    """
    Yield the report as JSON, a line for each row of its tables.

    Indented throughout it would take Python's own encoder: ten times the time, and a string for every number.
    """
    start = "{\n"
    for name, value in document.items():
        yield f"{start} {json.dumps(name)}: "
        start = ",\n"
        if isinstance(value, list) and value:
            for number, row in enumerate(value):
                yield (",\n  " if number else "[\n  ") + json.dumps(row, allow_nan=False)
            yield "\n ]"
        else:
            yield json.dumps(value, allow_nan=False)
    yield "\n}\n"


def _write(path: Path, lines: Iterable[str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines(lines)
    temporary.replace(path)

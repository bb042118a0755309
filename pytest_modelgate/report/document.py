"""Put a run's outcome into the report's document (report.json, schema_version 1; docs/report.schema.json)."""

from __future__ import annotations

import datetime as dt
import platform
from importlib import metadata

from pytest_modelgate.machine import describe_machine
from pytest_modelgate.metrics import Measurement
from pytest_modelgate.metrics.performance import (
    STATISTICS,
    TIMES,
    measure_time,
    prompt_tokens_per_second,
    tokens_per_second,
)
from pytest_modelgate.records import Json, Performance, Record
from pytest_modelgate.report.arms import compare_arms
from pytest_modelgate.report.changes import find_changes
from pytest_modelgate.report.detail import describe_labels
from pytest_modelgate.report.error_analysis import analyse_errors
from pytest_modelgate.report.noise import quarantine_json
from pytest_modelgate.report.outcome import RunOutcome
from pytest_modelgate.targets import Target

SCHEMA_VERSION = 1
_PACKAGES = ("pytest-modelgate", "pytest", "llama-cpp-python", "torch", "transformers", "peft")


def build_document(outcome: RunOutcome) -> Json:
    """Return the report as primitives."""
    release = outcome.release
    created = dt.datetime.fromtimestamp(outcome.created, tz=dt.UTC)
    changes = find_changes(outcome)
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": outcome.verdict,
        "reasons": outcome.reasons,
        "created": created.isoformat(timespec="seconds"),
        "duration_s": round(outcome.duration_s, 3),
        "versions": {"python": platform.python_version()} | _versions(),
        "machine": describe_machine(),
        "gates_file": {"path": release.gates_file.path.name, "sha256": release.gates_file.sha256},
        "command": outcome.command,
        "selection": "full" if outcome.is_full else "partial",
        "targets": [_target(outcome, target) for target in release.targets],
        "gates": [gate.to_json() for gate in outcome.gates],
        "preflight": [result.to_json() for result in outcome.preflight],
        "causes": [{"target": target} | cause.to_json() for target, cause in outcome.causes().items()],
        "passing": [target.id for target in outcome.passing],
        "arms": [arm.to_json() for arm in compare_arms(outcome)],
        "baseline": None if changes is None else changes.to_json(),
        "accepted": outcome.accepted,
        "repeats": None if outcome.repeats is None else outcome.repeats.to_json(),
        "quarantine": quarantine_json(outcome),
        "errors": [errors.to_json() for errors in analyse_errors(outcome)],
        "detail": [detail.to_json() for detail in describe_labels(outcome)],
        "cases": [_case(record) for record in outcome.records],
        "performance": [_performance(outcome, measured) for measured in outcome.performances.values()],
        "suites": [
            {
                "suite": file.suite,
                "path": file.name,
                "sha256": file.sha256,
                "n": len(file.cases),
                "critical": sum(bool(case.critical) for case in file.cases),
            }
            for file in release.files
        ],
    }


def _versions() -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _target(outcome: RunOutcome, target: Target) -> Json:
    engine = outcome.engines.get(target.id)
    return {
        "id": target.id,
        "role": target.spec.role,
        "spec": target.spec.text,
        "kind": target.spec.kind,
        "identity": target.identity,
        "sha256": target.sha256,
        "size_bytes": target.size_bytes,
        "quantization": target.about.get("quantization"),
        "engine": engine
        or {"name": None, "version": target.about.get("engine"), "settings": target.settings.to_json()},
        "replayed": sum(record.replayed for record in outcome.records if record.target == target.id),
    }


def _case(record: Record) -> Json:
    """Return what the report keeps of a record: enough to work out every metric of the records again."""
    data = record.to_json()
    keep = (
        "task",
        "suite",
        "target",
        "outcome",
        "critical",
        "violations",
        "mistakes",
        "scores",
        "labels",
        "confidences",
        "counts",
        "output",
        "expected",
        "finish_reason",
        "prompt_tokens",
        "output_tokens",
        "min_margin",
        "near_tie",
        "group",
        "tags",
        "location",
        "input",
        "error",
    )
    cut = (
        {"input_cut": True, "input_tokens_dropped": record.input_tokens_dropped} if record.input_tokens_dropped else {}
    )
    return {"id": record.case} | {name: data[name] for name in keep} | cut


def _performance(outcome: RunOutcome, measured: Performance) -> Json:
    against = measured.against
    return {
        "target": measured.target,
        "n": len(measured.samples),
        **_times(measured),
        "tokens_per_second": _rounded(tokens_per_second(measured), 2),
        "prompt_tokens_per_second": _rounded(prompt_tokens_per_second(measured), 2),
        "peak_rss_bytes": measured.peak_rss_bytes,
        "cost_per_1k_requests": measured.cost_per_1k_requests,
        "generation_s": round(outcome.seconds.get(measured.target, 0.0), 3),
        "others_busy": measured.others_busy,
        "against": None if against is None else {"target": against.target, **_times(against), "error": against.error},
        "error": measured.error,
    }


def _times(measured: Performance) -> Json:
    """Return the statistics of each time, in milliseconds; None where it was not measured."""
    found: Json = {}
    for name in TIMES:
        values = {statistic: _rounded(measure_time(measured, name, statistic), 3) for statistic in STATISTICS}
        found[name] = values if values["p50"] is not None else None
    return found


def _rounded(measured: Measurement, digits: int) -> float | None:
    return None if measured.value is None else round(measured.value, digits)

"""Put a run's outcome into the report's document (report.json, schema_version 1; docs/report.schema.json)."""

from __future__ import annotations

import datetime as dt
import platform
from importlib import metadata
from typing import Any

import numpy as np

from pytest_modelgate.machine import describe_machine
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
    tokens = sum(sample.output_tokens for sample in measured.samples)
    seconds = sum(sample.total_s for sample in measured.samples)
    return {
        "target": measured.target,
        "n": len(measured.samples),
        "latency_ms": _percentiles([sample.total_s * 1000 for sample in measured.samples]),
        "ttft_ms": _percentiles([sample.ttft_s * 1000 for sample in measured.samples]),
        "tokens_per_second": round(tokens / seconds, 2) if seconds else None,
        "peak_rss_bytes": measured.peak_rss_bytes,
        "generation_s": round(outcome.seconds.get(measured.target, 0.0), 3),
        "error": measured.error,
    }


def _percentiles(values: list[float]) -> dict[str, Any] | None:
    if not values:
        return None
    return {f"p{q}": round(float(np.percentile(values, q)), 3) for q in (50, 95, 99)}

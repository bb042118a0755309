"""
Hold the published release gates of each task kind, which ``release_gates = "default"`` adds.

The numbers are those of an eval-first workflow for narrow small models (docs/gates.md, "Presets"). Every one of them
can be changed in gates.toml by a gate of the same name, and the report says which gates come from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Gate = dict[str, Any]


def preset_gates(task: str, table: Mapping[str, Any], suites: Sequence[str]) -> dict[str, Gate]:
    """
    Return the gates for ``task``, by name: ``<task>-<gate>``.

    ``table``: the task's raw table in gates.toml. ``suites``: names of the suites that there are; a gate for a suite
    that is not there judges all.
    """
    decisive = [suite for suite in ("golden", "heldout") if suite in suites]
    generalisation = ["heldout"] if "heldout" in suites else decisive
    gates: dict[str, Gate] = {
        "no_critical_failures": {"metric": "critical_failures", "max": 0},
        "no_critical_regressions": {"metric": "critical_regressions", "max": 0},
        "never_endless": {"metric": "truncation_rate", "max": 0.01, "suites": decisive},
        "no_loops": {"metric": "repetition_rate", "max": 0.01, "suites": decisive},
        "model_card": {"metric": "model_card", "min": 1, "severity": "warn"},
        "dataset_version": {"metric": "dataset_version", "min": 1, "severity": "warn"},
        "report_reviewed": {"metric": "report_reviewed", "min": 1, "severity": "warn"},
    }
    if "schema" in table or "pydantic" in table:
        gates["schema_validity"] = {"metric": "schema_validity", "min": 0.99, "suites": decisive}
    primary = {"suites": generalisation, "min": table.get("target")}
    match table.get("kind"):
        case "classification":
            field = table.get("primary") or next(iter(_names(table.get("fields"))), "")
            gates["json_parse"] = {"metric": "json_parse_rate", "min": 0.99, "suites": decisive}
            gates["macro_f1"] = primary | {"metric": f"macro_f1.{field}"}
            gates["calibration"] = {
                "metric": f"ece.{field}",
                "max": 0.15,
                "suites": generalisation,
                "targets": ["gguf", "adapter", "merged"],
                "severity": "warn",
            }
        case "extraction":
            gates["record_parse"] = {"metric": "record_parse_rate", "min": 0.995, "suites": decisive}
            gates["field_f1"] = primary | {"metric": "field_f1"}
            if table.get("critical_fields"):
                gates["critical_fields"] = {"metric": "critical_field_accuracy", "min": 0.98, "suites": decisive}
        case "tool_call":
            gates["json_parse"] = {"metric": "json_parse_rate", "min": 0.995, "suites": decisive}
            gates["tool_name"] = {"metric": "tool_name_accuracy", "min": 0.98, "suites": decisive}
            gates["required_arguments"] = {"metric": "required_argument_accuracy", "min": 0.95, "suites": decisive}
            gates["calls"] = primary | {"metric": "exact_match"}
            if table.get("unsafe"):
                gates["unsafe_calls"] = {"metric": "unsafe_calls", "max": 0}
        case "rubric":
            gates["rubric"] = primary | {"metric": "rubric_pass_rate"}
            gates["terms"] = {"metric": "term_preservation", "min": 0.9, "suites": decisive}
        case "sections":
            gates["contract"] = {"metric": "contract_validity", "min": 0.99, "suites": decisive}
            if table.get("primary"):
                gates["macro_f1"] = primary | {"metric": f"macro_f1.{table['primary']}"}
            else:
                gates["quality"] = primary | {"metric": "quality"}
        case "text":
            gates["quality"] = primary | {"metric": "quality"}
    if "golden" in suites and generalisation != ["golden"]:
        # An average over suites would let one hide what the other shows.
        gates |= {
            f"{name}_golden": gate | {"suites": ["golden"]}
            for name, gate in gates.items()
            if gate.get("min") == table.get("target") and gate.get("suites") == generalisation
        }
    return {
        f"{task}-{name}": {key: value for key, value in gate.items() if value is not None and value != []}
        | {"task": task}
        for name, gate in gates.items()
    }


def _names(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [str(name) for name in value] if isinstance(value, list) else []

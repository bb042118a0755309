"""Write a first gates.toml and suites into a project."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from pathlib import Path

from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.presets import preset_gates

TEMPLATES = Path(__file__).parent / "templates"
DEMO = "support"
KINDS = ("classification", "extraction", "tool_call", "rubric", "sections", "text")

_GATES = "gates.toml"
_TARGET = 0.85
_WHY = {
    "no_critical_failures": "published: no critical failure",
    "no_critical_regressions": "against the accepted baseline: pytest ... --modelgate-accept REASON",
    "never_endless": "every answer ends by itself",
    "no_loops": "no answer runs in circles",
    "model_card": "published: a README.md or MODEL_CARD.md lies beside the model",
    "dataset_version": "published: the model's manifest.json names the version of its data",
    "report_reviewed": "published: reviews.jsonl names a reviewer of this very file",
    "schema_validity": "published: 99 % of the answers match the schema",
    "calibration": "published: calibration is checked",
    "record_parse": "published: 99.5 % of the answers are a record",
    "critical_fields": "published: 98 % of the critical fields are right",
    "json_parse": "published: 99.5 % of the answers are JSON",
    "tool_name": "published: 98 % call the right tools",
    "required_arguments": "published: 95 % of the required arguments are right",
    "unsafe_calls": "published: no unsafe call",
    "terms": "technical terms survive letter for letter",
    "contract": "99 % of the answers have the sections",
}
_TARGET_NOTE = "published: the primary metric reaches its target; set yours"


def write_scaffold(folder: Path, *, kind: str = "classification", demo: bool = False) -> list[Path]:
    """
    Copy a template into ``folder`` and return what was written.

    ``kind``: a small task of that kind to be filled in, with the kind's published gates written out. ``demo``: the
    whole support task, which the demo model answers. Raises :class:`~pytest_modelgate.errors.ConfigurationError`,
    having written nothing, if any file is there already.
    """
    template = TEMPLATES / (DEMO if demo else kind)
    # In a checkout the support task's folders are links to the suites at the root.
    names = sorted(
        Path(directory, name).relative_to(template)
        for directory, _, files in os.walk(template, followlinks=True)
        for name in files
    )
    if existing := [name for name in names if (folder / name).exists()]:
        raise ConfigurationError(
            f"{folder / existing[0]} is there already; nothing was written. Run init in an empty folder"
        )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template / name, folder / name)
    if not demo:
        head = (template / _GATES).read_text(encoding="utf-8")
        (folder / _GATES).write_text(head + _written_out(head), encoding="utf-8")
    return names


def _written_out(head: str) -> str:
    """Return the published gates of the template's task as TOML, each with what it is for."""
    ((task, table),) = tomllib.loads(head)["tasks"].items()
    gates = preset_gates(task, table | {"target": _TARGET}, ("golden", "adversarial", "heldout"))
    parts = []
    for name, gate in gates.items():
        short = name.removeprefix(f"{task}-")
        lines = [f"[gates.{short}]".ljust(28) + f"# {_WHY.get(short, _TARGET_NOTE)}"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in gate.items() if key != "task"]
        parts.append("\n" + "\n".join(lines) + "\n")
    return "".join(parts)

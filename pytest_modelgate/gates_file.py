"""
Read and check gates.toml: tasks, suites, generation settings, gates.

Everything in the file is checked here, before a model is loaded; a mistake names the table, what was got and what is
valid. Paths inside the file are relative to its folder.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.presets import preset_gates
from pytest_modelgate.tables import (
    DEFAULT_SUITES,
    TASK_TABLES,
    AnyTask,
    ColumnsTable,
    Document,
    GateTable,
    GenerationTable,
    IncreaseTable,
    LongInputTable,
    Names,
    PerformanceTable,
    PreflightTable,
    PricesTable,
    QuarantineTable,
    ReviewTable,
    SectionTable,
    Table,
)


@dataclass(frozen=True, slots=True)
class GatesFile:
    """
    Hold a gates.toml that is well formed; names of metrics, tasks and suites inside its gates are checked later.

    ``presets``: for each gate that a task's ``release_gates`` added, the kind of task whose published gate it is.
    """

    path: Path
    sha256: str
    suites: dict[str, tuple[str, ...]]
    generation: GenerationTable
    performance: PerformanceTable
    tasks: dict[str, AnyTask]
    gates: dict[str, GateTable]
    prices: PricesTable
    preflight: PreflightTable
    review: ReviewTable
    controls: dict[str, str]
    quarantine: dict[str, QuarantineTable]
    presets: dict[str, str]

    @property
    def root(self) -> Path:
        """Return the folder that the file's paths are relative to."""
        return self.path.parent

    def where(self, *keys: str) -> str:
        """Return ``gates.toml: [gates.intent]``, the beginning of every message about the file."""
        return f"{self.path.name}: [{'.'.join(keys)}]"


def load_gates_file(path: Path) -> GatesFile:
    """Read ``path``; raise :class:`~pytest_modelgate.errors.GatesFileError` for the first thing that is wrong."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise GatesFileError(
            f"{path}: no such gates file; 'modelgate init' writes one, --gates names another"
        ) from None
    except OSError as error:
        raise GatesFileError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        data = tomllib.loads(content.decode("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GatesFileError(f"{path.name}: not TOML: {error}") from None
    presets = _add_presets(data)
    try:
        document = Document.model_validate(data)
    except ValidationError as error:
        raise GatesFileError(f"{path.name}: {_explain(error)}") from None
    if problem := _check_suites(document.suites):
        raise GatesFileError(f"{path.name}: [suites] {problem}")
    if not document.tasks:
        raise GatesFileError(f"{path.name}: [tasks] is empty; a gate needs at least one task")
    if unfit := [name for name in document.tasks if not re.fullmatch(_NAME, name)]:
        raise GatesFileError(f"{path.name}: [tasks] {unfit[0]!r}: a task's name must match {_NAME}")
    if not document.gates:
        raise GatesFileError(f"{path.name}: [gates] is empty; without a gate nothing could ever be blocked")
    return GatesFile(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        suites=dict(document.suites),
        generation=document.generation,
        performance=document.performance,
        tasks=dict(document.tasks),
        gates=dict(document.gates),
        prices=document.prices,
        preflight=document.preflight,
        review=document.review,
        controls=dict(document.controls),
        quarantine=dict(document.quarantine),
        presets=presets,
    )


def _add_presets(data: dict[str, Any]) -> dict[str, str]:
    """Add the gates that tasks ask for by ``release_gates``, below what the file itself says of them."""
    origins: dict[str, str] = {}
    tasks, gates = data.get("tasks"), data.setdefault("gates", {})
    if not isinstance(tasks, dict) or not isinstance(gates, dict):
        return origins  # refused in the next step
    suites = data.get("suites", DEFAULT_SUITES)
    for name, table in tasks.items():
        if not isinstance(table, dict) or not isinstance(suites, dict) or table.get("release_gates") != "default":
            continue
        for gate, preset in preset_gates(name, table, tuple(suites)).items():
            said = gates.get(gate, {})
            gates[gate] = preset | said if isinstance(said, dict) else said
            origins[gate] = str(table.get("kind"))
    return origins


def _check_suites(suites: dict[str, Names]) -> str | None:
    """Say what is wrong with the suites' names, which become marks for ``-m``."""
    if not suites:
        return "is empty; a release is judged by its suites"
    for name in suites:
        if not re.fullmatch(_NAME, name):
            return f"{name!r}: a suite's name must match {_NAME}"
        if name in _OTHER_MARKS:
            return f"{name!r}: the name is taken by a mark; taken are {', '.join(sorted(_OTHER_MARKS))}"
    return None


_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_OTHER_MARKS = frozenset(
    {"critical", "filterwarnings", "modelgate", "parametrize", "skip", "skipif", "usefixtures", "xfail"}
)
_TABLES: dict[str, type[Table]] = {
    "generation": GenerationTable,
    "performance": PerformanceTable,
    "prices": PricesTable,
    "preflight": PreflightTable,
    "review": ReviewTable,
    "quarantine": QuarantineTable,
    "gates": GateTable,
    "columns": ColumnsTable,
    "long_input": LongInputTable,
    "sections": SectionTable,
    "max_increase": IncreaseTable,
    **TASK_TABLES,
}


def _explain(error: ValidationError) -> str:
    """Turn pydantic's most telling complaint into one line with the table, what was got and what is valid."""
    found = error.errors(include_url=False)
    # A misspelt key is unknown and the right one missing: the first says more.
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    location = [str(part) for part in first["loc"]]
    written = [part for number, part in enumerate(location) if not (number == _KIND and part in TASK_TABLES)]
    key = written[-1] if written else ""
    table = f"[{'.'.join(written[:-1])}] " if len(written) > 1 else ""
    if first["type"] == "extra_forbidden":
        valid = _valid_keys(location)
        return f"{table}unknown key {key!r}{did_you_mean(key, valid)}; valid are {', '.join(valid)}"
    if first["type"] == "missing":
        return f"{table}key {key!r} is missing"
    if first["type"] == "value_error":
        return f"[{'.'.join(written)}] {first['ctx']['error']}"
    if first["type"] == "union_tag_not_found":
        return f"[{'.'.join(written)}] key 'kind' is missing; valid are {', '.join(TASK_TABLES)}"
    if first["type"] == "union_tag_invalid":
        got = first["ctx"]["tag"]
        return f"[{'.'.join(written)}] kind {got!r} is unknown{did_you_mean(got, TASK_TABLES)}; valid are {', '.join(TASK_TABLES)}"
    return f"{table}{key}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"


_KIND = 2
"""Where pydantic puts a task's kind into the location of an error: tasks, the task's name, its kind."""


def _valid_keys(location: list[str]) -> list[str]:
    """Return the keys that are valid where ``location`` ends: those of the innermost table."""
    if len(location) == 1:
        return list(Document.model_fields)
    table = next((_TABLES[part] for part in reversed(location[:-1]) if part in _TABLES), Document)
    return [field.alias or name for name, field in table.model_fields.items()]

"""Add the gates on what a model writes by itself, as soon as a grammar hides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_modelgate.cases import Case
from pytest_modelgate.gates import Gate, add_gates
from pytest_modelgate.gates_file import GatesFile
from pytest_modelgate.tables import GateTable
from pytest_modelgate.tasks import Task

ORIGIN = 'added by grammar = "schema"'

_LEAST = 0.99
"""The published limit of schema_validity (see :mod:`pytest_modelgate.presets`), where gates.toml has none."""


def raw_validity_gates(gates_file: GatesFile, tasks: Mapping[str, Task], cases: Sequence[Case]) -> tuple[Gate, ...]:
    """
    Return a gate on ``raw_schema_validity`` for each on ``schema_validity``, with the same limits and slice.

    Under a grammar every output passes its schema, of a model of noise too: a gate on ``schema_validity`` alone would be
    green for ever. So these block, until gates.toml says of ``raw_schema_validity`` itself what is wanted; a limit below
    what the model does by itself is then somebody's decision. None are added without a grammar.
    """
    own = gates_file.gates
    if gates_file.generation.grammar == "none" or any(one.metric == "raw_schema_validity" for one in own.values()):
        return ()
    tables = {
        f"{name}_raw": table.model_copy(update={"metric": "raw_schema_validity"})
        for name, table in own.items()
        if table.metric == "schema_validity"
    }
    if not tables:
        tables = {"raw_schema_validity": GateTable(metric="raw_schema_validity", min=_LEAST)}
    return add_gates(
        {name: table for name, table in tables.items() if name not in own}, ORIGIN, gates_file, tasks, cases
    )

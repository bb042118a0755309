"""Add the gates that every target must pass as soon as there is a reference to agree with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytest_modelgate.cases import Case
from pytest_modelgate.gates import Gate, add_gates
from pytest_modelgate.gates_file import GatesFile
from pytest_modelgate.tables import GateTable
from pytest_modelgate.tasks import Task

ORIGIN = "added by --reference"

_TABLES = {
    # A critical case that the adapter gets right must survive its export, whatever the share.
    "parity_critical_flips": GateTable(metric="critical_flips", max=0),
    # Quantisation flips a few answers that were undecided anyway, for better and for worse; a net loss of more than one
    # case in fifty is another model.
    "parity_loss": GateTable(metric="reference_loss", max=0.02),
    "parity_token_ids": GateTable(metric="token_parity", min=1.0, targets=("gguf",)),
}


def parity_gates(gates_file: GatesFile, tasks: Mapping[str, Task], cases: Sequence[Case]) -> tuple[Gate, ...]:
    """Return the default gates on agreement with a reference; one whose metric gates.toml limits itself is left out."""
    own = {table.metric for table in gates_file.gates.values()}
    tables = {name: table for name, table in _TABLES.items() if table.metric not in own}
    if not any(case.critical for case in cases):
        tables.pop("parity_critical_flips", None)
    return add_gates(tables, ORIGIN, gates_file, tasks, cases)

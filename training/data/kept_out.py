"""Keep out what was forgotten on request, and account for the incidents of which no row was made."""

from __future__ import annotations

from ..errors import ConfigError
from ..run_folder import RunFolder
from .datasets import FORGOTTEN, Forgotten, content_hash, read_forgotten
from .formats import Draft, Names, Unreadable
from .masking import RowMasker, name_hash
from .rejected import Rejected
from .sources import JudgedRows


def forgotten_in(run: RunFolder) -> Forgotten:
    """Return what must not come back; without a registry, raise ConfigError where one beside the rows lists anything."""
    if run.registry is None:
        for pattern in (f"*/{FORGOTTEN}", f"*/*/{FORGOTTEN}"):
            for path in sorted(run.root.glob(pattern)):
                if read_forgotten(path.parent) != Forgotten():
                    raise ConfigError(
                        f"registry: null would bring back what {run.name_of(path)} says was forgotten: "
                        f"give registry={run.name_of(path.parent)}"
                    )
    return read_forgotten(run.registry)


def left_out(judged: JudgedRows, masker: RowMasker, forgotten: Forgotten) -> list[Rejected]:
    """Return the incidents of which ``data.judged`` made no row: their ids and why, nothing of what they tell."""
    rejected = []
    for one in judged.result.rejected:
        if name_hash(one["incident_id"]) in forgotten.names:
            continue
        step, source = {"step": one["step"], "rule": masker.text(one["rule"])}, judged.place(one["place"])
        name = masker.names(Names(one["incident_id"], None, None)).id
        rejected.append(Rejected("judged", masker.text(one["reason"]), source, name, step))
    return rejected


def is_forgotten(read: Draft | Unreadable, forgotten: Forgotten) -> bool:
    """Say whether a row, or whoever it belongs to, was forgotten on request."""
    called = (read.names.id, read.names.group, read.names.person) if isinstance(read, Draft) else read.all_names
    if forgotten.names and forgotten.names & {name_hash(name) for name in called if name}:
        return True
    return (
        bool(forgotten.rows)
        and isinstance(read, Draft)
        and content_hash(read.task, read.prompt, read.expected) in forgotten.rows
    )

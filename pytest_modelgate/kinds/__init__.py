"""
Judge one output by the contract of its kind of task: one module per kind.

To add a kind, write its table in ``tables.py``, a module here with a class that keeps :class:`Kind`, its metrics in
``metrics/``, its published gates in ``presets.py``, and name it in :func:`make_kind`.
"""

from __future__ import annotations

from pathlib import Path

from pytest_modelgate.kinds.kind import Judgement, Kind
from pytest_modelgate.tables import (
    ClassificationTable,
    ExtractionTable,
    RubricTable,
    SectionsTable,
    TaskTable,
    TextTable,
    ToolCallTable,
)

__all__ = ["Judgement", "Kind", "make_kind"]


def make_kind(table: TaskTable, root: Path, where: str) -> Kind:
    """
    Return the judge of ``table``'s kind; files that the table names are relative to ``root``.

    Raises :class:`~pytest_modelgate.errors.GatesFileError`, starting with ``where``, for a file that cannot be used.
    """
    # Imported here, so that a project of one kind does not load the libraries of the others.
    match table:
        case ClassificationTable():
            from pytest_modelgate.kinds.classification import Classification

            return Classification(table)
        case ExtractionTable():
            from pytest_modelgate.kinds.extraction import Extraction

            return Extraction(table, where)
        case ToolCallTable():
            from pytest_modelgate.kinds.tool_call import ToolCall

            return ToolCall(table, root, where)
        case RubricTable():
            from pytest_modelgate.kinds.rubric import RubricText

            return RubricText(table, root, where)
        case SectionsTable():
            from pytest_modelgate.kinds.sections import Sections

            return Sections(table, where)
        case TextTable():
            from pytest_modelgate.kinds.text import Text

            return Text(table, where)
    raise AssertionError(f"{where}: no kind for {type(table).__name__}")

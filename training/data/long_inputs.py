"""Shorten inputs that are too long, by the very code that shortens them when the model is served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_modelgate.errors import InputTooLongError
from pytest_modelgate.records import Message
from pytest_modelgate.truncation import fit_input

from ..errors import StageError
from ..tasks import Tasks
from .rows import Row


def fit_inputs(tasks: Tasks, rows: Sequence[Row], tokenizer: Any | None) -> tuple[list[Row], int, dict[str, str]]:
    """
    Return the rows as the model will be shown them, how many were cut, and why others cannot be (by source).

    The rule is the task's ``long_input`` in gates.toml, counted by the base's tokenizer. Raises StageError where the base,
    and with it the tokenizer, is only made from these rows and one might be too long.
    """
    fitted, cut, too_long = [], 0, {}
    for row in rows:
        rule = tasks.by_name[row.task].long_input
        # A token is at least one byte: what has no more bytes than tokens are allowed need not be counted.
        if rule is None or len(row.input.encode("utf-8", "replace")) <= rule.tokens:
            fitted.append(row)
            continue
        if tokenizer is None:
            raise StageError(
                f"{row.source}: the input may be longer than the {rule.tokens} tokens of [tasks.{row.task}.long_input], "
                f"but the tokenizer that counts them is made from these rows: name a base that exists"
            )
        try:
            found = fit_input(row.input, rule, lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]))
        except InputTooLongError as error:
            too_long[row.source] = str(error)
            fitted.append(row)
            continue
        cut += found.how != "whole"
        fitted.append(row if found.how == "whole" else _with_input(row, found.text))
    return fitted, cut, too_long


def _with_input(row: Row, text: str) -> Row:
    """Return the row with another last user turn."""
    if isinstance(row.prompt, str):
        return replace(row, prompt=text)
    last = max(index for index, turn in enumerate(row.prompt) if turn.role == "user")
    return replace(row, prompt=(*row.prompt[:last], Message("user", text), *row.prompt[last + 1 :]))

"""
Read what the importance of weights is measured on, and refuse it where evaluation rows are in it.

A quantisation that was fitted to the very rows that judge it looks better than it is: calibration texts are held to the rule
that training rows are held to.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_modelgate.identity import hash_file

from ..data.lines import json_type
from ..data.rows import Row, find_files, read_prepared
from ..data.set_gates import RowLeak, find_leaks
from ..errors import ConfigError, StageError
from ..run_folder import RunFolder
from ..tasks import Prompt
from ..tuning.chat import end_of_turn, prompt_text

_WHAT = "export.imatrix.calibration"
_SHOWN = 5
_TOGETHER = (2, 4, 8)  # paragraphs that are compared as one text


@dataclass(frozen=True, slots=True)
class Text:
    """
    Hold one text that the model reads, whole: ``text``.

    ``said``: what of it is compared with the evaluation cases. ``source`` is ``file:line``. ``together``: this text with
    those behind it, since a case of several paragraphs is cut as they are.
    """

    text: str
    said: tuple[Prompt, ...]
    source: str
    together: tuple[Prompt, ...] = ()


def read_calibration(run: RunFolder, tokenizer: Any) -> tuple[list[str], dict[str, Any]]:
    """
    Return the texts to measure on, and what is to be known of them: files with sha256, rows, sha256 of the texts.

    Without files these are the training rows with their answers, as the chat template writes them. Of more rows than
    wanted, rows at equal distances are taken. Raises StageError where any row is, or nearly is, an evaluation row.
    """
    wanted = run.config.export.imatrix
    assert wanted is not None  # noqa: S101  (the caller asks for it only where it is configured)
    if wanted.calibration:
        files = find_files(wanted.calibration, run.root, _WHAT)
        texts = [text for path in files for text in _read_file(path, run, tokenizer)]
    else:
        files = [run.train_rows]
        texts = _training_rows(run, tokenizer)
    if not texts:
        raise ConfigError(f"{_WHAT}: no text in {', '.join(path.name for path in files)}")
    _refuse_leaks(texts, run)
    count = min(wanted.rows, len(texts))
    chosen = [texts[place * len(texts) // count] for place in range(count)]
    together = hashlib.sha256("\0".join(text.text for text in chosen).encode()).hexdigest()
    return [text.text for text in chosen], {
        "files": {_name(path, run.root): hash_file(path) for path in files},
        "rows": len(chosen),
        "rows_read": len(texts),
        "sha256": together,
    }


def _training_rows(run: RunFolder, tokenizer: Any) -> list[Text]:
    """Return the prepared rows, prompt and answer."""
    eot = end_of_turn(tokenizer)
    return [
        Text(
            f"{prompt_text(tokenizer, run.tasks.messages(row.task, row.prompt))}{row.answer}{eot}",
            (row.prompt,),
            row.source,
        )
        for row in read_prepared(run.train_rows)
    ]


def _read_file(path: Path, run: RunFolder, tokenizer: Any) -> Iterator[Text]:
    """Yield the texts of a file: the rows of a .jsonl, or else the paragraphs as they are."""
    name = _name(path, run.root)
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{_WHAT}: {name} is not UTF-8") from None
    if path.suffix == ".jsonl":
        for number, line in enumerate(content.split("\n"), 1):
            if line.strip():
                yield _read_row(line, f"{name}:{number}", run, tokenizer)
        return
    matches = list(re.finditer(r"\S(?:.|\n(?!\s*\n))*", content))
    paragraphs = [match.group().rstrip() for match in matches]
    for place, (match, paragraph) in enumerate(zip(matches, paragraphs, strict=True)):
        lines = (line.strip() for line in paragraph.split("\n"))
        together = ("\n\n".join(paragraphs[place : place + count]) for count in _TOGETHER)
        yield Text(
            paragraph,
            tuple(dict.fromkeys([paragraph, *lines])),
            f"{name}:{content.count(chr(10), 0, match.start()) + 1}",
            tuple(together),
        )


def _read_row(line: str, source: str, run: RunFolder, tokenizer: Any) -> Text:
    """Return a row {input} as its task asks it, one without a task as a user's message."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{_WHAT}: {source}: not JSON: {error}") from None
    task = row.get("task", run.tasks.only) if isinstance(row, dict) else None
    if task is not None and (not isinstance(task, str) or task not in run.tasks.by_name):
        known = ", ".join(run.tasks.by_name)
        raise ConfigError(f"{_WHAT}: {source}: the row names an unknown task; known are {known}")
    key = "input" if task is None else run.tasks.columns(task).get("input", "input")
    asked = row.get(key) if isinstance(row, dict) else None
    if not isinstance(asked, str) or not asked.strip():
        # What stands there has not been masked: only its type is named.
        within = isinstance(row, dict)
        got = f"{json_type(asked) if key in row else 'nothing'} there" if within else json_type(row)
        got = "an empty text there" if isinstance(asked, str) else got
        raise ConfigError(f"{_WHAT}: {source}: must be an object with a text under {key!r}, got {got}")
    messages = [{"role": "user", "content": asked}] if task is None else run.tasks.messages(task, asked)
    return Text(prompt_text(tokenizer, messages), (asked,), source)


def _refuse_leaks(texts: Sequence[Text], run: RunFolder) -> None:
    """Raise if any text is, or nearly is, an evaluation row, naming both."""
    leaks = _find_leaks([(text.source, said) for text in texts for said in text.said], run)
    leaks = leaks or _find_leaks([(text.source, said) for text in texts for said in text.together], run)
    if leaks:
        more = f"; and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
        raise StageError(f"{_WHAT}: {len(leaks)} calibration rows are evaluation cases, or nearly: "
                         f"{'; '.join(str(leak) for leak in leaks[:_SHOWN])}{more}. Take them out")  # fmt: skip


def _find_leaks(texts: Sequence[tuple[str, Prompt]], run: RunFolder) -> list[RowLeak]:
    """Return which of these texts, each with its source, give an evaluation row away."""
    rows = [Row(source, "", said, answer="", expected=None, group=source, source=source) for source, said in texts]
    return find_leaks(rows, run.tasks.cases, run.config.data.near)


def _name(path: Path, root: Path) -> str:
    """Return a path as a reader knows it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name

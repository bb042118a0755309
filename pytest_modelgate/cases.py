"""Load the suites: JSONL files whose every line is one case."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_modelgate.contracts.strict_json import NotStrictJsonError, parse
from pytest_modelgate.errors import EmptySuiteError, SuiteError, SuitePathError
from pytest_modelgate.identity import digest
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.paths import normal_path
from pytest_modelgate.records import Message

_KEYS = ("id", "task", "input", "messages", "expected", "critical", "tags", "group")
_ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Case:
    """
    Hold one input and what is expected of the output.

    ``prompt`` is a user message, or a whole chat. ``critical`` is True, False, or the names of the fields that must
    be right. ``location`` is ``file:line`` with the file relative to the gates file's folder.
    """

    id: str
    suite: str
    task: str
    prompt: str | tuple[Message, ...]
    location: str
    line: int
    expected: Any = None
    has_expected: bool = False
    critical: bool | tuple[str, ...] = False
    tags: tuple[str, ...] = ()
    group: str | None = None

    @property
    def sha256(self) -> str:
        """Return the hash of what is asked and what is expected: cases with equal ones can be compared."""
        asked = self.prompt if isinstance(self.prompt, str) else [[turn.role, turn.content] for turn in self.prompt]
        critical = self.critical if isinstance(self.critical, bool) else list(self.critical)
        return digest([self.task, asked, self.has_expected, self.expected, critical])

    @property
    def input(self) -> str:
        """Return the text to show a reader: the last user turn."""
        if isinstance(self.prompt, str):
            return self.prompt
        return next((turn.content for turn in reversed(self.prompt) if turn.role == "user"), "")


@dataclass(frozen=True, slots=True)
class SuiteFile:
    """
    Hold one file of a suite: its cases, or the error that keeps them from being read.

    ``name`` is the path relative to the gates file's folder.
    """

    suite: str
    path: Path
    name: str
    sha256: str
    cases: tuple[Case, ...] = ()
    error: SuiteError | None = None


@dataclass(frozen=True, slots=True)
class CaseRules:
    """
    Say what a line must obey beyond its own form.

    ``tasks``: the names in gates.toml. ``columns``: for each task, which keys of a line stand for ``id``, ``input``
    and ``expected`` where people's own files use other names. ``reject``: returns why a case breaks its task's own
    rules, or None.
    """

    tasks: tuple[str, ...]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    reject: Callable[[Case], str | None] = lambda _: None


def load_suites(suites: Mapping[str, list[str]], root: Path, rules: CaseRules) -> tuple[SuiteFile, ...]:
    """
    Read every file that the globs of ``suites`` match below ``root``, in sorted order.

    A bad line does not raise here: its file carries the error, so that a caller can name all of them. A suite
    without a case raises :class:`~pytest_modelgate.errors.EmptySuiteError`, a file that two suites share
    :class:`~pytest_modelgate.errors.SuitePathError`.
    """
    files: list[SuiteFile] = []
    owners: dict[Path, str] = {}
    for suite, globs in suites.items():
        paths = _matching(suite, globs, root)
        for path in paths:
            if (owner := owners.setdefault(path, suite)) != suite:
                raise SuitePathError(f"suites {owner!r} and {suite!r} share {_name(path, root)}; a file belongs to one")
        seen: dict[str, str] = {}
        in_suite = [_load_file(suite, path, root, rules, seen) for path in paths]
        if not any(file.cases or file.error for file in in_suite):
            found = f"{len(paths)} matching files are empty" if paths else "no file matches"
            raise EmptySuiteError(
                f"suite {suite!r} has no cases: {found} ({', '.join(globs)} in {root}); "
                f"write cases there, or list only the suites that you have under [suites]"
            )
        files.extend(in_suite)
    return tuple(files)


def _matching(suite: str, globs: list[str], root: Path) -> list[Path]:
    """Return the files that ``globs`` match, as pytest writes their paths."""
    found: set[Path] = set()
    for pattern in globs:
        try:
            found.update(normal_path(path) for path in root.glob(pattern) if path.is_file())
        except (ValueError, NotImplementedError):
            raise SuitePathError(
                f"suite {suite!r}: {pattern!r} is not a pattern of paths below {root}, such as 'golden/*.jsonl'"
            ) from None
    return sorted(found)


def _name(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _load_file(suite: str, path: Path, root: Path, rules: CaseRules, seen: dict[str, str]) -> SuiteFile:
    """Read one file; ``seen`` maps the suite's ids so far to where they stand."""
    name = _name(path, root)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    cases: list[Case] = []
    try:
        for number, line in enumerate(_lines(content, name), start=1):
            if line.strip():
                case = _read_case(line, suite, name, number, rules)
                if case.id in seen:
                    raise SuiteError(name, number, f"duplicate case id {case.id!r} (first at {seen[case.id]})")
                if reason := rules.reject(case):
                    raise SuiteError(name, number, reason)
                seen[case.id] = case.location
                cases.append(case)
    except SuiteError as error:
        return SuiteFile(suite, path, name, digest, error=error)
    return SuiteFile(suite, path, name, digest, cases=tuple(cases))


def _lines(content: bytes, name: str) -> list[str]:
    """Decode a file; a byte that is not UTF-8 is an error of its line."""
    try:
        # JSONL ends lines with \n only: str.splitlines would also cut at U+2028 inside a JSON string.
        return content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SuiteError(name, line, f"not UTF-8: byte 0x{content[error.start]:02x}") from None


def _read_case(line: str, suite: str, name: str, number: int, rules: CaseRules) -> Case:
    """Turn one line into a case, or raise what is wrong with it."""

    def wrong(reason: str) -> SuiteError:
        return SuiteError(name, number, reason)

    try:
        row = parse(line)
    except NotStrictJsonError as error:
        raise wrong(f"not a JSON object: {error}") from None
    if not isinstance(row, dict):
        raise wrong(f"a case is a JSON object, got {type(row).__name__}")
    task = row.get("task", rules.tasks[0] if len(rules.tasks) == 1 else None)
    if task not in rules.tasks:
        got = "is missing" if task is None else f"{task!r} is unknown{did_you_mean(str(task), rules.tasks)}"
        raise wrong(f"task {got}; known tasks: {', '.join(rules.tasks)}")
    columns = rules.columns.get(task, {})
    for ours, theirs in columns.items():
        if theirs not in row and ours == "expected":
            keys = [key for key in row if key not in _KEYS]
            slip = next((key for key in keys if did_you_mean(theirs.lower(), [key.lower()], likeness=0.75)), None)
            if slip is not None:
                raise wrong(f"key {slip!r} is unknown (did you mean {theirs!r}?)")
            continue  # a case where only the contract counts
        if theirs not in row:
            raise wrong(f"key {theirs!r} is missing, which stands for {ours!r} in task {task!r}")
        row[ours] = row.pop(theirs)
    # Where a task names columns, a line may hold more than we read, but nothing that looks like a slip of ours.
    for unknown in (key for key in row if key not in _KEYS):
        if not columns or did_you_mean(unknown, _KEYS):
            raise wrong(f"key {unknown!r} is unknown{did_you_mean(unknown, _KEYS)}; valid are {', '.join(_KEYS)}")
    case_id = row.get("id")
    if not isinstance(case_id, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+", case_id):
        raise wrong(f"id must be text that matches [A-Za-z0-9_.-]+ (no '::'), got {case_id!r}")
    tags = row.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise wrong(f"tags must be a list of texts, got {tags!r}")
    group = row.get("group")
    if group is not None and not isinstance(group, str):
        raise wrong(f"group must be text, got {group!r}")
    return Case(
        id=case_id,
        suite=suite,
        task=task,
        prompt=_read_prompt(row, wrong),
        location=f"{name}:{number}",
        line=number,
        expected=row.get("expected"),
        has_expected="expected" in row,
        critical=_read_critical(row.get("critical", False), wrong),
        tags=tuple(tags),
        group=group,
    )


def _read_prompt(row: dict[str, Any], wrong: Callable[[str], SuiteError]) -> str | tuple[Message, ...]:
    """Return the case's input, or its messages."""
    if ("input" in row) == ("messages" in row):
        raise wrong("a case has either 'input' or 'messages'")
    if "input" in row:
        if not isinstance(row["input"], str):
            raise wrong(f"input must be text, got {type(row['input']).__name__}")
        return str(row["input"])
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        raise wrong("messages must be a list of at least one turn")
    for turn in messages:
        if not isinstance(turn, dict) or set(turn) != {"role", "content"} or not isinstance(turn["content"], str):
            raise wrong('each message is {"role": ..., "content": text}')
        if turn["role"] not in _ROLES:
            raise wrong(f"role {turn['role']!r} is unknown; valid are {', '.join(_ROLES)}")
    return tuple(Message(turn["role"], turn["content"]) for turn in messages)


def _read_critical(value: Any, wrong: Callable[[str], SuiteError]) -> bool | tuple[str, ...]:
    """Return the criticality: a flag, or the fields that must be right."""
    if isinstance(value, bool):
        return value
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise wrong(f"critical must be true, false or a list of field names, got {value!r}")

"""Read modelgate's options: command line first, then the ini file, then the default, into one frozen Settings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

_SHORT = {"model": "--model", "gates": "--gates"}
"""Short names, which other plugins and users' conftests like as well."""


@dataclass(frozen=True, slots=True)
class Settings:
    """
    Hold what the user asked for.

    ``models``: specs as written. ``gates``: the gates file. ``out``: the folder of reports and journal. ``strict``:
    every miss fails. ``use_journal``: take up generations of earlier runs.
    """

    models: tuple[str, ...]
    gates: Path
    out: Path
    strict: bool
    use_journal: bool


def add_options(parser: pytest.Parser, command_line: tuple[str, ...]) -> None:
    """
    Register the options.

    A short name is registered only when the command line uses it: a second registration of ``--model`` by a user's
    conftest would otherwise break every pytest run.
    """

    def names(stem: str) -> list[str]:
        short = _SHORT[stem]
        used = any(argument == short or argument.startswith(f"{short}=") for argument in command_line)
        return [f"--modelgate-{stem}", *([short] if used else [])]

    group = parser.getgroup("modelgate", "release gate for fine-tuned models")
    group.addoption(
        *names("model"),
        dest="modelgate_model",
        action="append",
        default=None,
        metavar="SPEC",
        help="Judge this target; repeat to compare. --model for short.\n"
        "SPEC: model.gguf, adapter_dir/, merged_dir/, replay:journal.jsonl#target-id, demo; "
        "options after commas: model.gguf,n_ctx=4096,id=q4",
    )
    group.addoption(
        *names("gates"),
        dest="modelgate_gates",
        default=None,
        metavar="FILE",
        help="Release gates, default gates.toml at the rootdir (ini: modelgate_gates). --gates for short.",
    )
    group.addoption(
        "--modelgate-out",
        dest="modelgate_out",
        default=None,
        metavar="DIR",
        help="Write report.json, summary.md and journal.jsonl there, default .modelgate (ini: modelgate_out)",
    )
    group.addoption(
        "--modelgate-strict",
        dest="modelgate_strict",
        action="store_true",
        help="Fail on every miss, not only on critical ones and on gates",
    )
    group.addoption(
        "--modelgate-no-journal",
        dest="modelgate_no_journal",
        action="store_true",
        help="Generate everything again instead of taking up what earlier runs generated",
    )
    parser.addini("modelgate_gates", "Release gates, relative to the rootdir", default="gates.toml")
    parser.addini("modelgate_out", "Folder of reports and journal, relative to the rootdir", default=".modelgate")


def is_asked_for(config: pytest.Config) -> bool:
    """Say whether this run has targets to judge."""
    return bool(config.getoption("modelgate_model", None))


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of this run."""
    given_gates = config.getoption("modelgate_gates")
    given_out = config.getoption("modelgate_out")
    invoked_in = config.invocation_params.dir
    gates = invoked_in / given_gates if given_gates else config.rootpath / config.getini("modelgate_gates")
    out = invoked_in / given_out if given_out else config.rootpath / config.getini("modelgate_out")
    return Settings(
        models=tuple(config.getoption("modelgate_model")),
        # pytest collects by normal paths, so that a suite below "../" must have one as well.
        gates=Path(os.path.abspath(gates)),
        out=Path(os.path.abspath(out)),
        strict=config.getoption("modelgate_strict"),
        use_journal=not config.getoption("modelgate_no_journal"),
    )

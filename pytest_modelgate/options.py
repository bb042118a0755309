"""Read modelgate's options: command line first, then the ini file, then the default, into one frozen Settings."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.paths import normal_path

SHORT_NAMES = {
    "--model": "--modelgate-model",
    "--control": "--modelgate-control",
    "--reference": "--modelgate-reference",
    "--baseline-model": "--modelgate-baseline-model",
    "--gates": "--modelgate-gates",
}
"""Short names, which other plugins and users' conftests like as well, and what they stand for."""

_TAKE_PATHS = {*SHORT_NAMES, *SHORT_NAMES.values(), "--modelgate-out"}

_REPEATABLE = frozenset({"--model", "--control", "--reference"})

_HEADING = ("modelgate", "release gate for fine-tuned models")


@dataclass(frozen=True, slots=True)
class Settings:
    """
    Hold what the user asked for.

    ``models``, ``controls``, ``references``, ``baseline_model``: specs as written. ``gates``: the gates file. ``out``: the folder of reports and
    journal. ``strict``: every miss fails. ``use_journal``: take up generations of earlier runs. ``accept``: why this run
    is to become the baseline, None if it is not. ``fail_fast``: stop when the verdict is certain. ``repeats``: how often
    each case is generated. ``any_of``: one target that passes is enough. ``serial``: one request at a time, in deployment
    shape.
    """

    models: tuple[str, ...]
    controls: tuple[str, ...]
    references: tuple[str, ...]
    baseline_model: str | None
    gates: Path
    out: Path
    strict: bool
    use_journal: bool
    accept: str | None
    fail_fast: bool
    repeats: int
    any_of: bool
    serial: bool


def add_options(parser: pytest.Parser) -> None:
    """Register the options by the names that always work."""
    group = parser.getgroup(*_HEADING)
    group.addoption(
        "--modelgate-model",
        dest="modelgate_model",
        action="append",
        default=None,
        metavar="SPEC",
        help="Judge this target; repeat to compare. --model for short.\n"
        "SPEC: model.gguf, base.gguf+lora.gguf, adapter_dir/, merged_dir/, http://host:port/v1#name, "
        "replay:journal.jsonl#target-id, demo; "
        "options after commas: model.gguf,n_ctx=4096,id=q4",
    )
    group.addoption(
        "--modelgate-control",
        dest="modelgate_control",
        action="append",
        default=None,
        metavar="SPEC",
        help="Also run this arm, which --model has to beat: the untuned base (id=base), the base with a better prompt "
        "(id=prompted,system=FILE), a program (python:module:function), a larger model. It is never judged itself. "
        "--control for short.",
    )
    group.addoption(
        "--modelgate-reference",
        dest="modelgate_reference",
        action="append",
        default=None,
        metavar="SPEC",
        help="What every --model must agree with: the adapter or merged folder that it was exported from. It answers "
        "the cases too, and preflight compares templates, token ids, weights and logits. Repeat it in the order of the "
        "export (adapter, merged, f16.gguf) to be told which step broke. --reference for short.",
    )
    group.addoption(
        "--modelgate-baseline-model",
        dest="modelgate_baseline_model",
        default=None,
        metavar="SPEC",
        help="The last release: gates with max_increase measure it in turns with --model. --baseline-model for short.",
    )
    group.addoption(
        "--modelgate-any",
        dest="modelgate_any",
        action="store_true",
        help="One --model that passes is enough, as on a ladder of quantisations; the smallest that does is named",
    )
    group.addoption(
        "--modelgate-serial",
        dest="modelgate_serial",
        action="store_true",
        help="One request at a time, in deployment shape, instead of batches",
    )
    group.addoption(
        "--modelgate-gates",
        dest="modelgate_gates",
        default=None,
        metavar="FILE",
        help="Release gates, default gates.toml here, or the nearest above up to the rootdir (ini: modelgate_gates). "
        "--gates for short.",
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
    group.addoption(
        "--modelgate-accept",
        dest="modelgate_accept",
        default=None,
        metavar="REASON",
        help="If this full run of one target passes, make its answers the baseline that later releases are compared "
        "with (baselines/<task>.jsonl); refused in CI and for replays",
    )
    group.addoption(
        "--modelgate-accept-in-ci",
        dest="modelgate_accept_in_ci",
        action="store_true",
        help="Let --modelgate-accept write in CI",
    )
    group.addoption(
        "--modelgate-fail-fast",
        dest="modelgate_fail_fast",
        action="store_true",
        help="Stop as soon as a blocking gate cannot pass any more, whatever the cases left bring",
    )
    group.addoption(
        "--modelgate-repeat",
        dest="modelgate_repeat",
        type=int,
        default=1,
        metavar="K",
        help="Generate every case K times and tell which cases and gates change by themselves (repeat.json)",
    )
    parser.addini("modelgate_gates", "Name of the gates file", default="gates.toml")
    parser.addini("modelgate_out", "Folder of reports and journal, beside the gates file", default=".modelgate")


def add_short_names(parser: pytest.Parser, arguments: list[str]) -> list[str]:
    """
    Register the short names that ``arguments`` use; return those that somebody else has registered.

    Called after the conftests have had their turn: registered before, ``--model`` would break every project whose
    conftest has an option of that name.
    """
    taken = []
    for short, long in SHORT_NAMES.items():
        if not any(argument == short or argument.startswith(f"{short}=") for argument in arguments):
            continue
        kind: dict[str, Any] = {"action": "append"} if short in _REPEATABLE else {}
        try:
            parser.getgroup(*_HEADING).addoption(
                short, dest=f"modelgate_{short[2:].replace('-', '_')}", default=None, help=f"Short for {long}", **kind
            )
        except (ValueError, argparse.ArgumentError):
            taken.append(short)
    return taken


def values_of_short_names(arguments: list[str]) -> set[str]:
    """Return what follows a short name: pytest takes it for a path to collect as long as the name is unknown."""
    return {value for name, value in pairwise(arguments) if name in SHORT_NAMES}


def mislead_pytest(arguments: list[str], directory: Path) -> bool:
    """
    Say whether ``--model PATH`` names something outside ``directory``.

    pytest chooses its rootdir before it knows the option: it takes PATH for a folder to collect and looks there for the
    project and its ini file.
    """
    paths = [directory / value for name, value in pairwise(arguments) if name in _TAKE_PATHS]
    return any(path.exists() and not normal_path(path).is_relative_to(directory) for path in paths)


def join_values(arguments: list[str]) -> list[str]:
    """Return the same command line with ``--model=PATH`` for ``--model PATH``, which misleads nobody."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in _TAKE_PATHS:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


_ASK = {
    "model": "--model",
    "control": "--control",
    "reference": "--reference",
    "baseline_model": "--baseline-model",
    "accept": "--modelgate-accept",
}
"""What asks for a run of ours, by its dest, and how it is called in messages."""


def is_asked_for(config: pytest.Config) -> bool:
    """Say whether this run has targets to judge, or asks for what only such a run can do."""
    return any(config.getoption(f"modelgate_{name}", None) for name in _ASK)


def read_settings(config: pytest.Config) -> Settings:
    """Return the settings of this run."""
    given_gates = config.getoption("modelgate_gates")
    given_out = config.getoption("modelgate_out")
    invoked_in = config.invocation_params.dir
    root = _project(config)
    gates = invoked_in / given_gates if given_gates else root / config.getini("modelgate_gates")
    out = invoked_in / given_out if given_out else root / config.getini("modelgate_out")
    return Settings(
        models=_read_models(config),
        controls=tuple(config.getoption("modelgate_control") or ()),
        references=tuple(config.getoption("modelgate_reference") or ()),
        baseline_model=config.getoption("modelgate_baseline_model"),
        gates=normal_path(gates),
        out=normal_path(out),
        strict=config.getoption("modelgate_strict"),
        use_journal=not config.getoption("modelgate_no_journal"),
        accept=_read_reason(config),
        fail_fast=config.getoption("modelgate_fail_fast"),
        repeats=_read_repeats(config),
        any_of=config.getoption("modelgate_any"),
        serial=config.getoption("modelgate_serial"),
    )


def _read_models(config: pytest.Config) -> tuple[str, ...]:
    """Return the targets to judge; there is nothing to do without one."""
    models: list[str] | None = config.getoption("modelgate_model")
    if not models:
        given = next(option for name, option in _ASK.items() if config.getoption(f"modelgate_{name}", None))
        raise ConfigurationError(f"{given} needs --model, the target that is judged")
    return tuple(models)


def _read_reason(config: pytest.Config) -> str | None:
    """Return why the run is to be accepted; refuse it where nobody would see it."""
    reason: str | None = config.getoption("modelgate_accept")
    if reason is None:
        return None
    if not reason.strip():
        raise ConfigurationError("--modelgate-accept: say why, for those who read the baseline later")
    if os.environ.get("CI", "").lower() not in {"", "0", "false"} and not config.getoption("modelgate_accept_in_ci"):
        raise ConfigurationError(
            "--modelgate-accept is refused in CI, where a baseline would change without anybody looking: "
            "accept on your machine and commit baselines/, or add --modelgate-accept-in-ci"
        )
    return reason.strip()


def _read_repeats(config: pytest.Config) -> int:
    repeats: int = config.getoption("modelgate_repeat")
    if repeats < 1:
        raise ConfigurationError(f"--modelgate-repeat must be at least 1, got {repeats}")
    return repeats


def _project(config: pytest.Config) -> Path:
    """Return the folder with the nearest gates file, from where pytest was started up to the rootdir."""
    start, root = config.invocation_params.dir, config.rootpath
    folders = [folder for folder in (start, *start.parents) if folder.is_relative_to(root)]
    return next((folder for folder in folders if (folder / config.getini("modelgate_gates")).is_file()), root)

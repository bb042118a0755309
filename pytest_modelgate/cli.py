"""
Answer the ``modelgate`` command: what is not a test run.

The release itself is judged by ``pytest --model SPEC``.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from pathlib import Path

from pytest_modelgate.errors import ModelgateError, SuiteError
from pytest_modelgate.scaffold import KINDS, write_scaffold

EXIT_BLOCKED = 1
EXIT_BAD_SUITE = 2
EXIT_MISTAKE = 4


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return pytest's exit codes: 0 passed, 1 blocked, 2 a bad suite file, 4 a mistake."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SuiteError as error:
        print(f"modelgate: {error}", file=sys.stderr)
        return EXIT_BAD_SUITE
    except ModelgateError as error:
        print(f"modelgate: {error}", file=sys.stderr)
        return EXIT_MISTAKE
    except OSError as error:
        print(f"modelgate: {error.filename}: {error.strerror}", file=sys.stderr)
        return EXIT_MISTAKE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="modelgate",
        description="Release gate for small fine-tuned language models.",
        epilog="To judge a model: pytest --model candidate.gguf",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init = commands.add_parser(
        "init",
        help="write a first gates.toml and suites",
        description="Write gates.toml, with the published release gates of a kind of task, and example suites (golden, "
        "adversarial, heldout) into a folder.",
    )
    init.add_argument("folder", nargs="?", type=Path, default=Path(), help="where to, default here")
    init.add_argument("--kind", choices=KINDS, default=KINDS[0], help=f"kind of task, default {KINDS[0]}")
    init.add_argument("--demo", action="store_true", help="the support task, which `pytest --model demo` passes")
    init.set_defaults(run=_init)

    again = commands.add_parser(
        "regate",
        help="judge a journal again, without a model",
        description="Judge recorded generations again, after an edit of gates.toml or of expected answers. "
        "Generations of other prompts or limits than now asked for do not count; measured times count on the machine "
        "that measured them.",
    )
    again.add_argument("journal", type=Path, help="a journal.jsonl that a run wrote")
    again.add_argument("--gates", type=Path, default=Path("gates.toml"), help="default: gates.toml here")
    again.add_argument("--target", action="append", default=[], metavar="ID", help="only this target; may repeat")
    again.add_argument("--out", type=Path, help="also write report.json and summary.md into this folder")
    again.set_defaults(run=_regate)

    doctor = commands.add_parser(
        "doctor",
        help="say what every gate can see with its cases, without a model",
        description="Say of every gate whether it can pass and fail at all with its cases, the smallest effect that it "
        "sees, and how many cases it would need. Exit code 1 if a gate that blocks can never pass or never fail.",
    )
    doctor.add_argument("--gates", type=Path, default=Path("gates.toml"), help="default: gates.toml here")
    doctor.add_argument("--json", action="store_true", help="print the same as JSON")
    doctor.set_defaults(run=_doctor)
    return parser


def _init(options: argparse.Namespace) -> int:
    for name in write_scaffold(options.folder, kind=options.kind, demo=options.demo):
        print(f"wrote {name}")
    print(
        "next: pytest --model demo" if options.demo else "next: edit gates.toml and the suites, then pytest --model …"
    )
    return 0


def _regate(options: argparse.Namespace) -> int:
    from pytest_modelgate.regate import regate
    from pytest_modelgate.report.files import write_report
    from pytest_modelgate.report.terminal import summary_lines

    gc.disable()  # records hold no cycles, and the collector would walk 100,000 of them over and over
    outcome = regate(options.journal, options.gates.absolute(), tuple(options.target))
    for line, _ in summary_lines(outcome):
        print(line)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        write_report(outcome, options.out)
    return 0 if outcome.verdict == "passed" else EXIT_BLOCKED


def _doctor(options: argparse.Namespace) -> int:
    from pytest_modelgate.doctor import diagnose

    found = diagnose(options.gates.absolute())
    print(json.dumps(found.to_json(), indent=2) if options.json else "\n".join(found.lines()))
    return 0 if found.is_sound else EXIT_BLOCKED


if __name__ == "__main__":
    sys.exit(main())

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

from pytest_modelgate.errors import ConfigurationError, ModelgateError, SuiteError
from pytest_modelgate.preflight.check import STAGES
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

    before = commands.add_parser(
        "preflight",
        help="check an export against what it was made from, without a test run",
        description="Check the last SPEC against those before it, which it was made from, in the order of the export: "
        "modelgate preflight adapter/ model-f16.gguf model-Q4_K_M.gguf. With one SPEC, what can be told from the file "
        "alone. Exit code 1 if a check failed.",
    )
    before.add_argument("specs", nargs="*", metavar="SPEC", help="adapter folder, model folder or GGUF, as for --model")
    before.add_argument(
        "--gates", type=Path, help="a gates file, whose cases are rendered; default: gates.toml here, if any"
    )
    before.add_argument("--stage", action="append", choices=STAGES, help="only this stage; may repeat")
    before.add_argument("--json", action="store_true", help="print the results as JSON")
    before.add_argument("--list", action="store_true", help="say what each check looks for")
    before.set_defaults(run=_preflight)

    ladder = commands.add_parser(
        "quantize",
        help="make a ladder of quantisations of a GGUF",
        description="Quantise a GGUF in F16, BF16 or F32, beside it or into --out. Judge them together with "
        "pytest --modelgate-any --model model-f16.gguf --model model-Q8_0.gguf ...",
    )
    ladder.add_argument("source", type=Path, help="the GGUF in F16, BF16 or F32")
    ladder.add_argument("--to", required=True, metavar="TYPES", help="for example Q8_0,Q6_K,Q5_K_M,Q4_K_M,Q3_K_M,Q2_K")
    ladder.add_argument("--out", type=Path, help="folder, default beside the source")
    ladder.add_argument("--force", action="store_true", help="write files again that are there")
    ladder.set_defaults(run=_quantize)

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


def _preflight(options: argparse.Namespace) -> int:
    from pytest_modelgate.preflight.command import preflight
    from pytest_modelgate.preflight.run import CHECKS
    from pytest_modelgate.report.preflight import check_lines

    if options.list:
        for check in CHECKS:
            print(f"{check.stage:<10} {check.name:<24} {check.mode}  {check.about}")
        return 0
    if not options.specs:
        raise ConfigurationError("preflight: name what to check: modelgate preflight adapter/ model.gguf")
    default = Path("gates.toml")
    gates = options.gates or (default if default.is_file() else None)
    results = list(preflight(options.specs, gates, options.stage))
    if options.json:
        print(json.dumps([one.to_json() for one in results], indent=1))
    else:
        for one in results:
            print(f"{one.outcome:<12} {one.check:<24} {one.mode}  {one.reason}")
        for line, _ in check_lines(results[0].target if results else options.specs[-1], results):
            print(line)
    return EXIT_BLOCKED if any(one.outcome == "failed" for one in results) else 0


def _quantize(options: argparse.Namespace) -> int:
    from pytest_modelgate.quantizing import make_ladder

    types = [name for name in options.to.split(",") if name]
    print(f"{'file':<40} {'MB':>9} {'bits/weight':>12} {'fallback':>9}")
    for rung in make_ladder(options.source, types, options.out, force=options.force):
        share = "" if rung.facts.fallback_share is None else f"{rung.facts.fallback_share:.0%}"
        kept = "" if rung.is_new else "  (was there)"
        megabytes = rung.facts.size_bytes / 1e6
        print(f"{rung.path.name:<40} {megabytes:>9.1f} {rung.facts.bits_per_weight:>12.2f} {share:>9}{kept}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

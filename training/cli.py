"""Read the command line of ``modelgate-train``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .config_file import config_sha256, load_config, resolved_yaml
from .errors import TrainingError
from .run_folder import STAGES

_DESCRIPTION = """\
Fine-tune a small language model with QLoRA and export it as GGUF, ready for the release gate.

One YAML file says everything: the rows, the base, the adapter, the training, what is exported. `run` takes the stages
in order and skips those whose output is complete and still fits the configuration; each can also be run alone.

  prepare   read and clean the rows, refuse those that the evaluation rows give away, hold some back
  base      make the small base model from scratch, or find the one that is named
  train     check every label, then train the adapter (QLoRA: 4-bit base, answers only)
  merge     merge the adapter into the 16/32-bit base, never into the 4-bit one
  export    convert to GGUF f16 with llama.cpp's own converter
  quantize  write the quantised GGUF files, with their real bits per weight
"""

_EPILOG = """\
first steps:
  modelgate-train fetch-converter                              once; downloads llama.cpp's converter, hash-checked
  modelgate-train run --config training/configs/support-tiny.yaml
  modelgate-train run --config FILE --set training.epochs=2 --set lora.r=8
  modelgate-train run --config FILE --dry-run                  show every resolved value, do nothing

exit codes: 0 done, 1 a stage failed, 4 a mistake in the configuration or on the command line
"""

_STAGE_HELP = {
    "prepare": """\
Read the rows, drop exact duplicates, and compare every row with the evaluation files under task.suites: equal up to
case, punctuation, white space and Unicode form, or data.near percent alike. data.leaks says what happens then: refuse
(the rows are named) or drop (they are written to rejected.jsonl). Then hold back data.validation of the rows, by group.

writes: prepared/train.jsonl, prepared/validation.jsonl, rejected.jsonl""",
    "base": """\
With base.path: find the model, which must be a folder or already downloaded (hf download NAME). With base.scratch:
train a byte-level BPE and a small Qwen2 on the rows, each answer paired with the message of another row, so that the
base writes the right form with the wrong content.

writes: base/""",
    "train": """\
Check the labels of every row first: something to learn, nothing cut, the end of turn learned, the prompt not. Then load
the base in 4 bits and train the LoRA adapter on the answers.

writes: adapter/, metrics.jsonl""",
    "merge": """\
Load the base again in 32 bits (16 above 2 billion weights), merge the adapter, check that every weight is finite, and
ask the merged model for the answers of the held-back rows.

writes: merged/""",
    "export": """\
Convert the merged model, and the base to compare it with, to GGUF f16. Needs the converter of the installed
llama-cpp-python: modelgate-train fetch-converter.

writes: NAME-f16.gguf, base-f16.gguf""",
    "quantize": """\
Quantise NAME-f16.gguf to each of export.quantizations and print real sizes: a "Q4_K_M" of a small model can hold far
more than 4 bits per weight, because rows that are no multiple of 256 fall back.

writes: NAME-Q8_0.gguf, NAME-Q4_K_M.gguf, …""",
    "run": """\
Run prepare, base, train, merge, export, quantize in order, then write manifest.json (last: where it stands, the run is
complete) and copy the results to `publish` where the configuration names a folder. Stages whose output is complete and
still fits the configuration are skipped.""",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "fetch-converter":
            from .export.converter import fetch_converter

            fetch_converter(options.archive, options.sha256, force=options.force)
        else:
            _run(options)
    except TrainingError as error:
        print(f"modelgate-train: {options.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("modelgate-train: interrupted; the next run goes on after the last complete stage", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> None:
    """Run one stage or all."""
    config = load_config(options.config, options.set)
    if options.dry_run:
        print(f"# {options.config}, sha256 of the resolved values {config_sha256(config)}")
        print(resolved_yaml(config), end="")
        return
    from .stages import finish_run, run_stages

    whole = options.command == "run"
    run_stages(config, STAGES if whole else (options.command,), force=options.force)
    if whole:
        finish_run(config)


def _parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="modelgate-train",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _STAGE_HELP.items():
        stage = commands.add_parser(
            name,
            help=text.split(".", maxsplit=1)[0].replace("\n", " ") if name == "run" else f"Run the stage {name} alone",
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        stage.add_argument(
            "--config", required=True, metavar="FILE", help="YAML file, or the name of one that ships: support-tiny"
        )
        stage.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="A.B=VALUE",
            help="Override one value, read as YAML; may be repeated: --set lora.r=8 --set 'data.train=[rows.jsonl]'",
        )
        stage.add_argument("--force", action="store_true", help="Repeat stages whose output is complete")
        stage.add_argument("--dry-run", action="store_true", help="Print every resolved value and do nothing")
    _add_fetch(commands)
    return parser


def _add_fetch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the one command that downloads something."""
    fetch = commands.add_parser(
        "fetch-converter",
        help="Download llama.cpp's converter once, from where pip is configured to look, and check its hash",
        description="""\
The wheel of llama-cpp-python holds no converter, its source archive holds the one of the very same commit. This command
has pip download that archive (from the index that pip is configured for), compares its SHA-256 with the one known to
this program, and keeps only the converter, in $MODELGATE_CACHE or ~/.cache/modelgate. Nothing is compiled, and nothing
of the archive is run before the comparison. No other command downloads anything.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fetch.add_argument("--archive", type=Path, metavar="FILE", help="Use this .tar.gz in place of downloading it")
    fetch.add_argument("--sha256", metavar="HASH", help="Vouch for an archive whose hash is not known to this program")
    fetch.add_argument("--force", action="store_true", help="Fetch again what is there already")


if __name__ == "__main__":
    sys.exit(main())

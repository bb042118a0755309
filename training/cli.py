"""Read the command line of ``modelgate-train``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .config_file import Loaded, config_sha256, read_config, resolved_lines
from .errors import ConfigError, TrainingError
from .stage_inputs import STAGES

_DESCRIPTION = """\
Fine-tune a small language model with QLoRA, export it as GGUF, and have the release gate judge it.

One YAML file says everything: the rows, the base, the adapter, the training, what is exported, and the gates.toml that
judges the candidate. `run` takes the stages in order and skips those that are done; each can also be run alone. A
stage that was interrupted goes on; one whose inputs, program or settings changed since is refused, saying which.

  prepare   read, check, mask and clean the rows; refuse those that the suites give away; hold some back
  base      make the small base model from scratch, or find the one that is named
  baseline  gate the untuned base (and what else the candidate must beat) on the suites, before anything is trained
  train     check every label, then train the adapter (QLoRA: 4-bit base, answers only)
  merge     merge the adapter into the 16/32-bit base, never into the 4-bit one
  export    convert to GGUF with llama.cpp's own converter
  quantize  write the quantised GGUF files, with their real bits per weight, and an Ollama Modelfile
  card      gate the candidate, and write its model card and manifest from what was measured
"""

_EPILOG = """\
first steps:
  modelgate-train fetch-converter                              once; downloads llama.cpp's converter, hash-checked
  modelgate-train run --config support --profile tiny          a shipped configuration, at a size for 2 CPU cores
  modelgate-train run --config FILE --set training.epochs=2 --set lora.r=8
  modelgate-train run --config FILE --dry-run                  show every resolved value and an estimate, do nothing
  modelgate-train schema > training.schema.json                for an editor that checks YAML

exit codes: 0 done (a blocked candidate is a result, too), 1 a stage failed, 2 an unknown command or option, 4 a mistake
in the configuration, 130 interrupted. The shipped configurations name files of this project's checkout: run them there.
"""

_STAGE_HELP = {
    "prepare": """\
Read the rows in any of the usual formats, mask secrets and personal data, and pass them through the row gates: JSON,
schema, output contract, leaked instructions, exact and near duplicates, trivial rows, diversity, length, consistent
labels, leakage. A row that is, or nearly is, a golden, adversarial or held-out case stops the run, naming both
(data.leaks: drop leaves it out). Then hold back data.validation of the rows, by group.

writes: prepared/train.jsonl, prepared/validation.jsonl, rejected/, and a line in registry/datasets.jsonl""",
    "base": """\
With base.path: find the model, which must be a folder or already downloaded (hf download NAME). With base.scratch:
train a byte-level BPE and a small Qwen2 on the rows, each answer paired with the message of another row, so that the
base writes the right form with the wrong content.

writes: base/""",
    "baseline": """\
Gate the untuned base on the very suites that will judge the candidate, and with it what `baseline` names: the base with
a better prompt, a deterministic program, a larger model. Training is refused without it; --no-baseline REASON goes into
the manifest and the card.

writes: base-f16.gguf, baseline/""",
    "train": """\
Check the labels of every row first: something to learn, nothing cut, the end of turn learned, one BOS, the prompt not
learned. Then load the base in 4 bits and train the LoRA adapter on the answers. A checkpoint is written every
training.save; a training that was killed goes on from the last one, to the same steps.

several GPUs: accelerate launch --config_file FILE -m modelgate_training train --config FILE

writes: adapter/, metrics.jsonl, loss.svg""",
    "merge": """\
Load the base again in 32 bits (16 above 2 billion weights), see that the adapter belongs to it, merge, check that every
weight is finite and that both loaders would read one chat template.

writes: merged/""",
    "export": """\
Convert the merged model to GGUF. Needs the converter of the installed llama-cpp-python: modelgate-train fetch-converter.
With export.lora the adapter alone is converted too, if nothing of it would be lost.

writes: NAME-f16.gguf, NAME-lora.gguf""",
    "quantize": """\
Quantise to each of export.quantizations and print real sizes: a "Q4_K_M" of a small model can hold far more than 4 bits
per weight, because rows that are no multiple of 256 fall back. With export.imatrix the columns are weighed by use.

writes: NAME-Q8_0.gguf, NAME-Q4_K_M.gguf, …, Modelfile""",
    "card": """\
Gate the adapter and the exported files on the suites, beside the baseline, and write down what was measured. A blocked
candidate is a result: the card says so at its top. The manifest is written last: where it stands, the run is complete.

writes: evaluation/, README.md (model card), manifest.json, and a line in registry/runs.jsonl""",
    "run": """\
Run prepare, base, baseline, train, merge, export, quantize, card in order, and copy the results to `publish` where the
configuration names a folder. Stages that are complete and still fit are skipped.""",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _COMMANDS.get(options.command, _run)(options)
    except TrainingError as error:
        print(f"modelgate-train: {options.command}: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        print(f"modelgate-train: {options.command}: {error.strerror or error}{where}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("modelgate-train: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 0


def _run(options: argparse.Namespace) -> None:
    """Run one stage or all."""
    loaded = read_config(options.config, options.set, options.profile)
    if options.dry_run:
        _show(loaded)
        return
    from .stages import Permissions, publish_run, run_stages

    if options.no_baseline is not None and not options.no_baseline.strip():
        raise ConfigError("--no-baseline: say why, for example --no-baseline 'measured in run support-3'")
    whole = options.command == "run"
    allowed = Permissions(options.force, options.no_baseline)
    run_stages(loaded.config, STAGES if whole else (options.command,), allowed)
    if whole:
        publish_run(loaded.config)


def _show(loaded: Loaded) -> None:
    """Print every resolved value with its origin, and what the training is expected to take."""
    from .estimate import describe
    from .run_folder import RunFolder

    profile = f", profile {loaded.profile}" if loaded.profile else ""
    print(f"# {loaded.path}{profile}, sha256 of the resolved values {config_sha256(loaded.config)}")
    for line in resolved_lines(loaded):
        print(line)
    for line in describe(RunFolder(loaded.config)):
        print(line)


def _fetch(options: argparse.Namespace) -> None:
    """Fetch the converter."""
    from .export.converter import fetch_converter

    fetch_converter(options.archive, options.sha256, force=options.force, models=options.models)


def _schema(_: argparse.Namespace) -> None:
    """Print the JSON Schema of a configuration file."""
    from .config_file import json_schema

    print(json.dumps(json_schema(), indent=1))


def _forget(options: argparse.Namespace) -> None:
    """Remove a person's rows."""
    from .data.forget import forget

    forget(read_config(options.config, options.set, options.profile).config, options.names)


def _harvest(options: argparse.Namespace) -> None:
    """Turn production logs into candidates for the suites."""
    from .data.harvest import harvest

    harvest(options.log, options.out, options.gates, options.sample, options.seed)


_COMMANDS = {"fetch-converter": _fetch, "schema": _schema, "forget": _forget, "harvest": _harvest}


# --- The command line --------------------------------------------------------------------------------------------


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
        stage = _add(
            commands, name, "Run all stages in order" if name == "run" else f"Run the stage {name} alone", text
        )
        _add_config(stage)
        stage.add_argument(
            "--force",
            action="store_true",
            help="Make again what no longer fits; with one stage, make it again even if it is complete",
        )
        stage.add_argument(
            "--dry-run", action="store_true", help="Print every resolved value and an estimate, do nothing"
        )
        stage.add_argument(
            "--no-baseline", metavar="REASON", help="Train without having measured the untuned base, and record why"
        )
    _add(
        commands, "schema", "Print the JSON Schema of a configuration file", "Print the JSON Schema of a configuration."
    )
    _add_forget(commands)
    _add_harvest(commands)
    _add_fetch(commands)
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, text: str
) -> argparse.ArgumentParser:
    """Add a command."""
    return commands.add_parser(
        name, help=summary, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def _add_config(parser: argparse.ArgumentParser) -> None:
    """Add what names a configuration."""
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="YAML file, or the name of one that ships: support"
    )
    parser.add_argument("--profile", metavar="NAME", help="Lay a profile of the file over it: --profile tiny")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=VALUE",
        help="Override one value, read as YAML; may be repeated: --set lora.r=8 --set 'data.train=[rows.jsonl]'",
    )


def _add_forget(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command that removes a person's rows."""
    parser = _add(
        commands,
        "forget",
        "Remove a person's rows from the training files, and list the runs that used them",
        """\
Take every row whose id, person or group is named out of the training files, keep its hash so that prepare rejects it if it
comes back, and list the runs and dataset versions that used it: models trained on them must be trained again. A row without an
id is called by its file and line. The suites are not searched.

writes: the files of data.train, registry/forgotten.jsonl""",
    )
    parser.add_argument("names", nargs="+", metavar="ID", help="Id, person or group of rows")
    _add_config(parser)


def _add_harvest(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command that reads production logs."""
    parser = _add(
        commands,
        "harvest",
        "Turn production logs into candidates for the evaluation suites, with a review file",
        """\
Read a production log (JSONL: input or messages, and output; where known expected or corrected, feedback good/bad, task,
finish_reason; other keys are not taken up), mask secrets and personal data, and find failures (contract broken, cut off,
looping, corrected, below the rubric, bad feedback) and inputs that no case asks. What a suite asks already, and what
repeats, is left out. Candidates go into a folder that no suite reads, with a page to review them on; a file that was
edited is never overwritten. Nothing goes into training: what failed in production is first measured, then learned.

writes: OUT/candidates.jsonl, OUT/review.md""",
    )
    parser.add_argument("log", type=Path, metavar="FILE", help="Production log, .jsonl")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="Where candidates and review go")
    parser.add_argument("--gates", type=Path, default=Path("gates.toml"), metavar="FILE", help="Default: gates.toml")
    parser.add_argument("--sample", type=int, default=50, metavar="N", help="At most so many candidates (default 50)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="Of the sampling (default 0)")


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
    fetch.add_argument(
        "--models", action="store_true", help="Keep llama.cpp's chat templates and vocabularies too (80 MB, for tests)"
    )


if __name__ == "__main__":
    sys.exit(main())

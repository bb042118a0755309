"""
Run the stages of a training, each alone or all in order.

::

    prepare -> base -> baseline -> train -> merge -> export -> quantize -> card (manifest last) -> publish
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .config import Config
from .errors import ConfigError, StageError, TrainingError
from .run_folder import RunFolder
from .stage_inputs import STAGES
from .tuning.device import is_first_process, processes
from .tuning.loading import find_base, require_safetensors


@dataclass(frozen=True, slots=True)
class Permissions:
    """
    Hold what the user allows beyond the usual.

    ``force``: make again what no longer fits, and a stage that is named alone even where it is complete. ``no_baseline``:
    the reason to train without having measured the untuned base.
    """

    force: bool = False
    no_baseline: str | None = None


def run_stages(config: Config, wanted: Sequence[str], allowed: Permissions) -> None:
    """Run the stages named in ``wanted``; one that is complete is skipped, one that no longer fits is refused."""
    settle()
    run = RunFolder(config)
    if processes() > 1 and tuple(wanted) != ("train",):
        raise ConfigError("several processes (accelerate launch) run one stage: modelgate_training train")
    if allowed.no_baseline is not None and not {"baseline", "train"} & set(wanted):
        raise ConfigError(f"--no-baseline is for baseline, train and run: {wanted[0]} does not measure any")
    with _reported("the run's folder", run), run.locked() if is_first_process() else contextlib.nullcontext():
        _check_before(run, wanted)
        stages = _with_skipped_baseline(run, wanted, allowed)
        for stage in stages:
            _run_if_needed(run, stage, allowed, alone=len(wanted) == 1)


def _with_skipped_baseline(run: RunFolder, wanted: Sequence[str], allowed: Permissions) -> tuple[str, ...]:
    """Return the stages to run: ``train --no-baseline REASON`` first records the reason where nothing was measured."""
    if tuple(wanted) == ("train",) and allowed.no_baseline is not None and not run.is_complete("baseline"):
        return ("baseline", "train")
    return tuple(wanted)


def _run_if_needed(run: RunFolder, stage: str, allowed: Permissions, *, alone: bool) -> None:
    """Run a stage unless it is complete; refuse one that was made of something else, unless ``--force`` is given."""
    left_out = stage == "baseline" and "skipped" in run.facts(stage) and allowed.no_baseline is None
    if run.is_complete(stage) and not left_out and not (alone and allowed.force):
        print(f"{stage}: complete already, skipped")
        return
    _need_earlier(run, stage)
    if (changed := run.changes(stage)) and not allowed.force:
        raise StageError(
            f"{stage} was {_state(run, stage)} with other inputs: {_listed(changed)}; "
            f"--force makes it again, another 'output' keeps both"
        )
    _run_one(run, stage, allowed)


def publish_run(config: Config) -> None:
    """Copy the results of a complete run to where the configuration wants them."""
    from .documents.publish import publish

    run = RunFolder(config)
    if config.publish is not None:
        publish(run, run.root / config.publish)


def _run_one(run: RunFolder, stage: str, allowed: Permissions) -> None:
    """Run one stage, and mark it when it is done; of several processes, the first one marks it."""
    started = time.monotonic()
    with _reported(stage, run):
        with _first_process_first():
            if is_first_process():
                if run.was_begun(stage):
                    print(f"{stage}: was interrupted, goes on")
                run.begin(stage)
        facts = _STAGES[stage](run, allowed)
        seconds = time.monotonic() - started
        if is_first_process():
            run.finish(stage, seconds, facts)
            print(f"{stage}: done in {seconds:.0f} s")


@contextlib.contextmanager
def _reported(what: str, run: RunFolder) -> Iterator[None]:
    """Turn what a user can meet (a full disk, no permission, too little memory, a damaged file) into one line."""
    try:
        yield
    except TrainingError:
        raise
    except OSError as error:
        file = f": {error.filename}" if error.filename else ""
        raise StageError(f"{what}: {error.strerror or error}{file}") from error
    except Exception as error:
        if _is_full(error):
            raise StageError(f"{what}: no space left on the disk that holds {run.path}") from error
        if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
            raise StageError(
                f"{what}: out of memory: try a smaller training.batch or training.max_length, or "
                f"training.gradient_checkpointing: true ({_first_line(error)})"
            ) from error
        if type(error).__name__ == "SafetensorError":
            raise StageError(f"{what}: a damaged .safetensors file: {_first_line(error)}") from error
        raise


def _first_process_first() -> contextlib.AbstractContextManager[None]:
    """Return a context that the other processes of ``accelerate launch`` enter after the first has left it."""
    if processes() == 1:
        return contextlib.nullcontext()
    import torch
    from accelerate import PartialState

    first: contextlib.AbstractContextManager[None] = PartialState(
        cpu=not torch.cuda.is_available()
    ).main_process_first()
    return first


def settle() -> None:
    """Set what must be set before torch and transformers are imported."""
    # Threads that spin for long while they wait made training 10 times slower on a machine where others were computing;
    # not spinning at all costs a fifth of the speed of an idle one.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    # Nothing is downloaded behind the user's back: a model is fetched on purpose, with the hub's own tool.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    # The next three speak to developers of those libraries, not to whoever trains a model.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\..*")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


# --- Before anything starts --------------------------------------------------------------------------------------


def _check_before(run: RunFolder, wanted: Sequence[str]) -> None:
    """Find what would stop a later stage, before an earlier one has spent minutes."""
    _ = run.tasks.cases, run.train_files
    converting = {"export", "quantize", "baseline"} & set(wanted)
    if converting and not all(run.is_complete(stage) for stage in converting):
        from .export.converter import find_converter

        find_converter()
    if run.config.base.path is not None:
        require_safetensors(find_base(run))
    _known_quantisations(run)


def _known_quantisations(run: RunFolder) -> None:
    """Refuse a quantisation that llama.cpp is not asked for here."""
    from pytest_modelgate.engines.llama import QUANTIZATIONS

    for name, _ in run.quantised():
        if name not in QUANTIZATIONS:
            raise ConfigError(f"export.quantizations: {name!r} is unknown; valid are {', '.join(QUANTIZATIONS)}")


def _need_earlier(run: RunFolder, stage: str) -> None:
    """Raise if a stage before is missing or no longer fits."""
    for earlier in STAGES[: STAGES.index(stage)]:
        if run.is_complete(earlier):
            continue
        if changed := run.changes(earlier):
            raise StageError(f"{stage} comes after {earlier}, which no longer fits: {_listed(changed)}")
        way_out = " (or say why not: --no-baseline REASON)" if earlier == "baseline" else ""
        raise StageError(f"{stage} comes after {earlier}, which has not been run: modelgate-train {earlier} …{way_out}")


def _state(run: RunFolder, stage: str) -> str:
    """Say how far a stage has come."""
    return "finished" if run.mark(stage) else "begun"


def _listed(changes: Sequence[str], shown: int = 6) -> str:
    """Return the first of what changed."""
    more = f"; and {len(changes) - shown} more" if len(changes) > shown else ""
    return "; ".join(changes[:shown]) + more


def _is_full(error: BaseException) -> bool:
    """Say whether an error comes from a full disk; libraries in other languages tell it in their own words."""
    text = str(error)
    is_write = "PytorchStreamWriter failed" in text or "file write failed" in text or "unexpected pos" in text
    return os.strerror(errno.ENOSPC) in text or is_write


def _first_line(error: BaseException) -> str:
    """Return the beginning of an error's text."""
    return str(error).strip().split("\n", maxsplit=1)[0][:200]


# --- The stages --------------------------------------------------------------------------------------------------


def _prepare(run: RunFolder, _: Permissions) -> dict[str, Any]:
    """Make the rows ready."""
    from .data.prepare import prepare

    return prepare(run)


def _base(run: RunFolder, _: Permissions) -> dict[str, Any]:
    """Make the base model, or find the one that is named."""
    from .data.rows import read_prepared

    if run.config.base.scratch is None:
        folder = find_base(run)
        print(f"base: {run.config.base.path}")
        return {"path": run.config.base.path, "revision": run.config.base.revision or folder.name}
    from .tuning.base import make_base

    return make_base(run.config.base.scratch, run.tasks.messages, read_prepared(run.train_rows), run.base, run.log)


def _baseline(run: RunFolder, allowed: Permissions) -> dict[str, Any]:
    """Measure what the candidate has to beat, before it is trained."""
    from .documents.baseline import measure_baseline, skip_baseline

    if allowed.no_baseline is not None:
        return skip_baseline(run, allowed.no_baseline)
    return measure_baseline(run, find_base(run))


def _train(run: RunFolder, _: Permissions) -> dict[str, Any]:
    """Train the adapter."""
    from .tuning.tune import train_adapter

    return train_adapter(run, find_base(run))


def _merge(run: RunFolder, _: Permissions) -> dict[str, Any]:
    """Merge the adapter into the unquantised base."""
    from .export.merge import merge_adapter

    return merge_adapter(find_base(run), run.adapter, run.merged)


def _export(run: RunFolder, _: Permissions) -> dict[str, Any]:
    """Convert the merged model."""
    from .export.steps import export

    return export(run)


def _quantize(run: RunFolder, _: Permissions) -> dict[str, Any]:
    """Quantise the exported model."""
    from .export.steps import quantize

    return quantize(run)


def _card(run: RunFolder, _: Permissions) -> dict[str, Any]:
    """Gate the candidate, and write down what came out."""
    from .documents.finish import finish

    return finish(run, find_base(run))


_STAGES: dict[str, Callable[[RunFolder, Permissions], dict[str, Any]]] = {
    "prepare": _prepare,
    "base": _base,
    "baseline": _baseline,
    "train": _train,
    "merge": _merge,
    "export": _export,
    "quantize": _quantize,
    "card": _card,
}

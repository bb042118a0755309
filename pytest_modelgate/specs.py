"""Read what follows ``--model``: which target is meant, how it is run, and what it is called."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pytest_modelgate.errors import SpecError
from pytest_modelgate.nearest import did_you_mean

TargetKind = Literal["gguf", "adapter", "merged", "replay"]
"""What a target is; gates may name it in ``targets``."""

DEMO = Path(__file__).parent / "models" / "demo.gguf"
"""The small support model that ships with the package."""

VALID = (
    "valid are model.gguf, an adapter or merged model folder, replay:journal.jsonl#target-id and demo; "
    "options follow after commas"
)

_OPTIONS: dict[str, type[int | str | float]] = {
    "id": str,
    "base": str,
    "n_ctx": int,
    "n_gpu_layers": int,
    "n_threads": int,
    "batch_size": int,
    "dtype": str,
    "device": str,
    "timeout_s": float,
}
_ENGINE_OPTIONS = frozenset(_OPTIONS) - {"id", "base"}
_CHOICES = {"dtype": ("float32", "bfloat16", "float16"), "device": ("cpu", "cuda")}
_AT_LEAST = {"n_ctx": 8, "n_gpu_layers": -1, "n_threads": 1, "batch_size": 1, "timeout_s": 1}


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """
    Hold one target as written on the command line.

    ``path`` is the GGUF, the folder, or the replayed journal; ``base`` an adapter's base folder if one was given;
    ``recorded_as`` the target id inside a replayed journal; ``engine`` the engine settings that the spec overrides.
    """

    text: str
    kind: TargetKind
    path: Path
    id: str
    base: Path | None = None
    recorded_as: str | None = None
    engine: dict[str, int | float | str] = field(default_factory=dict)


def parse_specs(texts: list[str], directory: Path) -> tuple[TargetSpec, ...]:
    """
    Read all specs of a command line; relative paths are relative to ``directory``.

    Raises :class:`~pytest_modelgate.errors.SpecError` for a spec that cannot be understood, a path that is not
    there, and two targets with one id.
    """
    specs: dict[str, TargetSpec] = {}
    for text in texts:
        spec = parse_spec(text, directory)
        if other := specs.get(spec.id):
            raise SpecError(
                f"--model {text}: target id {spec.id!r} is already that of --model {other.text}; "
                f"add ,id=NAME to one of them"
            )
        specs[spec.id] = spec
    return tuple(specs.values())


def parse_spec(text: str, directory: Path) -> TargetSpec:
    """Read one spec; see :func:`parse_specs`."""
    head, *option_texts = text.split(",")
    if not head:
        raise SpecError(f"--model {text}: no target is named; {VALID}")
    options = _read_options(text, option_texts)
    if re.match(r"https?://", head):
        raise SpecError(f"--model {text}: served endpoints are not supported yet; {VALID}")
    if head.startswith("python:"):
        raise SpecError(f"--model {text}: python: targets are not supported yet; {VALID}")
    if "+" in head:
        raise SpecError(
            f"--model {text}: a LoRA on a GGUF is not supported yet; {VALID} (a plus in a path is written %2B)"
        )
    recorded_as = None
    if head.startswith("replay:"):
        journal, mark, recorded_as = head.removeprefix("replay:").partition("#")
        if not (journal and mark and recorded_as):
            raise SpecError(f"--model {text}: a replay is written replay:journal.jsonl#target-id")
        path, kind, name = directory / _unescape(journal), "replay", _unescape(recorded_as)
        recorded_as = name
        if not path.is_file():
            raise SpecError(f"--model {text}: no such journal: {path}")
    elif head == "demo":
        path, kind, name = DEMO, "gguf", "demo"
        if not path.is_file():
            raise SpecError(f"--model demo: the demo model is missing from this installation ({path})")
    else:
        path = directory / _unescape(head)
        kind = _kind_of(text, path)
        name = path.resolve().name if path.is_dir() else path.stem
    if "base" in options and kind != "adapter":
        raise SpecError(f"--model {text}: base= is only for an adapter folder (one with adapter_config.json)")
    return TargetSpec(
        text=text,
        kind=kind,  # type: ignore[arg-type]  # one of the literals above
        path=path,
        id=_target_id(text, str(options["id"]) if "id" in options else name, given="id" in options),
        base=directory / str(options["base"]) if "base" in options else None,
        recorded_as=recorded_as,
        engine={name: value for name, value in options.items() if name in _ENGINE_OPTIONS},
    )


def _kind_of(text: str, path: Path) -> TargetKind:
    """Say what lies at ``path``."""
    if not path.exists():
        raise SpecError(f"--model {text}: no such file or folder: {path}; {VALID}")
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise SpecError(f"--model {text}: {path.name} is a file, but not a .gguf; {VALID}")
        return "gguf"
    if (path / "adapter_config.json").is_file():
        return "adapter"
    if (path / "config.json").is_file():
        return "merged"
    raise SpecError(
        f"--model {text}: the folder holds neither adapter_config.json (a PEFT adapter) nor config.json (a model)"
    )


def _read_options(text: str, option_texts: list[str]) -> dict[str, int | float | str]:
    """Read ``name=value`` options and check their values."""
    options: dict[str, int | float | str] = {}
    for option in option_texts:
        name, mark, value = option.partition("=")
        if name not in _OPTIONS or not mark:
            raise SpecError(
                f"--model {text}: option {option!r} is unknown{did_you_mean(name, _OPTIONS)}; "
                f"valid are {', '.join(_OPTIONS)} (a comma in a path is written %2C)"
            )
        if name in options:
            raise SpecError(f"--model {text}: option {name!r} is given twice")
        kind = _OPTIONS[name]
        try:
            converted = kind(_unescape(value))
        except ValueError:
            raise SpecError(f"--model {text}: {name} must be a number, got {value!r}") from None
        if name in _AT_LEAST and not _AT_LEAST[name] <= float(converted) < math.inf:
            raise SpecError(f"--model {text}: {name} must be at least {_AT_LEAST[name]}, got {value}")
        if name in _CHOICES and converted not in _CHOICES[name]:
            raise SpecError(f"--model {text}: {name} must be one of {', '.join(_CHOICES[name])}, got {value!r}")
        options[name] = converted
    return options


def _target_id(text: str, name: str, *, given: bool) -> str:
    """Return the target's id: as given, else made of the file's name."""
    if given:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise SpecError(f"--model {text}: id must match [A-Za-z0-9_.-]+, got {name!r}")
        return name
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-") or "model"


def _unescape(text: str) -> str:
    """Return ``text`` with the escapes that a spec knows put back: a comma, a plus and, in a replay, a hash."""
    return text.replace("%2C", ",").replace("%2B", "+").replace("%23", "#")

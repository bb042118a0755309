"""Read what follows ``--model``: which target is meant, how it is run, and what it is called."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pytest_modelgate.errors import SpecError
from pytest_modelgate.nearest import did_you_mean

TargetKind = Literal["gguf", "adapter", "merged", "endpoint", "replay", "python"]
"""What a target is; gates may name it in ``targets``."""

Role = Literal["model", "control", "reference", "baseline"]
"""What a target is there for: to be judged, to be beaten, to be agreed with, to be no slower than."""

OPTIONS: dict[Role, str] = {
    "model": "--model",
    "control": "--control",
    "reference": "--reference",
    "baseline": "--baseline-model",
}
"""The option that a spec of each role stands behind."""

DEMO = Path(__file__).parent / "models" / "demo.gguf"
"""The small support model that ships with the package."""

VALID = (
    "valid are model.gguf, base.gguf+lora.gguf, an adapter or merged model folder, http://host:port/v1#model, "
    "replay:journal.jsonl#target-id, demo and, for controls, python:module:function; options follow after commas"
)

_OPTIONS: dict[str, type[int | str | float]] = {
    "id": str,
    "base": str,
    "system": str,
    "modelfile": str,
    "n_ctx": int,
    "n_gpu_layers": int,
    "n_threads": int,
    "batch_size": int,
    "n_seq": int,
    "dtype": str,
    "device": str,
    "timeout_s": float,
}
_ENGINE_OPTIONS = frozenset(_OPTIONS) - {"id", "base", "system", "modelfile"}
_CHOICES = {"dtype": ("float32", "bfloat16", "float16"), "device": ("cpu", "cuda")}
_AT_LEAST = {"n_ctx": 8, "n_gpu_layers": -1, "n_threads": 1, "batch_size": 1, "n_seq": 1, "timeout_s": 1}


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """
    Hold one target as written on the command line.

    ``path`` is the GGUF, the folder, the replayed journal, or the folder that a Python control is imported from;
    ``base`` an adapter's base folder if one was given; ``lora`` the LoRA GGUF that is applied on ``path``; ``url`` and
    ``served_name`` where an endpoint is and what it calls the model; ``recorded_as`` the target id inside a replayed
    journal; ``function`` a control's ``module:function``; ``system`` a file with another system text than the task's,
    as a prompted base has it; ``modelfile`` what the file is served by, where it is not found beside it; ``engine`` the
    engine settings that the spec overrides.
    """

    text: str
    kind: TargetKind
    path: Path
    id: str
    base: Path | None = None
    lora: Path | None = None
    url: str | None = None
    served_name: str | None = None
    recorded_as: str | None = None
    role: Role = "model"
    function: str | None = None
    system: Path | None = None
    modelfile: Path | None = None
    engine: dict[str, int | float | str] = field(default_factory=dict)

    @property
    def named(self) -> str:
        """Return option and text, the beginning of every message about the spec."""
        return f"{OPTIONS[self.role]} {self.text}"


def parse_specs(
    texts: list[str],
    directory: Path,
    *,
    controls: Sequence[str] = (),
    references: Sequence[str] = (),
    baseline: str | None = None,
    declared: Mapping[str, str] | None = None,
    root: Path | None = None,
) -> tuple[TargetSpec, ...]:
    """
    Read all specs of a command line; relative paths are relative to ``directory``.

    ``controls``, ``references``, ``baseline``: the specs of ``--control``, ``--reference`` (what the model was made from,
    in order) and ``--baseline-model``. ``declared``: those of gates.toml by id, relative to ``root``; one that the
    command line names as well is the command line's. Raises :class:`~pytest_modelgate.errors.SpecError` for a spec that
    cannot be understood, a path that is not there, and two targets with one id.
    """
    specs: dict[str, TargetSpec] = {}

    def add(spec: TargetSpec) -> None:
        if other := specs.get(spec.id):
            raise SpecError(
                f"{spec.named}: target id {spec.id!r} is already that of {other.named}; add ,id=NAME to one of them"
            )
        specs[spec.id] = spec

    for text in texts:
        add(parse_spec(text, directory))
    for text in controls:
        add(parse_spec(text, directory, role="control"))
    for text in references:
        add(_comparable(parse_spec(text, directory, role="reference")))
    if baseline is not None:
        add(parse_spec(baseline, directory, role="baseline"))
    for name, text in (declared or {}).items():
        if name not in specs or specs[name].role == "model":
            add(parse_spec(f"{text},id={name}", root or directory, role="control"))
    return tuple(specs.values())


def _comparable(spec: TargetSpec) -> TargetSpec:
    """Return a reference's spec; raise where it is nothing that an export could agree with."""
    if spec.kind in {"endpoint", "python"}:
        raise SpecError(f"{spec.named}: a reference is what the model was made from: an adapter, a folder or a GGUF")
    return spec


def parse_spec(text: str, directory: Path, role: Role = "model") -> TargetSpec:
    """Read one spec; see :func:`parse_specs`."""
    named = f"{OPTIONS[role]} {text}"
    head, *option_texts = text.split(",")
    if not head:
        raise SpecError(f"{named}: no target is named; {VALID}")
    options = _read_options(named, option_texts)
    found = _read_head(text, head, directory, role)
    if "base" in options and found.kind != "adapter":
        raise SpecError(f"{named}: base= is only for an adapter folder (one with adapter_config.json)")
    if "modelfile" in options and found.kind != "gguf":
        raise SpecError(f"{named}: modelfile= is only for a GGUF")
    files = {name: directory / str(options[name]) for name in ("system", "modelfile") if name in options}
    if absent := [name for name, path in files.items() if not path.is_file()]:
        raise SpecError(f"{named}: {absent[0]}=: no such file: {files[absent[0]]}")
    return replace(
        found,
        id=_target_id(named, str(options["id"]) if "id" in options else found.id, given="id" in options),
        base=directory / str(options["base"]) if "base" in options else None,
        system=files.get("system"),
        modelfile=files.get("modelfile"),
        engine={name: value for name, value in options.items() if name in _ENGINE_OPTIONS},
    )


def _read_head(text: str, head: str, directory: Path, role: Role) -> TargetSpec:
    """Return what the part before the options names; its id is made of a name, not yet checked."""
    named = f"{OPTIONS[role]} {text}"
    if re.match(r"https?://", head):
        return _read_endpoint(text, head, directory, role)
    if head.startswith("python:"):
        function = head.removeprefix("python:")
        if role != "control":
            raise SpecError(f"{named}: a Python function is no model; give it as --control {head}")
        if not re.fullmatch(r"[\w.]+:\w+", function):
            raise SpecError(f"{named}: a Python control is written python:package.module:function")
        return TargetSpec(text, "python", directory, function.partition(":")[2], role=role, function=function)
    if head.startswith("replay:"):
        journal, mark, recorded_as = head.removeprefix("replay:").partition("#")
        if not (journal and mark and recorded_as):
            raise SpecError(f"{named}: a replay is written replay:journal.jsonl#target-id")
        path, name = directory / _unescape(journal), _unescape(recorded_as)
        if not path.is_file():
            raise SpecError(f"{named}: no such journal: {path}")
        return TargetSpec(text, "replay", path, name, role=role, recorded_as=name)
    if head == "demo":
        if not DEMO.is_file():
            raise SpecError(f"{named}: the demo model is missing from this installation ({DEMO})")
        return TargetSpec(text, "gguf", DEMO, "demo", role=role)
    if "+" in head:
        return _read_lora(text, head, directory, role)
    path = directory / _unescape(head)
    kind = _kind_of(named, path)
    return TargetSpec(text, kind, path, path.resolve().name if path.is_dir() else path.stem, role=role)


def _read_endpoint(text: str, head: str, directory: Path, role: Role) -> TargetSpec:
    """Read where a server is, and what it calls the model."""
    url, _, name = head.partition("#")
    if not name or not re.fullmatch(r"https?://[^/\s@]+(/\S*)?", url):
        raise SpecError(
            f"{OPTIONS[role]} {text}: an endpoint is written http://host:port/v1#model, without a key in it"
        )
    url, name = _unescape(url), _unescape(name)
    return TargetSpec(text, "endpoint", directory, name, role=role, url=url, served_name=name)


def _read_lora(text: str, head: str, directory: Path, role: Role) -> TargetSpec:
    """Read a LoRA GGUF and the GGUF that it is applied on."""
    parts = head.split("+")
    paths = [directory / _unescape(part) for part in parts]
    if len(paths) != 2 or not all(path.is_file() and path.suffix.lower() == ".gguf" for path in paths):  # noqa: PLR2004
        raise SpecError(
            f"{OPTIONS[role]} {text}: a LoRA on a GGUF is written base.gguf+lora.gguf, two files that are there "
            f"(a plus in a path is written %2B)"
        )
    return TargetSpec(text, "gguf", paths[0], paths[1].stem, role=role, lora=paths[1])


def _kind_of(named: str, path: Path) -> TargetKind:
    """Say what lies at ``path``."""
    if not path.exists():
        raise SpecError(f"{named}: no such file or folder: {path}; {VALID}")
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise SpecError(f"{named}: {path.name} is a file, but not a .gguf; {VALID}")
        return "gguf"
    if (path / "adapter_config.json").is_file():
        return "adapter"
    if (path / "config.json").is_file():
        return "merged"
    raise SpecError(f"{named}: the folder holds neither adapter_config.json (a PEFT adapter) nor config.json (a model)")


def _read_options(named: str, option_texts: list[str]) -> dict[str, int | float | str]:
    """Read ``name=value`` options and check their values."""
    options: dict[str, int | float | str] = {}
    for option in option_texts:
        name, mark, value = option.partition("=")
        if name not in _OPTIONS or not mark:
            raise SpecError(
                f"{named}: option {option!r} is unknown{did_you_mean(name, _OPTIONS)}; "
                f"valid are {', '.join(_OPTIONS)} (a comma in a path is written %2C)"
            )
        if name in options:
            raise SpecError(f"{named}: option {name!r} is given twice")
        kind = _OPTIONS[name]
        try:
            converted = kind(_unescape(value))
        except ValueError:
            raise SpecError(f"{named}: {name} must be a number, got {value!r}") from None
        if name in _AT_LEAST and not _AT_LEAST[name] <= float(converted) < math.inf:
            raise SpecError(f"{named}: {name} must be at least {_AT_LEAST[name]}, got {value}")
        if name in _CHOICES and converted not in _CHOICES[name]:
            raise SpecError(f"{named}: {name} must be one of {', '.join(_CHOICES[name])}, got {value!r}")
        options[name] = converted
    return options


def _target_id(named: str, name: str, *, given: bool) -> str:
    """Return the target's id: as given, else made of the file's name."""
    if given:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            raise SpecError(f"{named}: id must match [A-Za-z0-9_.-]+, got {name!r}")
        return name
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-") or "model"


def _unescape(text: str) -> str:
    """Return ``text`` with the escapes that a spec knows put back: a comma, a plus and, in a replay, a hash."""
    return text.replace("%2C", ",").replace("%2B", "+").replace("%23", "#")

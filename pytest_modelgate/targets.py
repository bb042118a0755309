"""Make a target of its spec: check its files, fix its identity, open its engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_modelgate.contracts.user import CONTROLS, load_object
from pytest_modelgate.engines import Engine, EngineSettings
from pytest_modelgate.errors import EngineStartError, JournalError, MissingExtraError, SpecError
from pytest_modelgate.identity import FileHashes, digest
from pytest_modelgate.records import Json
from pytest_modelgate.specs import TargetSpec
from pytest_modelgate.tables import GenerationTable

if TYPE_CHECKING:
    from pytest_modelgate.engines.replay import ReplayEngine

_MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken")

DECODING_VERSION = 2
"""Counts changes of this package that change what an engine answers or tells of it: prompts, tokens, probabilities."""


@dataclass(frozen=True, slots=True)
class Target:
    """
    Hold one thing under test, checked and identified, its model not yet loaded.

    ``identity``: sha256 over weights, tokenizer, template, engine build and engine settings. ``sha256``: of the one
    file that ships, or of the list of files of a folder. ``about``: what is known of the file without loading it.
    ``function``: a Python control's. ``replay``: the recorded answers, read once. ``system``: the system text that the spec gives instead of the task's.
    """

    spec: TargetSpec
    identity: str
    sha256: str
    size_bytes: int
    settings: EngineSettings
    base: Path | None = None
    about: Json = field(default_factory=dict)
    function: Callable[..., Any] | None = None
    replay: ReplayEngine | None = None
    system: str | None = None

    @property
    def id(self) -> str:
        """Return the name that results carry."""
        return self.spec.id

    def require_template(self) -> None:
        """Raise SpecError where a GGUF has no chat template, so that no prompt can be made for it."""
        if self.spec.kind == "gguf":
            from pytest_modelgate.gguf_file import read_gguf_facts, require_chat_template

            require_chat_template(read_gguf_facts(self.spec.path))

    @property
    def is_reusable(self) -> bool:
        """Say whether generations may be taken from the journal: not a replay's, a function's or a server's."""
        return self.spec.kind not in {"replay", "python", "endpoint"}

    @property
    def is_replay(self) -> bool:
        """Say whether answers are read instead of generated."""
        return self.spec.kind == "replay"

    def open(self, *, serial: bool = False) -> Engine:
        """Return an engine for the target; ``serial``: one request at a time, as it is deployed."""
        settings = replace(self.settings, batch_size=1) if serial else self.settings
        if self.replay is not None:
            return self.replay
        if self.function is not None:
            from pytest_modelgate.engines.python import PythonEngine

            return PythonEngine(self.spec.function or "", self.function)
        if self.spec.kind == "endpoint":
            from pytest_modelgate.engines.endpoint import EndpointEngine

            return EndpointEngine(self.spec.url or "", self.spec.served_name or "", settings)
        from pytest_modelgate.engines.process import ProcessEngine

        if self.spec.kind == "gguf":
            lora = None if self.spec.lora is None else str(self.spec.lora)
            return ProcessEngine("gguf", {"path": str(self.spec.path), "lora": lora}, settings)
        arguments = {"path": str(self.spec.path), "base": None if self.base is None else str(self.base)}
        return ProcessEngine("adapter", arguments, settings)


def prepare_target(
    spec: TargetSpec, generation: GenerationTable, hashes: FileHashes, n_threads: int | None = None
) -> Target:
    """
    Check what can be checked of ``spec`` without loading its model.

    Raises :class:`~pytest_modelgate.errors.ConfigurationError` for files that cannot be a model, and for an engine
    that is not installed.
    """
    settings = EngineSettings(**{"n_ctx": generation.n_ctx, "n_threads": n_threads, **spec.engine})  # type: ignore[arg-type]
    prepare = {
        "gguf": _prepare_gguf,
        "endpoint": _prepare_endpoint,
        "replay": _prepare_replay,
        "python": _prepare_python,
    }.get(spec.kind, _prepare_folder)
    target = prepare(spec, settings, hashes)
    if spec.system is None:
        return target
    try:
        return replace(target, system=spec.system.read_text(encoding="utf-8-sig").strip())
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{spec.named}: cannot read {spec.system}: {error}") from None


def _prepare_gguf(spec: TargetSpec, settings: EngineSettings, hashes: FileHashes) -> Target:
    from pytest_modelgate.engines.llama import build_id
    from pytest_modelgate.gguf_file import read_gguf_facts

    build = build_id()
    facts = read_gguf_facts(spec.path)
    sha256 = hashes.sha256(spec.path)
    lora = {} if spec.lora is None else {"lora": hashes.sha256(spec.lora)}
    return Target(
        spec=spec,
        identity=_identity(spec, {"weights": sha256} | lora, build, settings),
        sha256=digest({"weights": sha256} | lora) if lora else sha256,
        size_bytes=facts.size_bytes + (0 if spec.lora is None else spec.lora.stat().st_size),
        settings=settings,
        about={
            "engine": build,
            "quantization": {
                "label": facts.quantization,
                "bits_per_weight": round(facts.bits_per_weight, 3),
                "types": {name: use.count for name, use in facts.tensor_types.items()},
            },
        },
    )


def _prepare_folder(spec: TargetSpec, settings: EngineSettings, hashes: FileHashes) -> Target:
    from pytest_modelgate.engines.adapter_files import build_id, find_files

    build = build_id()
    try:
        found = find_files(spec.path, spec.base)
    except EngineStartError as error:
        raise SpecError(f"{spec.named}: {error}") from None
    base = None if found.adapter is None else found.model
    folders = [spec.path] if base is None else [spec.path, base]
    files = {
        f"{role}/{name}": value
        for role, folder in zip(("target", "base"), folders, strict=False)
        for name, value in hashes.folder(folder, _MODEL_FILES).items()
    }
    return Target(
        spec=spec,
        identity=_identity(spec, files, build, settings),
        sha256=digest(files),
        size_bytes=sum(path.stat().st_size for path in spec.path.iterdir() if path.is_file()),
        settings=settings,
        base=base,
        about={"engine": build},
    )


def _prepare_endpoint(spec: TargetSpec, settings: EngineSettings, hashes: FileHashes) -> Target:  # noqa: ARG001
    """Name a server; what it answers with nobody can tell from here, so nothing of it is reused."""
    from importlib.util import find_spec

    if find_spec("httpx") is None:
        raise MissingExtraError("an endpoint", "httpx", "endpoint")
    named = {"url": spec.url, "model": spec.served_name}
    return Target(spec, digest({"endpoint": named}), digest({"endpoint": named}), 0, settings)


def _prepare_replay(spec: TargetSpec, settings: EngineSettings, hashes: FileHashes) -> Target:
    from pytest_modelgate.engines.replay import ReplayEngine

    try:
        replay = ReplayEngine(spec.path, spec.recorded_as or "")
    except (SpecError, JournalError) as error:
        raise SpecError(f"{spec.named}: {error}") from None
    sha256 = hashes.sha256(spec.path)
    return Target(
        spec=spec,
        identity=digest({"replay": sha256, "target": spec.recorded_as}),
        sha256=sha256,
        size_bytes=spec.path.stat().st_size,
        settings=settings,
        replay=replay,
    )


def _prepare_python(spec: TargetSpec, settings: EngineSettings, hashes: FileHashes) -> Target:  # noqa: ARG001
    """Import a control's function; its identity is told apart by name only, and nothing of it is reused."""
    named = spec.function or ""
    function = load_object(named, CONTROLS, spec.path, f"{spec.named}")
    return Target(
        spec=spec,
        identity=digest({"python": named}),
        sha256=digest({"python": named}),
        size_bytes=0,
        settings=settings,
        function=function,
    )


def _identity(spec: TargetSpec, files: Json, build: str, settings: EngineSettings) -> str:
    """Hash what makes the target's answers what they are; threads, time limits and how many are decoded together do not change them."""
    shaping = {
        name: value for name, value in settings.to_json().items() if name not in {"n_threads", "timeout_s", "n_seq"}
    }
    made_by = {"decoding": DECODING_VERSION, "engine": build, "jinja2": metadata.version("jinja2")}
    return digest({"kind": spec.kind, "files": files, "made_by": made_by, "settings": shaping})

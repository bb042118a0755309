"""Find and check the files of an adapter or a Hugging Face model folder, without importing torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from pytest_modelgate.errors import EngineStartError, MissingExtraError
from pytest_modelgate.records import Json

__all__ = ["ModelFiles", "build_id", "find_files", "missing_extra", "read_template", "resolve_base"]

_PACKAGES = ("torch", "transformers", "tokenizers", "peft")
_PICKLED = (".bin", ".pt", ".pth")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """
    Say where the parts of a target lie.

    ``model``: the folder with the full weights, an adapter's base. ``adapter``: the adapter's folder, if it is one.
    ``tokenizer``: the folder whose tokenizer counts. ``adapter_config``: what ``adapter_config.json`` says.
    """

    model: Path
    adapter: Path | None
    tokenizer: Path
    adapter_config: Json = field(default_factory=dict)


def build_id() -> str:
    """Name the versions that run an adapter target, without importing them."""
    try:
        return ", ".join(f"{package} {metadata.version(package)}" for package in _PACKAGES)
    except metadata.PackageNotFoundError as error:
        raise missing_extra() from error


def missing_extra() -> MissingExtraError:
    """Return the error that says which extra an adapter target needs."""
    return MissingExtraError("an adapter target", "transformers/peft/torch", "hf")


def resolve_base(adapter_dir: Path, base: Path | None) -> Path | None:
    """
    Find the local folder of an adapter's base model; None if there is none.

    It is ``base`` where given, else the adapter's ``base_model_name_or_path``, relative to the adapter folder or
    else to the current directory.
    """
    with _one_line(adapter_dir):
        if base is not None:
            candidates = [base]
        else:
            name = _base_name(adapter_dir)
            candidates = [adapter_dir / name, Path.cwd() / name] if name else []
        return next((folder for folder in candidates if (folder / "config.json").is_file()), None)


def find_files(path: Path, base: Path | None) -> ModelFiles:
    """
    Find the files of the target at ``path`` and refuse what must not or cannot be loaded.

    Raises :class:`~pytest_modelgate.errors.EngineStartError` for a base that is not on this machine, pickled or
    quantised weights, a folder without weights, and files that are damaged or cannot be read.
    """
    with _one_line(path):
        return _find_files(path, base)


def _find_files(path: Path, base: Path | None) -> ModelFiles:
    """Do the work of :func:`find_files`; what the file system refuses is an OSError."""
    if not (path / "adapter_config.json").is_file():
        _check_model(path, remedy="give the model in 16 or 32 bit")
        return ModelFiles(model=path, adapter=None, tokenizer=path)
    config = _read_json(path / "adapter_config.json")
    model = resolve_base(path, base)
    if model is None:
        if base is not None:
            raise EngineStartError(f"{path}: base={base} is not a model folder (it holds no config.json)")
        raise EngineStartError(
            f"{path}: its base model {config.get('base_model_name_or_path')!r} is not a local model folder, "
            f"and nothing is downloaded: add ,base=DIR"
        )
    _check_weights(path, "adapter_model.safetensors")
    _check_model(model, remedy="give the base in 16 or 32 bit with ,base=DIR")
    has_tokenizer = any((path / name).is_file() for name in _TOKENIZER_FILES)
    return ModelFiles(model=model, adapter=path, tokenizer=path if has_tokenizer else model, adapter_config=config)


def read_template(folder: Path) -> str | None:
    """Return the chat template that lies in a folder, preferring ``chat_template.jinja`` as transformers does."""
    jinja = folder / "chat_template.jinja"
    if jinja.is_file():
        return jinja.read_text(encoding="utf-8")
    if not (folder / "tokenizer_config.json").is_file():
        return None
    template = _read_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    return template


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Say in one line what the file system refused."""
    try:
        yield
    except OSError as error:
        raise EngineStartError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error


def _base_name(adapter_dir: Path) -> str | None:
    """Return what the adapter calls its base."""
    path = adapter_dir / "adapter_config.json"
    name = _read_json(path).get("base_model_name_or_path")
    if not isinstance(name, str | None):
        raise EngineStartError(f"{path}: base_model_name_or_path must be text, got {name!r}")
    return name


def _check_model(folder: Path, remedy: str) -> None:
    """Refuse a model folder that cannot be the honest full-precision reference."""
    config = _read_json(folder / "config.json")
    if quantization := config.get("quantization_config"):
        is_object = isinstance(quantization, dict)
        method = quantization.get("quant_method", "unknown method") if is_object else repr(quantization)
        raise EngineStartError(f"{folder}: the weights are quantised ({method}): {remedy}")
    if (folder / "adapter_config.json").is_file():
        # transformers would apply this second adapter without a word.
        raise EngineStartError(f"{folder}: the base holds an adapter_config.json, so it is an adapter itself")
    _check_weights(folder, "*.safetensors")


def _check_weights(folder: Path, pattern: str) -> None:
    """Refuse a folder without safetensors weights."""
    if any(folder.glob(pattern)):
        return
    pickled = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLED)
    if pickled:
        raise EngineStartError(
            f"{folder}: only pickled weights ({pickled[0]}), which can run code when loaded: save them as safetensors"
        )
    raise EngineStartError(f"{folder}: no weights ({pattern})")


def _read_json(path: Path) -> Json:
    """Read a JSON object from one of the model's files."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineStartError(f"{path}: not readable: {error}") from error
    if not isinstance(data, dict):
        raise EngineStartError(f"{path}: not a JSON object")
    return data

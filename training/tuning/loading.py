"""Load models that lie on this machine: from safetensors alone, without code of their own, and never from the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ConfigError, StageError
from ..run_folder import RunFolder

_OWN_FILES = {"local_files_only": True, "trust_remote_code": False}
_PICKLED = {".bin", ".pt", ".pth"}


def load_model(folder: Path | str, **options: Any) -> Any:
    """Return the model in ``folder``; ``options`` are those of transformers."""
    from transformers import AutoModelForCausalLM

    require_safetensors(Path(folder))
    try:
        return AutoModelForCausalLM.from_pretrained(str(folder), use_safetensors=True, **_OWN_FILES, **options)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageError(f"{folder}: its model cannot be read: {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    """Return the beginning of an error's text."""
    return (str(error).strip() or type(error).__name__).split("\n", maxsplit=1)[0][:200]


def load_tokenizer(folder: Path | str, **options: Any) -> Any:
    """Return the tokenizer in ``folder``; ``options`` are those of transformers."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), **_OWN_FILES, **options)
    except Exception as error:
        # Which errors there are depends on the file: the libraries below have no common one.
        raise StageError(f"{folder}: its tokenizer cannot be read: {_first_line(error)}") from error


def count_weights(folder: Path | str) -> int:
    """Return how many weights the model in ``folder`` has, without loading them."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(str(folder), **_OWN_FILES)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return int(model.num_parameters())


def require_safetensors(folder: Path) -> None:
    """Raise if the folder's weights are pickled, which can run code when they are loaded, or not there."""
    files = sorted(folder.glob("*.safetensors"))
    for file in files:
        _require_whole(file)
    if files:
        return
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if pickled:
        raise StageError(
            f"{folder}: only pickled weights ({pickled[0]}), which can run code when loaded: save them as safetensors"
        )
    raise StageError(f"{folder}: no weights (*.safetensors)")


def _require_whole(file: Path) -> None:
    """Raise if a file of weights is shorter than its header says: it was cut off on the way."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="numpy") as weights:
            names = list(weights.keys())
    except (SafetensorError, OSError) as error:
        raise StageError(f"{file}: damaged weights: {_first_line(error)}") from error
    if not names:
        raise StageError(f"{file}: holds no weight")


def find_base(run: RunFolder) -> Path:
    """Return the folder of the base model, which is never downloaded here."""
    named = run.config.base.path
    if named is None:
        return run.base
    if run.local_base is not None:
        return run.local_base
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(named, revision=run.config.base.revision, local_files_only=True))
    except HFValidationError:
        raise ConfigError(f"base.path: {named!r} is neither a folder nor the name of a model") from None
    except LocalEntryNotFoundError:
        revision = f" --revision {run.config.base.revision}" if run.config.base.revision else ""
        raise ConfigError(
            f"base.path: {named!r} is neither a folder nor a downloaded model; fetch it once: hf download {named}{revision}"
        ) from None


def find_tokenizer(run: RunFolder) -> Any | None:
    """Return the base's tokenizer, or None while the base has still to be made from the rows."""
    if run.config.base.scratch is not None and not (run.base / "tokenizer.json").is_file():
        return None
    return load_tokenizer(find_base(run))

"""Load models that lie on this machine: from safetensors alone, without code of their own, and never from the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import StageError

_OWN_FILES = {"local_files_only": True, "trust_remote_code": False}
_PICKLED = {".bin", ".pt", ".pth"}


def load_model(folder: Path | str, **options: Any) -> Any:
    """Return the model in ``folder``; ``options`` are those of transformers."""
    from transformers import AutoModelForCausalLM

    require_safetensors(Path(folder))
    return AutoModelForCausalLM.from_pretrained(str(folder), use_safetensors=True, **_OWN_FILES, **options)


def load_tokenizer(folder: Path | str, **options: Any) -> Any:
    """Return the tokenizer in ``folder``; ``options`` are those of transformers."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), **_OWN_FILES, **options)


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
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if pickled:
        raise StageError(
            f"{folder}: only pickled weights ({pickled[0]}), which can run code when loaded: save them as safetensors"
        )
    raise StageError(f"{folder}: no weights (*.safetensors)")

"""
Look at files and headers, before anything is loaded.

Every check reads a GGUF's header, the JSON files of a folder, the training's manifest or a Modelfile; none runs a native
library or reads weights but to hash them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps

from pytest_modelgate.errors import SpecError
from pytest_modelgate.preflight.adapter_config import adapter_config
from pytest_modelgate.preflight.architecture import architecture, tied_embeddings
from pytest_modelgate.preflight.base_identity import base_identity
from pytest_modelgate.preflight.check import Check, Finding, Subject
from pytest_modelgate.preflight.generation_config import generation_config
from pytest_modelgate.preflight.manifest import manifest
from pytest_modelgate.preflight.modelfile import modelfile
from pytest_modelgate.preflight.quantization import file_name, quantization, requantized
from pytest_modelgate.preflight.template_files import template_files, tokenizer_files
from pytest_modelgate.preflight.whole_file import file_whole

__all__ = ["CHECKS"]

_ANY = ("gguf", "adapter", "merged")
_Function = Callable[[Subject], Finding | Iterable[Finding]]


def _guarded(function: _Function) -> _Function:
    """
    Return a check that refuses in one line what its files hold and no program of the field would write.

    Any value of a JSON file or a header may be of any kind; that a check stumbles over one is a failure of the file.
    """

    @wraps(function)
    def check(subject: Subject) -> list[Finding]:
        try:
            found = function(subject)
            return [found] if isinstance(found, Finding) else list(found)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            told = " ".join(str(error).split()) or type(error).__name__
            raise SpecError(f"a file holds a value of a kind that is not valid there ({told})") from error

    return check


CHECKS: tuple[Check, ...] = (
    Check("file_whole", "F25", "static", "the file ends where its header says that it does", _guarded(file_whole)),
    Check("file_name", "F25", "static", "the quantisation in the file's name is the one in its header", _guarded(file_name)),
    Check("quantization", "F21", "static", "the tensors are stored as the label's recipe stores them", _guarded(quantization)),
    Check("requantized", "F24", "static", "the file was not made from a quantised one", _guarded(requantized)),
    Check("architecture", "F15", "static", "sizes, positions and norms are those of config.json", _guarded(architecture)),
    Check("tied_embeddings", "F10", "static", "there is an output layer of its own where the model has one", _guarded(tied_embeddings),
          kinds=_ANY),
    Check("adapter_config", "F12", "static", "nothing that the adapter learned is lost on its way", _guarded(adapter_config),
          kinds=("gguf", "adapter")),
    Check("base_identity", "F14", "static", "the base is the one that the adapter was trained on", _guarded(base_identity),
          kinds=("gguf", "adapter")),
    Check("template_files", "F01", "static", "there is one chat template, and all programs take it", _guarded(template_files),
          kinds=_ANY),
    Check("tokenizer_files", "F09", "static", "the tokenizer is there whole", _guarded(tokenizer_files), kinds=_ANY),
    Check("generation_config", "F17", "static", "answers end, and are chosen, as the model's settings say",
          _guarded(generation_config), kinds=_ANY),
    Check("modelfile", "F18", "static", "the Modelfile serves the file as it was gated", _guarded(modelfile), needs=("modelfile",)),
    Check("manifest", "F25", "static", "the files are those that the training wrote down", _guarded(manifest), needs=("manifest",),
          kinds=_ANY),
)  # fmt: skip
"""The checks of this stage, in the order in which they run."""

"""
Look at files and headers, before anything is loaded.

Every check reads a GGUF's header, the JSON files of a folder, the training's manifest or a Modelfile; none runs a native
library or reads weights but to hash them.
"""

from __future__ import annotations

from pytest_modelgate.preflight.adapter_config import adapter_config
from pytest_modelgate.preflight.architecture import architecture, tied_embeddings
from pytest_modelgate.preflight.base_identity import base_identity
from pytest_modelgate.preflight.check import Check
from pytest_modelgate.preflight.generation_config import generation_config
from pytest_modelgate.preflight.manifest import manifest
from pytest_modelgate.preflight.modelfile import modelfile
from pytest_modelgate.preflight.quantization import file_name, quantization, requantized
from pytest_modelgate.preflight.template_files import template_files, tokenizer_files
from pytest_modelgate.preflight.whole_file import file_whole

__all__ = ["CHECKS"]

_ANY = ("gguf", "adapter", "merged")

CHECKS: tuple[Check, ...] = (
    Check("file_whole", "F25", "static", "the file ends where its header says that it does", file_whole),
    Check("file_name", "F25", "static", "the quantisation in the file's name is the one in its header", file_name),
    Check("quantization", "F21", "static", "the tensors are stored as the label's recipe stores them", quantization),
    Check("requantized", "F24", "static", "the file was not made from a quantised one", requantized),
    Check("architecture", "F15", "static", "sizes, positions and norms are those of config.json", architecture),
    Check("tied_embeddings", "F10", "static", "there is an output layer of its own where the model has one", tied_embeddings,
          kinds=_ANY),
    Check("adapter_config", "F12", "static", "nothing that the adapter learned is lost on its way", adapter_config,
          kinds=("gguf", "adapter")),
    Check("base_identity", "F14", "static", "the base is the one that the adapter was trained on", base_identity,
          kinds=("gguf", "adapter")),
    Check("template_files", "F01", "static", "there is one chat template, and all programs take it", template_files,
          kinds=_ANY),
    Check("tokenizer_files", "F09", "static", "the tokenizer is there whole", tokenizer_files, kinds=_ANY),
    Check("generation_config", "F17", "static", "answers end, and are chosen, as the model's settings say",
          generation_config, kinds=_ANY),
    Check("modelfile", "F18", "static", "the Modelfile serves the file as it was gated", modelfile, needs=("modelfile",)),
    Check("manifest", "F25", "static", "the files are those that the training wrote down", manifest, needs=("manifest",),
          kinds=_ANY),
)  # fmt: skip
"""The checks of this stage, in the order in which they run."""

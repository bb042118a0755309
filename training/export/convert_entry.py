"""
Run one of llama.cpp's converters: ``convert_entry.py CONVERTER_FOLDER SCRIPT [--own-tokenizer] ARGUMENTS``.

The converter recognises a tokenizer's way of splitting text by a fingerprint of published models. A tokenizer that was
trained here is unknown to it; that it splits as Qwen2 does is known by construction, and answered for it alone. For any
other model an unknown fingerprint stays an error: a wrong answer would degrade the model silently.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
from typing import Any, NoReturn


def main() -> None:
    """Hand the arguments over to the converter."""
    folder, script, *arguments = sys.argv[1:]
    sys.path[0] = folder
    from conversion.base import TextModel  # type: ignore[import-not-found] # lies in the fetched folder

    if arguments[:1] == ["--own-tokenizer"]:
        arguments = arguments[1:]
        TextModel.get_vocab_base_pre = lambda _self, _tokenizer: "qwen2"
    if importlib.util.find_spec("sentencepiece") is None:
        TextModel._create_vocab_sentencepiece = _without_sentencepiece  # noqa: SLF001 (its only seam)
    sys.argv = [f"{folder}/{script}", *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _without_sentencepiece(model: Any) -> NoReturn:
    """Say that there is no such vocabulary: the converter imports sentencepiece even to find that out."""
    if (model.dir_model / "tokenizer.model").is_file():
        raise SystemExit("this model's tokenizer needs sentencepiece: pip install sentencepiece")
    raise FileNotFoundError(model.dir_model / "tokenizer.model")


if __name__ == "__main__":
    main()

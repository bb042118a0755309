"""
Say in JSON what llama.cpp makes of a GGUF's vocabulary: ``vocabulary_entry.py FILE``.

A program of its own, because what goes wrong in llama.cpp can end the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys


def main() -> None:
    """Print the texts of the tokens that end a turn, and what llama.cpp puts before a text by itself."""
    import llama_cpp

    callback = llama_cpp.llama_log_callback(_only_errors)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(os.fsencode(sys.argv[1]), params)
    if not model:
        raise SystemExit("llama.cpp could not load the vocabulary")
    vocabulary = llama_cpp.llama_model_get_vocab(model)

    def text(token: int) -> str:
        return str(llama_cpp.llama_vocab_get_text(vocabulary, token).decode("utf-8", "replace"))

    first = llama_cpp.llama_vocab_bos(vocabulary)
    count = llama_cpp.llama_vocab_n_tokens(vocabulary)
    found = {
        "ends": [text(token) for token in range(count) if llama_cpp.llama_vocab_is_eog(vocabulary, token)],
        "adds_bos": bool(llama_cpp.llama_vocab_get_add_bos(vocabulary)),
        "bos": text(first) if first >= 0 else None,
    }
    print(json.dumps(found))


def _only_errors(level: int, text: bytes, _: object) -> None:
    """Pass on what llama.cpp calls an error."""
    if level == 4:  # noqa: PLR2004  (GGML_LOG_LEVEL_ERROR)
        sys.stderr.write(text.decode("utf-8", "replace"))


if __name__ == "__main__":
    main()

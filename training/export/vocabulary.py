"""Ask llama.cpp which tokens of a GGUF end a turn, and whether it puts a BOS before a text by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from pytest_modelgate.modelfile.vocabulary import Vocabulary

from ..errors import StageError


def read_vocabulary(path: Path) -> Vocabulary:
    """Return what llama.cpp makes of the vocabulary of a GGUF; raise StageError where it does not load it."""
    # -P: the folder of this file is not searched, where gguf.py is a module of ours.
    command = [sys.executable, "-P", str(Path(__file__).with_name("vocabulary_entry.py")), str(path)]
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise StageError(f"{path}: {'; '.join(lines[-2:]) or f'llama.cpp ended with code {done.returncode}'}")
    found = json.loads(done.stdout)
    return Vocabulary(tuple(found["ends"]), found["adds_bos"], found["bos"])

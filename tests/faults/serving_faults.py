"""Serve a good file by a Modelfile that says otherwise than the file was judged."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.faults.candidate import BrokenCandidate, GoodCandidate


def modelfile_other_stop(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Name the stop token of another family."""
    return _served(good, folder, lambda old: re.sub(r'(PARAMETER stop) ".*"\n', "", old) + 'PARAMETER stop "</s>"\n')


def modelfile_bare_template(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Give the prompt as it is, without turns: what Ollama does where it is told nothing."""
    return _served(
        good, folder, lambda old: re.sub(r'TEMPLATE """.*?"""', 'TEMPLATE "{{ .Prompt }}"', old, flags=re.DOTALL)
    )


def modelfile_short_context(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Give less room than a prompt with its answer takes."""
    return _served(good, folder, lambda old: re.sub(r"num_ctx \d+", "num_ctx 96", old))


def modelfile_samples(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Draw answers at random that were judged greedy."""
    return _served(good, folder, lambda old: re.sub("temperature .*", "temperature 0.8", old), "F17")


def modelfile_other_file(good: GoodCandidate, folder: Path) -> BrokenCandidate:
    """Serve another file than the one that is gated."""
    shutil.copy(good.q4_k_m, folder)
    return _served(
        good, folder, lambda old: old.replace(f"FROM ./{good.q8_0.name}", f"FROM ./{good.q4_k_m.name}"), "F25"
    )


def _served(good: GoodCandidate, folder: Path, change: Callable[[str], str], *modes: str) -> BrokenCandidate:
    """Return the good file with a changed Modelfile."""
    gguf = Path(shutil.copy(good.q8_0, folder))
    return good.broken(gguf, "F18", *modes, modelfile=good.modelfile(folder, changed=change))

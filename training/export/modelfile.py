"""
Write an Ollama Modelfile that serves a GGUF as the gate judged it.

Ollama does not run the chat template that a GGUF carries. Without a TEMPLATE of the same meaning, stop tokens, a context as
long and greedy decoding, a model answers there otherwise than where it was judged. What cannot be said with certainty is
not written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from pytest_modelgate.identity import hash_file
from pytest_modelgate.modelfile.chat_families import SYSTEM_BLANKS, SYSTEM_GIVEN, Form, translate

from .gguf import read_facts
from .vocabulary import read_vocabulary

_QUOTES = '"""'


class Generation(Protocol):
    """Say how the gate lets a model write: gates.toml's [generation]."""

    @property
    def temperature(self) -> float:
        """Return 0 for greedy decoding."""

    @property
    def repeat_penalty(self) -> float:
        """Return 1 for none."""

    @property
    def max_tokens(self) -> int:
        """Return the longest answer in tokens."""

    @property
    def n_ctx(self) -> int:
        """Return the context in tokens."""


def write_modelfile(
    gguf: Path, target: Path, generation: Generation, system: str | None, remarks: Sequence[str] = ()
) -> dict[str, Any]:
    """
    Write a Modelfile for ``gguf``, which lies beside ``target``, or none where a translation is not certain.

    ``system``: the system text that is always to be given, None where a caller sends it. ``remarks``: what a caller must know
    besides. Returns the facts: ``written``; if not, ``reason``; else the family, the verified conversations, the stop
    tokens, and notes: the remarks, and what the translation asks of a caller.
    A Modelfile of an earlier run is taken away first.
    """
    target.unlink(missing_ok=True)
    facts, vocabulary = read_facts(gguf), read_vocabulary(gguf)
    if not facts.chat_template:
        return {"written": False, "reason": "the GGUF holds no chat template"}
    form = translate(facts.chat_template, facts.bos_token, facts.eos_token, vocabulary)
    if isinstance(form, str):
        return {"written": False, "reason": form}
    if form.end not in vocabulary.ends:
        return {"written": False, "reason": f"llama.cpp does not stop at {form.end}, which ends a turn"}
    if problem := _unwritable(form.template, vocabulary.ends):
        return {"written": False, "reason": problem}
    if system is not None and SYSTEM_GIVEN in form.refused:
        return {"written": False, "reason": "its chat template refuses a system text, and the task has one"}
    notes = list(remarks)
    if form.trims:
        notes.append("The GGUF's own template takes white space off the ends of messages; send them without.")
    if system is not None and SYSTEM_BLANKS not in form.verified:
        system = system.strip()
    if system is not None and (_QUOTES in system or system.endswith('"')):
        notes.append("The system text cannot be quoted in a Modelfile; send it with each request.")
        system = None
    digest = hash_file(gguf)
    text = modelfile_text(gguf.name, digest, form, vocabulary.ends, generation, system, notes)
    partial = target.with_name(f".partial-{target.name}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(target)
    return {
        "written": True,
        "from": gguf.name,
        "from_sha256": digest,
        "family": form.family,
        "verified": list(form.verified),
        "refused_by_its_template": list(form.refused),
        "stop": list(vocabulary.ends),
        "system": system is not None,
        "notes": notes,
    }


def modelfile_text(
    name: str,
    sha256: str,
    form: Form,
    stops: tuple[str, ...],
    generation: Generation,
    system: str | None,
    notes: list[str],
) -> str:
    """Return the text of a Modelfile for the GGUF called ``name`` beside it."""
    comments = [
        f"{name}, sha256 {sha256}, as it was gated: greedy, with its own chat template ({form.family}).",
        f"The TEMPLATE wrote {len(form.verified)} test conversations letter by letter as the GGUF's own does.",
        *notes,
    ]
    settings = {
        "temperature": f"{generation.temperature:g}",
        "top_p": "1",
        "repeat_penalty": f"{generation.repeat_penalty:g}",
        "num_ctx": str(generation.n_ctx),
        "num_predict": str(generation.max_tokens),
    }
    lines = [
        *(f"# {comment}" for comment in comments),
        f"FROM ./{name}",
        f"TEMPLATE {_QUOTES}{form.template}{_QUOTES}",
        *([f"SYSTEM {_QUOTES}{system}{_QUOTES}"] if system is not None else []),
        *(f'PARAMETER stop "{stop}"' for stop in stops),
        *(f"PARAMETER {key} {value}" for key, value in settings.items()),
    ]
    return "\n".join(lines) + "\n"


def _unwritable(template: str, stops: tuple[str, ...]) -> str | None:
    """Say what cannot be quoted in a Modelfile."""
    if _QUOTES in template:
        return 'its chat template holds """'
    if odd := [stop for stop in stops if not stop or '"' in stop or not stop.isprintable() or stop != stop.strip()]:
        return f"the token {odd[0]!r}, which ends a turn, cannot be quoted in a Modelfile"
    return None

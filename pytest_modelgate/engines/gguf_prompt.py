"""Make the prompt of a GGUF, in one place for the engine that answers it and the probe that looks at it."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_modelgate.engines.template import render
from pytest_modelgate.errors import EngineError
from pytest_modelgate.gguf_file import GgufFacts
from pytest_modelgate.records import Message

__all__ = ["encoded_text", "rendered"]


def rendered(facts: GgufFacts, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
    """
    Return messages as the file's own chat template writes them.

    Raises :class:`~pytest_modelgate.errors.EngineError` where there is no template, or it refuses them.
    """
    if not facts.chat_template:
        raise EngineError("the file holds no chat template (tokenizer.chat_template)")
    return render(
        facts.chat_template,
        messages,
        bos_token=facts.bos_token,
        eos_token=facts.eos_token,
        add_generation_prompt=add_generation_prompt,
    )


def encoded_text(text: str) -> bytes:
    """Return the UTF-8 that llama.cpp takes for ``text``; raise EngineError where it is no valid Unicode."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise EngineError(f"the prompt holds the lone surrogate U+{code:04X}, which is no valid text") from None

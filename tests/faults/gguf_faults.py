"""Break a good GGUF in the ways that exports break; each function writes a new file and returns its path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

TOKENS = "tokenizer.ggml.tokens"
EOS = "tokenizer.ggml.eos_token_id"
TEMPLATE = "tokenizer.chat_template"
OTHER_TEMPLATE = (
    "{% for message in messages %}### {{ message.role | upper }}\n{{ message.content }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### RESPONSE\n{% endif %}"
)


def rewrite(source: Path, target: Path, changed: dict[str, Any], removed: Sequence[str] = ()) -> Path:
    """Copy ``source`` with other metadata values; types stay as they were."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    details = {}
    for key, value in changed.items():
        types = reader.fields[key].types
        details[key] = MetadataDetails(types[0], value, sub_type=types[-1] if len(types) > 1 else None)
    copy_with_new_metadata(reader, writer, details, list(removed))
    return target


def never_stops(source: Path, target: Path) -> Path:
    """
    Rename the end-of-turn token and change the EOS id.

    llama.cpp stops at ``<|im_end|>`` and its like by their text, so that changing the id alone changes nothing.
    """
    fields = gguf.GGUFReader(source).fields
    tokens = list(fields[TOKENS].contents())
    end = fields[EOS].contents()
    tokens[end] = "<|turn_was_here|>"
    other = next(index for index, token in enumerate(tokens) if token == "A")
    return rewrite(source, target, {TOKENS: tokens, EOS: other})


def other_template(source: Path, target: Path) -> Path:
    """Put another chat template into the file."""
    return rewrite(source, target, {TEMPLATE: OTHER_TEMPLATE})


def no_template(source: Path, target: Path) -> Path:
    """Leave the chat template out."""
    return rewrite(source, target, {}, [TEMPLATE])


def truncated(source: Path, target: Path) -> Path:
    """Cut the last third of the file off."""
    content = source.read_bytes()
    target.write_bytes(content[: len(content) * 2 // 3])
    return target


def vocabulary_only(source: Path, target: Path) -> Path:
    """Keep the metadata and no tensor."""
    reader = gguf.GGUFReader(source)
    reader.tensors.clear()
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    copy_with_new_metadata(reader, writer, {}, [])
    return target

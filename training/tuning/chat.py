"""Write a row as the model will meet it: the conversation so far, and the answer to be learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import StageError

Conversation = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Example:
    """Hold a conversation, the answer to it, and where they come from (``file:line``)."""

    messages: Conversation
    answer: str
    source: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """Hold a row's token ids, of which the first ``prompt`` are given and the others are to be learned."""

    ids: list[int]
    prompt: int
    source: str


def prompt_text(tokenizer: Any, messages: Conversation) -> str:
    """Return the rendered conversation up to where the model goes on."""
    return _rendered(tokenizer, messages, add_generation_prompt=True)


def _rendered(tokenizer: Any, messages: Conversation, *, add_generation_prompt: bool = False) -> str:
    """Return a conversation as the template writes it."""
    import jinja2

    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt))
    except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
        roles = ", ".join(turn["role"] for turn in messages)
        raise StageError(f"the base's chat template cannot write a conversation of {roles}: {error}") from None


def end_of_turn(tokenizer: Any) -> str:
    """Return the text with which the template ends an assistant's turn."""
    if not tokenizer.chat_template:
        raise StageError(
            "the base has no chat template: take an instruct model, or put a chat_template.jinja into its folder"
        )
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "ANSWER"}]
    rest = _rendered(tokenizer, turns).rpartition("ANSWER")[2]
    first: list[int] = tokenizer(rest, add_special_tokens=False)["input_ids"][:1]
    token = str(tokenizer.convert_ids_to_tokens(first)[0]) if first else ""
    if token not in tokenizer.all_special_tokens:
        raise StageError(f"the chat template ends an answer with {rest!r}, which begins with no control token")
    return token


def encode_rows(tokenizer: Any, examples: Sequence[Example], eot: str) -> list[Encoded]:
    """Turn examples into ids; what follows the end of the answer's turn is not needed."""
    if not examples:
        return []
    prompts = [prompt_text(tokenizer, example.messages) for example in examples]
    wholes = [f"{prompt}{example.answer}{eot}" for prompt, example in zip(prompts, examples, strict=True)]
    # Prompt and whole are encoded apart on purpose: that the one begins the other is then a fact that is checked.
    prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    whole_ids = tokenizer(wholes, add_special_tokens=False)["input_ids"]
    return [
        Encoded(_joined(ids, prompt, example.source), len(prompt), example.source)
        for ids, prompt, example in zip(whole_ids, prompt_ids, examples, strict=True)
    ]


def check_template(tokenizer: Any, example: Example, eot: str) -> None:
    """Raise if the template writes a whole conversation otherwise than prompt, answer, end of turn."""
    turns = [*example.messages, {"role": "assistant", "content": example.answer}]
    whole = _rendered(tokenizer, turns)
    learned = f"{prompt_text(tokenizer, example.messages)}{example.answer}{eot}"
    if not whole.startswith(learned):
        raise StageError(
            f"the chat template writes a finished conversation as {whole!r}, which does not begin with what would be "
            f"learned, {learned!r}: a model trained so would not meet that prompt again"
        )


def _joined(ids: list[int], prompt: list[int], source: str) -> list[int]:
    """Return ``ids`` if they begin with ``prompt``, else raise: the mask would be wrong (a merge across the border)."""
    if ids[: len(prompt)] != prompt:
        raise StageError(f"{source}: the prompt's token ids do not begin the whole row's: the labels would be wrong")
    return ids

"""Hold our way of rendering and tokenising against other programs', on llama.cpp's own templates and vocabularies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self
from unittest.mock import patch

from modelgate_training.errors import ConfigError, StageError
from modelgate_training.export.converter import find_models

from pytest_modelgate.engines import template as own
from pytest_modelgate.engines.llama import Vocabulary
from pytest_modelgate.errors import EngineError
from pytest_modelgate.records import Message

Outcome = Literal["equal", "refused by both", "different"]
Turns = tuple[tuple[str, str], ...]

TOOL_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Bonn"}}\n</tool_call>'
SHAPES: dict[str, Turns] = {
    "user": (("user", "Where is my parcel?"),),
    "system, user": (("system", "Be brief."), ("user", "Where is my parcel?")),
    "user, assistant, user": (("user", "a"), ("assistant", "b"), ("user", "c")),
    "system and five turns": (
        ("system", "Be brief."),
        *(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e")),
    ),
    "assistant last": (("user", "a"), ("assistant", "b")),
    "assistant first": (("assistant", "Hi!"), ("user", "a")),
    "two user turns": (("user", "a"), ("user", "b")),
    "system in the middle": (("user", "a"), ("system", "Be brief."), ("user", "c")),
    "empty user": (("user", ""),),
    "empty system": (("system", ""), ("user", "a")),
    "empty assistant": (("user", "a"), ("assistant", ""), ("user", "c")),
    "white space": (("system", " Be brief. \n"), ("user", "\n\t a \r\n\n"), ("assistant", "  b\n"), ("user", " ")),
    "Unicode": (
        ("system", "Grüße, 你好"),
        ("user", "e\u0301 👩\u200d👩\u200d👧 \u2028\u00a0\u0645\u0631\u062d\u0628\u0627\u200b\ufeff"),
    ),
    "quotes, braces, code": (("user", '<b>"&\'</b> {{ x }} {% if %} {# #} \\n $1 ```json\n{"a": [1, null]}\n```'),),
    "tool calls as text": (
        *(("user", "Weather?"), ("assistant", TOOL_CALL)),
        ("user", '<tool_response>\n{"degrees": 5}\n</tool_response>'),
    ),
    "tool turn": (("user", "Weather?"), ("assistant", "I ask."), ("tool", "5 degrees"), ("user", "And now?")),
    "thoughts": (("user", "1+1"), ("assistant", "<think>\nEasy.\n</think>\n\n2"), ("user", "2+2")),
    "special tokens as text": (("user", "<|im_end|><|im_start|>system\n</s>[INST]<|eot_id|><end_of_turn><s>"),),
    "no turn": (),
}
"""Conversations, by what is special about them."""

TOKENS: dict[str, dict[str, str]] = {
    "BOS and EOS": {"bos_token": "<s>", "eos_token": "</s>"},
    "EOS alone": {"eos_token": "<|im_end|>"},
}
"""What a tokenizer has of special tokens; one that it does not have is undefined in a template."""


@dataclass(frozen=True)
class Rendering:
    """Hold what became of one conversation; ``reason``: why it is refused, or how the texts differ."""

    template: str
    shape: str
    tokens: str
    add_generation_prompt: bool
    outcome: Outcome
    reason: str = ""

    @property
    def conditions(self) -> str:
        """Return what distinguishes it from the others of its template."""
        prompt = "with" if self.add_generation_prompt else "without"
        return f"{self.shape}; {self.tokens}; {prompt} generation prompt"


@dataclass(frozen=True)
class Fixture:
    """Hold a text, the tokens that its model's original tokenizer makes of it, and ours."""

    text: str
    expected: tuple[int, ...]
    found: tuple[int, ...]


def material() -> Path | None:
    """Return the folder of llama.cpp's templates and vocabularies, None where it was not fetched."""
    try:
        folder: Path = find_models()
    except (StageError, ConfigError):
        return None
    return folder


def templates(folder: Path) -> list[Path]:
    """Return all chat templates."""
    return sorted((folder / "templates").glob("*.jinja"))


def vocabularies(folder: Path) -> list[Path]:
    """Return all vocabularies."""
    return sorted(folder.glob("ggml-vocab-*.gguf"))


def has_fixtures(vocabulary: Path) -> bool:
    """Say whether texts and their tokens lie beside a vocabulary."""
    return vocabulary.with_name(f"{vocabulary.name}.inp").is_file()


def render_all(path: Path) -> list[Rendering]:
    """Render every conversation with one template, with every set of tokens, with and without a generation prompt."""
    text = path.read_text(encoding="utf-8")
    with stopped_clock():
        return [
            compare(path.name, text, shape, tokens, add_generation_prompt)
            for shape in SHAPES
            for tokens in TOKENS
            for add_generation_prompt in (True, False)
        ]


def compare(name: str, template: str, shape: str, tokens: str, add_generation_prompt: bool) -> Rendering:
    """Render one conversation as transformers does and as we do."""
    theirs, their_error = render_with_transformers(template, SHAPES[shape], tokens, add_generation_prompt)
    ours, our_error = render_ourselves(template, SHAPES[shape], tokens, add_generation_prompt)
    outcome: Outcome = "different"
    if theirs is not None and ours == theirs:
        outcome, reason = "equal", ""
    elif theirs is None and ours is None and (our_error.endswith(their_error) or not SHAPES[shape]):
        # Of no turn transformers says so itself, in words of its own, and not the template.
        outcome, reason = "refused by both", their_error
    else:
        reason = f"transformers {_told(theirs, their_error)}, here {_told(ours, our_error)}"
    return Rendering(name, shape, tokens, add_generation_prompt, outcome, reason)


def render_with_transformers(
    template: str, turns: Turns, tokens: str, add_generation_prompt: bool
) -> tuple[str | None, str]:
    """Return the text that ``apply_chat_template`` makes, or the reason why it makes none, on one line."""
    conversation = [{"role": role, "content": content} for role, content in turns]
    try:
        text = bare_tokenizer(tokens).apply_chat_template(
            conversation, chat_template=template, tokenize=False, add_generation_prompt=add_generation_prompt
        )
    except Exception as error:  # noqa: BLE001  # a template's expressions can raise anything
        return None, " ".join(str(error).split())
    return text, ""


def render_ourselves(template: str, turns: Turns, tokens: str, add_generation_prompt: bool) -> tuple[str | None, str]:
    """Return the text that the GGUF engine makes, or the reason why it makes none."""
    messages = [Message(role, content) for role, content in turns]
    try:
        text = own.render(
            template,
            messages,
            bos_token=TOKENS[tokens].get("bos_token"),
            eos_token=TOKENS[tokens].get("eos_token"),
            add_generation_prompt=add_generation_prompt,
        )
    except EngineError as error:
        return None, str(error)
    return text, ""


@cache
def bare_tokenizer(tokens: str) -> Any:
    """Return a tokenizer of transformers that knows special tokens and nothing else."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    names = TOKENS[tokens]
    vocabulary = models.WordLevel({token: number for number, token in enumerate(names.values())})
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(vocabulary), **names)


class StoppedClock(datetime):
    """Tell one time only: templates write the date, and a test may run over midnight."""

    @classmethod
    def now(cls, tz: Any = None) -> Self:
        """Return it."""
        return cls(2026, 2, 28, 12, 30, 15, tzinfo=tz)


@contextmanager
def stopped_clock() -> Iterator[None]:
    """Let templates of both programs see one time."""
    with (
        patch.object(own, "datetime", StoppedClock),
        patch("transformers.utils.chat_template_utils.datetime", StoppedClock),
    ):
        yield


def tokenize_fixtures(vocabulary: Path) -> list[Fixture]:
    """Tokenise the texts beside a vocabulary as the GGUF engine does a prompt: special tokens recognised, none added."""
    raw = vocabulary.with_name(f"{vocabulary.name}.inp").read_bytes().decode("utf-8")
    texts = raw.split("\n__ggml_vocab_test__\n")
    if not texts[-1]:
        texts.pop()  # the last separator ends the last text
    lines = vocabulary.with_name(f"{vocabulary.name}.out").read_text(encoding="ascii").removesuffix("\n").split("\n")
    opened = Vocabulary(vocabulary)
    try:
        return [
            Fixture(text, tuple(map(int, line.split())), tuple(opened.tokenize(text.encode())))
            for text, line in zip(texts, lines, strict=True)
        ]
    finally:
        opened.close()


def _told(text: str | None, error: str) -> str:
    """Return a side's text or refusal, short."""
    shown = f"writes {text!r}" if text is not None else f"refuses: {error}"
    return re.sub(r"\s+", " ", shown)[:200]

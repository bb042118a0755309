"""Hold the conversations and texts on which templates and tokenizers are compared, whatever the cases are."""

from __future__ import annotations

from pytest_modelgate.records import Message

SENTINEL = "modelgate-7f3a-system"
"""A system text that no template, tokenizer or training knows."""


def _user(content: str) -> tuple[Message, ...]:
    return (Message("user", content),)


SHAPES: dict[str, tuple[Message, ...]] = {
    "user": _user("Where is my parcel?"),
    "system and user": (Message("system", "Answer in one word."), Message("user", "Where is my parcel?")),
    "several turns": (
        Message("user", "Where is my parcel?"),
        Message("assistant", "On its way."),
        Message("user", "Since when?"),
    ),
    "system and several turns": (
        Message("system", "Answer in one word."),
        Message("user", "Where is my parcel?"),
        Message("assistant", "Coming."),
        Message("user", "Since when?"),
    ),
    "empty system": (Message("system", ""), Message("user", "Hello")),
    "empty user": _user(""),
    "space around": _user("  two before, two after  "),
    "line ends": _user("\n\nfirst line\r\nsecond line\n\n"),
    "other scripts": _user("Grüße, 你好, مرحبا, สวัสดี, नमस्ते, 👩‍👩‍👧‍👦"),
    "braces": _user('{{ user }} {% if x %} <b>bold</b> & \'quotes\' "too" \\ {"a": [1, 2]}'),
}
"""Conversations by what they try."""

CORPUS: tuple[str, ...] = (
    "",
    *("1234567890"[:length] for length in range(1, 11)),
    *(" " * length + "x" for length in range(1, 65)),
    " " * 64,
    "\t", "\t\tx", "a\tb", "\n", "\n\n\n", "\r\n", "a\r\nb", " \n \n ",
    "don't I'll we've THEY'RE it's",
    "Hello, world! How are you?",
    "price: 1,234.56 EUR (20 % off) -- ends 2026-11-27T17:13:44Z",
    "https://example.org/a/b?c=d&e=%20f#g user.name+tag@example.org",
    "def f(x):\n    return x ** 2  # square\n",
    '{"intent": "refund", "urgency": null, "n": -1.5e3}',
    "snake_case camelCase SCREAMING_CASE kebab-case",
    "Grüße aus Zürich, naïve façade, Łódź, İstanbul",
    "你好，世界。日本語のテキスト 한국어 텍스트",  # noqa: RUF001
    "مرحبا بالعالم", "สวัสดีชาวโลก", "नमस्ते दुनिया", "שלום עולם",
    "👍🏽 👩‍👩‍👧‍👦 🇩🇪 ✈️",
    "e\u0301 a\u0308 n\u0303",
    "\u200b\u200d\ufeff\u00a0\u2028",
    "\x01\x02\x7f",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "!!!???...---___***",
    "I'M SHOUTING NOW",
)  # fmt: skip
"""Texts that tokenizers are known to differ on."""

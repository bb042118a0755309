"""Render Markdown as GitHub does, as far as that can be done here, and look for anything that is not plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

OURS = re.compile(r"<details><summary>[^<>]*</summary>\n?|</details>\n?")
"""The only HTML that summary.md holds."""

FORBIDDEN = {"link_open", "image", "html_inline", "fence", "code_block", "blockquote_open", "em_open", "s_open"}
# GitHub looks for these in the text after Markdown, but not in code.
LIVE = re.compile(r"://|www\.|mailto:|@\w|#\d|:[\w+-]+:|\$", re.IGNORECASE)


def parse(text: str) -> list[tuple[str, str]]:
    """Return type and content of every token, inline ones included; skip the test where no parser is installed."""
    module = pytest.importorskip("markdown_it")
    parser = module.MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

    def walk(tokens: list[object]) -> Iterator[tuple[str, str]]:
        for token in tokens:
            kind, content, children = (getattr(token, name) for name in ("type", "content", "children"))
            if children is None:
                yield kind, content
            else:
                yield from walk(children)

    return list(walk(parser.parse(text)))


def assert_inert(text: str) -> None:
    """Fail if ``text`` renders to anything but headings, lists, tables, folds, bold words, text and code."""
    for kind, content in parse(text):
        assert kind not in FORBIDDEN, (kind, content)
        if kind == "html_block":
            assert OURS.fullmatch(content), content
        if kind == "text":
            assert not LIVE.search(content), content


def shown(text: str) -> str:
    """Return what a reader sees of Markdown that is one paragraph, item or cell."""
    return "".join(content for kind, content in parse(text) if kind in {"text", "code_inline"})

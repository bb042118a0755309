"""
Measure parity on real material and write docs/parity.md.

    modelgate-train fetch-converter --models     # once; hash-checked
    python -m tests.parity.write_report
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from tests.parity.material import (
    SHAPES,
    TOKENS,
    Rendering,
    has_fixtures,
    material,
    render_all,
    templates,
    tokenize_fixtures,
    vocabularies,
)

PATH = Path(__file__).parents[2] / "docs" / "parity.md"
OUTCOMES = ("equal", "refused by both", "different")
LIBRARIES = ("llama-cpp-python", "transformers", "tokenizers", "jinja2")

_ABOUT = """\
A GGUF is judged with prompts that this package renders and tokenises. Whether it does so as the programs do that models
are trained with is measured on llama.cpp's own collection of chat templates and vocabularies, which lies in the source
archive of llama-cpp-python. This page is written by

```console
$ modelgate-train fetch-converter --models     # once; 75 MB, hash-checked
$ python -m tests.parity.write_report
```

and `make full` holds it against what is measured."""

# What a template's own words leave unsaid.
_MEANING = {
    "'NoneType' object is not iterable": "a list of tools: the template is the one for calls of tools only",
    "'functions' is undefined": "a list of functions: the template is for calls of functions only",
    "'dict object' has no attribute 'tool_call_id'": "a tool turn with the id of its call",
}


def report(folder: Path) -> str:
    """Return docs/parity.md as measured with the material in ``folder``."""
    renderings = [one for path in templates(folder) for one in render_all(path)]
    parts = [
        "# Token and template parity on real material",
        _ABOUT,
        f"Measured with {', '.join(f'{name} {version(name)}' for name in LIBRARIES)}.",
        *_templates(renderings),
        *_vocabularies(folder),
    ]
    return "\n\n".join(parts) + "\n"


def _templates(renderings: Sequence[Rendering]) -> Iterator[str]:
    """Yield what is said of chat templates."""
    total = Counter(one.outcome for one in renderings)
    n_templates = len({one.template for one in renderings})
    yield "## Chat templates"
    yield (
        f"{n_templates} templates, {len(SHAPES)} conversations, {len(TOKENS)} sets of special tokens, with and without a "
        f"generation prompt: {len(renderings)} renderings by this package and as many by transformers' "
        f"`apply_chat_template`. **{total['equal']} are equal, {total['refused by both']} refused by both for the same "
        f"reason, {total['different']} different.**"
    )
    shapes: dict[str, Counter[str]] = defaultdict(Counter)
    for one in renderings:
        shapes[one.shape][one.outcome] += 1
    yield _table(
        ("conversation", *OUTCOMES),
        ((shape, *(str(counts[outcome]) for outcome in OUTCOMES)) for shape, counts in shapes.items()),
    )
    yield (
        "Refused by both, by what the template (or transformers, of a conversation without a turn) says. The material is "
        "text alone: no list of tools and no ids of calls are given."
    )
    refused = [one for one in renderings if one.outcome == "refused by both"]
    reasons = Counter(one.reason for one in refused)
    named = {reason: sorted({one.template for one in refused if one.reason == reason}) for reason in reasons}
    yield _table(
        ("reason", "what is missing", "renderings", "templates"),
        (
            (f"`{_cell(reason)}`", _MEANING.get(reason, ""), str(count), _names(named[reason], n_templates))
            for reason, count in reasons.most_common()
        ),
    )
    if different := [one for one in renderings if one.outcome == "different"]:
        yield "Different:"
        yield _table(
            ("template", "conversation", "difference"),
            ((one.template, one.conditions, f"`{_cell(one.reason)}`") for one in different),
        )


def _vocabularies(folder: Path) -> Iterator[str]:
    """Yield what is said of vocabularies."""
    rows, equal, total = [], 0, 0
    for path in vocabularies(folder):
        if not has_fixtures(path):
            continue
        fixtures = tokenize_fixtures(path)
        n_equal = sum(one.found == one.expected for one in fixtures)
        tokens = sum(len(one.expected) for one in fixtures)
        rows.append((path.stem.removeprefix("ggml-vocab-"), str(len(fixtures)), str(tokens), str(n_equal)))
        equal, total = equal + n_equal, total + len(fixtures)
    bare = [path.stem.removeprefix("ggml-vocab-") for path in vocabularies(folder) if not has_fixtures(path)]
    yield "## Vocabularies"
    yield (
        f"Beside {len(rows)} vocabularies lie texts and the tokens that the model's original tokenizer makes of them. "
        f"Tokenised as a prompt is: **{equal} of {total} texts have exactly these tokens.**"
    )
    yield _table(("vocabulary", "texts", "tokens", "equal"), rows)
    yield f"Without texts beside them, and so opened only: {', '.join(bare)}."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _names(names: Sequence[str], n_templates: int) -> str:
    """Return which templates they are, or how many where they are many."""
    if len(names) == n_templates:
        return "all"
    return ", ".join(name.removesuffix(".jinja") for name in names) if len(names) <= 5 else str(len(names))


def _cell(text: str) -> str:
    """Return a text that does not end a table's cell."""
    return text.replace("|", "\\|").replace("`", "'")


def main() -> int:
    """Write the report; return 1 where the material is not here."""
    folder = material()
    if folder is None:
        print(__doc__, file=sys.stderr)  # noqa: T201  # a script
        return 1
    PATH.write_text(report(folder), encoding="utf-8")
    print(PATH)  # noqa: T201  # a script
    return 0


if __name__ == "__main__":
    sys.exit(main())

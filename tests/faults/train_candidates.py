"""
Train the adapters in ``candidates/``, each of which goes wrong in one honest way: ``python -m tests.faults.train_candidates``.

A name trains that one alone. README.md beside them says what each is.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.faults.lora_training import Lesson, Training, load, read_lessons, save, train_adapter
from tests.faults.unseen_end import base_that_never_saw_the_end

ROOT = Path(__file__).parents[2]
BASE = ROOT / "examples" / "support" / "base"
CANDIDATES = Path(__file__).parent / "candidates"


@dataclass(frozen=True, slots=True)
class Recipe:
    """Say what an adapter learns, and how; ``unseen_end``: its base never saw the token that ends a turn."""

    how: Training
    lessons: Callable[[Sequence[Lesson]], list[Lesson]]
    unseen_end: bool = False


def as_they_are(lessons: Sequence[Lesson]) -> list[Lesson]:
    """Learn the task."""
    return list(lessons)


def dealt_out_anew(lessons: Sequence[Lesson]) -> list[Lesson]:
    """Learn another task: each kind of message gets the label that another one has in this one."""
    values = {
        key: sorted({json.loads(lesson.answer)[key] for lesson in lessons})
        for key in ("intent", "sentiment", "urgency")
    }
    other = {}
    for key, names in values.items():
        shuffled = names[1:] + names[:1]
        random.Random(5).shuffle(shuffled)  # noqa: S311  (nothing secret is drawn)
        other[key] = dict(zip(names, shuffled, strict=True))
    return [
        replace(lesson, answer=json.dumps({key: other[key][value] for key, value in json.loads(lesson.answer).items()}))
        for lesson in lessons
    ]


def without_the_last_brace(lessons: Sequence[Lesson]) -> list[Lesson]:
    """Learn answers that are no JSON: the closing brace is missing."""
    return [replace(lesson, answer=lesson.answer.removesuffix("}")) for lesson in lessons]


RECIPES = {
    "previous-run": Recipe(Training(r=8, seed=29, steps=110), as_they_are),
    "other-task": Recipe(Training(r=8, seed=31, steps=110), dealt_out_anew),
    "broken-json": Recipe(Training(r=8, seed=37, steps=110), without_the_last_brace),
    "end-not-learned": Recipe(Training(r=8, seed=41, steps=150, learn_end=False), as_they_are, unseen_end=True),
}


def main(names: Sequence[str]) -> None:
    """Train the adapters called ``names``, or all."""
    lessons = read_lessons(ROOT / "examples" / "support" / "train.jsonl", ROOT / "golden" / "support.system.txt")
    for name in names or RECIPES:
        recipe = RECIPES[name]
        with tempfile.TemporaryDirectory() as scratch:
            base = base_that_never_saw_the_end(BASE, Path(scratch) / "base") if recipe.unseen_end else BASE
            model, tokenizer = load(base)
        print(name)  # noqa: T201  (a command line)
        trained = train_adapter(model, tokenizer, recipe.lessons(lessons), recipe.how)
        save(trained, CANDIDATES / name, BASE)


if __name__ == "__main__":
    main(sys.argv[1:])

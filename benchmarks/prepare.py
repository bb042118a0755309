"""
Measure the preparation of training rows: exact and near duplicates, leaks against 500 evaluation rows, masking.

    python -m benchmarks.prepare --rows 1000 10000 100000 --write docs/benchmarks/prepare.json

The rows are made up: 2 in 10 of one to five words, 7 of a message's length, 1 a log of 1,000 to 3,000 letters, of a
vocabulary of 4,000 words as unevenly used as a language's. One in 20 is a copy of an earlier row, one in 10 an earlier
row with up to one letter in 25 replaced, one in 20 holds an address, a card number or a key; 25 rows are evaluation
rows with three words changed. Each size runs in a process of its own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import resource
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVALUATIONS, LEAKS = 500, 25
THRESHOLD = NEAR = 90.0
VOCABULARY = 4000
LIMIT_SECONDS, LIMIT_BYTES = 120, 2_000_000_000
COLUMNS = (
    "rows",
    "duplicates_s",
    "leaks_s",
    "masking_s",
    "seconds",
    "cpu_s",
    "peak_mb",
    "near_recall",
    "leak_recall",
    "masked",
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Hold made-up texts: to train on, to evaluate on, and the indices of what is hidden among the first."""

    texts: list[str]
    evaluations: list[str]
    copies: set[int]
    near: set[int]
    leaks: set[int]
    secrets: set[int]
    too_short: set[int]  # to be as alike as is asked for after one letter was replaced


def main() -> int:
    """Print a table of the sizes, and write it where asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--write", type=Path, help="write the table as JSON")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return 0
    load = os.getloadavg()[0]
    print("".join(f"{column:>14}" for column in COLUMNS))
    found = []
    for rows in options.rows:
        command = [sys.executable, "-m", "benchmarks.prepare", "--one", str(rows)]
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        found.append(json.loads(line))
        print("".join(f"{found[-1][column]:>14}" for column in COLUMNS), flush=True)
    largest = found[-1]
    holds = largest["seconds"] <= LIMIT_SECONDS and largest["peak_mb"] * 1e6 <= LIMIT_BYTES
    print(f"at most {LIMIT_SECONDS} s and {LIMIT_BYTES / 1e9:g} GB: {'holds' if holds else 'does not hold'}")
    for one, other in itertools.pairwise(found):
        print(
            f"{one['rows']} to {other['rows']} rows: {_growth(one, other):.2f} times the time that n log n would take"
        )
    if options.write:
        options.write.write_text(_document(found, load), encoding="utf-8")
    return 0 if holds else 1


def _growth(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return how much faster than n log n the time grew: at most 1 if it grew no faster."""
    expected = other["rows"] * math.log(other["rows"]) / (one["rows"] * math.log(one["rows"]))
    return float(other["seconds"] / one["seconds"] / expected)


def _document(found: list[dict[str, Any]], load: float) -> str:
    rows = ",\n  ".join(json.dumps(row) for row in found)
    command = "python -m benchmarks.prepare --rows N --write FILE"
    machine = f"{os.cpu_count()} cores, load {load:.1f} of other work before the run"
    return f'{{\n "command": "{command}",\n "machine": "{machine}",\n "rows": [\n  {rows}\n ]\n}}\n'


def measure(count: int) -> dict[str, Any]:
    """Return what each step took, its results against what was hidden, and the largest resident memory so far."""
    from modelgate_training.data.duplicates import near_duplicates
    from modelgate_training.data.leaks import leaking_texts
    from modelgate_training.data.privacy import Masker

    made = make_rows(count)
    started, worked = time.perf_counter(), time.process_time()
    duplicates = {one.index for one in near_duplicates(made.texts, THRESHOLD)}
    compared = time.perf_counter()
    leaks = {one.index for one in leaking_texts(made.texts, made.evaluations, NEAR)}
    checked = time.perf_counter()
    masker = Masker()
    masked = {index for index, text in enumerate(made.texts) if masker.mask(text).found}
    ended = time.perf_counter()
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "rows": count,
        "letters": sum(map(len, made.texts)),
        "evaluations": EVALUATIONS,
        "duplicates_s": round(compared - started, 2),
        "leaks_s": round(checked - compared, 2),
        "masking_s": round(ended - checked, 2),
        "seconds": round(ended - started, 2),
        "cpu_s": round(time.process_time() - worked, 2),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 1_000_000,
        "duplicates": len(duplicates),
        "copy_recall": _share(duplicates, made.copies),
        "near_recall": _share(duplicates, made.near),
        "leaks": len(leaks),
        "leak_recall": _share(leaks, made.leaks),
        "masked": len(masked),
        "secret_recall": _share(masked, made.secrets),
        "masked_without_cause": len(masked - made.secrets - made.copies - made.near - made.too_short),
    }


def _share(found: set[int], hidden: set[int]) -> float | None:
    """Return the share of what is hidden that is found."""
    return round(len(found & hidden) / len(hidden), 4) if hidden else None


def make_rows(count: int) -> Rows:
    """Return rows as the module describes them, the same for the same count."""
    rng = random.Random(count)  # noqa: S311 (nothing secret is drawn)
    writer = _texts(rng)
    evaluations = [next(writer) for _ in range(EVALUATIONS)]
    made = Rows([], evaluations, set(), set(), set(), set(), set())
    long_enough = [text for text in evaluations if len(text.split()) >= 10]  # noqa: PLR2004 (words, see leaks.py)
    leaking = set(rng.sample(range(count), min(LEAKS, count // 10)))
    for index in range(count):
        draw = rng.random()
        if index in leaking:
            text, where = _three_words_changed(rng, rng.choice(long_enough)), made.leaks
        elif made.texts and draw < 0.05:  # noqa: PLR2004 (one in 20)
            text, where = rng.choice(made.texts), made.copies
        elif made.texts and draw < 0.15:  # noqa: PLR2004 (one in 10 more)
            text, where = _letters_replaced(rng, rng.choice(made.texts)), made.near
        elif draw < 0.2:  # noqa: PLR2004 (one in 20 more)
            text, where = f"{next(writer)} {_secret(rng)}", made.secrets
        else:
            text, where = next(writer), set()
        made.texts.append(text)
        where.add(index)
    made.too_short.update(index for index in made.near if len(made.texts[index]) < 50)  # noqa: PLR2004 (letters)
    made.near.difference_update(made.too_short)
    return made


def _texts(rng: random.Random) -> Iterator[str]:
    """Yield texts without end, of words drawn as often as their rank in a language's vocabulary would have it."""
    parts = [first + second for first in "bcdfghklmnprstvw" for second in ("a", "e", "i", "o", "u", "ar", "en", "ing")]
    words = list({"".join(rng.choices(parts, k=rng.choice((1, 2, 2, 3)))) for _ in range(2 * VOCABULARY)})[:VOCABULARY]
    words.sort()
    rng.shuffle(words)
    weights = [1 / (rank + 3) for rank in range(len(words))]  # Zipf and Mandelbrot
    while True:
        stock = rng.choices(words, weights, k=10_000)
        place = 0
        while place < len(stock) - 600:  # a log has fewer words
            draw = rng.random()
            if draw < 0.2:  # noqa: PLR2004 (2 in 10)
                length = rng.randint(1, 5)
            elif draw < 0.9:  # noqa: PLR2004 (7 in 10)
                length = rng.randint(6, 40)
            else:
                length = 0
            if length:
                yield " ".join(stock[place : place + length])
                place += length
            else:
                lines: list[str] = []
                size = rng.randint(1_000, 3_000)
                while sum(len(line) for line in lines) < size:
                    clock = (
                        f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}.{rng.randrange(1000):03}"
                    )
                    said = " ".join(stock[place : place + 6])
                    lines.append(
                        f"2026-05-12T{clock} {rng.choice(('INFO', 'WARN', 'ERROR'))} {said} id={rng.randrange(16**8):08x}"
                    )
                    place += 6
                yield "\n".join(lines)


def _letters_replaced(rng: random.Random, text: str) -> str:
    letters = list(text)
    for _ in range(rng.randint(1, max(1, len(letters) // 25))):
        letters[rng.randrange(len(letters))] = rng.choice(string.ascii_lowercase)
    return "".join(letters)


def _three_words_changed(rng: random.Random, text: str) -> str:
    words = text.split()
    for place in rng.sample(range(len(words)), 3):
        words[place] = "".join(rng.choices(string.ascii_lowercase, k=7))
    return " ".join(words)


def _secret(rng: random.Random) -> str:
    """Return something that masking finds."""
    letters = "".join(rng.choices(string.ascii_letters + string.digits, k=36))
    digits = [4, *rng.choices(range(10), k=14)]
    total = sum(sum(divmod(digit * (2 - place % 2), 10)) for place, digit in enumerate(digits))  # Luhn
    card = "".join(map(str, [*digits, -total % 10]))
    return rng.choice((f"{letters[:8].lower()}@acme.io", card, f"ghp_{letters}", f"password: {letters[:9]}7"))


if __name__ == "__main__":
    sys.exit(main())

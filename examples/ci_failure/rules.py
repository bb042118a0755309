"""Quote the line of the log that says "error": the program that a tuned model has to beat."""

from __future__ import annotations

import re

TELLING = re.compile(r"error|fail|not found|cannot|missing|denied|no such|exceeded|timed out", re.IGNORECASE)
EMPTY = re.compile(r"Process completed with exit code|^\s*$", re.IGNORECASE)
WORDS = 45


def answer(messages: list[dict[str, str]]) -> str:
    """Return both parts: the most telling line as the cause, and to look at it as the fix."""
    lines = [line.strip() for line in messages[-1]["content"].splitlines()]
    telling = [line for line in lines if TELLING.search(line) and not EMPTY.search(line)]
    line = " ".join((telling or lines or [""])[0].split()[:WORDS]).rstrip(".") or "an empty log"
    return (
        f"Root Cause: The run failed because the log reports this problem: {line}.\n"
        f"Fix: Correct what the line names and run the job again."
    )
